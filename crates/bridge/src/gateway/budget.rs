//! What each principal may use in a period (contracts/gateway.md section 4): one task has all of it, so no two take the same rest.
//!
//! ```text
//!   reserve ─┐                        ┌─► durable ─► Reservation ─► the call ─► settle
//!   reserve ─┼─► one after the other ─┤
//!   settle  ─┘      (memory)          └─► over: 429
//! ```
//!
//! A reservation counts as used from the moment it is made: who never settles, by a crash too, has used it.

use std::collections::BTreeMap;

use axum::http::{StatusCode, header};
use nuncio::{Agent, Kept, Transaction};
use nuncio_contracts::registry::limit;
use nuncio_proto::codec;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::refusal::Refusal;

/// Requests that wait for the book, and those that become durable together.
const TOGETHER: usize = 256;
/// A row is not longer.
const ROW_LEN_MAX: usize = 64;
/// The first item of a row.
const VERSION: u8 = 2;
/// Rows of past periods that go at once: they are written together.
const GO_TOGETHER: usize = 1_024;
/// In front of a row's name.
const TREE: u8 = b'b';

/// What becomes of what does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Nothing is counted.
    Off,
    /// It is counted, and passes.
    Warn,
    /// It is refused.
    Hard,
}

/// How long a period is. They begin with the hours and days of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Per {
    Hour,
    Day,
}

/// What one principal may use.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    mode: Mode,
    limit: u64,
    per: Per,
}

/// All that is counted.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budgets {
    requests: Option<Budget>,
    tokens: Option<Budget>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Requests,
    Tokens,
}

impl What {
    const fn byte(self) -> u8 {
        match self {
            Self::Requests => b'r',
            Self::Tokens => b't',
        }
    }
}

impl Budgets {
    /// Those that count.
    fn of(&self, what: What) -> Option<Budget> {
        let budget = match what {
            What::Requests => self.requests,
            What::Tokens => self.tokens,
        };
        budget.filter(|budget| budget.mode != Mode::Off)
    }

    /// Whether tokens of completions have an end.
    fn tokens_are_hard(&self) -> bool {
        self.of(What::Tokens).is_some_and(|budget| budget.mode == Mode::Hard)
    }

    fn counts(&self) -> bool {
        [What::Requests, What::Tokens].iter().any(|what| self.of(*what).is_some())
    }
}

impl Budget {
    const fn period_s(&self) -> u64 {
        match self.per {
            Per::Hour => 3_600,
            Per::Day => 86_400,
        }
    }

    /// When the period began, in seconds.
    const fn start_s(&self, now_s: u64) -> u64 {
        now_s - now_s % self.period_s()
    }

    /// What was used of this period, and when it began. A clock that was put back is not the end of a period.
    // contracts/gateway.md W13.
    fn so_far(&self, used: Option<&Used>, now_s: u64) -> Used {
        let (start_s, period_s) = (self.start_s(now_s), self.period_s());
        let used = used.filter(|used| used.period_s == period_s && used.start_s >= start_s);
        let Some(used) = used else { return Used { start_s, period_s, used: 0 } };
        // Of a clock that was far ahead only what was used counts.
        if used.start_s > start_s.saturating_add(period_s) { Used { start_s, ..*used } } else { *used }
    }
}

/// What was used since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    start_s: u64,
    period_s: u64,
    used: u64,
}

#[derive(Serialize, Deserialize)]
struct Row(u8, u64, u64, u64);

type Key = (What, String);

/// Why nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotReserved {
    /// It does not fit; the period ends in so many seconds.
    Over { ends_in_s: u64 },
    /// As many principals as are kept.
    Full,
    /// It could not be written down.
    Unwritten,
}

impl From<NotReserved> for Refusal {
    fn from(not: NotReserved) -> Self {
        match not {
            NotReserved::Over { ends_in_s } => {
                let message = "this does not fit in what you may use: ask for less, or later";
                let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "budget", message);
                refusal.with(header::RETRY_AFTER, ends_in_s.to_string())
            }
            NotReserved::Full => Self::unavailable("busy", "more people at once than are kept: ask later"),
            NotReserved::Unwritten => {
                Self::unavailable("budget_unwritten", "what you use cannot be written down now: nothing was done")
            }
        }
    }
}

/// What a request may use: from here on it counts as used, until it is settled.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// Where nothing is counted there is no book.
    book: Option<mpsc::Sender<Asked>>,
    principal: String,
    start_s: u64,
    tokens: u64,
}

impl Reservation {
    /// So many tokens were used.
    // contracts/gateway.md W15.
    pub(crate) async fn settle(self, used: u64) {
        let Self { book: Some(book), principal, start_s, tokens } = self else { return };
        if used != tokens {
            // A book that has ended counts what was reserved.
            let _ = book.send(Asked::Settle { principal, start_s, reserved: tokens, used }).await;
        }
    }
}

#[derive(Debug)]
enum Asked {
    Reserve { principal: String, tokens: u64, reply: oneshot::Sender<Result<Reservation, NotReserved>> },
    Settle { principal: String, start_s: u64, reserved: u64, used: u64 },
}

/// The way to the book.
pub(crate) struct Book {
    asked: Option<mpsc::Sender<Asked>>,
    tokens_are_hard: bool,
}

impl Book {
    /// Reads what was used, and begins. It ends with the last handle.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn open(agent: Agent, budgets: Budgets) -> Result<Self, nuncio::Error> {
        Self::with_clock(agent, budgets, || Agent::now().0 / 1_000).await
    }

    async fn with_clock(agent: Agent, budgets: Budgets, now_s: fn() -> u64) -> Result<Self, nuncio::Error> {
        if !budgets.counts() {
            return Ok(Self { asked: None, tokens_are_hard: false });
        }
        let used = agent.kept().await?.into_iter().filter_map(|(name, value)| read(&name, &value)).collect();
        let (sender, asked) = mpsc::channel(TOGETHER);
        let keeper = Keeper { agent, budgets, now_s, used, before: BTreeMap::new(), me: sender.downgrade() };
        tokio::spawn(keeper.run(asked));
        Ok(Self { asked: Some(sender), tokens_are_hard: budgets.tokens_are_hard() })
    }

    /// Whether a completion has to say what it may use at most.
    pub(crate) const fn tokens_are_hard(&self) -> bool {
        self.tokens_are_hard
    }

    /// Reserves a request, and so many tokens: durable when this returns.
    ///
    /// # Errors
    /// It does not fit, or cannot be written down: nothing may be done.
    // contracts/gateway.md W14, W16.
    pub(crate) async fn reserve(&self, transaction: &Transaction, tokens: u64) -> Result<Reservation, NotReserved> {
        self.reserve_for(transaction.principal(), tokens).await
    }

    async fn reserve_for(&self, principal: &str, tokens: u64) -> Result<Reservation, NotReserved> {
        let principal = principal.to_owned();
        let Some(book) = &self.asked else { return Ok(Reservation { book: None, principal, start_s: 0, tokens }) };
        let (reply, told) = oneshot::channel();
        let asked = Asked::Reserve { principal, tokens, reply };
        book.send(asked).await.map_err(|_| NotReserved::Unwritten)?;
        told.await.unwrap_or(Err(NotReserved::Unwritten))
    }
}

/// Who has all of it.
struct Keeper {
    agent: Agent,
    budgets: Budgets,
    now_s: fn() -> u64,
    used: BTreeMap<Key, Used>,
    /// What was changed and is not durable, as it was.
    before: BTreeMap<Key, Option<Used>>,
    me: mpsc::WeakSender<Asked>,
}

type Answer = (oneshot::Sender<Result<Reservation, NotReserved>>, Result<Reservation, NotReserved>);

impl Keeper {
    async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        while let Some(first) = asked.recv().await {
            let mut answers: Vec<Answer> = self.enter(first).into_iter().collect();
            for _ in 1..TOGETHER {
                let Ok(next) = asked.try_recv() else { break };
                answers.extend(self.enter(next));
            }
            let written = self.write().await;
            for (reply, answer) in answers {
                let answer = answer.and_then(|reserved| written.map(|()| reserved));
                // Whoever has gone does nothing: it counts all the same.
                drop(reply.send(answer));
            }
        }
    }

    fn enter(&mut self, asked: Asked) -> Option<Answer> {
        match asked {
            Asked::Reserve { principal, tokens, reply } => Some((reply, self.reserve(principal, tokens))),
            Asked::Settle { principal, start_s, reserved, used } => {
                let key = (What::Tokens, principal);
                let before = self.used.get(&key).copied().filter(|before| before.start_s == start_s)?;
                let used = before.used.saturating_sub(reserved).saturating_add(used);
                self.set(key, Some(Used { used, ..before }));
                None
            }
        }
    }

    fn reserve(&mut self, principal: String, tokens: u64) -> Result<Reservation, NotReserved> {
        let now_s = (self.now_s)();
        let wanted = [(What::Requests, 1), (What::Tokens, tokens)].into_iter().filter(|(_, wanted)| *wanted > 0);
        let mut all = Vec::new();
        for (what, wanted) in wanted {
            let Some(budget) = self.budgets.of(what) else { continue };
            let key = (what, principal.clone());
            let before = budget.so_far(self.used.get(&key), now_s);
            let used = before.used.saturating_add(wanted);
            if used > budget.limit && budget.mode == Mode::Hard {
                let ends_s = before.start_s.saturating_add(budget.period_s());
                return Err(NotReserved::Over { ends_in_s: ends_s.saturating_sub(now_s) });
            }
            // Once, where it comes to be over.
            if used > budget.limit && before.used <= budget.limit {
                tracing::warn!(?what, used, limit = budget.limit, "a principal is over its budget");
            }
            all.push((key, Used { used, ..before }));
        }
        self.make_room(now_s, all.len())?;
        let of_tokens = all.iter().find(|((what, _), _)| *what == What::Tokens);
        let start_s = of_tokens.map_or(0, |(_, used)| used.start_s);
        all.into_iter().for_each(|(key, used)| self.set(key, Some(used)));
        Ok(Reservation { book: self.me.upgrade(), principal, start_s, tokens })
    }

    /// What is of past periods goes once there is too much.
    fn make_room(&mut self, now_s: u64, more: usize) -> Result<(), NotReserved> {
        let fits = |used: &BTreeMap<Key, Used>| used.len().saturating_add(more) <= 2 * limit::GATEWAY_PRINCIPALS_MAX;
        if fits(&self.used) {
            return Ok(());
        }
        let budgets = self.budgets;
        let is_past =
            |what: What, used: &Used| budgets.of(what).is_none_or(|budget| budget.so_far(Some(used), now_s).used == 0);
        let past = self.used.iter().filter(|((what, _), used)| is_past(*what, used)).map(|(key, _)| key.clone());
        for key in past.take(GO_TOGETHER).collect::<Vec<_>>() {
            self.set(key, None);
        }
        if fits(&self.used) { Ok(()) } else { Err(NotReserved::Full) }
    }

    fn set(&mut self, key: Key, to: Option<Used>) {
        let before = match to {
            Some(used) => self.used.insert(key.clone(), used),
            None => self.used.remove(&key),
        };
        self.before.entry(key).or_insert(before);
    }

    /// Makes what was changed durable, or as it was.
    async fn write(&mut self) -> Result<(), NotReserved> {
        let before = std::mem::take(&mut self.before);
        let rows: Vec<Kept> = before.keys().map(|key| (name(key), self.used.get(key).map(row))).collect();
        let Err(error) = self.agent.keep(rows).await else { return Ok(()) };
        tracing::error!(%error, "what people use cannot be written down: nothing is done for them");
        for (key, was) in before {
            match was {
                Some(used) => drop(self.used.insert(key, used)),
                None => drop(self.used.remove(&key)),
            }
        }
        Err(NotReserved::Unwritten)
    }
}

fn name((what, principal): &Key) -> Vec<u8> {
    [&[TREE, what.byte()], principal.as_bytes()].concat()
}

fn row(used: &Used) -> Vec<u8> {
    codec::encode(&Row(VERSION, used.start_s, used.period_s, used.used))
}

fn read(name: &[u8], value: &[u8]) -> Option<(Key, Used)> {
    let (what, principal) = match name {
        [TREE, b'r', principal @ ..] => (What::Requests, principal),
        [TREE, b't', principal @ ..] => (What::Tokens, principal),
        _ => return None,
    };
    let Row(_, start_s, period_s, used) = codec::decode(value, ROW_LEN_MAX).ok()?;
    Some(((what, String::from_utf8(principal.to_vec()).ok()?), Used { start_s, period_s, used }))
}

#[cfg(test)]
mod tests;
