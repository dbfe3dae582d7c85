//! The serving half: messages of peers, asked about one by one, begun before their service sees a byte, answered once (contracts/call.md sections 2 and 3).
//!
//! ```text
//!   note ─► lane (one for each session) ─► read ─► policy ─► begin_call ─► Service::hand
//!   answer_call ◄─ errors of our own ◄─────────────┘                            │
//!              ◄─ Said, from the service ◄──────────────────────────────────────┘
//! ```

mod at_once;
mod callbacks;
mod memory;
mod names;
mod offered;
mod open;
mod patience;
mod permits;
mod queries;
mod reply;
mod saying;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nuncio::{Agent, CallNews, Called, Outcome, Payload, PeerInfo};
use nuncio_contracts::registry::limit;
use nuncio_proto::call::{ServiceName, What};
use nuncio_proto::ids::{AgentId, LetterId};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::a2a;
use crate::caller::message_of;
use crate::config::{ConfigError, ServiceConfig, Services};
use crate::jsonrpc::{Envelope, Id, NotRead, Reason};
use crate::mcp;
use crate::message::Message;
use crate::native::Natives;
use crate::policy::{self, Asker, Decision};
use crate::service::{self, Ask, NotHanded, Of, Said, Service};
use callbacks::Callbacks;
use memory::{Memory, named_memory};
use offered::{Offered, envelope};
use open::{Open, Opened};
use queries::Queries;
use reply::failure;

/// Where long messages of services wait, in the agent's home.
const SPOOL: &str = "services";
/// What services said and the agent has not sent.
const SAID: usize = 64;
/// How long the payload of a message may take to come.
const PAYLOAD_PATIENCE: Duration = Duration::from_mins(1);
/// Notices that are not in their letters, in memory until their services have them.
const LONG_NOTICES: usize = 8;
/// Messages of services that are not in memory and are sealed at once.
const LONG_SAID: usize = 8;

/// Whose messages to which service, which are handed over one after the other.
type LaneId = (ServiceName, Of);

/// A message that came: its number, and itself where it can be handed over now.
struct Noted(u64, Option<Called>);

/// All that an agent serves.
pub(crate) struct Serving {
    agent: Agent,
    home: PathBuf,
    natives: Natives,
    offered: Mutex<HashMap<ServiceName, Arc<Offered>>>,
    /// The file is read and followed by one after the other.
    loading: Mutex<()>,
    lanes: Mutex<HashMap<LaneId, mpsc::UnboundedSender<Noted>>>,
    open: Open,
    queries: Queries,
    memory: Arc<Memory>,
    /// Long notices in memory at once.
    room: Semaphore,
    /// Long messages of services that are being sealed at once.
    seals: Semaphore,
    /// Where agents call back, once one was told where.
    callbacks: Mutex<Option<Arc<Callbacks>>>,
    /// What comes from now on is for the next start.
    stopping: CancellationToken,
}

impl Serving {
    /// Reads the home's file and starts what it offers.
    ///
    /// # Errors
    /// The file is not what this program reads, or a service cannot be spoken to at all.
    pub(crate) fn start(agent: Agent, home: &Path, natives: Natives) -> Result<Arc<Self>, ConfigError> {
        let spool = home.join(SPOOL);
        service::clear_spool(&spool).map_err(|source| ConfigError::File { path: spool, source })?;
        let serving = Arc::new(Self {
            agent,
            home: home.to_owned(),
            natives,
            offered: Mutex::default(),
            loading: Mutex::default(),
            lanes: Mutex::default(),
            open: Open::default(),
            queries: Queries::default(),
            memory: Arc::default(),
            room: Semaphore::new(LONG_NOTICES),
            seals: Semaphore::new(LONG_SAID),
            callbacks: Mutex::default(),
            stopping: CancellationToken::new(),
        });
        tokio::spawn(Self::give_up_old(Arc::downgrade(&serving), serving.stopping.clone()));
        tokio::spawn(Self::hear_queries(Arc::downgrade(&serving), serving.agent.clone()));
        serving.call_back_again();
        // Nothing ran before.
        drop(serving.load(&Services::load(home)?)?);
        Ok(serving)
    }

    /// Follows the file as it stands now: services that are not in it any more, or run otherwise, end. Of one where only who may has changed nothing ends.
    ///
    /// # Errors
    /// As [`Serving::start`]; what runs goes on then.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<(), ConfigError> {
        let ended = {
            // Else an older file could be taken over a newer one.
            let _turn = lock(&self.loading);
            self.load(&Services::load(&self.home)?)?
        };
        for service in ended {
            service.stop().await;
        }
        Ok(())
    }

    /// Offers these from now on; what is to be ended comes back.
    fn load(self: &Arc<Self>, services: &Services) -> Result<Vec<Arc<Service>>, ConfigError> {
        let before = lock(&self.offered).clone();
        let mut offered = HashMap::new();
        for (name, config) in services.iter() {
            let same = before.get(name).filter(|before| before.config.runs_as(config));
            let service = match same {
                Some(before) => Arc::clone(&before.service),
                None => self.begin(name, config)?,
            };
            offered.insert(
                name.clone(),
                Arc::new(Offered { config: config.clone(), service, told: AtomicBool::new(false) }),
            );
        }
        let goes_on = |old: &Offered| offered.values().any(|new| Arc::ptr_eq(&new.service, &old.service));
        let ended = before.values().filter(|old| !goes_on(old)).map(|old| Arc::clone(&old.service)).collect();
        *lock(&self.offered) = offered;
        Ok(ended)
    }

    fn begin(self: &Arc<Self>, name: &ServiceName, config: &ServiceConfig) -> Result<Arc<Service>, ConfigError> {
        let (said, heard) = mpsc::channel(SAID);
        let (memory, of) = (Arc::clone(&self.memory), name.clone());
        let remembered = move |whose: &Of| lock(&memory.0).get(&(of.clone(), *whose)).cloned();
        let spool = self.home.join(SPOOL);
        let service =
            Service::start(name.clone(), config, &spool, remembered, said, self.natives.get(name)).map_err(|what| {
                ConfigError::Service { path: self.home.join(crate::config::FILE), service: name.to_string(), what }
            })?;
        tokio::spawn(Arc::clone(self).hear(name.clone(), heard));
        Ok(Arc::new(service))
    }

    /// Whether it is offered.
    pub(crate) fn offers(&self, service: &ServiceName) -> bool {
        lock(&self.offered).contains_key(service)
    }

    /// Whether anything is offered.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.offered).is_empty()
    }

    /// Takes no message any more, ends all services, and waits until their programs have ended.
    pub(crate) async fn stop(&self) {
        self.stopping.cancel();
        let all: Vec<_> = lock(&self.offered).drain().map(|(_, offered)| offered).collect();
        // Each may take its grace: all at once.
        let stops = all.into_iter().map(|offered| tokio::spawn(async move { offered.service.stop().await }));
        for stop in stops.collect::<Vec<_>>() {
            let _ = stop.await;
        }
    }

    /// A message for a service came.
    pub(crate) fn note(self: &Arc<Self>, called: Called) {
        let of = Of { from: called.letter.from, session: called.place.session };
        let (no, service, what) = (called.letter.no, called.place.service.clone(), called.place.what);
        let at_hand = Some(called).filter(|called| called.admitted && called.at_hand && called.by.is_some());
        let Some(session) = of.session else {
            // Each stands alone.
            let serving = Arc::clone(self);
            drop(tokio::spawn(async move { serving.take(Noted(no, at_hand)).await }));
            return;
        };
        if what == What::End {
            // At once: what stands before it may wait for a program that does not read. What is kept goes in its turn.
            if let Some(offered) = self.offered(&service) {
                drop(tokio::spawn(async move { offered.service.end(of).await }));
            }
        }
        let lane = (service, Of { session: Some(session), ..of });
        let mut lanes = lock(&self.lanes);
        // What has to wait is read in its turn, and its peer asked for again.
        let unheard = match lanes.get(&lane) {
            Some(sender) => sender.send(Noted(no, None)).is_err(),
            None => true,
        };
        if unheard {
            let (sender, numbers) = mpsc::unbounded_channel();
            // The receiver is in our hands.
            let _ = sender.send(Noted(no, at_hand));
            lanes.insert(lane.clone(), sender);
            tokio::spawn(Arc::clone(self).drive(lane, numbers));
        }
    }

    /// Hands the messages of one session over, in their order, until none is left.
    async fn drive(self: Arc<Self>, lane: LaneId, mut numbers: mpsc::UnboundedReceiver<Noted>) {
        loop {
            let next = {
                let mut lanes = lock(&self.lanes);
                let next = numbers.try_recv().ok();
                if next.is_none() {
                    lanes.remove(&lane);
                }
                next
            };
            match next {
                Some(noted) => self.take(noted).await,
                None => return,
            }
        }
    }

    /// One message.
    async fn take(self: &Arc<Self>, Noted(no, at_hand): Noted) {
        if self.stopping.is_cancelled() {
            return;
        }
        let called = match at_hand {
            Some(called) => called,
            None => match self.agent.call(no).await {
                Ok(Some(CallNews::Came(called))) => *called,
                // An agent that has stopped keeps it for its next start.
                _ => return,
            },
        };
        let done = match called.place.what {
            What::Request => self.request(called).await,
            What::Notice => self.notice(called).await,
            _ => self.end(&called).await,
        };
        if let Err(error) = done {
            tracing::debug!(%error, "a message to a service waits for the next start");
        }
    }

    async fn end(&self, called: &Called) -> Result<(), nuncio::Error> {
        let of = Of { from: called.letter.from, session: called.place.session };
        if let Some(offered) = self.offered(&called.place.service) {
            offered.service.end(of).await;
        }
        lock(&self.memory.0).remove(&(called.place.service.clone(), of));
        for opened in self.open.take_of(&called.place.service, &of) {
            self.agent.call_taken(opened.called.letter.no).await?;
        }
        match of.session {
            // Another service's under the same id go on.
            Some(session) if !self.open.has(&of) => self.agent.close_calls(of.from, session).await,
            _ => self.agent.call_taken(called.letter.no).await,
        }
    }

    fn offered(&self, name: &ServiceName) -> Option<Arc<Offered>> {
        lock(&self.offered).get(name).cloned()
    }

    async fn request(self: &Arc<Self>, called: Called) -> Result<(), nuncio::Error> {
        if let Some(method) = called.begun.clone() {
            // contracts/call.md X11.
            let id = self.id_of(&called).await;
            let message = failure(
                &id,
                Reason::Unknown,
                "the agent ended while the service acted: nobody knows whether it was done; ask the service before you ask again",
            );
            return self.answer(&called, message, (Outcome::Unknown, &method), None).await;
        }
        let (envelope, message, offered) = match self.admit(&called).await {
            Ok(admitted) => admitted,
            Err(Refused { id, reason, why, needs }) => {
                let message = crate::jsonrpc::error(&id, reason, &why, needs.as_deref());
                return self.answer(&called, message, (Outcome::Denied, ""), None).await;
            }
        };
        let (no, method) = (called.letter.no, envelope.method.clone());
        let id = envelope.id.clone().unwrap_or(Id::NULL);
        let of = Of { from: called.letter.from, session: called.place.session };
        self.recall(&called.place.service, &of).await?;
        let begun = self.agent.begun_call(&called);
        if !begun && !self.agent.begin_call(no, &method).await? {
            return Ok(());
        }
        // contracts/query.md Q3.
        self.queries.end(&called.place.service, &of, &id).await;
        let token = reply::token(&called);
        self.open.insert(no, Opened::new(called, method, id.clone(), of));
        let Err(why) = offered.service.hand(Ask { key: no, of, envelope, message, token }).await else { return Ok(()) };
        if let Some(opened) = self.open.take(no) {
            let reason = if matches!(why, NotHanded::Busy(_)) { Reason::Busy } else { Reason::Gone };
            let message = failure(&id, reason, &format!("{why}; it was not done"));
            self.answer(&opened.called, message, (Outcome::Denied, &opened.method), None).await?;
        }
        Ok(())
    }

    /// The id of a request that cannot be handed over any more.
    async fn id_of(&self, called: &Called) -> Id {
        let message = in_time(called.clone()).await;
        let Ok(message) = message else { return Id::NULL };
        envelope(&message).await.ok().and_then(|envelope| envelope.id).unwrap_or(Id::NULL)
    }

    async fn notice(self: &Arc<Self>, called: Called) -> Result<(), nuncio::Error> {
        let (no, of) = (called.letter.no, Of { from: called.letter.from, session: called.place.session });
        let service = called.place.service.clone();
        match self.admit(&called).await {
            Ok((envelope, message, offered)) => {
                self.recall(&service, &of).await?;
                let _room = if message.body.is_in_memory() { None } else { self.room.acquire().await.ok() };
                let message = match message.into_memory().await {
                    Ok(message) => message,
                    Err(error) => {
                        tracing::warn!(%service, %error, "a notice cannot be read");
                        return self.agent.call_taken(no).await;
                    }
                };
                // contracts/call.md X10: a crash from here on loses it, and never hands it over twice.
                self.agent.call_taken(no).await?;
                let cancelled = self.cancelled(&service, &of, &envelope, called.letter.reply_to);
                // Without a session its service knows what is cancelled by that request's number.
                let key = cancelled.filter(|_| of.session.is_none()).unwrap_or(no);
                let token = reply::token(&called);
                match offered.service.hand(Ask { key, of, envelope, message, token }).await {
                    Ok(()) => cancelled.into_iter().for_each(|no| self.give_up_in_a_while(no)),
                    Err(why) => tracing::debug!(%service, %why, "a notice was not handed over"),
                }
                Ok(())
            }
            Err(refused) => {
                tracing::info!(%service, peer = %of.from, why = refused.why, "a notice is passed over");
                self.agent.call_taken(no).await
            }
        }
    }

    /// The number of the open request that a message cancels, if it cancels one.
    // contracts/call.md X16: without a session it is what the letter answers, since ids of several clients may be equal.
    fn cancelled(&self, service: &ServiceName, of: &Of, said: &Envelope, asked: Option<LetterId>) -> Option<u64> {
        let id = said.params.request.as_ref().filter(|_| said.method == "notifications/cancelled")?;
        match of.session {
            Some(_) => self.open.named(service, of, id),
            None => self.open.no_of(service, of, asked?),
        }
    }

    /// Whether a message may go to its service, and as what.
    async fn admit(self: &Arc<Self>, called: &Called) -> Result<(Envelope, Message, Arc<Offered>), Refused> {
        let Admitted { envelope, message, offered, calls_back } = self.judge(called).await?;
        if !calls_back {
            return Ok((envelope, message, offered));
        }
        match self.with_callbacks(called, &offered, &envelope, message).await {
            Ok(message) => Ok((envelope, message, offered)),
            Err(why) => Err(Refused { id: envelope.id.unwrap_or(Id::NULL), reason: Reason::Failed, why, needs: None }),
        }
    }

    /// Whether a message may go to its service, and what it says.
    // contracts/call.md X7.
    async fn judge(&self, called: &Called) -> Result<Admitted, Refused> {
        let null = |reason, why: String| Refused { id: Id::NULL, reason, why, needs: None };
        if called.letter.payload.len() > limit::CALL_REQUEST_MAX {
            return Err(null(
                Reason::TooLarge,
                format!("a message to a service has at most {} bytes", limit::CALL_REQUEST_MAX),
            ));
        }
        // One who may nothing is not waited for.
        if matches!(called.letter.payload, Payload::Large(_)) && !self.is_heard(called).await {
            return Err(Refused {
                needs: Some(policy::USE.to_owned()),
                ..null(Reason::Denied, not_allowed(policy::USE, called))
            });
        }
        let message = in_time(called.clone()).await.map_err(|why| null(Reason::Failed, why))?;
        let asks_card = called.letter.payload.is_empty() && a2a::asks_card(&called.place.head).is_some();
        let envelope = if asks_card { Ok(Envelope::card()) } else { envelope(&message).await };
        let envelope = envelope.map_err(|why| {
            let reason = match why {
                NotRead::Io(_) => Reason::Failed,
                NotRead::Json(_) => Reason::NotJson,
                NotRead::Malformed(_) | NotRead::Batch => Reason::Malformed,
            };
            null(reason, why.to_string())
        })?;
        let id = envelope.id.clone().unwrap_or(Id::NULL);
        let refused = |reason, why: String, needs| Refused { id: id.clone(), reason, why, needs };
        // contracts/call.md X5: in another charset the same bytes are another message.
        if !asks_card && !message.is_json() {
            let why = "a message is application/json, in UTF-8".to_owned();
            return Err(refused(Reason::Malformed, why, None));
        }
        if (called.place.what == What::Request) != envelope.is_request() {
            return Err(refused(
                Reason::Malformed,
                "the letter and its message differ in what they want".to_owned(),
                None,
            ));
        }
        // contracts/call.md X8: what does anything is a request, which is begun once and seen.
        if !envelope.is_request() && !envelope.is_response() && !envelope.method.starts_with("notifications/") {
            let why = "a notice is a response or a notification".to_owned();
            return Err(refused(Reason::Malformed, why, None));
        }
        mcp::agree(&called.place.head, &envelope, false)
            .map_err(|why| refused(Reason::Mismatch, why.to_owned(), None))?;
        let denied = |needs: String| refused(Reason::Denied, not_allowed(&needs, called), Some(needs));
        let Some(offered) = self.offered(&called.place.service) else {
            if self.stopping.is_cancelled() {
                return Err(refused(Reason::Gone, "the agent is being stopped; it was not done".to_owned(), None));
            }
            // What is not offered is not told apart from what is not allowed.
            return Err(denied(policy::USE.to_owned()));
        };
        let Some(name) = self.asker_name(called).await else {
            // It was removed while its message waited.
            return Err(denied(policy::USE.to_owned()));
        };
        let token = called.letter.grant.as_ref().map(nuncio::Grant::scope);
        let asker = Asker { agent: &called.letter.from, name: name.as_deref(), token, permit: None };
        match self.decide(&offered, asker, called, &envelope).await {
            Decision::Denied { needs } => Err(denied(needs)),
            Decision::Allowed if called.place.what == What::Request && self.open.is_full(&called.letter.from) => {
                let why = format!("{} requests of this agent are open here", limit::CALLS_BEGUN_MAX);
                Err(refused(Reason::Busy, why, None))
            }
            Decision::Allowed => match offered.fits(&envelope, &message).await {
                Ok(calls_back) => Ok(Admitted { envelope, message, offered, calls_back }),
                Err((reason, why)) => Err(refused(reason, why, None)),
            },
        }
    }

    /// What an agent that is added here is called; `None` of one that is not.
    async fn peer_name(&self, agent: &AgentId) -> Option<Option<String>> {
        self.peer(agent).await.map(|peer| peer.name)
    }

    /// What is known of an agent that is added here.
    async fn peer(&self, agent: &AgentId) -> Option<PeerInfo> {
        let peers = self.agent.peers().await.ok()?;
        peers.into_iter().find(|peer| peer.agent == *agent && peer.allowed)
    }

    /// [`Serving::peer_name`] of whom a message came from: the agent has said it, where the message came just now and nothing has changed since.
    async fn asker_name(&self, called: &Called) -> Option<Option<String>> {
        match &called.by {
            Some(by) if by.still_holds() => Some(by.name.clone()),
            _ => self.peer_name(&called.letter.from).await,
        }
    }

    async fn is_heard(&self, called: &Called) -> bool {
        let Some(offered) = self.offered(&called.place.service) else { return false };
        let Some(name) = self.asker_name(called).await else { return false };
        let token = called.letter.grant.as_ref().map(nuncio::Grant::scope);
        let asker = Asker { agent: &called.letter.from, name: name.as_deref(), token, permit: None };
        self.hears(&offered, asker, called).await
    }

    async fn answer(
        &self,
        called: &Called,
        message: Message,
        how: (Outcome, &str),
        remember: Option<Vec<u8>>,
    ) -> Result<(), nuncio::Error> {
        let memory = remember.map(|memory| {
            let of = Of { from: called.letter.from, session: called.place.session };
            let named = named_memory(&called.place.service, &memory);
            lock(&self.memory.0).insert((called.place.service.clone(), of), memory);
            named
        });
        let place = reply::place(called, What::Answer, &message);
        let letter = reply::letter(&message);
        let sent = self.agent.answer_call(called, &place, letter, how, memory).await;
        if matches!(sent, Ok(false)) {
            tracing::debug!("an answer to what is over");
        }
        drop(message);
        sent.map(drop)
    }

    async fn pass_on(self: &Arc<Self>, service: &ServiceName, said: Said) -> Result<(), nuncio::Error> {
        let Some(said) = self.queries.told(said) else { return Ok(()) };
        match said {
            Said::Answer { key, message, remember } => {
                let Some(opened) = self.open.take(key) else { return Ok(()) };
                let sent = self.answer(&opened.called, message, (Outcome::Answered, &opened.method), remember).await;
                match sent {
                    Err(nuncio::Error::Stopped) | Ok(()) => sent,
                    // It is done and cannot be told as it was said: that is told.
                    Err(error) => {
                        let why = format!("it was done, and its answer cannot be sent: {error}");
                        self.tell_unknown(opened, Reason::Unknown, why).await
                    }
                }
            }
            Said::Refused { key, message } => match self.open.take(key) {
                Some(opened) => self.answer(&opened.called, message, (Outcome::Denied, &opened.method), None).await,
                None => Ok(()),
            },
            Said::Part { key, message } => match self.open.heard(key) {
                Some((to, request, mut place)) => {
                    place.what = What::Part;
                    place.head = message.head.clone();
                    let letter = reply::letter(&message).reply_to(request);
                    self.agent.say(to, Agent::new_letter_id()?, &place, letter, Vec::new()).await
                }
                None => Ok(()),
            },
            Said::Aside { of, message } => self.say_aside(service, &of, &message).await,
            Said::Lost { key, why } => self.lost(self.open.take(key), &why).await,
            Said::Gone { of, keys, why } => {
                tracing::debug!(%service, peer = %of.from, why, "what ran for a peer has ended");
                self.lost(keys.into_iter().filter_map(|key| self.open.take(key)), &why).await
            }
        }
    }

    async fn say_aside(&self, service: &ServiceName, of: &Of, message: &Message) -> Result<(), nuncio::Error> {
        let Some(place) = reply::aside(service, of, message) else { return Ok(()) };
        self.agent.say(of.from, Agent::new_letter_id()?, &place, reply::letter(message), Vec::new()).await
    }

    async fn lost(self: &Arc<Self>, opened: impl IntoIterator<Item = Opened>, why: &str) -> Result<(), nuncio::Error> {
        for opened in opened {
            let why = format!("{why}; nobody knows whether it was done: ask the service before you ask again");
            self.tell_unknown(opened, Reason::Gone, why).await?;
        }
        Ok(())
    }
}

/// The same of what is not offered at all.
fn not_allowed(needs: &str, called: &Called) -> String {
    if called.letter.grant.is_some() {
        return format!(
            "not allowed: under a transaction it needs the scope {needs} in the token, and from the owner of this service, who says in services.toml what tokens may ([services.NAME.tokens])"
        );
    }
    format!("not allowed: it needs the scope {needs}, from the owner of this service or from a token")
}

/// The message that a letter brought, if it comes in its time: others of its session wait behind it.
async fn in_time(called: Called) -> Result<Message, String> {
    let message = timeout(PAYLOAD_PATIENCE, message_of(called)).await;
    message.unwrap_or_else(|_| Err("its payload did not come in time".to_owned()))
}

/// A message that may go to its service.
struct Admitted {
    envelope: Envelope,
    message: Message,
    offered: Arc<Offered>,
    /// It names callbacks, which are not put in yet.
    calls_back: bool,
}

/// Why a message does not go to its service.
struct Refused {
    id: Id,
    reason: Reason,
    why: String,
    needs: Option<String>,
}

/// What is guarded is whole after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
