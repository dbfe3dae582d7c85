//! One request of this program's own, which stands alone: among those of a front's clients, since only one hears what comes without session.

use nuncio_contracts::registry::limit;
use nuncio_proto::call::What;

use super::exchange::Source;
use super::session::{Ending, Session, Ticket};
use super::{Front, letter_id};
use crate::line::{HeardWhat, Line, LineError, Say};
use crate::message::Message;
use crate::under::Standing;

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Called {
    /// Its answer; the body of one that is longer than `gateway_task_answer_max` is not in memory.
    Answered(Message),
    /// Nothing was said, or its letter was not delivered: why, for people.
    NotSaid(String),
    /// It was said, and given up.
    GivenUp {
        /// That nobody waits for it was said too.
        told: bool,
    },
    /// It was said, and nothing more comes that can be read: nobody knows here whether it was done.
    Lost,
}

impl<L: Line> Front<L> {
    /// Says a request, and waits for its answer until `ends`: then it is cancelled, under the transaction as it stands then. `id` is the message's own, as
    /// it is written.
    pub(crate) async fn call(
        &self,
        message: Message,
        id: &str,
        under: &Standing,
        ends: impl Future<Output = ()>,
    ) -> Called {
        let session = match self.session(None).await {
            Ok(session) => session,
            Err(fault) => return Called::NotSaid(fault.text().to_owned()),
        };
        let request = letter_id();
        let (ticket, rx, last) = session.open(request, false);
        let mut source = Source::Shared(rx, last);
        let note = id.as_bytes().to_vec();
        let say =
            Say { id: request, what: What::Request, session: None, reply_to: None, message, note, under: under.get() };
        let called = match session.line.say(say).await {
            Ok(()) => tokio::select! {
                biased;
                called = answer(&session, ticket, &mut source) => called,
                () = ends => Called::GivenUp { told: cancel(&session, ticket, id, under).await },
            },
            Err(LineError::Stopped) => Called::Lost,
            Err(error) => Called::NotSaid(error.to_string()),
        };
        let answered = matches!(called, Called::Answered(_) | Called::NotSaid(_));
        session.take(session.close(ticket, Ending::Final, answered)).await;
        called
    }
}

async fn answer<L: Line>(session: &Session<L>, ticket: Ticket, source: &mut Source) -> Called {
    loop {
        let heard = tokio::select! {
            heard = source.next(session, ticket) => heard,
            () = session.stopping.cancelled() => None,
        };
        let Some(heard) = heard else { return Called::Lost };
        session.take(session.had(ticket.request, heard.no)).await;
        if let Some(called) = end_of(heard.what).await {
            return called;
        }
    }
}

/// What became of a request with this; `None` where it goes on, whether or not the bytes came of what it says on its way.
// contracts/gateway.md W33.
async fn end_of(what: HeardWhat) -> Option<Called> {
    match what {
        HeardWhat::Answer(_, message) => Some(answered(message).await),
        HeardWhat::Failed { why, .. } => Some(Called::NotSaid(why)),
        HeardWhat::Unread { why, last: true, .. } => {
            tracing::warn!(why, "the answer to a request cannot be read");
            Some(Called::Lost)
        }
        HeardWhat::End => Some(Called::Lost),
        HeardWhat::Unread { .. } | HeardWhat::Part(..) | HeardWhat::Aside(_) => None,
    }
}

/// What it is read from goes once it was taken; of one that is too long not a byte is read.
// contracts/gateway.md W36.
async fn answered(message: Message) -> Called {
    let len = message.body.len().map_or(usize::MAX, |len| usize::try_from(len).unwrap_or(usize::MAX));
    if len > limit::GATEWAY_TASK_ANSWER_MAX {
        return Called::Answered(message);
    }
    message.into_memory().await.map_or(Called::Lost, Called::Answered)
}

/// Nobody waits for it any more. Whether that was said.
// contracts/call.md X16.
async fn cancel<L: Line>(session: &Session<L>, ticket: Ticket, id: &str, under: &Standing) -> bool {
    let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
    let (reply_to, message) = (Some(ticket.request), Message::json(text));
    let (id, note, under) = (letter_id(), Vec::new(), under.get());
    let said = session.line.say(Say { id, what: What::Notice, session: None, reply_to, message, note, under }).await;
    if let Err(error) = &said {
        tracing::warn!(%error, "a request goes on that was given up");
    }
    said.is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::sync::Arc;

    use nuncio_proto::ids::CallSessionId;
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::front::Guard;
    use crate::line::Heard;
    use crate::message::Body;

    /// A line on which requests are said, nothing comes, and notices are said as it says.
    #[derive(Clone)]
    struct Silent {
        tells: bool,
    }

    impl Line for Silent {
        async fn say(&self, say: Say) -> Result<(), LineError> {
            let is_said = self.tells || say.what == What::Request;
            if is_said { Ok(()) } else { Err(LineError::Denied("its token is over".to_owned())) }
        }

        async fn listen(&self, _: Option<CallSessionId>, _: Option<u64>) -> Result<mpsc::Receiver<Heard>, LineError> {
            let (sender, heard) = mpsc::channel(1);
            tokio::spawn(async move { sender.closed().await });
            Ok(heard)
        }

        async fn taken(&self, _: u64) -> Result<(), LineError> {
            Ok(())
        }
    }

    /// contracts/gateway.md W38.
    #[tokio::test]
    async fn a_cancel_that_is_not_said_is_known_as_such() {
        for tells in [true, false] {
            let guard = Guard::new(([127, 0, 0, 1], 1).into(), None, String::new().into());
            let front = Front::new(Silent { tells }, guard, CancellationToken::new());
            let called = front.call(Message::json("{}"), "1", &Standing::default(), std::future::ready(())).await;
            assert!(matches!(called, Called::GivenUp { told } if told == tells), "{called:?}");
        }
    }

    /// contracts/gateway.md W33.
    #[tokio::test]
    async fn what_was_answered_and_cannot_be_read_is_not_told_as_not_said() {
        let unread = |last| HeardWhat::Unread { request: letter_id(), why: "its sender has gone".to_owned(), last };
        assert!(matches!(end_of(unread(true)).await, Some(Called::Lost)));
        assert!(end_of(unread(false)).await.is_none(), "it goes on there, and its answer may come");
        let failed = HeardWhat::Failed { request: letter_id(), why: String::new(), note: Vec::new() };
        assert!(matches!(end_of(failed).await, Some(Called::NotSaid(_))));
    }

    #[tokio::test]
    async fn a_long_answer_is_not_read() {
        for (len, is_read) in [(limit::GATEWAY_TASK_ANSWER_MAX, true), (limit::GATEWAY_TASK_ANSWER_MAX + 1, false)] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), "x".repeat(len)).unwrap();
            let body = Body::File(Arc::new(file.into_temp_path()));
            let Called::Answered(message) = answered(Message { body, ..Message::json("") }).await else { panic!() };
            assert_eq!(message.body.is_in_memory(), is_read, "{len}");
        }
    }
}
