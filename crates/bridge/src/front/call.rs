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
    /// Its answer; one that is longer than `gateway_task_answer_max` is not read, and not here.
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
                let len = message.body.len().map_or(usize::MAX, |len| usize::try_from(len).unwrap_or(usize::MAX));
                if len > limit::GATEWAY_TASK_ANSWER_MAX {
                    // Not a byte of it is read.
                    return Called::Answered(message);
                }
                // What it is read from goes once it was taken.
                return message.into_memory().await.map_or(Called::Lost, Called::Answered);
            }
            HeardWhat::Failed { why, .. } => return Called::NotSaid(why),
            HeardWhat::End => return Called::Lost,
            HeardWhat::Part(..) | HeardWhat::Aside(_) => {}
        }
    }
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
