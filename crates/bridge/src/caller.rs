//! The line that is made of an agent: messages are letters, and what comes waits on disk until it was taken.

mod passing;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nuncio::{Agent, Answered, CallNews, Called, Error, Payload, Queried, Transaction};
use nuncio_contracts::registry::code;
use nuncio_proto::call::{CallPlace, ServiceName, What};
use nuncio_proto::ids::{AgentId, CallSessionId, LetterId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::line::{Asks, Heard, HeardWhat, Line, LineError, Say};
use crate::message::{Body, Message};
use crate::reads::Wanted;
use crate::under::Standing;

/// A message that did not reach the other agent in this time fails: whoever asked has given up, and nothing is done behind its back.
const MESSAGE_LIFE: Duration = Duration::from_mins(10);
/// Messages on their way from the disk to one listener.
const LISTENED: usize = 4;

/// Whose messages: of which program's conversation, or of requests that stand alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    to: AgentId,
    service: ServiceName,
    session: Option<CallSessionId>,
}

/// What came for programs of this machine, and was not taken: numbers alone, the messages are on disk.
#[derive(Debug)]
pub(crate) struct Calling {
    agent: Agent,
    lanes: Mutex<HashMap<Key, Lane>>,
    /// What is not asked without letters for a while.
    wanted: Mutex<Wanted>,
}

#[derive(Debug, Default)]
struct Lane {
    there: BTreeSet<u64>,
    /// The newest, if it is short and somebody listens.
    at_hand: Option<CallNews>,
    bell: watch::Sender<()>,
}

impl Calling {
    pub(crate) fn new(agent: Agent) -> Arc<Self> {
        Arc::new(Self { agent, lanes: Mutex::default(), wanted: Mutex::default() })
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Key, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction with a token that lives longer.
    pub(crate) async fn renewed(&self, transaction: &Transaction) -> Result<Transaction, Error> {
        self.agent.renewed(transaction).await
    }

    /// Something came.
    pub(crate) fn note(&self, news: CallNews) {
        let (no, key) = match &news {
            CallNews::Came(called) => {
                let (service, session) = (called.place.service.clone(), called.place.session);
                (called.letter.no, Key { to: called.letter.from, service, session })
            }
            CallNews::Failed { no, asked, .. } => {
                (*no, Key { to: asked.to, service: asked.service.clone(), session: asked.session })
            }
        };
        let mut lanes = self.lanes();
        let lane = lanes.entry(key).or_default();
        lane.there.insert(no);
        lane.at_hand = Some(news).filter(|news| lane.bell.receiver_count() == 1 && is_whole(news));
        lane.bell.send_replace(());
    }

    fn follow(&self, key: &Key) -> watch::Receiver<()> {
        self.lanes().entry(key.clone()).or_default().bell.subscribe()
    }

    /// The first that is there behind a number.
    fn next(&self, key: &Key, after: Option<u64>) -> Option<(u64, Option<CallNews>)> {
        let from = after.map_or(0, |after| after.saturating_add(1));
        let mut lanes = self.lanes();
        let lane = lanes.get_mut(key)?;
        let no = lane.there.range(from..).next().copied()?;
        Some((no, lane.at_hand.take_if(|news| number(news) == no)))
    }

    fn is_followed(&self, key: &Key) -> bool {
        self.lanes().get(key).is_some_and(|lane| lane.bell.receiver_count() > 0)
    }

    /// Ends the sessions to which no program has listened for so long, as often as the second says.
    pub(crate) async fn end_forsaken(self: Arc<Self>, life: Duration, every: Duration, stopping: CancellationToken) {
        let mut followed = HashMap::new();
        while let Ok(opened) = self.agent.opened_calls().await {
            followed = self.end_of(opened, followed, life).await;
            if stopping.run_until_cancelled(sleep(every)).await.is_none() {
                return;
            }
        }
    }

    /// Takes up when each was last followed, and ends those for which that is too long ago.
    // contracts/call.md X12: whom it was for is gone.
    async fn end_of(
        self: &Arc<Self>,
        opened: Vec<(AgentId, CallSessionId, ServiceName)>,
        before: HashMap<Key, Instant>,
        life: Duration,
    ) -> HashMap<Key, Instant> {
        let (now, mut followed) = (Instant::now(), HashMap::new());
        for (to, session, service) in opened {
            let line = AgentLine::new(Arc::clone(self), to, service, Standing::default());
            let key = line.key(Some(session));
            let forsaken = before.get(&key).copied().filter(|_| !self.is_followed(&key));
            if forsaken.is_some_and(|since| now.duration_since(since) >= life) {
                tracing::info!(peer = %to, service = %key.service, "a session that no program has used for long is ended");
                if let Err(error) = line.end(session).await {
                    tracing::debug!(%error, "it is ended later");
                }
            }
            followed.insert(key, forsaken.unwrap_or(now));
        }
        followed
    }

    fn forget(&self, key: &Key, no: u64) {
        if let Some(lane) = self.lanes().get_mut(key) {
            lane.there.remove(&no);
            lane.at_hand.take_if(|news| number(news) == no);
        }
        self.tidy(key);
    }

    /// Of what is not there and nobody listens for nothing is kept.
    fn tidy(&self, key: &Key) {
        let mut lanes = self.lanes();
        if lanes.get(key).is_some_and(|lane| lane.there.is_empty() && lane.bell.receiver_count() == 0) {
            lanes.remove(key);
        }
    }
}

/// The line from this agent to one service of another.
#[derive(Clone, Debug)]
pub struct AgentLine {
    calling: Arc<Calling>,
    to: AgentId,
    service: ServiceName,
    /// What the connection names.
    standing: Standing,
}

impl AgentLine {
    pub(crate) const fn new(calling: Arc<Calling>, to: AgentId, service: ServiceName, standing: Standing) -> Self {
        Self { calling, to, service, standing }
    }

    fn key(&self, session: Option<CallSessionId>) -> Key {
        Key { to: self.to, service: self.service.clone(), session }
    }

    async fn end(&self, session: CallSessionId) -> Result<(), LineError> {
        let (id, message) = (Agent::new_letter_id().map_err(not_said)?, Message::json(""));
        let session = Some(session);
        self.say(Say { id, what: What::End, session, reply_to: None, message, note: Vec::new(), under: None }).await
    }

    async fn close(&self, session: Option<CallSessionId>) -> Result<(), LineError> {
        let Some(session) = session else { return Ok(()) };
        self.calling.agent.close_calls(self.to, session).await.map_err(not_said)?;
        self.calling.lanes().remove(&self.key(Some(session)));
        Ok(())
    }
}

impl Line for AgentLine {
    async fn say(&self, say: Say) -> Result<(), LineError> {
        let Say { id, what, session, reply_to, message, note, under } = say;
        let place = CallPlace { what, service: self.service.clone(), session, head: message.head.clone() };
        let mut letter = letter(&message).ok_or_else(|| LineError::Refused("it was another agent's".to_owned()))?;
        if what != What::End {
            letter = letter.expires_in(MESSAGE_LIFE);
        }
        if let Some(asked) = reply_to {
            letter = letter.reply_to(asked);
        }
        // contracts/call.md X44: the session's end needs nobody's leave.
        if let Some(transaction) = under.or_else(|| self.standing.get()).filter(|_| what != What::End) {
            letter = letter.under(&transaction);
        }
        self.calling.agent.say(self.to, id, &place, letter, note).await.map_err(not_said)?;
        if what == What::End { self.close(session).await } else { Ok(()) }
    }

    // contracts/query.md Q1, Q5.
    async fn query(&self, say: &Say, asks: &Asks) -> Option<Message> {
        let Body::Bytes(bytes) = &say.message.body else { return None };
        let of = (self.to, self.service.clone(), asks.clone());
        // contracts/query.md Q2: what is done in a transaction is a letter.
        let is_under = say.under.is_some() || self.standing.get().is_some();
        if say.what != What::Request || is_under || self.calling.wanted().has(&of) {
            return None;
        }
        let (what, service, head) = (What::Request, self.service.clone(), say.message.head.clone());
        let place = CallPlace { what, service, session: say.session, head };
        let content_type = say.message.content_type.clone();
        match self.calling.agent.query(self.to, &place, content_type, bytes.to_vec()).await {
            Ok(Queried::Answered(Answered { head, content_type, payload })) => {
                self.calling.wanted().forget(&of);
                Some(Message { head, content_type, body: Body::Bytes(payload.into()) })
            }
            Ok(Queried::Letter) => {
                self.calling.wanted().note(of);
                None
            }
            Ok(Queried::NotAsked) | Err(_) => None,
        }
    }

    async fn listen(
        &self,
        session: Option<CallSessionId>,
        after: Option<u64>,
    ) -> Result<mpsc::Receiver<Heard>, LineError> {
        let (sender, heard) = mpsc::channel(LISTENED);
        let key = self.key(session);
        let bell = self.calling.follow(&key);
        let line = self.clone();
        tokio::spawn(async move {
            line.clone().pass_on(key.clone(), after, bell, sender).await;
            line.calling.tidy(&key);
        });
        Ok(heard)
    }

    async fn taken(&self, no: u64) -> Result<(), LineError> {
        self.had(no, true).await
    }

    async fn let_go(&self, no: u64) -> Result<(), LineError> {
        self.had(no, false).await
    }
}

impl AgentLine {
    /// Whether news are of this line: what came for another is not for whoever has this one to take.
    fn is_of(&self, news: &CallNews) -> bool {
        match news {
            CallNews::Came(called) => called.letter.from == self.to && called.place.service == self.service,
            CallNews::Failed { asked, .. } => asked.to == self.to && asked.service == self.service,
        }
    }

    /// The program has what came under a number. `durable`: it does not come again once this returns.
    async fn had(&self, no: u64, durable: bool) -> Result<(), LineError> {
        let agent = &self.calling.agent;
        let news = agent.call(no).await.map_err(not_said)?;
        let key = match news.filter(|news| self.is_of(news)) {
            // Nothing follows in a session that its service has ended.
            Some(CallNews::Came(called)) if called.own && called.place.what == What::End => {
                return self.close(called.place.session).await;
            }
            Some(CallNews::Came(called)) if called.own => self.key(called.place.session),
            Some(CallNews::Failed { asked, .. }) => self.key(asked.session),
            _ => return Ok(()),
        };
        let had = if durable { agent.call_taken(no).await } else { agent.let_go_of_call(no).await };
        had.map_err(not_said)?;
        self.calling.forget(&key, no);
        Ok(())
    }
}

fn not_said(error: Error) -> LineError {
    match error {
        Error::Stopped => LineError::Stopped,
        Error::TokenRefused { .. } | Error::NoTrust => LineError::Denied(format!("not allowed: {error}")),
        _ => LineError::Refused(error.to_string()),
    }
}

/// A message as a letter's content; `None` of one that came in a letter itself: nothing is passed on from agent to agent. A file is read when the letter is
/// written: whoever sends holds the message until then.
pub(crate) fn letter(message: &Message) -> Option<nuncio::Message> {
    let content_type = message.content_type.clone();
    match &message.body {
        Body::Bytes(bytes) => Some(nuncio::Message::bytes(content_type, bytes.to_vec())),
        Body::File(path) => Some(nuncio::Message::file(content_type, path.to_path_buf())),
        Body::Large(_) => None,
    }
}

const fn number(news: &CallNews) -> u64 {
    match news {
        CallNews::Came(called) => called.letter.no,
        CallNews::Failed { no, .. } => *no,
    }
}

/// Whether a message's bytes are with it.
fn is_whole(news: &CallNews) -> bool {
    matches!(news, CallNews::Came(called) if called.at_hand)
}

async fn heard(no: u64, news: CallNews) -> Heard {
    match news {
        // contracts/call.md section 4, -32041.
        CallNews::Failed { asked, why: why @ Error::NotDelivered(code::REMOVED | code::UNHEARD), .. } => {
            let what = HeardWhat::Unread { request: asked.id, why: why.to_string(), last: true };
            Heard { no, id: asked.id, what }
        }
        CallNews::Failed { asked, why, .. } => {
            let what = HeardWhat::Failed { request: asked.id, why: why.to_string(), note: asked.note };
            Heard { no, id: asked.id, what }
        }
        CallNews::Came(called) => {
            let (id, what, reply_to) = (called.letter.id, called.place.what, called.letter.reply_to);
            let message = message_of(*called).await;
            Heard { no, id, what: came(what, reply_to, message) }
        }
    }
}

/// What a letter of the service's is to whoever listens.
// contracts/call.md section 4, -32041: what was answered was said, though it cannot be read.
fn came(what: What, reply_to: Option<LetterId>, message: Result<Message, String>) -> HeardWhat {
    match (what, reply_to, message) {
        (What::Part, Some(request), Ok(message)) => HeardWhat::Part(request, message),
        (What::Answer, Some(request), Ok(message)) => HeardWhat::Answer(request, message),
        (What::Answer | What::Part, Some(request), Err(why)) => {
            HeardWhat::Unread { request, why, last: what == What::Answer }
        }
        (What::Aside, _, Ok(message)) => HeardWhat::Aside(message),
        _ => HeardWhat::End,
    }
}

/// The message that a letter brought, once all of it is here.
///
/// # Errors
/// Its payload will not come: why, for people.
pub(crate) async fn message_of(called: Called) -> Result<Message, String> {
    let Called { letter, place, .. } = called;
    let body = match letter.payload {
        Payload::Inline(bytes) => Body::Bytes(bytes.into()),
        Payload::Large(payload) => {
            payload.whole().await.map_err(|error| error.to_string())?;
            Body::Large(payload)
        }
    };
    Ok(Message { head: place.head, content_type: letter.content_type, body })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
