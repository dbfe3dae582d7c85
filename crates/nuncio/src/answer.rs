//! An answer that waits to be taken.

use tokio::sync::{mpsc, oneshot};

use crate::actor::Actor;
use crate::command::Reply;
use crate::effects::{answer, tell};
use crate::error::Error;
use crate::message::Incoming;
use crate::wake::Wake;

/// The answer to a request, which is kept until it is taken: whatever happens before, it is not lost. Dropped without being taken, or when the agent
/// stops, it is a letter of the inbox like any other.
#[derive(Debug)]
pub struct HeldAnswer {
    letter: Incoming,
    actor: mpsc::UnboundedSender<Wake>,
}

impl HeldAnswer {
    pub(crate) const fn new(letter: Incoming, actor: mpsc::UnboundedSender<Wake>) -> Self {
        Self { letter, actor }
    }

    /// What it says.
    #[must_use]
    pub const fn letter(&self) -> &Incoming {
        &self.letter
    }

    /// Takes it: when this returns it is on disk that no inbox will show it.
    ///
    /// # Errors
    /// [`Error::Stopped`]; it may be in the inbox then.
    pub async fn take(self) -> Result<Incoming, Error> {
        let (reply, taken) = oneshot::channel();
        self.actor.send(Wake::AnswerTaken { no: self.letter.no, reply }).map_err(|_| Error::Stopped)?;
        taken.await.map_err(|_| Error::Stopped)??;
        Ok(self.letter.clone())
    }
}

impl Drop for HeldAnswer {
    fn drop(&mut self) {
        // An actor that has stopped shows it at its next start.
        let _ = self.actor.send(Wake::AnswerLeft { no: self.letter.no });
    }
}

impl Actor {
    /// Hands an answer to whoever waits for it. No inbox shows it meanwhile.
    pub(crate) fn hold_answer(&mut self, letter: Incoming, reply: Reply<HeldAnswer>) {
        self.held.insert(letter.no);
        let urgent = self.tasks.urgent.clone();
        // What nobody takes is dropped, and says so.
        drop(reply.send(Ok(HeldAnswer::new(letter.lent(&urgent), urgent))));
    }

    pub(crate) fn answer_taken(&mut self, no: u64, reply: Reply<()>) {
        match self.peer.done(no) {
            // A large payload of it stays for as long as somebody has it in hand.
            Some(step) => self.commit_with(step, vec![answer(reply, ())]),
            None => tell(reply, Ok(())),
        }
    }

    /// Nobody holds an answer any more: one that was not taken is shown.
    pub(crate) fn answer_left(&mut self, no: u64) {
        self.held.remove(&no);
        let letters = self.letters(no.checked_sub(1), 1).unwrap_or_default();
        for incoming in letters.into_iter().filter(|letter| letter.no == no) {
            self.inboxes.retain(|inbox| inbox.send(incoming.clone()).is_ok());
            self.arrivals.send_modify(|_| {});
        }
    }
}
