//! Agents by hand that talk to each other, whoever is there.

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::time;
use nuncio_proto::bundle::Bundle;
use nuncio_proto::channel::{Change, ChannelPlace, History, Outgoing, Reach, Roster, Says, SenderKey, Word};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::deposit::Deposit;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{AgentId, ChannelId, LetterId, Seq};
use nuncio_proto::letter::{Letter, LetterKind};
use nuncio_proto::mailbox::Mailbox;
use nuncio_proto::peer::{ChannelError, ChannelNews, ContactInfo, Peer, Seen, SharedMail};
use nuncio_proto::rows;
use nuncio_proto::step::{Effect, Op, Staged, Step};
use nuncio_proto::testing::{ChannelForgery, TestRng, forge_channel, rng};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Policy;

/// Long enough for whatever waits for a resend.
pub(crate) const LONG: u64 = 10 * time::RESEND_MAX;
pub(crate) const START: UnixMillis = UnixMillis(1_800_000_000_000);

pub(crate) struct Disk(pub(crate) BTreeMap<Vec<u8>, Vec<u8>>);

impl Seen for Disk {
    fn seen(&self, from: &AgentId, letter: &LetterId) -> Option<bool> {
        Some(self.0.contains_key(&rows::seen(from, letter)))
    }
}

/// What came in a channel, or beside one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) from: AgentId,
    pub(crate) channel: Option<ChannelId>,
    pub(crate) text: String,
}

pub(crate) struct Agent {
    pub(crate) peer: Peer,
    pub(crate) disk: Disk,
    pub(crate) rng: TestRng,
    pub(crate) inbox: Vec<Came>,
    pub(crate) handed: Vec<(AgentId, History, String)>,
    pub(crate) delivered: Vec<(AgentId, LetterId)>,
    pub(crate) failed: Vec<(AgentId, LetterId, u16)>,
    pub(crate) news: Vec<(ChannelId, ChannelNews)>,
    /// The transactions of what came.
    pub(crate) grants: Vec<Option<String>>,
    /// Letters that wait for fresh tokens.
    pub(crate) stale: Vec<(AgentId, LetterId)>,
    pub(crate) away: bool,
    out: Vec<(AgentId, Vec<u8>)>,
    wants: Vec<AgentId>,
}

/// Where everybody's frames wait.
pub(crate) fn mailbox() -> Mailbox {
    let node = "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd".parse().unwrap();
    Mailbox { node, endpoint: "node.example:1".to_owned() }
}

/// Agents, and a time for all.
pub(crate) struct Group {
    pub(crate) agents: Vec<Agent>,
    pub(crate) now: UnixMillis,
    /// Frames between these two are lost.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// What waits for those who are away.
    pub(crate) boxes: BTreeMap<AgentId, Vec<Vec<u8>>>,
    /// What was left for several at once.
    pub(crate) deposits: Vec<Deposit>,
    /// Every frame that was sent.
    pub(crate) sent: Vec<Vec<u8>>,
}

impl Agent {
    fn new(seed: u64) -> Self {
        let mut rng = rng(seed);
        let (mut peer, staged) = Peer::create(Identity::generate(&mut rng).unwrap(), START, &mut rng);
        peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
        let mut agent = Self {
            peer,
            disk: Disk(BTreeMap::new()),
            rng,
            inbox: vec![],
            handed: vec![],
            delivered: vec![],
            failed: vec![],
            news: vec![],
            grants: vec![],
            stale: vec![],
            away: false,
            out: vec![],
            wants: vec![],
        };
        agent.commit(staged);
        agent
    }

    fn commit(&mut self, staged: Staged) {
        for op in staged.ops {
            match op {
                Op::Put { key, value } => drop(self.disk.0.insert(key, value)),
                Op::Delete { key } => drop(self.disk.0.remove(&key)),
            }
        }
        for effect in staged.effects.after_commit() {
            match effect {
                Effect::Send { to, frame } => self.out.push((to, frame)),
                Effect::Deliver(arrival) => {
                    let channel = ChannelPlace::of(&arrival.letter).unwrap().map(|place| place.channel);
                    self.grants.push(arrival.token.map(|token| token.claims().txn.clone()));
                    let about = History::of(&arrival.letter).unwrap();
                    let text = String::from_utf8(arrival.letter.payload).unwrap();
                    self.handed.extend(about.map(|about| (arrival.from, about, text.clone())));
                    self.inbox.push(Came { from: arrival.from, channel, text });
                }
                Effect::Delivered { to, letter } => self.delivered.push((to, letter)),
                Effect::Failed { to, letter, code, .. } => self.failed.push((to, letter, code)),
                Effect::WantBundle { of } => self.wants.push(of),
                Effect::Channel { channel, news } => self.news.push((channel, news)),
                Effect::TokenExpired { to, letter } => self.stale.push((to, letter)),
                _ => {}
            }
        }
    }

    pub(crate) fn id(&self) -> AgentId {
        self.peer.id()
    }

    pub(crate) fn take(&mut self, step: Step) {
        let staged = self.peer.stage(step).unwrap();
        self.commit(staged);
    }

    fn run(&mut self, now: UnixMillis) {
        for _ in 0..10_000 {
            let Some(step) = self.peer.next(now, true, &mut self.rng) else { return };
            self.take(step);
        }
        panic!("next never comes to rest");
    }

    pub(crate) fn restart(&mut self, now: UnixMillis) {
        let records: Vec<_> =
            self.disk.0.iter().filter(|(key, _)| Peer::loads(key[0])).map(|(k, v)| (k.clone(), v.clone())).collect();
        self.peer = Peer::load(&records, now).unwrap();
        self.peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
        self.out.clear();
        self.wants.clear();
    }

    pub(crate) fn know(&mut self, other: AgentId) {
        let info = ContactInfo { allowed: true, ..ContactInfo::default() };
        let step = self.peer.set_contact(other, info).unwrap();
        self.take(step);
    }

    pub(crate) fn roster(&self, channel: ChannelId) -> Roster {
        self.peer.channel(&channel).unwrap().roster().clone()
    }

    pub(crate) fn texts(&self, channel: ChannelId) -> Vec<&str> {
        self.inbox.iter().filter(|came| came.channel == Some(channel)).map(|came| came.text.as_str()).collect()
    }
}

impl Group {
    /// So many agents, of whom the first is known to all and knows all.
    pub(crate) fn new(count: usize) -> Self {
        let mut agents: Vec<Agent> = (1..).map(Agent::new).take(count).collect();
        let ids: Vec<AgentId> = agents.iter().map(Agent::id).collect();
        for (at, agent) in agents.iter_mut().enumerate().skip(1) {
            agent.know(ids[0]);
            assert_ne!(at, 0);
        }
        ids.iter().skip(1).for_each(|id| agents[0].know(*id));
        Self { agents, now: START, cut: BTreeSet::new(), boxes: BTreeMap::new(), deposits: vec![], sent: vec![] }
    }

    /// A channel in which all have sessions with each other, and nobody has heard anything; and others beside it.
    pub(crate) fn settled(members: usize, others: usize) -> (Self, ChannelId) {
        let mut group = Self::new(members + others);
        let channel = group.channel(members);
        group.pass(LONG, 10);
        for at in 0..members {
            group.send(at, channel, "so that all have sessions");
        }
        group.pass(LONG, 10);
        group.agents.iter_mut().for_each(|agent| agent.inbox.clear());
        (group, channel)
    }

    /// An agent without anything but its identity.
    pub(crate) fn replace(&mut self, at: usize) {
        self.agents[at] = Agent::new(u64::try_from(at).unwrap() + 1);
        self.agents[at].peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
    }

    pub(crate) fn id(&self, at: usize) -> AgentId {
        self.agents[at].id()
    }

    fn at(&self, id: AgentId) -> Option<usize> {
        self.agents.iter().position(|agent| agent.id() == id)
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        let is_cut = self.cut.contains(&(from.min(to), from.max(to)));
        !self.agents[from].away && !self.agents[to].away && !is_cut
    }

    fn claim(&mut self, by: usize, of: AgentId) {
        let Some(at) = self.at(of).filter(|at| self.reaches(by, *at)) else { return };
        let (asker, now) = (self.id(by), self.now);
        let other = &mut self.agents[at];
        let staged = other.peer.stage(other.peer.claim(asker, 7, &[], now).unwrap()).unwrap();
        for op in staged.ops {
            if let Op::Put { key, value } = op {
                other.disk.0.insert(key, value);
            }
        }
        for effect in staged.effects.after_commit() {
            if let Effect::Bundle { bundle, .. } = effect {
                let (bundle, one) = (Bundle::parse(&bundle, now).unwrap(), &mut self.agents[by]);
                if let Ok(step) = one.peer.begin(&bundle, now, &mut one.rng) {
                    one.take(step);
                }
            }
        }
    }

    pub(crate) fn carry(&mut self, from: usize) -> bool {
        let now = self.now;
        self.agents[from].run(now);
        for of in core::mem::take(&mut self.agents[from].wants) {
            self.claim(from, of);
        }
        self.agents[from].run(now);
        let (sender, frames) = (self.id(from), core::mem::take(&mut self.agents[from].out));
        let moved = !frames.is_empty();
        for (to, frame) in frames {
            self.sent.push(frame.clone());
            let Some(at) = self.at(to).filter(|at| self.reaches(from, *at)) else { continue };
            let agent = &mut self.agents[at];
            match agent.peer.receive(Some(sender), &frame, now, &mut agent.rng, &agent.disk) {
                Ok(step) => agent.take(step),
                Err(refusal) => {
                    if let Some(step) = agent.peer.ack_again(&refusal, &frame, &mut agent.rng) {
                        agent.take(step);
                    }
                    if let Some(notice) = Peer::notice_for(&refusal) {
                        agent.out.push((sender, notice));
                    }
                }
            }
        }
        moved
    }

    /// What two agents say now reaches the second, and of what it brings about nothing reaches it back.
    pub(crate) fn lose_from(&mut self, one: usize, other: usize) {
        self.carry(other);
        self.cut.insert((one.min(other), one.max(other)));
        self.settle();
        self.cut.remove(&(one.min(other), one.max(other)));
    }

    /// One says a word to another that no runtime of ours says.
    pub(crate) fn say(&mut self, from: usize, to: usize, channel: ChannelId, says: Says) {
        let (now, to) = (self.now, self.id(to));
        let mut letter = self.letter(from, "");
        letter.content_type = ContentType::CBOR;
        letter.kind = LetterKind::Control;
        letter.payload = Control::Channel(Box::new(Word { channel, says })).encode();
        let one = &mut self.agents[from];
        let step = one.peer.send(to, &letter, now).unwrap();
        one.take(step);
    }

    /// One writes to another, beside all channels.
    pub(crate) fn write(&mut self, from: usize, to: usize, text: &str) -> LetterId {
        let (now, to, letter) = (self.now, self.id(to), self.letter(from, text));
        let step = self.agents[from].peer.send(to, &letter, now).unwrap();
        self.agents[from].take(step);
        letter.id
    }

    /// Carries everything until nothing moves.
    pub(crate) fn settle(&mut self) {
        for _ in 0..500 {
            let moved: Vec<bool> = (0..self.agents.len()).map(|from| self.carry(from)).collect();
            if !moved.contains(&true) {
                return;
            }
        }
        panic!("the group never comes to rest");
    }

    /// Everybody has a mailbox.
    pub(crate) fn open_mailboxes(&mut self) {
        for agent in &mut self.agents {
            let step = agent.peer.set_mailbox(Some(mailbox()), &mut agent.rng).unwrap();
            agent.take(step);
            agent.peer.mailbox_opened();
        }
    }

    /// What is for those who are away is left at their nodes.
    pub(crate) fn leave_mail(&mut self) {
        let at = mailbox();
        let (now, away) = (self.now, self.agents.iter().filter(|agent| agent.away).map(Agent::id).collect::<Vec<_>>());
        for agent in self.agents.iter_mut().filter(|agent| !agent.away) {
            agent.run(now);
            for to in &away {
                let Some(mail) = agent.peer.mail(*to, now, 1_000, &mut agent.rng) else { continue };
                let (frames, mailed): (Vec<_>, Vec<_>) = mail.frames.into_iter().unzip();
                self.boxes.entry(*to).or_default().extend(frames);
                let step = agent.peer.mailed(*to, mailed, now);
                agent.take(step);
            }
            for SharedMail { which, common, to } in agent.peer.shared_mail(&at, |one| away.contains(one), now, 1_000) {
                for (agent, _, mac) in &to {
                    self.boxes.entry(*agent).or_default().push([common.as_slice(), mac].concat());
                }
                let deposit = Deposit::shared(to, common).unwrap();
                for (to, ..) in deposit.frames() {
                    let step = agent.peer.mailed(to, vec![which], now);
                    agent.take(step);
                }
                self.deposits.push(deposit);
            }
        }
    }

    /// One that is away fetches what waits for it, and hears nobody otherwise.
    pub(crate) fn fetch(&mut self, at: usize) {
        let (now, id) = (self.now, self.id(at));
        let agent = &mut self.agents[at];
        for frame in self.boxes.remove(&id).unwrap_or_default() {
            if let Ok(step) = agent.peer.receive(None, &frame, now, &mut agent.rng, &agent.disk) {
                agent.take(step);
            }
        }
    }

    /// Time passes, in steps in which whatever is due happens.
    pub(crate) fn pass(&mut self, ms: u64, steps: u64) {
        for _ in 0..steps {
            self.now = self.now.plus(ms / steps);
            self.settle();
        }
    }

    pub(crate) fn create(&mut self, owner: usize, name: &str) -> ChannelId {
        self.create_as(owner, name, false)
    }

    pub(crate) fn create_as(&mut self, owner: usize, name: &str, audits: bool) -> ChannelId {
        let (now, agent) = (self.now, &mut self.agents[owner]);
        let (channel, step) = agent.peer.channel_create(name, audits, now, &mut agent.rng).unwrap();
        agent.take(step);
        channel
    }

    pub(crate) fn invite(&mut self, by: usize, channel: ChannelId, agent: usize) -> Result<(), ChannelError> {
        let (now, id) = (self.now, self.id(agent));
        let one = &mut self.agents[by];
        let step = one.peer.channel_invite(channel, id, now, &mut one.rng)?;
        one.take(step);
        self.settle();
        Ok(())
    }

    pub(crate) fn join(&mut self, agent: usize, channel: ChannelId) {
        let now = self.now;
        let one = &mut self.agents[agent];
        let step = one.peer.channel_join(channel, Reach::default(), now).unwrap();
        one.take(step);
        self.settle();
    }

    /// A channel of the first so many, which the first has founded.
    pub(crate) fn channel(&mut self, members: usize) -> ChannelId {
        let channel = self.create(0, "travel");
        self.fill(channel, members)
    }

    /// The first so many join.
    pub(crate) fn fill(&mut self, channel: ChannelId, members: usize) -> ChannelId {
        for agent in 1..members {
            self.invite(0, channel, agent).unwrap();
            self.join(agent, channel);
        }
        channel
    }

    pub(crate) fn change(&mut self, by: usize, channel: ChannelId, change: Change) -> Result<(), ChannelError> {
        let now = self.now;
        let one = &mut self.agents[by];
        let step = one.peer.channel_change(channel, change, now)?;
        one.take(step);
        Ok(())
    }

    pub(crate) fn leave(&mut self, agent: usize, channel: ChannelId) -> Result<(), ChannelError> {
        let now = self.now;
        let one = &mut self.agents[agent];
        let step = one.peer.channel_leave(channel, now)?;
        one.take(step);
        Ok(())
    }

    /// The owner asks, and the other consents.
    pub(crate) fn hand_over(&mut self, owner: usize, channel: ChannelId, heir: usize) {
        let id = self.id(heir);
        self.change(owner, channel, Change::HandOver(id)).unwrap();
        self.settle();
        self.take_over(heir, channel).unwrap();
        self.settle();
    }

    pub(crate) fn take_over(&mut self, heir: usize, channel: ChannelId) -> Result<(), ChannelError> {
        let now = self.now;
        let one = &mut self.agents[heir];
        let step = one.peer.channel_take_over(channel, now)?;
        one.take(step);
        Ok(())
    }

    pub(crate) fn forget(&mut self, agent: usize, channel: ChannelId) -> Result<(), ChannelError> {
        let now = self.now;
        let one = &mut self.agents[agent];
        let step = one.peer.channel_forget(channel, now)?;
        one.take(step);
        Ok(())
    }

    pub(crate) fn letter(&mut self, by: usize, text: &str) -> Letter {
        let mut random = [0; 10];
        rand_core::Rng::fill_bytes(&mut self.agents[by].rng, &mut random);
        Letter::plain(LetterId::new(self.now, random), ContentType::TEXT, text.into())
    }

    pub(crate) fn send(&mut self, by: usize, channel: ChannelId, text: &str) -> LetterId {
        let letter = self.letter(by, text);
        self.post(by, channel, &letter)
    }

    pub(crate) fn post(&mut self, by: usize, channel: ChannelId, letter: &Letter) -> LetterId {
        let now = self.now;
        let one = &mut self.agents[by];
        let step = one.peer.channel_send(channel, letter, now, &mut one.rng).unwrap();
        one.take(step);
        letter.id
    }

    /// A chain of its own that one hands to another, beside those of its runtime.
    pub(crate) fn hand_chain(&mut self, [from, to]: [usize; 2], channel: ChannelId, first: Seq) -> SenderKey {
        let (now, me, victim) = (self.now, self.id(from), self.id(to));
        let one = &mut self.agents[from];
        let record = one.peer.channel(&channel).unwrap();
        let mut outgoing = Outgoing::new(record, me);
        outgoing.skip_to(first);
        let chain = outgoing.begin(record, now, &mut one.rng).unwrap();
        let bytes = chain.keys().iter().find(|(agent, _)| *agent == victim).unwrap().1.encode();
        self.say(from, to, channel, Says::Key(bytes.clone()));
        self.settle();
        SenderKey::parse(&bytes, &me).unwrap()
    }

    /// A frame of that chain, with everything from a number on still sent, and a letter that says what it will.
    pub(crate) fn forge(
        &self,
        key: &SenderKey,
        floor: Seq,
        [from, to]: [usize; 2],
        seq: Seq,
        letter: &Letter,
    ) -> Vec<u8> {
        let floor_below = u16::try_from(seq - floor).unwrap();
        let forgery = ChannelForgery { seq, floor_below, letter: letter.encode() };
        forge_channel(key, &self.id(from), &self.id(to), forgery, |_| {})
    }

    /// A letter in the session of two that says that it has this place, as no runtime of ours sends it.
    pub(crate) fn send_at(&mut self, [from, to]: [usize; 2], place: ChannelPlace, text: &str) {
        let (now, to, mut letter) = (self.now, self.id(to), self.letter(from, text));
        letter.set_extension(place.extension());
        let one = &mut self.agents[from];
        let step = one.peer.send(to, &letter, now).unwrap();
        one.take(step);
    }
}
