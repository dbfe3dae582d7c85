//! Who knocks here, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nuncio_contracts::registry::{limit, time};
use nuncio_proto::control::Control;
use nuncio_proto::ids::AgentId;
use nuncio_proto::knock::Knock;
use nuncio_proto::peer::ContactInfo;
use nuncio_proto::step::{Effects, Staged};
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine as _, Op};
use tokio::sync::{Notify, watch};

use super::held::{Held, KNOCKED, State, put_held, read_held};
use super::{KnockCommand, Knocked, Meant, key};
use crate::actor::Actor;
use crate::command::Reply;
use crate::effects::{answer, tell};
use crate::entropy::now;
use crate::error::Error;
use crate::lines::Lines;
use crate::wake::{Answer, Wake};

/// How long a connection of a stranger stays once it has knocked.
const STRANGER_STAYS: Duration = Duration::from_secs(2);

/// Who knocks, and what invitations let in. All of it is on disk, too.
#[derive(Default)]
pub(crate) struct Door {
    pub(crate) open: bool,
    held: BTreeMap<AgentId, Held>,
    pub(crate) lines: Lines,
    /// At whose doors this agent knocks again and again, and what makes it begin with short pauses anew.
    knocking: BTreeMap<AgentId, Arc<Notify>>,
    bell: watch::Sender<u64>,
}

impl Actor {
    pub(crate) fn knock_command(&mut self, command: KnockCommand) {
        match command {
            KnockCommand::Hear { yes, reply } => {
                self.hear_knocks(yes);
                tell(reply, Ok(()));
            }
            KnockCommand::Invite { meant, life, times, reply } => self.invite_for(meant, life, times, reply),
            KnockCommand::Lines { reply } => tell(reply, Ok(self.lines())),
            KnockCommand::Revoke { line, reply } => self.revoke_line(line, reply),
            KnockCommand::Knock { to, knock, secret, transaction, reply } => {
                let Ok(from) = self.invitation() else { return tell(reply, Err(Error::NoCall)) };
                // One at a time: the first letter that an agent opens is the one that it hears.
                let before: Vec<_> = self.peer.knocks_to(to).collect();
                for letter in before {
                    let taken_back = self.peer.cancel(to, letter);
                    taken_back.into_iter().for_each(|step| self.commit(step));
                }
                let anew = self.peer.start_anew(to, now());
                self.commit(anew);
                let Meant { service, scope } = *knock;
                self.send_control(to, &Control::Knock(Box::new(Knock { from, service, scope, secret, transaction })));
                let begins = self.door.knock_anew(to);
                self.when_durable(answer(reply, begins));
            }
            KnockCommand::List { reply } => tell(reply, Ok(self.door.list())),
            KnockCommand::Bell { reply } => tell(reply, Ok(self.door.bell.subscribe())),
            KnockCommand::LetIn { by, name, reply } => self.let_in(by, name, reply),
            KnockCommand::Decline { by, reply } => {
                let declined = self.door.held.get_mut(&by).filter(|held| held.state == State::Waits);
                let Some(held) = declined else { return tell(reply, Ok(false)) };
                held.state = State::Declined;
                let row = put_held(&by, held);
                self.commit_door(vec![row], vec![answer(reply, true)]);
            }
            KnockCommand::Admit { by, reply } => self.admit(by, reply),
            KnockCommand::Again { to, last, reply } => {
                let waits = self.peer.wants_session(&to) || self.peer.outbox().any(|(whom, ..)| whom == to);
                let shut =
                    waits && !self.peer.sessions().any(|(session, _)| session.peer() == to && session.is_confirmed());
                if shut && !self.links.contains_key(&to) {
                    self.dial(to);
                }
                if !shut || last {
                    self.door.knocking.remove(&to);
                }
                tell(reply, Ok(shut));
            }
        }
    }

    pub(crate) fn hear_knocks(&mut self, yes: bool) {
        self.door.open = yes;
        self.peer.hear_knocks(yes);
    }

    pub(crate) fn resume_knocks(&mut self) -> Result<(), Error> {
        let store = Arc::clone(&self.store);
        let mut held = Vec::new();
        store.scan(&KNOCKED, &mut |key, value| {
            held.extend(key.get(2..).and_then(|agent| read_held(agent, value)));
            Ok(())
        })?;
        self.door.held.extend(held);
        self.resume_lines()?;
        self.forget_old_knocks(now());
        Ok(())
    }

    pub(crate) fn commit_door(&mut self, rows: Vec<Op>, answers: Vec<Answer>) {
        self.commit_staged(Staged { ops: Vec::new(), effects: Effects::default() }, rows, answers);
        self.door.bell.send_modify(|rung| *rung += 1);
    }

    /// Somebody knocks.
    // contracts/call.md X29, X30.
    pub(crate) fn knocked(&mut self, by: AgentId, knock: Knock) {
        let known = self.door.held.get(&by);
        let secret = knock.secret.as_ref();
        if let Some((meant, mut rows)) = secret.and_then(|secret| self.door.lines.redeem(secret, by, now())) {
            let held = Held { at: now(), knock, state: State::LetIn, meant: Some(meant) };
            rows.push(put_held(&by, &held));
            self.door.held.insert(by, held);
            return self.commit_door(rows, Vec::new());
        }
        let is_let_in = self.peer.contact(&by).is_some_and(|info| info.allowed);
        // The same knock comes again: before it was answered, and in the session that is begun then.
        let is_over = known.is_some_and(|held| match held.state {
            State::LetIn | State::Declined => true,
            State::Settled => is_let_in && held.asks_as(&knock),
            State::Waits => held.asks_as(&knock) && held.knock.from == knock.from,
        });
        if !is_over && !knock_is_idle(is_let_in, &knock) {
            self.wait_for_person(by, knock);
        }
        self.show_out(by);
    }

    /// A knock waits. Where as many wait as may, the one that has waited longest makes place.
    fn wait_for_person(&mut self, by: AgentId, knock: Knock) {
        let waiting = || self.door.held.iter().filter(|(_, held)| held.state == State::Waits);
        let waits = self.door.held.get(&by).filter(|held| held.state == State::Waits);
        let mut rows = Vec::new();
        if waits.is_none() && waiting().count() >= limit::KNOCKS_MAX {
            let longest = waiting().min_by_key(|(_, held)| held.at).map(|(by, _)| *by);
            longest.iter().for_each(|by| drop(self.door.held.remove(by)));
            rows.extend(longest.map(|by| Op::Delete { key: key(KNOCKED, by.as_bytes()) }));
        }
        // Whoever asks for something else keeps its place among those that wait, and gets no better one.
        let at = self.door.held.get(&by).filter(|held| held.state == State::Waits).map_or_else(now, |held| held.at);
        let held = Held { at, knock, state: State::Waits, meant: None };
        rows.push(put_held(&by, &held));
        self.door.held.insert(by, held);
        tracing::info!(peer = %by, "an agent that was not added knocks: `nuncio knocks` lists it");
        self.commit_door(rows, Vec::new());
    }

    /// A stranger's connection ends once it has heard what became of its knock.
    fn show_out(&self, by: AgentId) {
        if self.is_stranger_at_door(&by) {
            self.show_out_after(by, STRANGER_STAYS);
        }
    }

    pub(crate) fn show_out_after(&self, by: AgentId, stays: Duration) {
        let urgent = self.tasks.urgent.clone();
        self.tasks.tracker.spawn(async move {
            tokio::time::sleep(stays).await;
            // The actor may have stopped.
            let _ = urgent.send(Wake::KnockHeard { by });
        });
    }

    pub(crate) fn knock_heard(&mut self, by: AgentId) {
        if self.is_stranger_at_door(&by) {
            self.cut_off(by, "it was not added here");
        }
    }

    fn let_in(&mut self, by: AgentId, name: Option<String>, reply: Reply<bool>) {
        let Some(held) = self.door.held.get(&by).filter(|held| held.state == State::Waits) else {
            return tell(reply, Ok(false));
        };
        let name = name.or_else(|| self.peer.contact(&by).and_then(|info| info.name.clone()));
        let info = ContactInfo { name, ..added(&held.knock) };
        if let Err(error) = self.check_peer(by, &info) {
            return tell(reply, Err(error));
        }
        let rows = self.settle_knock(&by).into_iter().collect();
        self.add_knocked(by, info, rows, vec![answer(reply, true)]);
    }

    fn admit(&mut self, by: AgentId, reply: Reply<bool>) {
        let Some(held) = self.door.held.get(&by).filter(|held| held.state == State::LetIn) else {
            return tell(reply, Ok(false));
        };
        let name = self.peer.contact(&by).and_then(|info| info.name.clone());
        let info = ContactInfo { name, ..added(&held.knock) };
        tracing::info!(peer = %by, "let in by an invitation");
        let rows = self.settle_knock(&by).into_iter().collect();
        self.add_knocked(by, info, rows, vec![answer(reply, true)]);
    }

    fn settle_knock(&mut self, by: &AgentId) -> Option<Op> {
        let held = self.door.held.get_mut(by)?;
        (held.state, held.meant) = (State::Settled, None);
        Some(put_held(by, held))
    }

    /// An agent was added by hand: its knock waits no more, unless it asks for something.
    // contracts/call.md X29.
    pub(crate) fn settle_idle_knock(&mut self, by: &AgentId) {
        let waits = self.door.held.get(by).is_some_and(|held| held.state == State::Waits);
        let is_let_in = self.peer.contact(by).is_some_and(|info| info.allowed);
        if waits && self.door.held.get(by).is_some_and(|held| knock_is_idle(is_let_in, &held.knock)) {
            let rows = self.settle_knock(by).into_iter().collect();
            self.commit_door(rows, Vec::new());
        }
    }

    // contracts/call.md X31.
    fn add_knocked(&mut self, by: AgentId, info: ContactInfo, rows: Vec<Op>, answers: Vec<Answer>) {
        let mut together = Staged { ops: Vec::new(), effects: Effects::default() };
        let step = self.peer.set_contact(by, info);
        self.calls.changes.note();
        step.into_iter().for_each(|step| self.stage_onto(&mut together, step));
        self.commit_staged(together, rows, answers);
        let mailbox = self.door.held.get(&by).and_then(|held| held.knock.from.mailbox.clone());
        let known = mailbox.and_then(|at| self.peer.set_mailbox_of(by, Some(at)));
        known.into_iter().for_each(|step| self.commit(step));
        self.send_control(by, &Control::Hello);
        self.welcome_arrived(&by);
        self.dial_anew(by);
        self.door.bell.send_modify(|rung| *rung += 1);
    }

    /// Knocks that are older than a letter may be, and lines whose time is over.
    pub(crate) fn forget_old_knocks(&mut self, now: UnixMillis) {
        self.forget_old_lines(now);
        let is_old = |held: &Held| now.since(held.at) > time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW;
        let old: Vec<AgentId> = self.door.held.iter().filter(|(_, held)| is_old(held)).map(|(by, _)| *by).collect();
        if !old.is_empty() {
            old.iter().for_each(|by| drop(self.door.held.remove(by)));
            self.commit_door(
                old.iter().map(|by| Op::Delete { key: key(KNOCKED, by.as_bytes()) }).collect(),
                Vec::new(),
            );
        }
    }
}

impl Door {
    /// Knocks again with short pauses: by the task that knocks there already, or by one that is to be begun with what comes back.
    fn knock_anew(&mut self, to: AgentId) -> Option<Arc<Notify>> {
        if let Some(anew) = self.knocking.get(&to) {
            anew.notify_one();
            return None;
        }
        let anew = Arc::new(Notify::new());
        self.knocking.insert(to, Arc::clone(&anew));
        Some(anew)
    }

    fn list(&self) -> Vec<Knocked> {
        let shown = self.held.iter().filter(|(_, held)| matches!(held.state, State::Waits | State::LetIn));
        let shown = shown.map(|(by, held)| Knocked {
            by: *by,
            at: held.at,
            from: held.knock.from.clone(),
            service: held.knock.service.clone(),
            scope: held.knock.scope.clone(),
            transaction: held.knock.transaction.clone(),
            let_in: held.meant.clone(),
        });
        shown.collect()
    }
}

/// A peer that was added and asks for nothing needs nobody's word.
fn knock_is_idle(is_let_in: bool, knock: &Knock) -> bool {
    is_let_in && knock.scope.is_empty()
}

fn added(knock: &Knock) -> ContactInfo {
    ContactInfo {
        endpoints: knock.from.endpoints.clone(),
        allowed: true,
        bundle_hash: knock.from.bundle_hash,
        ..ContactInfo::default()
    }
}
