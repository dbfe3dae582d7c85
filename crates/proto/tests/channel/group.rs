//! Agents with a record, and each with its own chains: what a runtime would do, without one.

use nuncio_proto::channel::{
    Attestation, Change, ChannelFrame, Equivocation, Heir, Incoming, Invite, Join, Judged, Moved, Opened, Outgoing,
    ReceiveError, Record, RecordError, Sealed, SenderKey,
};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::AgentId;
use nuncio_proto::testing::{TestRng, rng};
use nuncio_proto::time::UnixMillis;

pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
pub(crate) const ROOM: usize = 1_000;

/// The identities of a test, in the order of their keys.
pub(crate) fn agents(count: u64) -> Vec<Identity> {
    let mut all: Vec<_> = (0..count).map(|seed| Identity::generate(&mut rng(seed)).unwrap()).collect();
    all.sort_by_key(Identity::id);
    all
}

/// A record of its first agent, without anybody else.
pub(crate) fn founded(owner: &Identity, audits: bool) -> Record {
    Record::create(owner.signing(), "works", audits, NOW, [7; 32]).unwrap()
}

/// The owner's next entry, taken.
pub(crate) fn append(record: &mut Record, owner: &Identity, change: Change) -> Vec<u8> {
    append_with(record, owner, change, Vec::new()).unwrap()
}

pub(crate) fn append_with(
    record: &mut Record,
    owner: &Identity,
    change: Change,
    consents: Vec<Vec<u8>>,
) -> Result<Vec<u8>, RecordError> {
    let (bytes, next) = record.append(change, consents, NOW, owner.signing())?;
    record.apply(next).unwrap();
    Ok(bytes)
}

/// One consents to be the owner, in the newest epoch.
pub(crate) fn heir(record: &Record, agent: &Identity) -> Vec<u8> {
    Heir { channel: record.channel(), epoch: record.epoch(), agent: agent.id() }.sign(agent.signing())
}

/// What an entry does to another copy of the record.
pub(crate) fn take(record: &mut Record, bytes: &[u8], now: UnixMillis) -> Result<&'static str, RecordError> {
    match record.check(bytes, now)? {
        Judged::Known => Ok("known"),
        Judged::Fork(_) => Ok("fork"),
        Judged::Next(next) => record.apply(*next).map(|dropped| if dropped.is_empty() { "next" } else { "instead" }),
    }
}

pub(crate) fn invite(record: &Record, by: &Identity, agent: &Identity) -> Invite {
    let (channel, epoch) = (record.channel(), record.epoch());
    Invite { channel, epoch, by: by.id(), agent: agent.id(), expires: NOW.plus(1_000), id: [3; 16] }
}

/// Consent and invitation.
pub(crate) fn consents(invite: &Invite, by: &SigningKey, agent: &Identity) -> Vec<Vec<u8>> {
    let bytes = invite.sign(by);
    let join = Join { channel: invite.channel, agent: agent.id(), invite: Invite::hash(&bytes) };
    vec![join.sign(agent.signing()), bytes]
}

pub(crate) fn add(record: &mut Record, owner: &Identity, newcomers: &[&Identity]) -> Vec<u8> {
    let mut newcomers = newcomers.to_vec();
    newcomers.sort_by_key(|agent| agent.id());
    let all = newcomers.iter().flat_map(|agent| consents(&invite(record, owner, agent), owner.signing(), agent));
    let (all, ids) = (all.collect(), newcomers.iter().map(|agent| agent.id()).collect());
    append_with(record, owner, Change::Add(ids), all).unwrap()
}

/// A record of an owner, and others who have joined.
pub(crate) fn record_of(agents: &[Identity], audits: bool) -> Record {
    let mut record = founded(&agents[0], audits);
    for some in agents[1..].chunks(64) {
        add(&mut record, &agents[0], &some.iter().collect::<Vec<_>>());
    }
    record
}

/// One member.
pub(crate) struct Member {
    pub(crate) identity: Identity,
    pub(crate) record: Record,
    pub(crate) out: Outgoing,
    pub(crate) into: Incoming,
    pub(crate) rng: TestRng,
}

impl Member {
    pub(crate) fn new(identity: &Identity, record: &Record) -> Self {
        let (id, record) = (identity.id(), record.clone());
        let (out, into) = (Outgoing::new(&record, id), Incoming::new(&record, id));
        let seed = u64::from_be_bytes(*id.as_bytes().first_chunk().unwrap());
        Self { identity: identity.clone(), record, out, into, rng: rng(seed) }
    }

    pub(crate) fn id(&self) -> AgentId {
        self.identity.id()
    }

    /// Follows the record of somebody else, whole.
    pub(crate) fn follow(&mut self, record: &Record) {
        self.record = record.clone();
        self.into.follow(record);
    }

    /// A chain for the newest epoch: what each other member is handed.
    pub(crate) fn begin(&mut self, now: UnixMillis) -> Vec<(AgentId, Vec<u8>)> {
        let new = self.out.begin(&self.record, now, &mut self.rng).unwrap();
        let keys = new.keys().iter().map(|(agent, key)| (*agent, key.encode().to_vec())).collect();
        self.out.apply_chain(new);
        keys
    }

    pub(crate) fn take_key(&mut self, from: AgentId, bytes: &[u8]) -> Result<Option<Equivocation>, String> {
        let key = SenderKey::parse(bytes, &from).map_err(|error| error.to_string())?;
        let taken = self.into.take_key(from, key, &self.record, NOW).map_err(|error| error.to_string())?;
        Ok(self.into.apply_key(taken))
    }

    pub(crate) fn seal(&mut self, letter: &[u8]) -> Sealed {
        self.seal_with(letter, None)
    }

    pub(crate) fn seal_with(&mut self, letter: &[u8], attestation: Option<Attestation>) -> Sealed {
        let (epoch, nonce) = (self.record.epoch(), self.nonce());
        let sealed = self.out.seal(&epoch, letter.to_vec(), attestation, &nonce, self.identity.signing(), NOW).unwrap();
        self.out.apply(&sealed);
        sealed
    }

    pub(crate) fn nonce(&mut self) -> [u8; 12] {
        let mut nonce = [0; 12];
        rand_core::Rng::fill_bytes(&mut self.rng, &mut nonce);
        nonce
    }

    pub(crate) fn open(&self, frame: &[u8]) -> Result<Opened, ReceiveError> {
        self.into.receive(&ChannelFrame::decode(frame).expect("a frame"), ROOM)
    }

    pub(crate) fn receive(&mut self, frame: &[u8]) -> Result<(Vec<u8>, Moved), ReceiveError> {
        let opened = self.open(frame)?;
        let letter = opened.letter.clone();
        Ok((letter, self.into.apply(opened, NOW)))
    }

    pub(crate) fn receive_from(&mut self, sealed: &Sealed) -> Result<(Vec<u8>, Moved), ReceiveError> {
        let frame = sealed.frame_for(&self.id()).expect("a recipient");
        self.receive(&frame)
    }
}

/// Members of one record; each has handed its chain to all.
pub(crate) fn group(count: u64, audits: bool) -> Vec<Member> {
    let agents = agents(count);
    let record = record_of(&agents, audits);
    let mut members: Vec<Member> = agents.iter().map(|agent| Member::new(agent, &record)).collect();
    (0..members.len()).for_each(|of| hand_over(&mut members, of));
    members
}

/// One member begins a chain, and all others have it.
pub(crate) fn hand_over(members: &mut [Member], of: usize) {
    let (from, keys) = (members[of].id(), members[of].begin(NOW));
    for (agent, bytes) in keys {
        let to = members.iter_mut().find(|member| member.id() == agent);
        assert_eq!(to.expect("a member").take_key(from, &bytes), Ok(None));
    }
}
