//! Tasks of people's own clients of A2A: completions of the provider, and calls of tools (contracts/gateway.md section 6).
//!
//! ```text
//!   POST ─► route ─► bearer ─► transaction ─► request ─► budget ─► task, on disk ─► the provider, or a letter ─► its end, on disk
//!                                                                   └─► whoever listens: task, working, pieces, end
//! ```

mod card;
mod config;
mod forms;
mod keeper;
mod rpc;
mod stream;
mod task;
mod tool;
mod weight;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use nuncio::{Agent, Scope, Transaction};
use nuncio_contracts::registry::limit;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Served;
use super::budget::Reservation;
use super::chat::{self, Worded};
use super::letters::peer;
use super::refusal::{self, Refusal};
use super::share::{Share, until_taken};
use crate::caller::AgentLine;
use crate::front::flush::Marks;
use crate::front::{Address, Front};
use crate::under::Standing;
pub(super) use card::tell;
use config::{Does, Tool};
pub(super) use config::{TaskRoute, TaskTable};
use forms::{History, List, Listed, Named, New, Send, Wants};
use http_body::Body as _;
use keeper::{Keeper, LONGEST, NotBegun};
use rpc::{Fault, Method, Request};
use stream::Listening;
use task::{End, Had, Origin, Task};
use tool::Outcome;
use weight::weight;

/// What is said where it is so.
const NOT_KNOWN: &str = "whether it was done is not known";

/// All routes of tasks, and all tasks.
pub(super) struct Tasks {
    routes: BTreeMap<String, TaskRoute>,
    keeper: Keeper,
    is_tls: bool,
}

impl Tasks {
    /// Reads what is kept.
    ///
    /// # Errors
    /// The store.
    pub(super) async fn open(
        agent: Agent,
        routes: BTreeMap<String, TaskRoute>,
        is_tls: bool,
    ) -> Result<Self, nuncio::Error> {
        let keeper = Keeper::open(agent, now_ms()).await?;
        Ok(Self { routes, keeper, is_tls })
    }

    fn route(&self, name: &str) -> Option<&TaskRoute> {
        self.routes.get(name)
    }

    /// The agents whose tools are called.
    pub(super) fn peers(&self) -> impl Iterator<Item = &str> {
        self.routes.values().filter_map(|route| match &route.does {
            Does::Call(tool) => Some(tool.peer.as_str()),
            Does::Complete(_) => None,
        })
    }

    /// What people need for each.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.routes.values().map(|route| &route.scope)
    }
}

fn now_ms() -> u64 {
    Agent::now().0
}

/// `POST /v1/a2a/{name}`
pub(super) async fn ask(
    State(served): State<Served>,
    Extension(from): Extension<Address>,
    Extension(marks): Extension<Marks>,
    refusal::Named(name): refusal::Named<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let route = served.tasks.route(&name).ok_or_else(Refusal::nowhere)?.clone();
    let (person, body) =
        served.people.hear(from, (&headers, body), &route.scope, limit::GATEWAY_TASK_MESSAGE_MAX).await?;
    let (transaction, share) = person.into_parts();
    let asking = Asking { served, route, name, transaction };
    // contracts/gateway.md W36.
    if weight(&body) > limit::GATEWAY_TASK_MESSAGE_MAX {
        asking.counted().await?;
        let message = "it has more values than are kept of a message";
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
    }
    let response = match Request::read(&headers, &body) {
        Ok(request) => asking.answer(request, &share).await?,
        Err(answer) => {
            asking.counted().await?;
            *answer
        }
    };
    // contracts/gateway.md W41: the task itself has bounds of its own.
    Ok(until_taken(response, share, marks))
}

/// One person's request to a route.
struct Asking {
    served: Served,
    route: TaskRoute,
    name: String,
    transaction: Transaction,
}

/// What is to be done for a task, with what was reserved for it.
enum Work {
    Complete(Worded),
    Call(Box<Front<AgentLine>>, Tool, Value),
}

impl Asking {
    // contracts/gateway.md W39, W41.
    async fn answer(self, request: Request, share: &Share) -> Result<Response, Refusal> {
        match request.method {
            Method::Get | Method::List => {
                self.counted().await?;
                let response = self.done(request).await?;
                let len = response.body().size_hint().exact().unwrap_or(u64::MAX);
                share.hold(usize::try_from(len).unwrap_or(usize::MAX))?;
                Ok(response)
            }
            // What has begun or ended is told: there is room for that first.
            _ => {
                if let Err(refusal) = share.hold(LONGEST) {
                    self.counted().await?;
                    return Err(refusal);
                }
                self.done(request).await
            }
        }
    }

    async fn done(self, request: Request) -> Result<Response, Refusal> {
        let result = match request.method {
            Method::Send | Method::SendStreaming => return self.send(request).await,
            Method::List => request.params::<List>().and_then(List::check).map(|wanted| self.list(&wanted)),
            Method::Cancel => self.cancel(&request).await,
            Method::Subscribe => match self.listening(&request) {
                Ok(listening) => return Ok(listening.stream()),
                Err(fault) => Err(fault),
            },
            _ => self.get(&request),
        };
        Ok(request.answered(&result))
    }

    /// One request more of its principal.
    async fn counted(&self) -> Result<(), Refusal> {
        drop(self.served.book.reserve(&self.transaction, 0).await?);
        Ok(())
    }

    // contracts/gateway.md W35.
    fn find(&self, id: &str) -> Result<Arc<Task>, Fault> {
        let found = self.served.tasks.keeper.find(id, self.transaction.principal(), &self.name, now_ms());
        found.ok_or_else(Fault::no_task)
    }

    fn get(&self, request: &Request) -> Result<Value, Fault> {
        let named: Named = request.params()?;
        let history = named.history()?;
        Ok(self.find(&named.id)?.shown(history, true).0)
    }

    fn list(&self, wanted: &Listed) -> Value {
        let keeper = &self.served.tasks.keeper;
        let (found, total, next) = keeper.list(wanted, self.transaction.principal(), &self.name, now_ms());
        let tasks: Vec<Value> = found.iter().map(|task| task.shown(wanted.history, wanted.artifacts).0).collect();
        json!({ "tasks": tasks, "nextPageToken": next.unwrap_or_default(), "pageSize": wanted.size, "totalSize": total })
    }

    // contracts/gateway.md W38.
    async fn cancel(&self, request: &Request) -> Result<Value, Fault> {
        let named: Named = request.params()?;
        let task = self.find(&named.id)?;
        if task.stage().is_over() {
            return Err(Fault::not_cancelable());
        }
        task.canceling.cancel();
        self.wait(&task).await;
        Ok(task.shown(History::All, true).0)
    }

    /// Until it is over, or the gateway stops.
    async fn wait(&self, task: &Task) {
        self.served.stopping.run_until_cancelled(task.over()).await;
    }

    // contracts/gateway.md W37.
    fn listening(&self, request: &Request) -> Result<Listening, Fault> {
        let named: Named = request.params()?;
        let task = self.find(&named.id)?;
        let first = task.shown(History::All, true);
        if first.1.is_over {
            return Err(Fault::unsupported("the task has ended: get it"));
        }
        let lives = Duration::from_millis(self.transaction.expires().0.saturating_sub(now_ms()));
        Ok(Listening {
            id: request.id.clone(),
            task,
            first,
            lives: Some(lives),
            stopping: self.served.stopping.clone(),
        })
    }

    async fn send(self, request: Request) -> Result<Response, Refusal> {
        let new = match request.params::<Send>().and_then(|send| send.check(&self.route.does)) {
            Ok(new) => match self.said_to(&new) {
                None => new,
                Some(fault) => return self.refused(&request, fault).await,
            },
            Err(fault) => return self.refused(&request, fault).await,
        };
        let (waits, history) = (new.waits, new.history);
        let asking = Arc::new(self);
        // Goes on when the client goes: what was begun is begun whole.
        let begun = tokio::spawn(Arc::clone(&asking).begin(new, history));
        let stopped = |_| Refusal::unavailable("stopped", "the gateway stops: ask again once it runs");
        let (task, first) = begun.await.map_err(stopped)??;
        if request.method == Method::SendStreaming {
            let stopping = asking.served.stopping.clone();
            return Ok(Listening { id: request.id, task, first, lives: None, stopping }.stream());
        }
        let shown = if waits {
            asking.wait(&task).await;
            task.shown(history, true).0
        } else {
            first.0
        };
        Ok(request.answered(&Ok(json!({ "task": shown }))))
    }

    async fn refused(&self, request: &Request, fault: Fault) -> Result<Response, Refusal> {
        self.counted().await?;
        Ok(request.answered(&Err(fault)))
    }

    /// Why nothing more can be said to a task.
    fn said_to(&self, new: &New) -> Option<Fault> {
        match self.find(new.task.as_ref()?) {
            Err(fault) => Some(fault),
            Ok(task) if new.context.as_ref().is_some_and(|context| *context != task.of.context) => {
                Some(Fault::params("`contextId` is not the task's"))
            }
            Ok(_) => Some(Fault::unsupported("a task here has one message: begin another in its context")),
        }
    }

    /// A task that is on disk, and works: as it stood before.
    // contracts/gateway.md W14, W34.
    async fn begin(self: Arc<Self>, new: New, history: History) -> Result<(Arc<Task>, (Value, Had)), Refusal> {
        let (work, tokens) = match self.work(&new.wants).await {
            Ok(work) => work,
            Err(refusal) => {
                // contracts/gateway.md W39.
                self.counted().await?;
                return Err(refusal);
            }
        };
        let task = Arc::new(Task::new(self.origin(new)?, now_ms()));
        let reserved = self.served.book.reserve(&self.transaction, tokens).await?;
        if let Err(not) = self.served.tasks.keeper.begin(&task, now_ms()).await {
            reserved.settle(0).await;
            return Err(not.into());
        }
        tracing::info!(transaction = self.transaction.id(), route = self.name, task = task.of.id, "a task is begun");
        let first = task.shown(history, true);
        tokio::spawn(Arc::clone(&self).go(Arc::clone(&task), work, reserved));
        Ok((task, first))
    }

    /// What a task needs, so far as nothing is done for it: and the tokens that it may use.
    async fn work(&self, wants: &Wants) -> Result<(Work, u64), Refusal> {
        match (&self.route.does, wants) {
            (Does::Complete(model), Wants::Text(text)) => {
                // contracts/gateway.md W32.
                let provider = self.served.chat.as_ref().filter(|provider| provider.serves(model));
                let worded = provider.ok_or_else(chat::none)?.worded(model, text)?;
                let tokens = worded.tokens;
                Ok((Work::Complete(worded), tokens))
            }
            (Does::Call(tool), Wants::Arguments(arguments)) => {
                let to = peer(&self.served, &tool.peer).await?;
                let front = self.served.services.front(&(to, tool.service.clone()))?;
                Ok((Work::Call(Box::new(front), tool.clone(), arguments.clone()), 0))
            }
            _ => Err(Refusal::bad("this route takes another message")),
        }
    }

    fn origin(&self, new: New) -> Result<Origin, Refusal> {
        let id = new_id()?;
        let context = new.context.map_or_else(new_id, Ok)?;
        let mut asked = new.message;
        asked.insert("taskId".to_owned(), id.as_str().into());
        asked.insert("contextId".to_owned(), context.as_str().into());
        Ok(Origin {
            id,
            context,
            principal: self.transaction.principal().to_owned(),
            route: self.name.clone(),
            transaction: self.transaction.id().to_owned(),
            asked: Value::Object(asked),
        })
    }

    /// Does it, and keeps its end. A gateway that stops leaves it as one that worked.
    async fn go(self: Arc<Self>, task: Arc<Task>, work: Work, reserved: Reservation) {
        task.works(now_ms());
        let served = &self.served;
        let end = match work {
            Work::Complete(worded) => {
                let Some(provider) = served.chat.as_ref() else { return };
                let spoken = async {
                    match provider.speak(worded, reserved, |piece| task.say(piece)).await {
                        Ok(()) => End::completed(None),
                        Err(why) => End::failed(why),
                    }
                };
                // What is left in the middle is not settled.
                tokio::select! {
                    biased;
                    end = spoken => Some(end),
                    () = self.ends(&task) => Some(self.left(&task)),
                    () = served.stopping.cancelled() => None,
                }
            }
            Work::Call(front, called, arguments) => match self.called(&front, &called, &arguments, &task).await {
                Outcome::Ended(end) => Some(end),
                Outcome::GivenUp { told } if task.canceling.is_cancelled() => Some(canceled(told)),
                Outcome::GivenUp { .. } => Some(End::failed(format!("no answer came in time: {NOT_KNOWN}"))),
                Outcome::Lost if served.stopping.is_cancelled() => None,
                Outcome::Lost => Some(End::failed(format!("no answer comes any more: {NOT_KNOWN}"))),
            },
        };
        let Some(end) = end else { return };
        tracing::info!(transaction = self.transaction.id(), task = task.of.id, stage = ?end.stage, "a task has ended");
        served.tasks.keeper.end(&task, end, now_ms()).await;
    }

    /// Calls a tool, under a transaction that lasts as long as the call: what cancels it goes under it too.
    // contracts/gateway.md W38.
    async fn called(&self, front: &Front<AgentLine>, tool: &Tool, arguments: &Value, task: &Task) -> Outcome {
        let under = Standing::new(Some(self.transaction.clone()));
        tokio::select! {
            biased;
            outcome = tool::call(front, tool, arguments, &under, self.ends(task)) => outcome,
            never = under.lasts(&self.served.agent) => match never {},
        }
    }

    /// Returns when it is to go no further.
    async fn ends(&self, task: &Task) {
        tokio::select! {
            () = task.canceling.cancelled() => {}
            () = sleep(self.route.patience) => {}
        }
    }

    fn left(&self, task: &Task) -> End {
        if task.canceling.is_cancelled() {
            return End::canceled();
        }
        End::failed(format!("it took longer than {} s", self.route.patience.as_secs()))
    }
}

impl From<NotBegun> for Refusal {
    fn from(not: NotBegun) -> Self {
        match not {
            NotBegun::Full => Self::unavailable("busy", "more tasks than are taken: wait until some have ended"),
            NotBegun::Unwritten => {
                Self::unavailable("task_unwritten", "the task cannot be written down now: nothing was done")
            }
        }
    }
}

/// Of what is not told that nobody waits nobody knows how far it goes.
// contracts/gateway.md W38.
fn canceled(told: bool) -> End {
    if told {
        return End::canceled();
    }
    End::failed(format!("the service cannot be told that nobody waits: {NOT_KNOWN}"))
}

/// An id that nobody guesses.
fn new_id() -> Result<String, Refusal> {
    let mut random = [0; 16];
    let none = |_| Refusal::unavailable("busy", "the system has no randomness now: ask again");
    getrandom::fill(&mut random).map_err(none)?;
    Ok(uuid::Builder::from_random_bytes(random).into_uuid().hyphenated().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// contracts/gateway.md W38.
    #[test]
    fn what_its_service_cannot_be_told_is_not_cancelled() {
        let end = canceled(false);
        assert_eq!((canceled(true).stage, end.stage), (task::Stage::Canceled, task::Stage::Failed));
        assert!(end.words.is_some_and(|words| words.contains(NOT_KNOWN)));
    }
}
