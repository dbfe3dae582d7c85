//! Requests that are begun in the commit in which they come: one commit less before their service sees them (contracts/call.md X10).
//!
//! ```text
//!   a frame ─► step ─► admission ─► the letter's row and that it is begun ─► durable ─► calls ─► begin_call: it is
//! ```
//!
//! Whoever serves is asked before the commit and hands nothing over before it; what it would not hand over at once waits as it came.

use core::fmt;
use std::sync::Arc;

use nuncio_contracts::registry::{event, extension};
use nuncio_proto::call::{CallPlace, What};
use nuncio_proto::ids::AgentId;
use nuncio_proto::letter::Letter;
use nuncio_proto::step::{Arrival, Effects, Staged, Step};
use nuncio_proto::token::Scope;
use nuncio_store::Op;

use crate::actor::Actor;
use crate::calling::begun_row;
use crate::entropy::now;

/// A longer one is begun by whoever reads it: the actor waits for no reader.
const ADMITTED_LEN_MAX: usize = 16 << 10;

/// A request that came, with its bytes, and is not on disk.
#[derive(Clone, Copy, Debug)]
pub struct Coming<'a> {
    /// Who asks: a peer that was added.
    pub from: AgentId,
    /// What it is called here.
    pub name: Option<&'a str>,
    /// The scope of its token, which is genuine and this letter's.
    pub token: Option<&'a Scope>,
    /// Of which call.
    pub place: &'a CallPlace,
    /// The letter: its payload is the message.
    pub letter: &'a Letter,
}

/// Says of a request whether it is begun at once, by the word with which it is: [`crate::Agent::admit_calls`].
#[derive(Clone)]
pub struct Admission(Arc<Admits>);

type Admits = dyn Fn(&Coming<'_>) -> Option<String> + Send + Sync;

impl Admission {
    /// Asks this. It is called between two messages of the agent's: it waits for nothing.
    #[must_use]
    pub fn new(admits: impl Fn(&Coming<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(admits))
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admission(..)")
    }
}

impl Actor {
    /// Commits what came.
    pub(crate) fn take_received(&mut self, step: Step) {
        let mut staged = Staged { ops: Vec::new(), effects: Effects::default() };
        self.stage_onto(&mut staged, step);
        let begun = self.begin_arrivals(&mut staged);
        self.commit_staged(staged, begun, Vec::new());
    }

    /// Begins the requests among what came that are admitted, in the commit in which they come.
    fn begin_arrivals(&mut self, staged: &mut Staged) -> Vec<Op> {
        let Some(admission) = self.calls.admission.clone() else { return Vec::new() };
        let (mut admitted, mut rows) = (Vec::new(), Vec::new());
        for arrival in staged.effects.arrivals() {
            let Some(place) = CallPlace::of(&arrival.letter).ok().flatten() else { continue };
            admitted.extend(self.begins_at_once(&admission, arrival, &place).map(|method| (arrival.clone(), method)));
            if let Some(session) = place.session.filter(|_| place.what.is_callers() != Some(false)) {
                self.calls.comes(arrival.no, (arrival.from, session));
            }
        }
        for (arrival, method) in admitted {
            rows.push(begun_row(arrival.no, &method));
            let told = self.peer.tell_call(event::TOOL_INVOKED, None, &arrival, &method, now());
            told.into_iter().for_each(|step| self.stage_onto(staged, step));
            self.calls.begun_at_once(arrival.no, method);
        }
        rows
    }

    // contracts/call.md X11: one that stands behind another of its session, which may be handed over first, is not begun.
    fn begins_at_once(&self, admission: &Admission, arrival: &Arrival, place: &CallPlace) -> Option<String> {
        let (from, letter) = (arrival.from, &arrival.letter);
        let is_behind = place
            .session
            .is_some_and(|session| self.calls.has_coming((from, session)) || self.waits_for_service(from, session));
        if place.what != What::Request || is_behind {
            return None;
        }
        let peer = self.peer.contact(&from).filter(|info| info.allowed && !info.retired)?;
        if letter.extension(extension::LARGE_PAYLOAD).is_some() || letter.payload.len() > ADMITTED_LEN_MAX {
            return None;
        }
        let token = arrival.token.as_deref().map(|token| &token.claims().scope);
        (admission.0)(&Coming { from, name: peer.name.as_deref(), token, place, letter })
    }
}
