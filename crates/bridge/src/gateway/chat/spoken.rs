//! A completion that a task waits for, by the same way as a person's own: its pieces are text.

use axum::http::header;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::timeout;

use super::asked::Asked;
use super::meter::Meter;
use super::{NoAnswer, Provider, Refusal, Reservation};

/// Longest line of a stream, and longest answer alone, in bytes.
const READ_MAX: usize = 2 << 20;

/// What is asked for in a task, and what it may use.
pub(in crate::gateway) struct Worded {
    body: Bytes,
    /// Tokens to reserve.
    pub(in crate::gateway) tokens: u64,
}

impl Provider {
    /// Whether people may ask for this model.
    pub(in crate::gateway) fn serves(&self, model: &str) -> bool {
        self.models.contains(model)
    }

    /// A text as a completion that is streamed, and says its most: what is reserved is what it may use.
    // contracts/gateway.md W32.
    pub(in crate::gateway) fn worded(&self, model: &str, text: &str) -> Result<Worded, Refusal> {
        let body = json!({
            "model": model,
            "messages": [{ "role": "user", "content": text }],
            "max_tokens": self.estimate,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        let body = Bytes::from(body.to_string());
        let asked = Asked::read(&body, &self.members).map_err(Refusal::bad)?;
        let tokens = asked.tokens(body.len(), self.estimate);
        Ok(Worded { body, tokens })
    }

    /// Asks, and hands each piece of what is said to `say` as it comes; settles what it used. Given up in the middle it has used all that was reserved.
    ///
    /// # Errors
    /// It did not come to its end: why, for people. Nothing of it is the provider's.
    // contracts/gateway.md W15, W32.
    pub(in crate::gateway) async fn speak(
        &self,
        worded: Worded,
        reserved: Reservation,
        mut say: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut answered = match self.ask(worded.body).await {
            Ok(answered) => answered,
            Err(NoAnswer::Late) => return Err("the provider did not answer in time".to_owned()),
            Err(NoAnswer::Broken) => return Err("the provider cannot be asked".to_owned()),
        };
        let status = answered.status();
        if !status.is_success() {
            reserved.settle(0).await;
            // contracts/gateway.md W10: what is about the key is its owner's to know.
            if super::refuses_the_owner(status) {
                tracing::error!(%status, "the provider does not take what this gateway's owner has configured");
                return Err("the provider does not take this gateway's request".to_owned());
            }
            tracing::warn!(%status, "the provider does not complete a task");
            return Err(format!("the provider answered with status {}", status.as_u16()));
        }
        let kind = answered.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let (mut meter, mut speech) = (Meter::of(kind), Speech::of(kind));
        let told = loop {
            let piece = match timeout(self.patience, answered.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => break speech.end(&mut say),
                Ok(Err(_)) | Err(_) => break Err("the provider broke off".to_owned()),
            };
            meter.read(&piece);
            if let Err(why) = speech.read(&piece, &mut say) {
                break Err(why);
            }
        };
        let used = if told.is_ok() { meter.used() } else { meter.whole() };
        // One that says nothing has used all that was reserved.
        if let Some(used) = used {
            reserved.settle(used).await;
        }
        told
    }
}

/// What of an answer that goes by is said.
struct Speech {
    streams: bool,
    seen: Vec<u8>,
    /// It has said its last word.
    done: bool,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    choices: Vec<Choice>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(alias = "delta")]
    message: Option<Spoken>,
    finish_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Spoken {
    content: Option<String>,
}

type Say<'a> = &'a mut dyn FnMut(&str) -> Result<(), String>;

impl Speech {
    fn of(content_type: &str) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        Self { streams: kind.eq_ignore_ascii_case("text/event-stream"), seen: Vec::new(), done: false }
    }

    fn read(&mut self, piece: &[u8], say: Say<'_>) -> Result<(), String> {
        if !self.streams {
            return self.take(piece);
        }
        let mut lines = piece.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = lines.next() {
            self.take(part)?;
            if lines.peek().is_some() {
                self.line(say)?;
            }
        }
        Ok(())
    }

    /// It came to its end, of which it has to say that it is one.
    fn end(mut self, say: Say<'_>) -> Result<(), String> {
        self.line(say)?;
        if self.done { Ok(()) } else { Err("the provider broke off".to_owned()) }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.seen.len().saturating_add(bytes.len()) > READ_MAX {
            return Err("the provider's answer is longer than is read".to_owned());
        }
        self.seen.extend_from_slice(bytes);
        Ok(())
    }

    fn line(&mut self, say: Say<'_>) -> Result<(), String> {
        let seen = std::mem::take(&mut self.seen);
        let text = if self.streams { seen.strip_prefix(b"data:") } else { Some(seen.as_slice()) };
        let Some(text) = text.map(<[u8]>::trim_ascii).filter(|text| !text.is_empty()) else { return Ok(()) };
        if self.streams && text == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let told: Told = serde_json::from_slice(text).map_err(|_| "the provider's answer is none".to_owned())?;
        if told.error.is_some() {
            return Err("the provider could not go on".to_owned());
        }
        let Some(choice) = told.choices.into_iter().next() else { return Ok(()) };
        self.done |= !self.streams && choice.message.is_some() || choice.finish_reason.is_some();
        match choice.message.and_then(|spoken| spoken.content) {
            Some(text) if !text.is_empty() => say(&text),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: &str, text: &str, cut: usize) -> (String, bool) {
        let (mut said, mut speech) = (String::new(), Speech::of(kind));
        let (first, second) = text.as_bytes().split_at(cut);
        let mut say = |text: &str| {
            said.push_str(text);
            Ok(())
        };
        let read = speech.read(first, &mut say).and_then(|()| speech.read(second, &mut say));
        let ended = read.and_then(|()| speech.end(&mut say)).is_ok();
        (said, ended)
    }

    #[test]
    fn what_is_said_is_the_same_wherever_it_is_cut() {
        let alone = r#"{"choices":[{"message":{"content":"blüe"},"finish_reason":"stop"}],"usage":{}}"#;
        let stream = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\r\n\r\n: c\n\ndata:{\"choices\":[{\"delta\":{\"content\":\"bl\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"üe\"}}]}\n\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";
        for cut in 0..=alone.len() {
            assert_eq!(said("application/json", alone, cut), ("blüe".to_owned(), true), "{cut}");
        }
        for cut in 0..=stream.len() {
            assert_eq!(said("text/event-stream; charset=utf-8", stream, cut), ("blüe".to_owned(), true), "{cut}");
        }
    }

    #[test]
    fn what_does_not_come_to_its_end_is_none() {
        let kind = "text/event-stream";
        for (text, so_far) in [
            ("", ""),
            ("data: {\"choices\":[{\"delta\":{\"content\":\"bl\"},\"finish_reason\":null}]}\n\n", "bl"),
            (
                "data: {\"choices\":[{\"delta\":{\"content\":\"bl\"}}]}\n\ndata: {\"error\":{\"message\":\"k\"}}\n\ndata: [DONE]\n\n",
                "bl",
            ),
            ("data: nonsense\n\n", ""),
        ] {
            assert_eq!(said(kind, text, 0), (so_far.to_owned(), false), "{text}");
        }
        let (long, mut speech) = (vec![b' '; READ_MAX + 1], Speech::of(kind));
        assert!(speech.read(&long, &mut |_| Ok(())).is_err());
        assert!(!said("application/json", r#"{"choices":[]}"#, 0).1);
    }
}
