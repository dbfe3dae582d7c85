//! Three agents who have talked, for fuzzers that begin in the middle: a victim, a peer that will be hostile, and one that stays honest.

use std::collections::VecDeque;
use std::sync::OnceLock;

use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::Peer;
use nuncio_proto::session::Session;
use nuncio_proto::step::Effect;

use crate::agent::{Agent, START};
use crate::book::Violation;
use crate::dice::Dice;
use crate::disk::{Disk, Rows, records};
use crate::guard::Guard;
use crate::net::Who;

/// Where they stand.
#[derive(Debug)]
pub(crate) struct Scene {
    victim: (Who, Rows),
    /// The hostile peer and its session with the victim.
    pub(crate) hostile: (AgentId, Session),
    /// The honest one and its.
    pub(crate) honest: (AgentId, Session),
}

/// The scene, made once.
pub(crate) fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    #[expect(clippy::panic, reason = "the scene does not depend on what the fuzzer tries")]
    SCENE.get_or_init(|| talk().unwrap_or_else(|violation| panic!("no scene: {violation}")))
}

impl Scene {
    /// The victim, with these rows or as it was.
    pub(crate) fn victim(&self) -> Result<Agent, Violation> {
        let mut victim = Agent::new(self.victim.0, Dice::new(1), Guard::default())?;
        victim.disk = Disk::new(self.victim.1.clone());
        victim.load(START)?;
        Ok(victim)
    }

    /// The rows that the victim loads, in the order of their keys.
    pub(crate) fn records(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        records(&self.victim.1)
    }
}

/// A letter of a sender, by number.
pub(crate) fn letter(number: u8) -> Letter {
    Letter::plain(LetterId::new(START, [number; 10]), ContentType::TEXT, vec![number; 35])
}

/// Commits what waits, and says what may be done then.
pub(crate) fn commit(agent: &mut Agent) -> Vec<Effect> {
    agent.disk.begin_sync();
    agent.disk.finish_sync().into_iter().flat_map(|durable| durable.effects).collect()
}

fn talk() -> Result<Scene, Violation> {
    let mut agents = [
        Agent::new(0, Dice::new(2), Guard::default())?,
        Agent::new(1, Dice::new(3), Guard::default())?,
        Agent::new(2, Dice::new(4), Guard::default())?,
    ];
    // The lower of two leads a re-key: the hostile one is to have every right that a peer can have.
    agents.sort_by_key(|agent| agent.id);
    let [hostile, honest, victim] = agents.each_ref().map(|agent| agent.id);
    for (number, (from, to)) in (101..).zip([(hostile, victim), (victim, hostile), (honest, victim), (victim, honest)])
    {
        if let Some(agent) = with(&mut agents, from) {
            agent.send(to, &letter(number), START)?;
        }
        settle(&mut agents)?;
    }
    let [hostile, honest, mut victim] = agents;
    // One letter waits for its acknowledgement.
    victim.send(hostile.id, &letter(1), START)?;
    victim.drain(START, true)?;
    drop(commit(&mut victim));
    let [with_hostile, with_honest] = [&hostile, &honest].map(|peer| {
        let mut sessions = peer.peer.iter().flat_map(Peer::sessions).map(|(session, _)| session);
        sessions.find(|session| session.peer() == victim.id && session.is_confirmed()).cloned()
    });
    let parted = || Violation::Reload(victim.who);
    Ok(Scene {
        victim: (victim.who, victim.disk.rows().clone()),
        hostile: (hostile.id, with_hostile.ok_or_else(parted)?),
        honest: (honest.id, with_honest.ok_or_else(parted)?),
    })
}

/// Carries everything until nothing moves.
fn settle(agents: &mut [Agent; 3]) -> Result<(), Violation> {
    let mut under_way: VecDeque<(AgentId, Effect)> = VecDeque::new();
    loop {
        for agent in agents.iter_mut() {
            agent.drain(START, true)?;
            under_way.extend(commit(agent).into_iter().map(|effect| (agent.id, effect)));
        }
        let Some((by, effect)) = under_way.pop_front() else { return Ok(()) };
        let number = agents.iter().position(|agent| agent.id == by).and_then(|at| u64::try_from(at).ok()).unwrap_or(0);
        match effect {
            Effect::Send { to, frame } => with(agents, to).map(|agent| agent.receive(by, &frame, START).map(drop)),
            Effect::WantBundle { of } => with(agents, of).map(|agent| agent.claim(by, number, START).map(drop)),
            Effect::Bundle { request, bundle } => {
                let asked = usize::try_from(request).ok().and_then(|at| agents.get_mut(at));
                asked.map(|agent| agent.begin(&bundle, START).map(drop))
            }
            _ => None,
        }
        .transpose()?;
    }
}

fn with(agents: &mut [Agent; 3], id: AgentId) -> Option<&mut Agent> {
    agents.iter_mut().find(|agent| agent.id == id)
}
