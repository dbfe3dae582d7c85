//! What was staged and is not with the writer yet.
//!
//! Steps of one turn of the loop go to the writer together: a letter's draft and its frame are one commit. A commit that nobody waits for (a peer
//! has a letter, so its copy here can go) waits a little for one that somebody does; were it lost, the peer would only be asked again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nuncio_store::{Backlog as Refused, Op, Staged, Writer};

use crate::wake::{Answer, Ticket};

/// Writes handed to the writer as one.
const GATHERED_MAX: usize = 512;
/// How long a commit that nobody waits for may wait for one that somebody does.
const LINGER: Duration = Duration::from_millis(5);

/// What was staged and is not with the writer yet, in order.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    staged: VecDeque<Staged<Ticket>>,
    /// Something is done once it is durable.
    awaited: bool,
    /// The first of it was staged then.
    since: Option<Instant>,
    /// The writer had no room.
    refused: bool,
}

impl Backlog {
    /// Adds a step, with rows of the runtime's own and answers that are true once it is durable.
    pub(crate) fn gather(&mut self, step: nuncio_proto::step::Staged, rows: Vec<Op>, answers: Vec<Answer>) {
        self.awaited |= !step.effects.is_empty() || !answers.is_empty() || !rows.is_empty();
        self.gather_at_leisure(step, rows, answers);
    }

    /// [`Backlog::gather`] of what nobody waits for.
    pub(crate) fn gather_at_leisure(&mut self, step: nuncio_proto::step::Staged, rows: Vec<Op>, answers: Vec<Answer>) {
        self.since.get_or_insert_with(Instant::now);
        match self.staged.back_mut().filter(|last| last.ops.len() < GATHERED_MAX) {
            Some(last) => {
                last.ops.extend(step.ops);
                last.ops.extend(rows);
                last.ticket.effects.append(step.effects);
                last.ticket.answers.extend(answers);
            }
            None => {
                let mut ops = step.ops;
                ops.extend(rows);
                self.staged.push_back(Staged { ops, ticket: Ticket { effects: step.effects, answers } });
            }
        }
    }

    /// When it goes to the writer if nothing else happens: `None` while there is nothing, or the writer has no room.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.since.filter(|_| !self.refused).map(|since| if self.is_ripe() { since } else { since + LINGER })
    }

    fn is_ripe(&self) -> bool {
        self.awaited || self.staged.len() > 1
    }

    /// Nothing new is taken while the writer has no room for what there is.
    pub(crate) const fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether so much waits that it should go to the writer first.
    pub(crate) fn is_long(&self) -> bool {
        self.refused || self.staged.len() > 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// Hands over what is due. `false`: the writer has stopped.
    pub(crate) fn flush(&mut self, writer: &Writer<Ticket>, now: Instant) -> bool {
        let due = self.refused || self.due().is_some_and(|due| due <= now);
        !due || self.flush_all(writer)
    }

    /// Hands everything over, as far as the writer has room. `false`: it has stopped.
    pub(crate) fn flush_all(&mut self, writer: &Writer<Ticket>) -> bool {
        self.refused = false;
        while let Some(staged) = self.staged.pop_front() {
            match writer.try_submit(staged) {
                Ok(()) => {}
                Err(Refused::Full(staged)) => {
                    self.staged.push_front(staged);
                    self.refused = true;
                    return true;
                }
                Err(Refused::Stopped(_)) => return false,
            }
        }
        (self.awaited, self.since) = (false, None);
        true
    }
}
