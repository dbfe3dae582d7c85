//! Letters as the application writes and reads them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nuncio_contracts::registry::{extension, limit};
use nuncio_proto::channel::{ChannelPlace, History};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::{AgentId, ChannelId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::step::Arrival;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Scope;
use tokio::sync::{mpsc, watch};

use crate::chunks::{self, Handle, PayloadFrom, PayloadId};
use crate::entropy;
use crate::error::Error;
use crate::history::HandedOver;
use crate::transaction::{Grant, Transaction};
use crate::wake::Wake;

/// A letter to be sent.
#[derive(Clone, Debug)]
pub struct Message {
    pub(crate) content_type: ContentType,
    pub(crate) body: Body,
    pub(crate) reply_to: Option<LetterId>,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) under: Option<Under>,
    pub(crate) raw_token: Option<Vec<u8>>,
}

/// The transaction in which a letter acts.
#[derive(Clone, Debug)]
pub(crate) struct Under {
    pub(crate) transaction: Transaction,
    pub(crate) scope: Option<Scope>,
    pub(crate) bound: bool,
    pub(crate) proved: bool,
    pub(crate) patience: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Message {
    /// Text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::bytes(ContentType::TEXT, text.into().into_bytes())
    }

    /// Bytes of a type. What is longer than a letter holds is sent as a large payload.
    #[must_use]
    pub fn bytes(content_type: ContentType, bytes: Vec<u8>) -> Self {
        Self::new(content_type, Body::Bytes(bytes))
    }

    /// The content of a file, up to 1 GiB. It is read before `send` returns; the file may be changed or deleted after that.
    #[must_use]
    pub fn file(content_type: ContentType, path: impl Into<PathBuf>) -> Self {
        Self::new(content_type, Body::File(path.into()))
    }

    const fn new(content_type: ContentType, body: Body) -> Self {
        Self { content_type, body, reply_to: None, expires_in: None, under: None, raw_token: None }
    }

    /// Answers another letter.
    #[must_use]
    pub fn reply_to(self, letter: LetterId) -> Self {
        Self { reply_to: Some(letter), ..self }
    }

    /// Acts in a transaction: the letter carries a token for its receiver alone, got from the token service when it is sent.
    #[must_use]
    pub fn under(self, transaction: &Transaction) -> Self {
        let under =
            Under { transaction: transaction.clone(), scope: None, bound: false, proved: false, patience: None };
        Self { under: Some(under), ..self }
    }

    /// Hands on less than the transaction's scope. Without a transaction it says nothing.
    #[must_use]
    pub fn narrowed(mut self, scope: Scope) -> Self {
        self.under.iter_mut().for_each(|under| under.scope = Some(scope.clone()));
        self
    }

    /// Binds the token to this one letter, with all that it says: it allows no other. Of a large payload the handle is bound, which names its key and length.
    #[must_use]
    pub fn bound_to_letter(mut self) -> Self {
        self.under.iter_mut().for_each(|under| under.bound = true);
        self
    }

    /// Signs what this letter says and does with its token (a hop proof), so that its receiver can show it to others. It ends the deniability of this one
    /// letter. Of a large payload it proves the handle alone: to stand by the bytes, put their hash into a letter.
    #[must_use]
    pub fn with_proof(mut self) -> Self {
        self.under.iter_mut().for_each(|under| under.proved = true);
        self
    }

    /// Waits so long for a token service that cannot be reached, before sending fails.
    #[must_use]
    pub fn wait_for_token(mut self, patience: Duration) -> Self {
        self.under.iter_mut().for_each(|under| under.patience = Some(patience));
        self
    }

    /// Carries a token as it stands, wherever it comes from: what a thief's own program would do. Nothing is made possible by it; receivers refuse, and
    /// tests and the demo show that they do.
    #[doc(hidden)]
    #[must_use]
    pub fn with_raw_token(self, token: &str) -> Self {
        Self { raw_token: Some(token.as_bytes().to_vec()), ..self }
    }

    /// The letter that it is for a channel's members, without its token.
    ///
    /// # Errors
    /// [`Error::NotForChannels`].
    pub(crate) fn for_channel(self) -> Result<Letter, Error> {
        let Body::Bytes(payload) = self.body else { return Err(Error::NotForChannels) };
        if payload.len() > limit::PAYLOAD_INLINE_MAX {
            return Err(Error::NotForChannels);
        }
        let now = entropy::now();
        let mut letter = Letter::plain(LetterId::new(now, entropy::random()?), self.content_type, payload);
        letter.reply_to = self.reply_to;
        letter.deadline = self.expires_in.map(|life| now.plus(u64::try_from(life.as_millis()).unwrap_or(u64::MAX)));
        Ok(letter)
    }

    /// Not delivered after so long; the sender is told. At most 7 days, which is also the default.
    #[must_use]
    pub fn expires_in(self, life: Duration) -> Self {
        Self { expires_in: Some(life), ..self }
    }
}

/// A letter in the inbox. It stays there, through restarts, until [`crate::Agent::done`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Incoming {
    /// Its number in the inbox.
    pub no: u64,
    /// Unique for its sender.
    pub id: LetterId,
    /// Who sent it: proven.
    pub from: AgentId,
    /// When it was received.
    pub received: UnixMillis,
    /// The letter of ours that it answers.
    pub reply_to: Option<LetterId>,
    /// To which channel it was sent; `None` of one that is for this agent alone.
    pub channel: Option<ChannelId>,
    /// It is an earlier letter of a channel, handed over by its sender: whose it was, by that sender's word alone.
    pub handed_over: Option<HandedOver>,
    /// What the payload is, by its sender's word.
    pub content_type: ContentType,
    /// The content.
    pub payload: Payload,
    /// The sender's signature over this hop, verified before it was delivered, if it made one (contracts/token.md section 6).
    pub proof: Option<String>,
    /// What it may do: its token, verified before it was delivered. `None` for a letter without one.
    pub grant: Option<Grant>,
}

/// The content of a letter.
#[derive(Clone, Debug)]
pub enum Payload {
    /// In the letter.
    Inline(Vec<u8>),
    /// Beside the letter; it may still be on its way.
    Large(LargePayload),
}

/// A payload that travels beside its letter.
#[derive(Clone, Debug)]
pub struct LargePayload {
    pub(crate) handle: Handle,
    pub(crate) path: PathBuf,
    pub(crate) progress: watch::Receiver<chunks::Progress>,
    pub(crate) lent: Option<Arc<Lent>>,
}

/// A payload whose letter is in no inbox: its file goes with the last handle.
#[derive(Debug)]
pub(crate) struct Lent {
    payload: PayloadFrom,
    actor: mpsc::UnboundedSender<Wake>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        // An actor that has stopped sweeps at its next start.
        let _ = self.actor.send(Wake::PayloadDropped(self.payload));
    }
}

impl Payload {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Large(large) => large.handle.len,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An inline payload as text.
    pub fn text(&self) -> Result<&str, Error> {
        match self {
            Self::Inline(bytes) => core::str::from_utf8(bytes).map_err(|_| Error::NotText),
            Self::Large(_) => Err(Error::NotText),
        }
    }

    /// Reads the content: of a large payload, chunk by chunk, each verified. The reader blocks.
    ///
    /// # Errors
    /// [`Error::File`] while a large payload has not arrived.
    pub fn reader(&self) -> Result<Box<dyn std::io::Read + Send>, Error> {
        match self {
            Self::Inline(bytes) => Ok(Box::new(std::io::Cursor::new(bytes.clone()))),
            Self::Large(large) => Ok(Box::new(chunks::reader(&large.handle, &large.path)?)),
        }
    }

    /// Writes the whole payload to a file, waiting until it has arrived. The file appears whole or not at all. A kill
    /// in between leaves a part of it, hidden, as `.….nuncio-part`: in a directory that is this program's alone those can be deleted.
    pub async fn save(&self, to: &Path) -> Result<(), Error> {
        match self {
            Self::Inline(bytes) => {
                let (bytes, to) = (bytes.clone(), to.to_owned());
                chunks::blocking(move || chunks::write_whole(&to, |file| std::io::Write::write_all(file, &bytes))).await
            }
            Self::Large(large) => {
                large.whole().await?;
                let (handle, from, to) = (large.handle.clone(), large.path.clone(), to.to_owned());
                chunks::blocking(move || chunks::open_to(&handle, &from, &to)).await
            }
        }
    }
}

impl LargePayload {
    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.handle.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.handle.len == 0
    }

    /// Bytes that have arrived and were verified.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        match *self.progress.borrow() {
            chunks::Progress::Arrived(len) => len,
            chunks::Progress::Whole => self.handle.len,
            chunks::Progress::Lost => 0,
        }
    }

    /// Waits until all of it is here, verified and on disk.
    pub async fn whole(&self) -> Result<(), Error> {
        let mut progress = self.progress.clone();
        let last = progress.wait_for(|progress| !matches!(progress, chunks::Progress::Arrived(_))).await;
        match last.as_deref() {
            Ok(chunks::Progress::Whole) => Ok(()),
            Ok(_) => Err(Error::PayloadLost),
            Err(_) => Err(Error::Stopped),
        }
    }
}

impl Incoming {
    /// The answer to a request: a large payload is there as long as somebody holds it.
    pub(crate) fn lent(mut self, actor: &mpsc::UnboundedSender<Wake>) -> Self {
        if let Payload::Large(large) = &mut self.payload {
            large.lent = Some(Arc::new(Lent {
                payload: PayloadFrom { from: self.from, id: PayloadId(large.handle.id) },
                actor: actor.clone(),
            }));
        }
        self
    }

    /// As a letter would have brought it, under no number of the inbox.
    pub(crate) fn of_query(from: AgentId, content_type: ContentType, payload: Vec<u8>) -> Self {
        let received = entropy::now();
        Self {
            no: u64::MAX,
            id: LetterId::new(received, [0; 10]),
            from,
            received,
            reply_to: None,
            channel: None,
            handed_over: None,
            content_type,
            payload: Payload::Inline(payload),
            proof: None,
            grant: None,
        }
    }

    pub(crate) fn new(arrival: Arrival, large: Option<LargePayload>) -> Self {
        let Arrival { no, from, received, letter, token } = arrival;
        let proof = token.as_ref().and_then(|_| letter.extension(extension::HOP_PROOF));
        Self {
            no,
            proof: proof.and_then(|proof| String::from_utf8(proof.to_vec()).ok()),
            id: letter.id,
            from,
            received,
            reply_to: letter.reply_to,
            channel: ChannelPlace::of(&letter).ok().flatten().map(|place| place.channel),
            handed_over: History::of(&letter).ok().flatten().map(HandedOver::from),
            content_type: letter.content_type,
            payload: large.map_or(Payload::Inline(letter.payload), Payload::Large),
            grant: token.map(Grant::new),
        }
    }
}
