//! One transaction, as the log has it: what its tokens, its senders and its receivers say of each other.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::event;
use nuncio_proto::audit::{Event, EventChannel, EventPeer};
use nuncio_proto::ids::AgentId;

/// What does not fit together. Events are named by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mismatch {
    /// A letter was sent, and its receiver says nothing of it: it is under way, was lost, or its receiver leaves it out.
    SentOnly(u64),
    /// A letter was taken or refused, and its sender says nothing of having sent it.
    ReceivedOnly(u64),
    /// Two ends speak of one letter and do not say the same of it.
    Differ(u64, u64),
    /// A letter was sent with a token of which the token service says nothing.
    NoToken(u64),
    /// Two letters have one commitment.
    Twice(u64, u64),
}

impl core::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::SentOnly(at) => write!(
                f,
                "entry {at}: a letter was sealed, and its receiver says nothing of it: it is under way, was sealed again in another session, was lost, or its receiver leaves it out"
            ),
            Self::ReceivedOnly(at) => write!(f, "entry {at}: the letter came, and its sender says nothing of it"),
            Self::Differ(sent, got) => {
                write!(f, "entries {sent} and {got}: the two ends say different things of one letter")
            }
            Self::NoToken(at) => write!(f, "entry {at}: the token service says nothing of the letter's token"),
            Self::Twice(first, again) => write!(f, "entries {first} and {again}: one letter, told twice"),
        }
    }
}

/// A transaction's events, and what does not fit together in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Indexes of its events.
    pub events: Vec<u64>,
    /// What does not fit.
    pub mismatches: Vec<Mismatch>,
}

/// Who tells of letters, by their commitments; of one to a channel many who had it.
type Ends<'a> = BTreeMap<([u8; 32], Option<AgentId>), (u64, &'a Event)>;

/// Compares what was said of a transaction. `all` are the events of the log with their indexes; what names no transaction may belong to it by its
/// commitment. What a token service did, only its node can say.
///
/// Whom a pseudonym means, only its two agents know. It means one agent in all events: where a letter's other half is another's than that of another letter
/// under the same pseudonym, the two halves differ.
pub fn reconcile<'a>(all: impl IntoIterator<Item = (u64, &'a Event)>, transaction: &str, node: &AgentId) -> Account {
    let all: Vec<(u64, &Event)> = all.into_iter().collect();
    let meant = Meant::of(&all);
    let is = |event: &Event, what: u8| event.what.number() == what;
    let named = |event: &Event| event.transaction.as_deref() == Some(transaction);
    let commitments: BTreeSet<[u8; 32]> =
        all.iter().filter(|(_, told)| named(told)).filter_map(|(_, told)| told.commitment).collect();
    // A refusal names no token, and so no transaction.
    let ours: Vec<(u64, &Event)> = all
        .into_iter()
        .filter(|(_, told)| named(told) || told.commitment.is_some_and(|of| commitments.contains(&of)))
        .collect();
    let issued: BTreeSet<[u8; 32]> = ours
        .iter()
        .filter(|(_, told)| told.agent == *node)
        .filter(|(_, told)| is(told, event::TOKEN_ISSUED) || is(told, event::TOKEN_REPLACED))
        .filter_map(|(_, told)| told.token)
        .collect();
    let mut mismatches = Vec::new();
    let mut ends = |what: &[u8]| {
        let mut ends: Ends<'_> = BTreeMap::new();
        for (index, told) in ours.iter().filter(|(_, told)| what.iter().any(|what| is(told, *what))) {
            let Some(commitment) = told.commitment else { continue };
            // The first stays: whoever copies another's commitment puts nothing in its place.
            // Many have a letter to a channel, and each of them says so.
            let by = told.channel.filter(|_| !is(told, event::LETTER_SENT)).map(|_| told.agent);
            match ends.entry((commitment, by)) {
                Entry::Vacant(place) => drop(place.insert((*index, *told))),
                // Told again as a new chain (contracts/audit.md V23).
                Entry::Occupied(first) if is_again(first.get().1, told) => {}
                Entry::Occupied(first) => mismatches.push(Mismatch::Twice(first.get().0, *index)),
            }
        }
        ends
    };
    let sent = ends(&[event::LETTER_SENT]);
    let got = ends(&[event::LETTER_RECEIVED, event::LETTER_REFUSED]);
    for ((commitment, _), (index, told)) in &sent {
        if told.token.is_none_or(|token| !issued.contains(&token)) {
            mismatches.push(Mismatch::NoToken(*index));
        }
        let others: Vec<_> = got.range((*commitment, None)..).take_while(|((of, _), _)| of == commitment).collect();
        if others.is_empty() {
            mismatches.push(Mismatch::SentOnly(*index));
        }
        let differing = others.into_iter().filter(|(_, (_, received))| !agree(told, received, &meant));
        mismatches.extend(differing.map(|(_, (other, _))| Mismatch::Differ(*index, *other)));
    }
    let unsent = got.iter().filter(|((commitment, _), _)| !sent.contains_key(&(*commitment, None)));
    mismatches.extend(unsent.map(|(_, (index, _))| Mismatch::ReceivedOnly(*index)));
    mismatches.sort_unstable();
    Account { events: ours.iter().map(|(index, _)| *index).collect(), mismatches }
}

/// Whether two events of different epochs differ in nothing but where they stand in their chains.
fn is_again(first: &Event, told: &Event) -> bool {
    let Event { epoch, seq, prev, at, .. } = *first;
    epoch != told.epoch && Event { epoch, seq, prev, at, ..told.clone() } == *first
}

/// Who tells of the other halves of letters under one agent's pseudonym for a peer.
struct Meant(BTreeMap<(AgentId, [u8; 16]), BTreeSet<AgentId>>);

impl Meant {
    fn of(all: &[(u64, &Event)]) -> Self {
        let is_sent = |told: &Event| told.what.number() == event::LETTER_SENT;
        let mut tellers = BTreeMap::<([u8; 32], bool), BTreeSet<AgentId>>::new();
        let letters = || all.iter().filter_map(|(_, told)| told.commitment.map(|commitment| (commitment, *told)));
        for (commitment, told) in letters() {
            tellers.entry((commitment, is_sent(told))).or_default().insert(told.agent);
        }
        let mut meant = BTreeMap::<_, BTreeSet<AgentId>>::new();
        for (commitment, told) in letters() {
            let Some(EventPeer::Pseudonym(pseudonym)) = told.peer else { continue };
            let others = tellers.get(&(commitment, !is_sent(told))).into_iter().flatten();
            meant.entry((told.agent, pseudonym)).or_default().extend(others);
        }
        Self(meant)
    }

    fn names(&self, told: &Event, agent: &AgentId) -> bool {
        match told.peer {
            Some(EventPeer::Agent(peer)) => peer == *agent,
            Some(EventPeer::Pseudonym(pseudonym)) => {
                let meant = self.0.get(&(told.agent, pseudonym));
                meant.is_some_and(|agents| agents.len() == 1 && agents.contains(agent))
            }
            None => false,
        }
    }
}

/// Whether two ends name each other, or one channel, and its reader the author.
// contracts/audit.md V29.
pub(super) fn is_one_way(sent: &Event, got: &Event, names: impl Fn(&Event, &AgentId) -> bool) -> bool {
    let is_to = match (sent.channel, got.channel) {
        (None, None) => names(sent, &got.agent),
        (Some(EventChannel::Id(one)), Some(EventChannel::Id(other))) => one == other,
        // Of a pseudonym nobody knows the channel who does not know its id.
        (Some(_), Some(_)) => true,
        _ => false,
    };
    is_to && names(got, &sent.agent)
}

/// Whether two ends say the same of one letter. A refusal says less.
fn agree(sent: &Event, got: &Event, meant: &Meant) -> bool {
    let said = |one: Option<&[u8]>, other: Option<&[u8]>| one.is_none() || other.is_none() || one == other;
    is_one_way(sent, got, |told, agent| meant.names(told, agent))
        && said(sent.token.as_ref().map(|hash| hash.as_slice()), got.token.as_ref().map(|hash| hash.as_slice()))
        && said(sent.kind.as_deref().map(str::as_bytes), got.kind.as_deref().map(str::as_bytes))
        && (sent.size.is_none() || got.size.is_none() || sent.size == got.size)
}
