//! Earlier letters of a channel, handed over to a member that was not there (contracts/channel.md section 13).

use nuncio_contracts::registry::{code, extension};
use rand_core::CryptoRng;

use super::super::Peer;
use super::{ChannelError, Judged};
use crate::channel::{History, Roster};
use crate::error::PeerError;
use crate::ids::{AgentId, ChannelId, LetterId};
use crate::letter::{Letter, LetterError};
use crate::step::Step;
use crate::time::UnixMillis;

impl Peer {
    /// Hands over an earlier letter of a channel to a member of it, by its author's key as it came here: this agent vouches for it.
    ///
    /// The letter's new id comes with the step.
    ///
    /// # Errors
    /// [`PeerError`]: one of the two is no member, the letter is none of the channel, or as [`Peer::send`] says.
    // contracts/channel.md C66.
    pub fn channel_hand<R: CryptoRng + ?Sized>(
        &self,
        channel: ChannelId,
        to: AgentId,
        (author, letter): (AgentId, &Letter),
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<(LetterId, Step), PeerError> {
        let roster = self.member_of(&channel)?.roster();
        if to == self.id() || !roster.has(&to) {
            return Err(ChannelError::NoFellow.into());
        }
        let about = History::about(author, letter).filter(|about| about.channel == channel);
        let about = about.ok_or(PeerError::Letter(LetterError::Malformed))?;
        let mut random = [0; 10];
        rng.fill_bytes(&mut random);
        let id = LetterId::new(now, random);
        let mut handed = Letter::plain(id, letter.content_type.clone(), letter.payload.clone());
        handed.set_extension(about.extension());
        Ok((id, self.send(to, &handed, now)?))
    }

    /// Whether a letter that hands one over is taken, as far as its channel is concerned; any other is.
    // contracts/channel.md C67.
    pub(super) fn judge_history(&self, from: &AgentId, letter: &Letter) -> Judged {
        let about = match History::of(letter) {
            Ok(Some(about)) => about,
            Ok(None) => return Judged::Welcome,
            Err(()) => return Judged::Refused(code::MALFORMED),
        };
        // contracts/channel.md C66.
        if [extension::LARGE_PAYLOAD, extension::TOKEN].iter().any(|one| letter.extension(*one).is_some()) {
            return Judged::Refused(code::MALFORMED);
        }
        let is_in = |roster: &Roster| {
            let was = |agent: &AgentId| roster.has(agent) || roster.gone(agent).is_some();
            roster.has(from) && was(&about.author)
        };
        let is_taken = self.member_of(&about.channel).is_ok_and(|record| is_in(record.roster()));
        if is_taken { Judged::Welcome } else { Judged::Refused(code::NOT_MEMBER) }
    }
}
