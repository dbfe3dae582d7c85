//! Answers that are taken out of the agent's keeping only once the system has every byte of the response (contracts/local-api.md A11).
//!
//! ```text
//!   response's body is read ─▶ the answer waits here ─▶ the connection has flushed ─▶ taken
//!                                      └─ the connection ends before ─▶ dropped: it is in the inbox
//! ```

use std::io;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use nuncio::{Error, HeldAnswer};
use nuncio_bridge::Marks;
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;

use super::refused::Refused;
use crate::wire::InboxLetter;

/// Takes an answer once its bytes are the system's; where they do not get there it is dropped, back to the inbox.
fn take_once(flushed: oneshot::Receiver<()>, answer: HeldAnswer) {
    tokio::spawn(async move {
        if flushed.await.is_err() {
            return;
        }
        if let Err(error) = answer.take().await {
            tracing::debug!(%error, "an answer that was handed out is in the inbox too");
        }
    });
}

/// The response that tells an answer. Without a connection, in a command's own process, the answer is taken first.
pub(super) async fn response(
    answer: HeldAnswer,
    told: &InboxLetter,
    marks: Option<Marks>,
) -> Result<Response, Refused> {
    let bytes = serde_json::to_vec(told).map_err(|error| Refused::from(Error::Failed(error.to_string())))?;
    let headers =
        [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_LENGTH, bytes.len().to_string())];
    let Some(marks) = marks else {
        answer.take().await?;
        return Ok((headers, bytes).into_response());
    };
    let mut answer = Some(answer);
    let body = tokio_stream::once(bytes).map(move |bytes| {
        if let Some(answer) = answer.take() {
            let (mark, flushed) = oneshot::channel();
            marks.put(mark);
            take_once(flushed, answer);
        }
        Ok::<_, io::Error>(bytes)
    });
    Ok((headers, Body::from_stream(body)).into_response())
}
