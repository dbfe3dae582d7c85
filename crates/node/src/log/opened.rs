//! Who says what of a letter that somebody opens (contracts/audit.md V24).

use nuncio_contracts::registry::event;
use nuncio_proto::audit::{Event, EventPeer};
use nuncio_proto::ids::AgentId;

/// The two ends of a letter, as the log has them, each by its index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Who wrote it, and says so.
    pub author: Option<(u64, AgentId)>,
    /// Who had it, and says so.
    pub receiver: Option<(u64, AgentId)>,
}

/// The ends of the letter that has this commitment. Commitments are there for everybody to copy: of several that claim to have written it, it is the one
/// that the receiver names.
pub fn ends<'a>(all: impl IntoIterator<Item = (u64, &'a Event)>, commitment: &[u8; 32]) -> Ends {
    let (mut sent, mut had) = (Vec::new(), Vec::new());
    for (index, told) in all.into_iter().filter(|(_, told)| told.commitment.as_ref() == Some(commitment)) {
        match told.what.number() {
            event::LETTER_SENT => sent.push((index, told)),
            event::LETTER_RECEIVED | event::LETTER_REFUSED => had.push((index, told)),
            _ => {}
        }
    }
    let pairs = sent.iter().flat_map(|one| had.iter().map(move |other| (one, other)));
    let agreed = pairs.into_iter().find(|(one, other)| names(one.1, &other.1.agent) && names(other.1, &one.1.agent));
    let end = |(index, told): &(u64, &Event)| (*index, told.agent);
    match (agreed, sent.as_slice(), had.as_slice()) {
        (Some((one, other)), ..) => Ends { author: Some(end(one)), receiver: Some(end(other)) },
        // Nobody contradicts it.
        (None, [one], []) => Ends { author: Some(end(one)), receiver: None },
        (None, _, [other, ..]) => Ends { author: None, receiver: Some(end(other)) },
        (None, ..) => Ends::default(),
    }
}

fn names(told: &Event, agent: &AgentId) -> bool {
    match told.peer {
        Some(EventPeer::Agent(peer)) => peer == *agent,
        // Only the two know whom it names.
        Some(EventPeer::Pseudonym(_)) => true,
        None => false,
    }
}
