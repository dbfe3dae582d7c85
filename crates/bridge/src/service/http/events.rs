//! An event stream (HTML, section 9.2), read piece by piece: of an event of a gigabyte no more than a piece is in memory.

use std::io;

use bytes::Bytes;
use reqwest::Response;

use super::super::spool::{Place, Spool};
use crate::message::Body;

/// Of a field's name, and of a value that is kept: a longer one is none of ours.
const FIELD_MAX: usize = 1024;

/// Where a stream comes from, piece by piece.
pub(super) trait Source {
    /// The next piece; `None` behind the last.
    async fn piece(&mut self) -> io::Result<Option<Bytes>>;
}

impl Source for Response {
    async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        self.chunk().await.map_err(|error| io::Error::other(error.without_url()))
    }
}

/// One event.
pub(super) struct Event {
    pub(super) data: Body,
    /// It is of the kind that messages are.
    pub(super) is_message: bool,
}

/// Reads events.
pub(super) struct Events {
    place: Place,
    piece: Bytes,
    /// The last byte was a carriage return: a line feed behind it ends no line.
    returned: bool,
    first: bool,
    /// The last event id that was named.
    pub(super) last_id: Option<String>,
    /// How long to wait before the stream is asked for again, as it said.
    pub(super) retry_ms: Option<u64>,
}

/// What a line is so far.
enum Line {
    /// Its name: there was no colon yet.
    Name(Vec<u8>),
    /// Its value is data; whether a blank in front of it is still to be left out.
    Data(bool),
    /// Its name and value are kept.
    Kept(Vec<u8>, Vec<u8>),
    /// Nothing of it matters.
    Comment,
}

impl Events {
    pub(super) const fn new(place: Place, last_id: Option<String>) -> Self {
        Self { place, piece: Bytes::new(), returned: false, first: true, last_id, retry_ms: None }
    }

    /// For the stream that goes on behind the last event.
    pub(super) fn again(self) -> Self {
        Self { retry_ms: self.retry_ms, ..Self::new(self.place, self.last_id) }
    }

    /// The next event with data; `None` where the stream has ended.
    ///
    /// # Errors
    /// The connection broke, or an event is longer than a message may be.
    pub(super) async fn next(&mut self, from: &mut impl Source) -> io::Result<Option<Event>> {
        let (mut line, mut data, mut name) = (Line::Name(Vec::new()), None::<Spool>, Vec::new());
        loop {
            if self.piece.is_empty() {
                let Some(piece) = from.piece().await? else { return Ok(None) };
                self.piece = self.whole(piece);
                continue;
            }
            let end = self.piece.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let text = self.piece.split_to(end.unwrap_or(self.piece.len()));
            line = self.add(line, &text, &mut data).await?;
            let Some(byte) = end.and_then(|_| self.piece.first().copied()) else { continue };
            let _ = self.piece.split_to(1);
            let second_half = self.returned && byte == b'\n' && text.is_empty();
            self.returned = byte == b'\r';
            if second_half {
                continue;
            }
            let blank = matches!(&line, Line::Name(name) if name.is_empty());
            if !blank {
                self.end(std::mem::replace(&mut line, Line::Name(Vec::new())), &mut data, &mut name).await?;
                continue;
            }
            let is_message = name.is_empty() || name == b"message";
            name.clear();
            if let Some(data) = data.take().filter(|data| !data.is_empty()) {
                return Ok(Some(Event { data: data.end().await?, is_message }));
            }
        }
    }

    /// Without the mark of byte order that may stand at the beginning.
    fn whole(&mut self, piece: Bytes) -> Bytes {
        let first = std::mem::replace(&mut self.first, false);
        let marked = first && piece.starts_with(b"\xef\xbb\xbf");
        if marked { piece.slice(3..) } else { piece }
    }

    async fn add(&mut self, line: Line, text: &[u8], data: &mut Option<Spool>) -> io::Result<Line> {
        if text.is_empty() {
            return Ok(line);
        }
        self.returned = false;
        match line {
            Line::Comment => Ok(line),
            Line::Name(mut name) => match text.iter().position(|byte| *byte == b':') {
                None if name.len() + text.len() > FIELD_MAX => Ok(Line::Comment),
                None => {
                    name.extend_from_slice(text);
                    Ok(Line::Name(name))
                }
                Some(at) => {
                    let (rest_of_name, value) = text.split_at(at);
                    name.extend_from_slice(rest_of_name);
                    let begun = match name.as_slice() {
                        b"data" => {
                            self.line_of(data).await?;
                            Line::Data(true)
                        }
                        b"id" | b"event" | b"retry" => Line::Kept(name, Vec::new()),
                        _ => Line::Comment,
                    };
                    Box::pin(self.add(begun, value.get(1..).unwrap_or_default(), data)).await
                }
            },
            Line::Data(fresh) => {
                let text = if fresh { text.strip_prefix(b" ").unwrap_or(text) } else { text };
                self.spool(data).push(text).await?;
                Ok(Line::Data(false))
            }
            Line::Kept(_, value) if value.len() + text.len() > FIELD_MAX => Ok(Line::Comment),
            Line::Kept(name, mut value) => {
                value.extend_from_slice(text);
                Ok(Line::Kept(name, value))
            }
        }
    }

    fn spool<'a>(&self, data: &'a mut Option<Spool>) -> &'a mut Spool {
        data.get_or_insert_with(|| self.place.begin())
    }

    /// Another line of data stands on a line of its own.
    async fn line_of(&self, data: &mut Option<Spool>) -> io::Result<()> {
        match data {
            Some(data) => data.push(b"\n").await,
            None => {
                *data = Some(self.place.begin());
                Ok(())
            }
        }
    }

    async fn end(&mut self, line: Line, data: &mut Option<Spool>, event: &mut Vec<u8>) -> io::Result<()> {
        let (field, value) = match line {
            Line::Kept(name, value) => (name, value),
            // A name alone is a field whose value is empty.
            Line::Name(name) if name == b"data" => {
                return self.line_of(data).await;
            }
            Line::Name(name) => (name, Vec::new()),
            Line::Data(_) | Line::Comment => return Ok(()),
        };
        let value = value.strip_prefix(b" ").unwrap_or(&value).to_vec();
        match field.as_slice() {
            b"event" => *event = value,
            b"id" if !value.contains(&0) => self.last_id = String::from_utf8(value).ok(),
            b"retry" => {
                let digits = value.iter().all(u8::is_ascii_digit);
                let number = String::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
                self.retry_ms = number.or(self.retry_ms);
            }
            _ => (),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Read as _;

    use super::*;

    impl Source for VecDeque<Bytes> {
        async fn piece(&mut self) -> io::Result<Option<Bytes>> {
            Ok(self.pop_front())
        }
    }

    /// What is read of a stream that comes in pieces of one length: data with `-` in front where it is no message, the last id, and the wait.
    async fn read(stream: &str, len: usize) -> (Vec<String>, Option<String>, Option<u64>) {
        let dir = tempfile::tempdir().unwrap();
        let mut pieces: VecDeque<_> = stream.as_bytes().chunks(len).map(Bytes::copy_from_slice).collect();
        let mut events = Events::new(Place::new(dir.path(), 4, 64), None);
        let mut all = Vec::new();
        while let Some(event) = events.next(&mut pieces).await.unwrap() {
            let mut text = String::new();
            event.data.reader().unwrap().read_to_string(&mut text).unwrap();
            all.push(if event.is_message { text } else { format!("-{text}") });
        }
        (all, events.last_id, events.retry_ms)
    }

    #[tokio::test]
    async fn a_stream_is_the_same_in_pieces_of_any_length() {
        let long = "i".repeat(2000);
        for (stream, data, id, retry) in [
            ("data: a\n\n", vec!["a"], None, None),
            ("data:a\r\n\r\ndata:  b\r\rdata\n\ndata:c\n\n", vec!["a", " b", "c"], None, None),
            ("data: a\ndata: b\n: c\ndata\ndata:d\n\n", vec!["a\nb\n\nd"], None, None),
            (
                "id: 1\nevent: message\nretry: 5\ndata: a\n\nid: 2\n\nevent: x\ndata: b\n\ndata: c\n\n",
                vec!["a", "-b", "c"],
                Some("2"),
                Some(5),
            ),
            ("id: a\u{0}b\nretry: 5x\nretry: -1\nother: 1\nda: 1\ndatax: 2\n Data: 3\n\n", vec![], None, None),
            ("data: not whole\n", vec![], None, None),
            ("data: a:b\n\n\n\n\ndata:  {\"x\":1}\n\nid\n\n", vec!["a:b", " {\"x\":1}"], Some(""), None),
            (&format!("id: {long}\n{long}\n{long}: 1\nid: 7\ndata: a\n\n"), vec!["a"], Some("7"), None),
        ] {
            for len in [1, 2, 3, 5, 7, 4096] {
                let wanted: Vec<_> = data.iter().map(|data| (*data).to_owned()).collect();
                assert_eq!(read(stream, len).await, (wanted, id.map(str::to_owned), retry), "{stream:?} in {len}");
            }
        }
        assert_eq!(read("\u{feff}data: a\n\n", 4096).await.0, ["a"]);
    }

    #[tokio::test]
    async fn an_event_without_end_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::new(Place::new(dir.path(), 4, 64), None);
        let mut pieces: VecDeque<_> = (0..10).map(|_| Bytes::from_static(b"data: 0123456789\n")).collect();
        assert!(events.next(&mut pieces).await.is_err());
        drop(events);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
