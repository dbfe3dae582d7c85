//! What a provider says of the tokens that it used, read beside the answer as it goes by.

use serde::Deserialize;

/// Longest answer alone, and longest line of a stream, that is read.
const READ_MAX: usize = 8 << 20;

/// An answer that goes by.
#[derive(Debug)]
pub(super) struct Meter {
    streams: bool,
    /// The answer so far, or the line.
    seen: Vec<u8>,
    /// It is longer than what is read.
    too_long: bool,
    used: Option<u64>,
    /// A stream has said its last word.
    done: bool,
}

#[derive(Deserialize)]
struct Told {
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Usage {
    total_tokens: Option<u64>,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

impl Meter {
    /// Of an answer of this content type.
    pub(super) fn of(content_type: &str) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let streams = kind.eq_ignore_ascii_case("text/event-stream");
        Self { streams, seen: Vec::new(), too_long: false, used: None, done: false }
    }

    /// The next piece.
    pub(super) fn read(&mut self, piece: &[u8]) {
        if !self.streams {
            return self.take(piece);
        }
        let mut lines = piece.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = lines.next() {
            self.take(part);
            if lines.peek().is_some() {
                self.line();
            }
        }
    }

    /// What it says so far.
    pub(super) fn used(mut self) -> Option<u64> {
        self.line();
        self.used
    }

    /// [`Meter::used`] of an answer that broke off: what a stream says on the way is not its last word.
    pub(super) fn whole(mut self) -> Option<u64> {
        self.line();
        self.used.filter(|_| self.done || !self.streams)
    }

    fn take(&mut self, bytes: &[u8]) {
        self.too_long |= self.seen.len().saturating_add(bytes.len()) > READ_MAX;
        if self.too_long { self.seen.clear() } else { self.seen.extend_from_slice(bytes) }
    }

    fn line(&mut self) {
        let (seen, too_long) = (std::mem::take(&mut self.seen), std::mem::take(&mut self.too_long));
        let text = if self.streams { seen.strip_prefix(b"data:") } else { Some(seen.as_slice()) };
        self.done |= self.streams && text.is_some_and(|text| text.trim_ascii() == b"[DONE]");
        let told = text.filter(|_| !too_long).and_then(|text| serde_json::from_slice::<Told>(text).ok());
        self.used = told.and_then(|told| told.usage?.tokens()).or(self.used);
    }
}

impl Usage {
    fn tokens(&self) -> Option<u64> {
        let parts = self.prompt_tokens.zip(self.completion_tokens);
        self.total_tokens.or_else(|| parts.map(|(prompt, completion)| prompt.saturating_add(completion)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(kind: &str, text: &str, cut: usize) -> Option<u64> {
        let mut meter = Meter::of(kind);
        let (first, second) = text.as_bytes().split_at(cut);
        meter.read(first);
        meter.read(second);
        meter.used()
    }

    #[test]
    fn usage_is_found_wherever_the_answer_is_cut() {
        let alone = r#"{"choices":[{"text":"\"usage\":{\"total_tokens\":1}"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#;
        let stream = "data: {\"choices\":[],\"usage\":null}\r\n\r\n: usage\n\ndata:{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7}}\n\ndata: [DONE]\n\n";
        for cut in 0..=alone.len() {
            assert_eq!(used("application/json", alone, cut), Some(12), "{cut}");
        }
        for cut in 0..=stream.len() {
            assert_eq!(used("text/event-stream; charset=utf-8", stream, cut), Some(12), "{cut}");
        }
    }

    #[test]
    fn what_a_stream_says_on_the_way_is_not_its_last_word() {
        let whole = |text: &str| {
            let mut meter = Meter::of("text/event-stream");
            meter.read(text.as_bytes());
            meter.whole()
        };
        let said = "data: {\"usage\":{\"total_tokens\":1}}\n\n";
        assert_eq!((whole(said), whole(&format!("{said}data: [DONE]\n\n"))), (None, Some(1)));
    }

    #[test]
    fn what_is_not_said_is_not_made_up() {
        assert_eq!(used("application/json", r#"{"choices":[]}"#, 3), None);
        assert_eq!(used("application/json", r#"{"usage":{"total_tokens":1}"#, 3), None);
        assert_eq!(used("text/event-stream", "data: {\"usage\":{\"total_tokens\":1", 3), None);
        let mut long = Meter::of("application/json");
        long.read(&vec![b' '; READ_MAX]);
        long.read(br#"{"usage":{"total_tokens":1}}"#);
        assert_eq!(long.used(), None);
    }
}
