//! Earlier letters of a channel, handed over to a member that was not there (contracts/channel.md section 13).

use nuncio_contracts::registry::limit;
use nuncio_proto::channel::{ChannelPlace, History, Record};
use nuncio_proto::ids::{AgentId, ChannelId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::ChannelError;
use nuncio_proto::rows;
use nuncio_proto::step::Arrival;
use nuncio_store::Engine as _;

use crate::actor::Actor;
use crate::agent::Agent;
use crate::channels::Asked;
use crate::command::{Command, Reply};
use crate::effects::{answer, tell};
use crate::entropy::now;
use crate::error::Error;
use crate::said;

/// Of whom an earlier letter of a channel was, by the word of who hands it over: nothing shows that its author wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandedOver {
    /// In which channel it was.
    pub channel: ChannelId,
    /// Who is said to have written it.
    pub author: AgentId,
    /// Its id then, which carries its time. A letter may be handed over more than once, also by several.
    pub id: LetterId,
    /// What it answered.
    pub reply_to: Option<LetterId>,
}

impl Agent {
    /// Hands earlier letters of a channel to a member of it, in the order in which they were written: those of these numbers in the inbox
    /// ([`crate::Incoming::no`]), and of these among what this agent said itself ([`crate::Said::no`]).
    ///
    /// That member's application gets each as a letter of this agent that says whose it was ([`crate::Incoming::handed_over`]). The answer is the ids under
    /// which they go: each is delivered once, or reported as failed ([`Agent::delivered`]).
    ///
    /// # Errors
    /// [`Error::NoHistory`] of a number that is no letter of the channel by its author itself, [`Error::TooMuchHistory`]; one of the two is no member; a full
    /// outbox; a store that fails. Those in front of a failure have gone.
    pub async fn hand_over_history(
        &self,
        channel: ChannelId,
        to: AgentId,
        letters: &[u64],
        said: &[u64],
    ) -> Result<Vec<LetterId>, Error> {
        let numbers = [letters.to_vec(), said.to_vec()];
        self.ask(|reply| Command::Channel(Asked::History { channel, to, numbers, reply })).await
    }
}

impl Actor {
    pub(crate) fn hand_over_history(
        &mut self,
        channel: ChannelId,
        to: AgentId,
        [came, said]: [&[u64]; 2],
        reply: Reply<Vec<LetterId>>,
    ) {
        if came.len() + said.len() > limit::CHANNEL_HISTORY_MAX {
            return tell(reply, Err(Error::TooMuchHistory));
        }
        let letters = self.earlier(channel, came).and_then(|came| Ok((came, self.own_of(channel, said)?)));
        let mut letters = match letters {
            Ok((came, own)) => [came, own].concat(),
            Err(error) => return tell(reply, Err(error)),
        };
        letters.sort_by_key(|(_, letter)| letter.id.created());
        let mut handed = Vec::with_capacity(letters.len());
        for (author, letter) in &letters {
            match self.peer.channel_hand(channel, to, (*author, letter), now(), &mut self.entropy) {
                Ok((id, step)) => {
                    self.commit(step);
                    handed.push(id);
                }
                Err(error) => return tell(reply, Err(error.into())),
            }
        }
        self.when_durable(answer(reply, handed));
    }

    /// Letters of a channel that are in the inbox, by their authors themselves.
    fn earlier(&self, channel: ChannelId, numbers: &[u64]) -> Result<Vec<(AgentId, Letter)>, Error> {
        let one = |no: &u64| {
            let key = rows::inbox(*no);
            let arrival = self.store.get(&key)?.and_then(|row| Arrival::from_row(&key, &row));
            let found = arrival.map(|arrival| (arrival.from, arrival.letter));
            let found = found.filter(|(author, letter)| {
                History::about(*author, letter).is_some_and(|about| about.channel == channel)
            });
            found.ok_or(Error::NoHistory(*no))
        };
        numbers.iter().map(one).collect()
    }
}

impl Actor {
    /// What this agent said to a channel.
    fn own_of(&self, channel: ChannelId, numbers: &[u64]) -> Result<Vec<(AgentId, Letter)>, Error> {
        let epoch = self.peer.channel(&channel).map(Record::epoch).ok_or(ChannelError::NotMember)?;
        // What is kept of it names no place; which it had is not handed over.
        let place = ChannelPlace { channel, epoch, seq: 0 }.extension();
        let one = |no: &u64| {
            let mut letter = said::of(&self.store, &channel, *no)?.ok_or(Error::NoHistory(*no))?;
            letter.set_extension(place.clone());
            Ok((self.peer.id(), letter))
        };
        numbers.iter().map(one).collect()
    }
}

impl From<History> for HandedOver {
    fn from(about: History) -> Self {
        let History { channel, author, id, reply_to } = about;
        Self { channel, author, id, reply_to }
    }
}
