//! Calls that end without an answer: what failed, and what goes with a peer (contracts/call.md X13, X43).

use std::collections::BTreeSet;

use nuncio_contracts::registry::code;
use nuncio_proto::ids::{AgentId, CallSessionId, LetterId};
use nuncio_proto::step::Reached;
use nuncio_store::Op;

use super::rows::{MEMORY, OPENED, of_session, put_open};
use super::{CallBook, Of};
use crate::actor::Actor;
use crate::calls::CallNews;
use crate::error::Error;
use crate::wake::Answer;

impl Actor {
    /// What a removal leaves that is cut short: of agents that are no peers nothing is there.
    // contracts/call.md X43.
    pub(super) fn forget_calls_of_no_peers(&mut self) {
        let CallBook { came, opened, memories, open, .. } = &self.calls;
        let asked = open.iter().filter(|(_, open)| open.failed.is_none()).map(|((to, _), _)| *to);
        let with = opened.keys().map(|(with, _)| *with);
        let all = came.values().map(|came| came.from).chain(with).chain(memories.keys().copied()).chain(asked);
        let all: BTreeSet<AgentId> = all.collect();
        let is_none = |agent: &AgentId| self.peer.contact(agent).is_none_or(|known| known.retired);
        for agent in all.into_iter().filter(is_none).collect::<Vec<_>>() {
            self.forget_calls_of(agent);
        }
    }

    /// Whether a request whose letter failed may be with its receiver, of which nothing was heard.
    // contracts/call.md X13.
    pub(crate) fn may_have_gone(&self, to: AgentId, id: LetterId, reached: Reached) -> bool {
        let Some(open) = self.calls.open.get(&(to, id)) else { return false };
        let went = open.said.is_none_or(|said| self.calls.gave.get(&to).is_some_and(|gave| *gave >= said));
        match reached {
            Reached::Nowhere => false,
            // Whoever has let nobody in has taken nothing.
            Reached::Unanswered => went && !self.is_turned_away(&to),
            Reached::Session => went,
        }
    }

    /// A letter of ours failed: where it was a request, whoever asked is told.
    pub(crate) fn call_failed(&mut self, to: AgentId, id: LetterId, code: u16) {
        let Some(open) = self.calls.open.get_mut(&(to, id)).filter(|open| open.failed.is_none()) else { return };
        let (no, step) = self.peer.take_number();
        open.failed = Some((code, no));
        let row = put_open(open);
        self.calls.failures.insert(no, (to, id));
        let urgent = self.tasks.urgent.clone();
        // An actor that has stopped tells it at its next start.
        let told = Answer(Box::new(move || drop(urgent.send(crate::wake::Wake::CallFailed { no }))));
        self.commit_rows(step, vec![row], vec![told]);
    }

    /// That a request failed is on disk.
    pub(crate) fn tell_call_failed(&mut self, no: u64) {
        let Some(open) = self.calls.failures.get(&no).and_then(|at| self.calls.open.get(at)) else { return };
        let Some((asked, code)) = open.failed.map(|(code, _)| (open.asked.clone(), code)) else { return };
        self.calls.tell(|| CallNews::Failed { no, asked: asked.clone(), why: Error::NotDelivered(code) });
    }

    /// An agent is no peer any more: what came of it goes, and its sessions; whoever asked it is told.
    pub(crate) fn forget_calls_of(&mut self, agent: AgentId) {
        let came = self.calls.came.iter().filter(|(_, came)| came.from == agent).map(|(no, _)| *no).collect();
        let all = [0; 16]..=[u8::MAX; 16];
        let (first, last) = (CallSessionId::from_bytes(*all.start()), CallSessionId::from_bytes(*all.end()));
        let opened: Vec<Of> = self.calls.opened.range((agent, first)..=(agent, last)).map(|(of, _)| *of).collect();
        let mut rows: Vec<Op> = opened.iter().map(|of| Op::Delete { key: of_session(OPENED, of) }).collect();
        for of in opened {
            self.calls.opened.remove(&of);
            self.peer.end_calls(of.0, of.1);
        }
        let memories = self.calls.memories.remove(&agent).unwrap_or_default();
        rows.extend(memories.into_iter().map(|session| Op::Delete { key: of_session(MEMORY, &(agent, session)) }));
        self.forget_all_came(came, rows);
        let open: Vec<_> = self.calls.open.keys().filter(|(to, _)| *to == agent).copied().collect();
        // contracts/call.md section 4, -32041: it may be there, and done.
        open.into_iter().for_each(|(to, id)| self.call_failed(to, id, code::REMOVED));
        self.calls.removed.retain(|hears| !hears.is_closed());
        let hear = self.calls.removed.clone();
        let tell = move || {
            for hears in &hear {
                // Who hears no more is no failure.
                let _ = hears.send(agent);
            }
        };
        self.when_durable(Answer(Box::new(tell)));
    }

    /// A peer has removed this agent, and with it what it was asked: no answer comes of what it has (contracts/call.md section 4, -32041).
    pub(crate) fn forgotten_by(&mut self, peer: AgentId) {
        let there = |at: &(AgentId, LetterId)| at.0 == peer && !self.peer.is_under_way(at.0, at.1);
        let open: Vec<_> = self.calls.open.keys().filter(|at| there(at)).copied().collect();
        open.into_iter().for_each(|(to, id)| self.call_failed(to, id, code::REMOVED));
    }
}
