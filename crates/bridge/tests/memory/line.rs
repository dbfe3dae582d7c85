//! A `Line` in memory: what was said and not taken outlives whoever listens, as it does with an agent.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use nuncio_bridge::{Asks, Body, Heard, HeardWhat, Line, LineError, Message, Say};
use nuncio_proto::ids::{CallSessionId, LetterId};
use nuncio_proto::time::UnixMillis;
use tokio::sync::{mpsc, watch};

/// What is longer lies in a file.
const SHORT: usize = 64 << 10;

/// The way to a server in this process.
#[derive(Clone)]
pub struct Memory(Arc<Inner>);

type Server = dyn Fn(Far, Say) + Send + Sync;

struct Inner {
    state: Mutex<State>,
    bell: watch::Sender<u64>,
    server: Box<Server>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<u64, (Option<CallSessionId>, Heard)>,
    no: u64,
    said: HashMap<LetterId, Say>,
    order: Vec<LetterId>,
    taken: Vec<u64>,
    asked: Vec<LetterId>,
    /// Of what was taken, how much without waiting for a disk.
    let_go: usize,
    refusing: Option<String>,
    stopped: bool,
    /// So many messages are accepted without a word of it.
    unsaid: u32,
    /// What is taken stays all the same.
    keeps: bool,
}

/// The server's end.
#[derive(Clone)]
pub struct Far(Memory);

impl Memory {
    pub fn new(server: impl Fn(Far, Say) + Send + Sync + 'static) -> Self {
        let (bell, _) = watch::channel(0);
        Self(Arc::new(Inner { state: Mutex::default(), bell, server: Box::new(server) }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Everything that was said, each once, in order.
    pub fn said(&self) -> Vec<Say> {
        let state = self.state();
        state.order.iter().map(|id| state.said[id].clone()).collect()
    }

    /// The end at which the server is.
    pub fn far(&self) -> Far {
        Far(self.clone())
    }

    /// Numbers that are not taken.
    pub fn left(&self) -> Vec<u64> {
        self.state().rows.keys().copied().collect()
    }

    pub fn taken_count(&self) -> usize {
        self.state().taken.len()
    }

    pub fn let_go_count(&self) -> usize {
        self.state().let_go
    }

    /// The letters for which it was asked first whether they may be none.
    pub fn asked(&self) -> Vec<LetterId> {
        self.state().asked.clone()
    }

    /// Nothing is accepted from now on.
    pub fn refuse(&self, why: &str) {
        self.state().refusing = Some(why.to_owned());
    }

    /// The next messages are accepted, and nobody is told so.
    pub fn accept_without_a_word(&self, messages: u32) {
        self.state().unsaid = messages;
    }

    /// What is taken from now on comes again all the same.
    pub fn keep(&self) {
        self.state().keeps = true;
    }

    /// The agent stops, or runs again.
    pub fn stop(&self, stopped: bool) {
        self.state().stopped = stopped;
        self.0.bell.send_modify(|rings| *rings += 1);
    }

    fn put(&self, session: Option<CallSessionId>, what: HeardWhat) -> LetterId {
        let id = letter_id();
        let mut state = self.state();
        state.no += 1;
        let no = state.no;
        state.rows.insert(no, (session, Heard { no, id, what }));
        drop(state);
        self.0.bell.send_modify(|rings| *rings += 1);
        id
    }

    fn next(&self, session: Option<CallSessionId>, after: Option<u64>) -> Option<Heard> {
        let from = after.map_or(0, |after| after + 1);
        let state = self.state();
        state.rows.range(from..).find(|(_, (of, _))| *of == session).map(|(_, (_, heard))| heard.clone())
    }
}

impl Far {
    pub fn part(&self, to: &Say, bytes: impl Into<Vec<u8>>) -> LetterId {
        self.0.put(to.session, HeardWhat::Part(to.id, message(bytes.into())))
    }

    pub fn answer(&self, to: &Say, bytes: impl Into<Vec<u8>>) {
        self.0.put(to.session, HeardWhat::Answer(to.id, message(bytes.into())));
    }

    pub fn answer_with(&self, to: &Say, message: Message) {
        self.0.put(to.session, HeardWhat::Answer(to.id, message));
    }

    pub fn aside(&self, session: Option<CallSessionId>, bytes: impl Into<Vec<u8>>) -> LetterId {
        self.0.put(session, HeardWhat::Aside(message(bytes.into())))
    }

    pub fn fail(&self, to: &Say, why: &str) {
        let failed = HeardWhat::Failed { request: to.id, why: why.to_owned(), note: to.note.clone() };
        self.0.put(to.session, failed);
    }

    /// Something came for a request, and its bytes do not.
    pub fn unread(&self, to: &Say, last: bool) {
        self.0.put(to.session, HeardWhat::Unread { request: to.id, why: "its sender has gone".to_owned(), last });
    }

    pub fn end(&self, session: Option<CallSessionId>) {
        self.0.put(session, HeardWhat::End);
    }
}

fn message(bytes: Vec<u8>) -> Message {
    if bytes.len() <= SHORT {
        return Message::json(bytes);
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    Message { body: Body::File(Arc::new(file.into_temp_path())), ..Message::json("") }
}

fn letter_id() -> LetterId {
    let mut random = [0; 10];
    getrandom::fill(&mut random).unwrap();
    LetterId::new(UnixMillis(1), random)
}

impl Line for Memory {
    async fn query(&self, say: &Say, _: &Asks) -> Option<Message> {
        self.state().asked.push(say.id);
        None
    }

    async fn say(&self, say: Say) -> Result<(), LineError> {
        {
            let mut state = self.state();
            if state.stopped {
                return Err(LineError::Stopped);
            }
            if let Some(why) = &state.refusing {
                return Err(LineError::Refused(why.clone()));
            }
            if state.said.insert(say.id, say.clone()).is_some() {
                return Ok(());
            }
            state.order.push(say.id);
        }
        (self.0.server)(Far(self.clone()), say);
        let mut state = self.state();
        let unsaid = state.unsaid > 0;
        state.unsaid = state.unsaid.saturating_sub(1);
        if unsaid { Err(LineError::Stopped) } else { Ok(()) }
    }

    async fn listen(
        &self,
        session: Option<CallSessionId>,
        after: Option<u64>,
    ) -> Result<mpsc::Receiver<Heard>, LineError> {
        if self.state().stopped {
            return Err(LineError::Stopped);
        }
        let (tx, rx) = mpsc::channel(4);
        let (memory, mut bell) = (self.clone(), self.0.bell.subscribe());
        tokio::spawn(async move {
            let mut after = after;
            loop {
                bell.borrow_and_update();
                if memory.state().stopped {
                    return;
                }
                while let Some(heard) = memory.next(session, after) {
                    after = Some(heard.no);
                    if tx.send(heard).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    _ = bell.changed() => {}
                    () = tx.closed() => return,
                }
            }
        });
        Ok(rx)
    }

    async fn taken(&self, no: u64) -> Result<(), LineError> {
        let mut state = self.state();
        if state.stopped {
            return Err(LineError::Stopped);
        }
        if !state.keeps && state.rows.remove(&no).is_some() {
            state.taken.push(no);
        }
        Ok(())
    }

    async fn let_go(&self, no: u64) -> Result<(), LineError> {
        self.taken(no).await?;
        self.state().let_go += 1;
        Ok(())
    }
}
