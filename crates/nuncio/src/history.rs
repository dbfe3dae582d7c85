//! Earlier letters of a channel, handed over to a member that was not there (contracts/channel.md section 13).

use nuncio_contracts::registry::limit;
use nuncio_proto::channel::{ChannelPlace, History, Record};
use nuncio_proto::ids::{AgentId, ChannelId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::ChannelError;
use nuncio_proto::rows;
use nuncio_proto::step::Arrival;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine as _, Op, Store, StoreError};

use crate::actor::Actor;
use crate::agent::Agent;
use crate::channels::Asked;
use crate::command::{Command, Reply};
use crate::effects::{answer, tell};
use crate::entropy::now;
use crate::error::Error;
use crate::said;

/// The rows of what was handed over: behind these the channel, the member, the author and the earlier letter; in them the id under which it went.
const HANDED: [u8; 2] = [rows::RUNTIME, b'h'];

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
    /// which they go: each is delivered once, or reported as failed ([`Agent::delivered`]). A letter that was handed over to that member before, by this
    /// agent and in the time that a letter may live, is passed over and counted, unless that failed.
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
    ) -> Result<HandedHistory, Error> {
        let asked = AskedHistory { channel, to, numbers: [letters.to_vec(), said.to_vec()], again: false };
        self.ask(|reply| Command::Channel(Asked::History { asked, reply })).await
    }

    /// [`Agent::hand_over_history`], of letters that were handed over before too: to a member that has lost them.
    ///
    /// # Errors
    /// As [`Agent::hand_over_history`].
    pub async fn hand_over_history_again(
        &self,
        channel: ChannelId,
        to: AgentId,
        letters: &[u64],
        said: &[u64],
    ) -> Result<HandedHistory, Error> {
        let asked = AskedHistory { channel, to, numbers: [letters.to_vec(), said.to_vec()], again: true };
        self.ask(|reply| Command::Channel(Asked::History { asked, reply })).await
    }
}

/// What is to be handed over.
#[derive(Debug)]
pub(crate) struct AskedHistory {
    pub(crate) channel: ChannelId,
    to: AgentId,
    /// Of the inbox, and of what this agent said.
    numbers: [Vec<u64>; 2],
    again: bool,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandedHistory {
    /// The ids under which letters go, in their order.
    pub letters: Vec<LetterId>,
    /// How many were handed over before, and do not go again.
    pub before: usize,
}

impl Actor {
    pub(crate) fn hand_over_history(&mut self, asked: &AskedHistory, reply: Reply<HandedHistory>) {
        let AskedHistory { channel, to, numbers: [came, said], again } = asked;
        let (channel, to) = (*channel, *to);
        if came.len() + said.len() > limit::CHANNEL_HISTORY_MAX {
            return tell(reply, Err(Error::TooMuchHistory));
        }
        let letters = self.earlier(channel, came).and_then(|came| Ok((came, self.own_of(channel, said)?)));
        let mut letters = match letters {
            Ok((came, own)) => [came, own].concat(),
            Err(error) => return tell(reply, Err(error)),
        };
        letters.sort_by_key(|(_, letter)| letter.id.created());
        let mut handed = HandedHistory::default();
        for (author, letter) in &letters {
            let key = [of_member(&channel, &to).as_slice(), author.as_bytes(), letter.id.as_bytes()].concat();
            // Who may not be handed anything is told so first.
            let step = self.peer.channel_hand(channel, to, (*author, letter), now(), &mut self.entropy);
            match (step, self.was_handed(to, &key)) {
                (Ok(_), Ok(true)) if !again => handed.before += 1,
                (Ok((id, step)), Ok(_)) => {
                    self.commit_rows(step, vec![Op::Put { key, value: id.as_bytes().into() }], Vec::new());
                    handed.letters.push(id);
                }
                (Err(error), _) => return tell(reply, Err(error.into())),
                (_, Err(error)) => return tell(reply, Err(error)),
            }
        }
        self.when_durable(answer(reply, handed));
    }

    /// Whether a letter has gone to a member before, and has not failed.
    fn was_handed(&self, to: AgentId, key: &[u8]) -> Result<bool, Error> {
        let Some(id) = self.store.get(key)?.as_deref().and_then(handed_id) else { return Ok(false) };
        Ok(self.failed(to, id)?.is_none())
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

fn of_member(channel: &ChannelId, to: &AgentId) -> Vec<u8> {
    [HANDED.as_slice(), channel.as_bytes(), to.as_bytes()].concat()
}

fn handed_id(row: &[u8]) -> Option<LetterId> {
    row.try_into().ok().and_then(LetterId::parse)
}

/// Rows of what was handed over longer ago than this.
pub(crate) fn old(store: &Store, now: UnixMillis, life: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    keys(store, &HANDED, |id| now.since(id.created()) > life)
}

/// Rows of what was handed over of one channel.
pub(crate) fn of_channel(store: &Store, channel: &ChannelId) -> Result<Vec<Vec<u8>>, StoreError> {
    keys(store, &[HANDED.as_slice(), channel.as_bytes()].concat(), |_| true)
}

/// Rows that are chosen, and those that cannot be read.
fn keys(store: &Store, under: &[u8], is_chosen: impl Fn(&LetterId) -> bool) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut keys = Vec::new();
    store.scan(under, &mut |key, row| {
        if handed_id(row).is_none_or(|id| is_chosen(&id)) {
            keys.push(key.to_vec());
        }
        Ok(())
    })?;
    Ok(keys)
}

impl From<History> for HandedOver {
    fn from(about: History) -> Self {
        let History { channel, author, id, reply_to } = about;
        Self { channel, author, id, reply_to }
    }
}
