//! The serving half: messages of peers, asked about one by one, begun before their service sees a byte, answered once (contracts/call.md sections 2 and 3).
//!
//! ```text
//!   note ─► lane (one for each session) ─► read ─► policy ─► begin_call ─► Service::hand
//!   answer_call ◄─ errors of our own ◄─────────────┘                            │
//!              ◄─ Said, from the service ◄──────────────────────────────────────┘
//! ```

mod at_once;
mod callbacks;
mod judging;
mod lanes;
mod memory;
mod names;
mod offered;
mod open;
mod patience;
mod permits;
mod queries;
mod reply;
mod room;
mod saying;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nuncio::{Agent, Called, Outcome};
use nuncio_proto::call::{ServiceName, What};
use nuncio_proto::ids::{AgentId, LetterId};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, ServiceConfig, Services};
use crate::jsonrpc::{Envelope, Id, Reason};
use crate::message::Message;
use crate::native::Natives;
use crate::service::{self, Ask, NotHanded, Of, Said, Service};
use callbacks::Callbacks;
use judging::{Admitted, Refused, in_time};
use lanes::{LaneId, Noted};
use memory::{Memory, named_memory};
use offered::{Offered, envelope};
use open::{Open, Opened};
use queries::Queries;
use reply::failure;
use room::Room;

/// Where long messages of services wait, in the agent's home.
const SPOOL: &str = "services";
/// What services said and the agent has not sent.
const SAID: usize = 64;
/// Notices that are not in their letters, in memory until their services have them.
const LONG_NOTICES: usize = 8;
/// Messages of services that are not in memory and are sealed at once.
const LONG_SAID: usize = 8;

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
    /// Peers that were removed since the start, and how often.
    removals: Mutex<HashMap<AgentId, u64>>,
    queries: Queries,
    memory: Arc<Memory>,
    /// Long notices in memory at once.
    room: Room,
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
            removals: Mutex::default(),
            queries: Queries::default(),
            memory: Arc::default(),
            room: Room::new(LONG_NOTICES),
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
        let remembered = move |whose: &Of| memory.get(&of, whose);
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

    async fn end(&self, called: &Called) -> Result<(), nuncio::Error> {
        let of = Of { from: called.letter.from, session: called.place.session };
        if let Some(offered) = self.offered(&called.place.service) {
            offered.service.end(of).await;
        }
        self.memory.forget(&called.place.service, &of);
        for opened in self.open.take_of(&called.place.service, &of) {
            self.agent.call_taken(opened.called.letter.no).await?;
        }
        match of.session {
            // Another service's under the same id go on.
            Some(session) if !self.open.has(&of) && !self.has_other_lane(called) => {
                self.agent.close_calls(of.from, session).await
            }
            _ => self.agent.call_taken(called.letter.no).await,
        }
    }

    /// A peer is none any more: what runs for it ends, and nothing of it is known to what it asks when it is one again.
    // contracts/call.md X43.
    pub(crate) fn end_peer(&self, agent: &AgentId) {
        *lock(&self.removals).entry(*agent).or_default() += 1;
        self.open.forget(agent);
        self.memory.forget_all(agent);
        for offered in lock(&self.offered).values() {
            offered.service.end_peer(agent);
        }
    }

    /// How often a peer was removed: what came of it before the last time is not handed over.
    fn removals(&self, agent: &AgentId) -> u64 {
        lock(&self.removals).get(agent).copied().unwrap_or_default()
    }

    /// Hands a message over, unless its peer was removed since it came; what was handed over meanwhile is heard by nobody.
    // contracts/call.md X43.
    async fn hand(&self, offered: &Offered, ask: Ask, removals: u64) -> Result<(), NotHanded> {
        let (of, key) = (ask.of, ask.key);
        if self.removals(&of.from) != removals {
            return Err(NotHanded::Ended);
        }
        let handed = offered.service.hand(ask).await;
        if handed.is_ok() && self.removals(&of.from) != removals {
            offered.service.forget(&of, key);
        }
        handed
    }

    fn offered(&self, name: &ServiceName) -> Option<Arc<Offered>> {
        lock(&self.offered).get(name).cloned()
    }

    async fn request(self: &Arc<Self>, called: Called, removals: u64) -> Result<(), nuncio::Error> {
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
        self.recall(&called.place.service, &of, removals).await?;
        let begun = self.agent.begun_call(&called);
        if !begun && !self.agent.begin_call(no, &method).await? {
            return Ok(());
        }
        // contracts/query.md Q3.
        self.queries.end(&called.place.service, &of, &id).await;
        let token = reply::token(&called);
        self.open.insert(no, Opened::new(called, method, id.clone(), of));
        let ask = Ask { key: no, of, envelope, message, token };
        let Err(why) = self.hand(&offered, ask, removals).await else { return Ok(()) };
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

    async fn notice(self: &Arc<Self>, called: Called, removals: u64) -> Result<(), nuncio::Error> {
        let (no, of) = (called.letter.no, Of { from: called.letter.from, session: called.place.session });
        let service = called.place.service.clone();
        match self.admit(&called).await {
            Ok((envelope, message, offered)) => {
                self.recall(&service, &of, removals).await?;
                let _room = if message.body.is_in_memory() { None } else { self.room.acquire(&of.from).await };
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
                match self.hand(&offered, Ask { key, of, envelope, message, token }, removals).await {
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

    async fn answer(
        &self,
        called: &Called,
        message: Message,
        how: (Outcome, &str),
        remember: Option<Vec<u8>>,
    ) -> Result<(), nuncio::Error> {
        let (service, of) = (&called.place.service, Of { from: called.letter.from, session: called.place.session });
        let memory = remember.map(|memory| {
            let named = named_memory(service, &memory);
            self.memory.keep(service, &of, memory);
            named
        });
        let keeps = memory.is_some();
        let place = reply::place(called, What::Answer, &message);
        let letter = reply::letter(&message);
        let sent = self.agent.answer_call(called, &place, letter, how, memory).await;
        if matches!(sent, Ok(false)) {
            tracing::debug!("an answer to what is over");
            if keeps {
                self.memory.forget(service, &of);
            }
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
                    match self.agent.say(to, Agent::new_letter_id()?, &place, letter, Vec::new()).await {
                        // contracts/call.md X34: what follows a gap is told by nobody.
                        Err(error) if !matches!(error, nuncio::Error::Stopped) => {
                            self.give_up(key, &format!("a part of what the service said cannot be sent: {error}"))
                                .await;
                            Ok(())
                        }
                        said => said,
                    }
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

/// What is guarded is whole after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
