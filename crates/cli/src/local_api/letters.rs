//! Letters that go out.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use nuncio::{ContentType, Error, Message};
use nuncio_bridge::Marks;
use serde::Deserialize;

use super::handover;
use super::read::{Asked, Body, Sent, base64, letter_id, wait};
use super::refused::Refused;
use super::state::wide;
use super::{Door, Served, channels, inbox, transactions};
use crate::wire::{Accepted, Cancelled, Delivery, LetterState, NewLetter, Outbox, WantedOpening, Way};

/// Letters of the outbox in one answer by default, and at most.
const LISTED: (usize, usize) = (1_000, 65_536);

/// How long an answer is waited for by default, and at most.
const ANSWER_PATIENCE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

pub(super) async fn send(
    State(served): State<Served>,
    Extension(door): Extension<Door>,
    Body(new): Body<NewLetter>,
) -> Result<(StatusCode, Json<Accepted>), Refused> {
    let to = served.agent.resolve(&new.to).await?;
    let id = served.agent.send(to, message(new, door)?).await?;
    Ok((StatusCode::CREATED, Json(Accepted { to: to.to_string(), id: id.to_string() })))
}

#[derive(Deserialize)]
pub(super) struct Patience {
    timeout_ms: Option<u64>,
}

pub(super) async fn request(
    State(served): State<Served>,
    Extension(door): Extension<Door>,
    handover: Option<Extension<Marks>>,
    Asked(patience): Asked<Patience>,
    Body(new): Body<NewLetter>,
) -> Result<Response, Refused> {
    let to = served.agent.resolve(&new.to).await?;
    let (usual, most) = ANSWER_PATIENCE;
    let timeout = patience.timeout_ms.map_or(usual, Duration::from_millis).min(most);
    let message = message(new, door)?;
    let answered = async {
        let answer = served.agent.request_held(to, message, timeout).await?;
        let told = inbox::answer(answer.letter(), &inbox::names(&served).await?).await?;
        Ok::<_, Refused>((answer, told))
    };
    let (answer, told) = tokio::select! {
        answered = tokio::time::timeout(timeout, answered) => answered.unwrap_or_else(|_| Err(Refused::from(Error::TimedOut)))?,
        () = served.closing.cancelled() => return Err(Error::Stopped.into()),
    };
    handover::response(answer, &told, handover.map(|Extension(handover)| handover)).await
}

#[derive(Deserialize)]
pub(super) struct Wait {
    wait_ms: Option<u64>,
}

pub(super) async fn state(
    State(served): State<Served>,
    sent: Sent,
    Asked(asked): Asked<Wait>,
) -> Result<Json<LetterState>, Refused> {
    let delivered = tokio::select! {
        biased;
        delivered = served.agent.delivered(sent.to, sent.id) => Some(delivered),
        () = tokio::time::sleep(wait(asked.wait_ms)) => None,
        () = served.closing.cancelled() => None,
    };
    let (state, failed) = match delivered {
        None => (Delivery::Waiting, None),
        Some(Ok(())) => (Delivery::Delivered, None),
        Some(Err(error @ Error::NotDelivered(_))) => (Delivery::Failed, Some(error)),
        Some(Err(error)) => return Err(error.into()),
    };
    let payload = if state == Delivery::Waiting { served.agent.payload_sent(sent.to, sent.id).await? } else { None };
    Ok(Json(told(&sent, state, failed.as_ref(), payload)))
}

pub(super) async fn open(State(served): State<Served>, Body(wanted): Body<WantedOpening>) -> Result<Response, Refused> {
    let author = match &wanted.from {
        Some(from) => served.agent.resolve(from).await?,
        None => served.agent.id(),
    };
    let id = letter_id(&wanted.id)?;
    let payload = wanted.base64.as_deref().map(base64).transpose()?.unwrap_or_default();
    let opening = served.agent.opening(author, id, payload, wanted.show_pair).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], opening.to_json()).into_response())
}

#[derive(Deserialize)]
pub(super) struct Most {
    max: Option<usize>,
}

pub(super) async fn outbox(
    State(served): State<Served>,
    Asked(Most { max }): Asked<Most>,
) -> Result<Json<Outbox>, Refused> {
    let (usual, most) = LISTED;
    let letters = served.agent.undelivered().await?;
    let skipped = letters.len().saturating_sub(max.unwrap_or(usual).clamp(1, most));
    let names = inbox::names(&served).await?;
    let letters = letters.into_iter().skip(skipped).map(|letter| {
        let state = if letter.failed.is_some() { Delivery::Failed } else { Delivery::Waiting };
        let (way, mailbox_since_ms) = match letter.way {
            None => (None, None),
            Some(nuncio::Way::Waiting) => (Some(Way::None), None),
            Some(nuncio::Way::Sealed) => (Some(Way::Direct), None),
            Some(nuncio::Way::Mailbox(since)) => (Some(Way::Mailbox), Some(since.0)),
        };
        let told = told(&Sent { to: letter.to, id: letter.id }, state, letter.failed.as_ref(), None);
        let (channel, of) = letter.channel.unzip();
        let audits = channel.is_some_and(|channel| names.audited.contains(&channel));
        LetterState {
            way,
            mailbox_since_ms,
            channel: channel.map(|channel| channel.to_string()),
            channel_name: channel.and_then(|channel| names.channels.get(&channel).cloned()),
            of: of.map(wide),
            reason: letter.failed.as_ref().map(|error| channels::reason(error, audits)),
            ..told
        }
    });
    Ok(Json(Outbox { letters: letters.collect() }))
}

fn told(sent: &Sent, state: Delivery, failed: Option<&Error>, payload: Option<(u64, u64)>) -> LetterState {
    let (payload_sent, payload_len) = payload.unzip();
    let reason = failed.map(ToString::to_string);
    let code = failed.and_then(Error::letter_code).map(str::to_owned);
    let (way, mailbox_since_ms) = (None, None);
    let (channel, channel_name, of) = (None, None, None);
    let (to, id) = (sent.to.to_string(), sent.id.to_string());
    LetterState {
        to,
        id,
        state,
        way,
        mailbox_since_ms,
        channel,
        channel_name,
        of,
        reason,
        code,
        payload_sent,
        payload_len,
    }
}

pub(super) async fn cancel(State(served): State<Served>, sent: Sent) -> Result<Json<Cancelled>, Refused> {
    let cancelled = served.agent.cancel(sent.to, sent.id).await?;
    Ok(Json(Cancelled { cancelled }))
}

/// The letter that a body asks for.
fn message(new: NewLetter, door: Door) -> Result<Message, Refused> {
    let content_type = new.content_type.map(|text| text.parse::<ContentType>()).transpose();
    let content_type = content_type.map_err(|error| Refused::bad(error.to_string()))?;
    let mut message = match (new.text, new.base64, new.file) {
        (Some(text), None, None) => Message::bytes(content_type.unwrap_or(ContentType::TEXT), text.into_bytes()),
        (None, Some(bytes), None) => Message::bytes(content_type.unwrap_or(ContentType::BYTES), base64(&bytes)?),
        (None, None, Some(_)) if door != Door::Own => return Err(Refused::socket_only()),
        (None, None, Some(path)) if !path.is_absolute() => {
            return Err(Refused::bad("the file's path is to be absolute"));
        }
        (None, None, Some(path)) => Message::file(content_type.unwrap_or(ContentType::BYTES), path),
        _ => return Err(Refused::bad("a letter has exactly one of text, base64 and file")),
    };
    if let Some(id) = new.reply_to {
        message = message.reply_to(letter_id(&id)?);
    }
    if let Some(ms) = new.expires_ms {
        message = message.expires_in(Duration::from_millis(ms));
    }
    match &new.under {
        Some(under) => transactions::under(message, under),
        None => Ok(message),
    }
}
