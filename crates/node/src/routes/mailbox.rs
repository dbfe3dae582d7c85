//! The mailbox's doors for its owner (contracts/mailbox.md M1, M9, M10).

use std::convert::Infallible;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use nuncio_proto::deposit::MailboxSecret;
use nuncio_proto::ids::AgentId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Served;
use crate::gate;
use crate::refusal::Refusal;

/// Frames that wait for a slow reader.
const FRAMES_WAITING: usize = 16;

/// contracts/mailbox.md M1.
pub(super) async fn open(
    State(at): State<Served>,
    Extension(agent): Extension<AgentId>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let secret = gate::read(request.into_body(), 32).await?;
    let secret = <[u8; 32]>::try_from(&*secret).map_err(|_| Refusal::request("a secret has 32 bytes"))?;
    at.service.mailboxes.set_secret(&at.service.ledger, agent, Some(MailboxSecret::new(secret))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// contracts/mailbox.md M1.
pub(super) async fn close(
    State(at): State<Served>,
    Extension(agent): Extension<AgentId>,
) -> Result<StatusCode, Refusal> {
    at.service.mailboxes.set_secret(&at.service.ledger, agent, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// contracts/mailbox.md M9.
pub(super) async fn fetch(State(at): State<Served>, Extension(agent): Extension<AgentId>) -> Response {
    let (frames, waiting) = mpsc::channel::<Result<Bytes, Infallible>>(FRAMES_WAITING);
    let own = at.clone();
    at.tasks.spawn(async move {
        tokio::select! {
            () = tell(&own, agent, &frames) => {}
            () = frames.closed() => {}
            () = own.closing.cancelled() => {}
        }
    });
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(ReceiverStream::new(waiting))).into_response()
}

async fn tell(at: &Served, agent: AgentId, frames: &mpsc::Sender<Result<Bytes, Infallible>>) {
    let mut reader = at.service.mailboxes.reader(agent);
    loop {
        match reader.next(&at.service.mailboxes, &at.service.store).await {
            Ok(Some(next)) => {
                for (number, frame) in next {
                    let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                    let part = [number.to_be_bytes().as_slice(), &len.to_be_bytes(), &frame].concat();
                    if frames.send(Ok(part.into())).await.is_err() {
                        return;
                    }
                }
            }
            Ok(None) => return,
            Err(error) => return tracing::error!(%error, "a mailbox cannot be read"),
        }
    }
}

/// contracts/mailbox.md M10.
pub(super) async fn taken(
    State(at): State<Served>,
    Extension(agent): Extension<AgentId>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let number = gate::read(request.into_body(), 8).await?;
    let number = <[u8; 8]>::try_from(&*number).map_err(|_| Refusal::request("a number has 8 bytes"))?;
    at.service.mailboxes.taken(&at.service.ledger, agent, u64::from_be_bytes(number)).await?;
    Ok(StatusCode::NO_CONTENT)
}
