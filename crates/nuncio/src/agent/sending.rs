//! Letters that go: written, sent under a token, awaited, and what is known of those that have not arrived.

use std::collections::BTreeMap;
use std::time::Duration;

use nuncio_contracts::registry::{code, extension, limit};
use nuncio_proto::audit::{KeptOpening, Opening};
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::{Extension, Letter};
use nuncio_proto::peer::{Way, failed_letter};
use nuncio_proto::rows;
use nuncio_proto::token::Receiver;
use nuncio_store::{Engine as _, Store};
use tokio::sync::oneshot;

use super::Agent;
use crate::answer::HeldAnswer;
use crate::chunks::{self, Unsent};
use crate::command::Command;
use crate::entropy;
use crate::error::Error;
use crate::exchange::Wanted;
use crate::message::{Body, Incoming, Message, Under};
use crate::status::Undelivered;
use crate::tally;

/// Between two tries to reach the token service.
const TOKEN_RETRY: Duration = Duration::from_millis(500);

impl Agent {
    /// Accepts a letter for a peer: it is on disk when this returns, and from then on delivered once or reported as failed.
    ///
    /// # Errors
    /// An unknown or retired peer, a full outbox, a payload over 1 GiB, or a store that cannot write.
    pub async fn send(&self, to: AgentId, message: Message) -> Result<LetterId, Error> {
        let (letter, payload) = self.write(to, message).await?;
        self.ask(|reply| Command::Send { to, letter: Box::new(letter), payload, reply }).await
    }

    /// The token for a letter under a transaction.
    async fn token(&self, to: Receiver, under: &Under, letter: &Letter) -> Result<Vec<u8>, Error> {
        let exchange = self.exchange()?;
        let content = under.bound.then(|| letter.bound_content());
        let wanted = Wanted { to, scope: under.scope.as_ref(), content: content.as_deref() };
        let patience = tokio::time::Instant::now() + under.patience.unwrap_or_default();
        loop {
            match exchange.hand_on(&under.transaction, &wanted).await {
                Err(Error::Node(_)) if tokio::time::Instant::now() + TOKEN_RETRY < patience => {
                    tokio::time::sleep(TOKEN_RETRY).await;
                }
                other => return Ok(other?.text().as_bytes().to_vec()),
            }
        }
    }

    pub(super) async fn write(&self, to: AgentId, message: Message) -> Result<(Letter, Option<Unsent>), Error> {
        self.write_as(to, Self::new_letter_id()?, None, message).await
    }

    /// An id that no letter has, for a caller that must know it before it sends.
    ///
    /// # Errors
    /// [`Error::Randomness`].
    pub fn new_letter_id() -> Result<LetterId, Error> {
        Ok(LetterId::new(entropy::now(), entropy::random()?))
    }

    pub(crate) async fn write_as(
        &self,
        to: AgentId,
        id: LetterId,
        extension: Option<Extension>,
        message: Message,
    ) -> Result<(Letter, Option<Unsent>), Error> {
        let now = entropy::now();
        let mut letter = Letter::plain(id, message.content_type, Vec::new());
        extension.into_iter().for_each(|extension| letter.set_extension(extension));
        letter.reply_to = message.reply_to;
        letter.deadline = message.expires_in.map(|life| now.plus(u64::try_from(life.as_millis()).unwrap_or(u64::MAX)));
        let payload = match message.body {
            Body::Bytes(bytes) if bytes.len() <= limit::PAYLOAD_INLINE_MAX => {
                letter.payload = bytes;
                None
            }
            body => Some(chunks::seal_body(&self.shared.home, body).await?),
        };
        if let Some(payload) = &payload {
            let value = payload.handle().encode();
            letter.set_extension(Extension { number: extension::LARGE_PAYLOAD, critical: true, value });
        }
        self.put_under(&mut letter, to.into(), message.under.as_ref(), message.raw_token).await?;
        Ok((letter, payload))
    }

    /// Gives a letter the token that it acts with.
    pub(crate) async fn put_under(
        &self,
        letter: &mut Letter,
        to: Receiver,
        under: Option<&Under>,
        raw_token: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        if let Some(token) = raw_token {
            letter.set_token(token);
        } else if let Some(under) = under {
            let token = self.token(to, under, letter).await?;
            letter.set_token(token);
            if under.proved {
                letter.want_proof();
            }
        }
        Ok(())
    }

    /// Sends a letter and waits for the letter that answers it. Dropping the future stops the waiting, not the letter.
    ///
    /// The answer is in no inbox: when this returns it is in the caller's memory alone. A program that must not lose it to a crash of its own uses
    /// [`Agent::request_held`]. A large payload of it is on disk for as long as a clone of the [`Incoming`] or of its [`Payload`](crate::Payload) is
    /// there, and no longer than the agent runs: save or read it before.
    ///
    /// # Errors
    /// As [`Agent::send`]; [`Error::NotDelivered`] if the letter fails; [`Error::TimedOut`].
    pub async fn request(&self, to: AgentId, message: Message, timeout: Duration) -> Result<Incoming, Error> {
        self.request_held(to, message, timeout).await?.take().await
    }

    /// [`Agent::request`], whose answer is kept until it is taken: after a crash, or when it is dropped, it is in the inbox.
    ///
    /// # Errors
    /// As [`Agent::request`].
    pub async fn request_held(&self, to: AgentId, message: Message, timeout: Duration) -> Result<HeldAnswer, Error> {
        let message =
            Message { expires_in: Some(message.expires_in.map_or(timeout, |life| life.min(timeout))), ..message };
        let deadline = tokio::time::Instant::now() + timeout;
        let (letter, payload) = self.write(to, message).await?;
        // Lives as long as somebody waits here.
        let (_asking, gone) = oneshot::channel();
        let answer = self.ask(|reply| Command::Request { to, letter: Box::new(letter), payload, reply, gone });
        match tokio::time::timeout_at(deadline, answer).await {
            // Its letter lives as long as somebody waits.
            Err(_) | Ok(Err(Error::NotDelivered(code::EXPIRED))) => Err(Error::TimedOut),
            Ok(answered) => answered,
        }
    }

    /// Waits until the peer has the letter, and its large payload if it has one, on disk.
    ///
    /// # Errors
    /// [`Error::NotDelivered`] with the reason if it failed.
    pub async fn delivered(&self, to: AgentId, id: LetterId) -> Result<(), Error> {
        self.ask(|reply| Command::AwaitDelivery { to, id, reply }).await
    }

    /// Letters that are on their way, and those that failed and are remembered (as long as a letter may live), the oldest first.
    pub async fn undelivered(&self) -> Result<Vec<Undelivered>, Error> {
        let under_way = self.ask(|reply| Command::UnderWay { reply }).await?;
        let store = self.store()?;
        // Those that failed since they were named as under way are there as such.
        let ids: Vec<LetterId> = under_way.iter().map(|(_, id, _)| *id).collect();
        let read = move || {
            let failed = read_failed(&store)?;
            let ids = ids.into_iter().chain(failed.iter().map(|(_, id, _)| *id));
            let channels = tally::channels_of(&store, ids)?;
            Ok::<_, Error>((failed, channels))
        };
        let (failed, channels) = chunks::blocking(read).await?;
        let mut letters: BTreeMap<(LetterId, AgentId), (Option<u16>, Option<Way>)> =
            under_way.into_iter().map(|(to, id, way)| ((id, to), (None, way))).collect();
        letters.extend(failed.into_iter().map(|(to, id, code)| ((id, to), (Some(code), None))));
        let letters = letters.into_iter();
        let told = |((id, to), (code, way)): (_, (Option<u16>, _))| Undelivered {
            to,
            id,
            failed: code.map(Error::NotDelivered),
            way,
            channel: channels.get(&id).copied(),
        };
        Ok(letters.map(told).collect())
    }

    /// What shows to whoever has the audit log what a letter said, and nothing else (contracts/audit.md V24). `author` wrote it: this agent, or the one
    /// from which it came. The payload is the caller's to bring; of a letter with a large payload it is empty. `shows_pair` says whom every event of the two
    /// under pseudonyms means, now and later (V27): without it an opening proves nothing where an end uses them.
    ///
    /// # Errors
    /// [`Error::NoOpening`] where nothing is kept of such a letter, [`Error::OtherPayload`] where it had another one.
    pub async fn opening(
        &self,
        author: AgentId,
        letter: LetterId,
        payload: Vec<u8>,
        shows_pair: bool,
    ) -> Result<Opening, Error> {
        let store = self.store()?;
        let row = chunks::blocking(move || Ok::<_, Error>(store.get(&rows::opening(&author, &letter))?)).await?;
        let kept = row.and_then(|row| KeptOpening::from_row(&row)).ok_or(Error::NoOpening)?;
        let with = kept.other();
        let pair = if shows_pair { self.ask(|reply| Command::PairKey { with, reply }).await? } else { None };
        kept.with_payload(payload, pair).ok_or(Error::OtherPayload)
    }

    /// How many sealed bytes of a letter's large payload were handed to the network, and how many there are; `None` when no such payload is on its way.
    pub async fn payload_sent(&self, to: AgentId, id: LetterId) -> Result<Option<(u64, u64)>, Error> {
        self.ask(|reply| Command::PayloadSent { to, id, reply }).await
    }

    /// Takes back a letter that is not delivered yet; it may arrive all the same. `false` if it is not on its way.
    pub async fn cancel(&self, to: AgentId, id: LetterId) -> Result<bool, Error> {
        self.ask(|reply| Command::Cancel { to, id, reply }).await
    }
}

fn read_failed(store: &Store) -> Result<Vec<(AgentId, LetterId, u16)>, Error> {
    let mut failed = Vec::new();
    store.scan(&[rows::FAILED], &mut |key, row| {
        failed.push((key.to_vec(), row.to_vec()));
        Ok(())
    })?;
    // A letter to a channel has one such row, of the member for whom it failed last, and one of the runtime's for each.
    let of_channels = tally::all_failed(store)?;
    let letter = |(key, row): &(Vec<u8>, Vec<u8>)| {
        let id = LetterId::parse(key.get(1..)?.try_into().ok()?)?;
        let (to, code) = failed_letter(row)?;
        Some((to, id, code))
    };
    Ok(failed.iter().filter_map(letter).chain(of_channels).collect())
}
