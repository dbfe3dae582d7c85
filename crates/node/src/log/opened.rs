//! Who says what of a letter that somebody opens (contracts/audit.md V24).

use std::collections::BTreeMap;

use nuncio_contracts::registry::event;
use nuncio_proto::audit::{Event, EventPeer, PairKey};
use nuncio_proto::ids::AgentId;

use super::reconcile::is_one_way;

/// What the log has of a letter's two ends. An agent that tells the same again is named once, by its first event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Who says that they have written it, each by the event's index.
    pub authors: Vec<(u64, AgentId)>,
    /// Who says that they have had it.
    pub receivers: Vec<(u64, AgentId)>,
    /// Whether there is one of each, and they name each other; of a letter to a channel, whether one agent wrote it and another that had it names both.
    pub is_agreed: bool,
}

/// The ends of the letter that has this commitment, who name each other by key or by what their pair's key gives. Commitments are there for everybody to
/// copy: where more than one claims the letter, nobody is believed.
pub fn ends<'a>(
    all: impl IntoIterator<Item = (u64, &'a Event)>,
    commitment: &[u8; 32],
    pair: Option<&PairKey>,
) -> Ends {
    let (mut sent, mut had) = (BTreeMap::new(), BTreeMap::new());
    for (index, told) in all.into_iter().filter(|(_, told)| told.commitment.as_ref() == Some(commitment)) {
        match told.what.number() {
            event::LETTER_SENT => drop(sent.entry(told.agent).or_insert((index, told))),
            event::LETTER_RECEIVED | event::LETTER_REFUSED => drop(had.entry(told.agent).or_insert((index, told))),
            _ => {}
        }
    }
    let one = |ends: &BTreeMap<AgentId, (u64, &'a Event)>| match ends.values().collect::<Vec<_>>().as_slice() {
        [(_, told)] => Some(*told),
        _ => None,
    };
    let names = |told: &Event, other: &AgentId| match told.peer {
        Some(EventPeer::Agent(peer)) => peer == *other,
        Some(peer @ EventPeer::Pseudonym(_)) => pair.is_some_and(|pair| pair.is_of(&peer, other)),
        None => false,
    };
    let is_agreed = one(&sent).is_some_and(|author| match author.channel {
        None => one(&had).is_some_and(|receiver| is_one_way(author, receiver, names)),
        // Many have it: who claims to be one of them takes nothing from the others.
        Some(_) => had.values().any(|(_, receiver)| is_one_way(author, receiver, names)),
    });
    let told = |ends: BTreeMap<AgentId, (u64, &'a Event)>| {
        let mut told: Vec<(u64, AgentId)> = ends.into_iter().map(|(agent, (index, _))| (index, agent)).collect();
        told.sort_unstable();
        told
    };
    Ends { is_agreed, authors: told(sent), receivers: told(had) }
}
