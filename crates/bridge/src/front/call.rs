//! One request of this program's own, which stands alone: among those of a front's clients, since only one hears what comes without session.

use nuncio::Transaction;
use nuncio_contracts::registry::limit;
use nuncio_proto::call::What;

use super::exchange::Source;
use super::session::{Ending, Session, Ticket};
use super::{Front, letter_id};
use crate::line::{HeardWhat, Line, LineError, Say};
use crate::message::Message;

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Called {
    /// Its answer; the body of one that is longer than `gateway_task_answer_max` is not in memory.
    Answered(Message),
    /// Nothing was said, or its letter was not delivered: why, for people.
    NotSaid(String),
    /// It was said, and given up.
    GivenUp,
    /// It was said, and nothing more comes: nobody knows here whether it was done.
    Lost,
}

impl<L: Line> Front<L> {
    /// Says a request, and waits for its answer until `ends`: then it is cancelled. `id` is the message's own, as it is written.
    pub(crate) async fn call(
        &self,
        message: Message,
        id: &str,
        under: &Transaction,
        ends: impl Future<Output = ()>,
    ) -> Called {
        let session = match self.session(None).await {
            Ok(session) => session,
            Err(fault) => return Called::NotSaid(fault.text().to_owned()),
        };
        let request = letter_id();
        let (ticket, rx, last) = session.open(request, false);
        let mut source = Source::Shared(rx, last);
        let (note, under) = (id.as_bytes().to_vec(), Some(under.clone()));
        let say = Say {
            id: request,
            what: What::Request,
            session: None,
            reply_to: None,
            message,
            note,
            under: under.clone(),
        };
        let called = match session.line.say(say).await {
            Ok(()) => tokio::select! {
                biased;
                called = answer(&session, ticket, &mut source) => called,
                () = ends => {
                    cancel(&session, ticket, id, under).await;
                    Called::GivenUp
                }
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
        match heard.what {
            HeardWhat::Answer(_, message) => {
                return answered(message).await;
            }
            HeardWhat::Failed { why, .. } => return Called::NotSaid(why),
            HeardWhat::End => return Called::Lost,
            HeardWhat::Part(..) | HeardWhat::Aside(_) => {}
        }
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

/// Nobody waits for it any more.
// contracts/call.md X16.
async fn cancel<L: Line>(session: &Session<L>, ticket: Ticket, id: &str, under: Option<Transaction>) {
    let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
    let (reply_to, message) = (Some(ticket.request), Message::json(text));
    let say = Say { id: letter_id(), what: What::Notice, session: None, reply_to, message, note: Vec::new(), under };
    if let Err(error) = session.line.say(say).await {
        tracing::debug!(%error, "a request goes on that was given up");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::Body;

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
