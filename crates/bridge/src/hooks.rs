//! The caller's side of webhooks: an address of a client's own, which its agent alone knows and calls (contracts/call.md X46, X48).
//!
//! ```text
//!   a client's message ─► url allowed by name? ─► nuncio:callback:SESSION in its stead ─► the letter
//!   the client's url ◄─ POST, with its own token ◄─ aside in SESSION ◄─ the service's agent
//! ```

mod telling;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nuncio_contracts::registry::limit;
use nuncio_proto::call::{Head, What};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::a2a;
use crate::config::{ConfigError, Others, put, read_private};
use crate::front::{letter_id, session_id};
use crate::line::{Heard, HeardWhat, Line, LineError, Say};
use crate::message::{Body, Message};
use crate::web;
use telling::{PATIENCE, Telling};

/// The file's name in the home.
pub const FILE: &str = "webhooks.json";
/// Webhooks of one home; the oldest goes for another.
const HOOKS_MAX: usize = 256;
/// Of them, of one connection.
const OWN_MAX: usize = 32;
/// Longest webhook, with what it is called with: all of a home's are in a file that is read whole.
const HOOK_LEN_MAX: usize = 3_072;
/// Notifications in memory at once.
static ROOM: Semaphore = Semaphore::const_new(8);
/// The field in which A2A gives a client its token back.
const TOKEN: &str = "x-a2a-notification-token";

/// What a client would be told, and where.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hook {
    connection: String,
    session: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<String>,
}

impl Hook {
    fn len(&self) -> usize {
        let more = [&self.token, &self.authorization].into_iter().flatten().map(String::len);
        self.connection.len() + self.url.len() + more.sum::<usize>()
    }
}

/// All of a home's.
pub(crate) struct Hooks {
    home: PathBuf,
    all: Mutex<Vec<Hook>>,
    /// The file is written by one after the other.
    writing: Mutex<()>,
    client: reqwest::Client,
}

/// The webhooks of one connection.
#[derive(Clone)]
pub(crate) struct Own {
    hooks: Arc<Hooks>,
    connection: String,
    allowed: Arc<Mutex<BTreeMap<String, String>>>,
    /// The connection goes, or the agent stops.
    ending: CancellationToken,
}

impl Hooks {
    /// Reads the file of a home.
    ///
    /// # Errors
    /// It is not what this program writes.
    pub(crate) fn load(home: &Path) -> Result<Arc<Self>, ConfigError> {
        let (path, all) = (home.join(FILE), kept(home)?);
        let client = web::client().timeout(PATIENCE).build();
        let failed = |error: reqwest::Error| ConfigError::File { path, source: std::io::Error::other(error) };
        let (home, all, client) = (home.to_owned(), Mutex::new(all), client.map_err(failed)?);
        Ok(Arc::new(Self { home, all, writing: Mutex::default(), client }))
    }

    /// Those of one connection.
    pub(crate) fn of(
        self: &Arc<Self>,
        connection: &str,
        allowed: &BTreeMap<String, String>,
        ending: CancellationToken,
    ) -> Own {
        let (connection, allowed) = (connection.to_owned(), Arc::new(Mutex::new(allowed.clone())));
        Own { hooks: Arc::clone(self), connection, allowed, ending }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Hook>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes them; on disk when this returns.
    async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Vec<Hook>) -> T + Send + 'static,
    ) -> std::io::Result<T> {
        let hooks = Arc::clone(self);
        let write = move || {
            let _turn = hooks.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut new = hooks.all().clone();
            let changed = change(&mut new);
            put(&hooks.home, FILE, &serde_json::to_string(&new)?)?;
            *hooks.all() = new;
            Ok(changed)
        };
        tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other)?
    }

    /// Tries once. Of what is long only so much is in memory at once.
    async fn post(&self, hook: &Hook, message: &Message, patience: Duration) -> Result<(), String> {
        let _room = if message.body.is_in_memory() { None } else { ROOM.acquire().await.ok() };
        let message = message.clone().into_memory().await.map_err(|error| error.to_string())?;
        let Body::Bytes(body) = message.body else { return Err("it is not in memory".to_owned()) };
        let request = self.client.post(&hook.url).header(CONTENT_TYPE, "application/json").body(body);
        let mut request = request.timeout(patience);
        if let Some(token) = &hook.token {
            request = request.header(TOKEN, token);
        }
        if let Some(authorization) = &hook.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
    }
}

impl Own {
    fn allowed(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection names these from now on.
    pub(crate) fn allow(&self, allowed: &BTreeMap<String, String>) {
        self.allowed().clone_from(allowed);
    }

    /// The message that is said in the stead of a client's, if it names webhooks: each in a session of its own, which is opened first.
    ///
    /// # Errors
    /// One of them is not allowed, or cannot be kept: why, for people.
    // contracts/call.md X46.
    pub(crate) async fn swap<L: Line>(
        &self,
        line: &L,
        method: &str,
        bytes: &Bytes,
    ) -> Result<Option<Bytes>, LineError> {
        if self.allowed().is_empty() {
            return Ok(None);
        }
        let unread = |_| LineError::Denied("not allowed: the webhooks of this message cannot be read".to_owned());
        if a2a::webhooks(method, bytes.as_ref()).map_err(unread)?.is_empty() {
            return Ok(None);
        }
        let mut message: Value = serde_json::from_slice(bytes).map_err(unread)?;
        let mut hooks = Vec::new();
        let swapped = a2a::swap(method, &mut message, &mut |given| {
            let url = self.allows(given.url)?;
            let session = session_id().ok()?;
            let authorization = given.authentication.and_then(authorization);
            let connection = self.connection.clone();
            let token = given.token.and_then(Value::as_str).map(str::to_owned);
            hooks.push(Hook { connection, session: session.to_string(), url, token, authorization });
            Some(format!("{}{session}", a2a::CALLBACK))
        });
        if !swapped {
            let why = "not allowed: this connection does not name that webhook: `nuncio connect … --webhook NAME=URL`";
            return Err(LineError::Denied(why.to_owned()));
        }
        self.keep(line, hooks).await?;
        Ok(Some(message.to_string().into()))
    }

    async fn keep<L: Line>(&self, line: &L, hooks: Vec<Hook>) -> Result<(), LineError> {
        if hooks.iter().any(|hook| hook.len() > HOOK_LEN_MAX) {
            let why = format!("not allowed: a webhook, with what it is called with, has at most {HOOK_LEN_MAX} bytes");
            return Err(LineError::Denied(why));
        }
        for hook in &hooks {
            say(line, hook, What::Notice).await?;
        }
        let (connection, new) = (self.connection.clone(), hooks.clone());
        let gone = self.hooks.change(move |all| with_room(all, new, &connection)).await;
        let gone = gone.map_err(|error| LineError::Refused(format!("a webhook cannot be kept: {error}")))?;
        for hook in gone.into_iter().filter(|hook| hook.connection == self.connection) {
            // It goes with the connection else.
            let _ = say(line, &hook, What::End).await;
        }
        hooks.into_iter().for_each(|hook| self.hear(line, hook));
        Ok(())
    }

    /// An address of a client as it will be asked, if the connection names it: what leads out of it on the way does not count.
    fn allows(&self, url: &str) -> Option<String> {
        let url: String = reqwest::Url::parse(url).ok()?.into();
        self.allowed().values().any(|allowed| a2a::is_of(&url, allowed)).then_some(url)
    }

    /// The connection is over: what is kept of it goes, and the other side is told.
    pub(crate) async fn end<L: Line>(&self, line: &L) {
        let connection = self.connection.clone();
        let goes = move |hook: &mut Hook| hook.connection == connection;
        let gone = self.hooks.change(move |all| all.extract_if(.., goes).collect::<Vec<_>>()).await;
        match gone {
            Ok(gone) => {
                for hook in gone {
                    // What comes all the same goes nowhere.
                    let _ = say(line, &hook, What::End).await;
                }
            }
            Err(error) => {
                tracing::warn!(connection = self.connection, %error, "webhooks of a connection that is over are kept")
            }
        }
    }

    /// Hears for all that are kept of the connection.
    pub(crate) fn hear_all<L: Line>(&self, line: &L) {
        let all = self.hooks.all().clone();
        all.into_iter().filter(|hook| hook.connection == self.connection).for_each(|hook| self.hear(line, hook));
    }

    fn hear<L: Line>(&self, line: &L, hook: Hook) {
        let (own, line) = (self.clone(), line.clone());
        tokio::spawn(async move {
            let ending = own.ending.clone();
            ending.run_until_cancelled(own.pass_on(&line, &hook)).await;
        });
    }

    /// Posts what comes for one, each when the one before was taken or given up.
    // contracts/call.md X48.
    async fn pass_on<L: Line>(&self, line: &L, hook: &Hook) {
        let Some(session) = a2a::session_of(&hook.session) else { return };
        let Ok(heard) = line.listen(Some(session), None).await else { return };
        let mut telling = Telling::new(line, heard);
        while let Some(Heard { no, what, .. }) = telling.next().await {
            // What is not kept any more, or not allowed any more, is told to nobody.
            let is_kept = self.hooks.all().contains(hook) && self.allows(&hook.url).is_some();
            match what {
                HeardWhat::Aside(message) if is_kept => self.tell(hook, &message, &mut telling).await,
                HeardWhat::End => {
                    // It is read anew at the next start.
                    let over = hook.clone();
                    let _ = self.hooks.change(move |all| all.retain(|one| *one != over)).await;
                }
                _ => {}
            }
            if line.taken(no).await.is_err() {
                return;
            }
            if !self.hooks.all().contains(hook) {
                let _ = say(line, hook, What::End).await;
                return;
            }
        }
    }

    async fn tell<L: Line>(&self, hook: &Hook, message: &Message, telling: &mut Telling<'_, L>) {
        // contracts/call.md X47: no honest agent says a longer one.
        if message.body.len().is_ok_and(|len| len > limit::CALL_REQUEST_MAX) {
            return tracing::info!(connection = self.connection, "a notification that is too long is passed over");
        }
        if let Err(why) = telling.tell(|patience| self.hooks.post(hook, message, patience)).await {
            tracing::info!(connection = self.connection, why, "a client's webhook did not take a notification");
        }
    }
}

/// Those of a home.
fn kept(home: &Path) -> Result<Vec<Hook>, ConfigError> {
    let path = home.join(FILE);
    match read_private(&path, Others::MayNotRead) {
        Err(ConfigError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => serde_json::from_str(&other?).map_err(|error| ConfigError::Line {
            path,
            line: error.line(),
            what: "it is not what this program writes".to_owned(),
        }),
    }
}

/// Whether a home's can be read.
///
/// # Errors
/// The file is not what this program writes.
pub(crate) fn check(home: &Path) -> Result<(), ConfigError> {
    kept(home).map(drop)
}

/// Takes out of a home whose agent does not run what is of connections that are over: whoever is connected by such a name later is another.
///
/// # Errors
/// The file is not what this program writes, or cannot be written.
pub(crate) fn forget(home: &Path, is_over: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
    let mut all = kept(home)?;
    let before = all.len();
    all.retain(|hook| !is_over(&hook.connection));
    if all.len() == before {
        return Ok(());
    }
    let failed = |source| ConfigError::File { path: home.join(FILE), source };
    let text = serde_json::to_string(&all).map_err(|error| failed(std::io::Error::other(error)))?;
    put(home, FILE, &text).map_err(failed)
}

/// Puts new ones of a connection to the others; what goes for them: of its own first.
fn with_room(all: &mut Vec<Hook>, new: Vec<Hook>, connection: &str) -> Vec<Hook> {
    all.extend(new);
    let own = all.iter().filter(|hook| hook.connection == connection).count();
    let mut over = own.saturating_sub(OWN_MAX);
    let goes = |hook: &mut Hook| {
        let goes = over > 0 && hook.connection == connection;
        over -= usize::from(goes);
        goes
    };
    let mut gone: Vec<Hook> = all.extract_if(.., goes).collect();
    let over = all.len().saturating_sub(HOOKS_MAX);
    gone.extend(all.drain(..over));
    gone
}

/// `Authorization`, of what a client gave: a scheme and credentials (`schemes` in 0.3).
fn authorization(given: &Value) -> Option<String> {
    let scheme = given.get("scheme").or_else(|| given.get("schemes")?.get(0))?.as_str()?;
    Some(format!("{scheme} {}", given.get("credentials")?.as_str()?))
}

/// Opens, or ends, the session of one.
async fn say<L: Line>(line: &L, hook: &Hook, what: What) -> Result<(), LineError> {
    let opens = r#"{"jsonrpc":"2.0","method":"notifications/callback"}"#;
    let body = if what == What::End { "" } else { opens };
    let message = Message { head: Head::default(), ..Message::json(body) };
    let session = a2a::session_of(&hook.session);
    line.say(Say { id: letter_id(), what, session, reply_to: None, message, note: Vec::new(), under: None }).await
}

#[cfg(test)]
mod tests;
