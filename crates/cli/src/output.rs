//! What a command prints: results to standard output, everything else to standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::failure::Failure;

/// One line of the result.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    raw(format!("{text}\n").as_bytes())
}

/// Bytes of the result, as they are.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::io("write", "the output")(error),
    })
}

/// The result as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::Broken(error.to_string()))?;
    line(text)
}

/// Something that a person should know and that is not the result.
pub(crate) fn note(text: impl Display) {
    // Whoever closed standard error does not want to know.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A question, answered on the same line.
pub(crate) fn ask(text: impl Display) {
    let mut err = io::stderr().lock();
    // As a note.
    let _ = write!(err, "{text}").and_then(|()| err.flush());
}

/// Why the command failed and what to do, to standard error: for people two lines, for scripts one object.
pub(crate) fn failure(failure: &Failure, hint: &str, json: bool) {
    #[derive(Serialize)]
    struct Told<'a> {
        kind: &'a str,
        message: String,
        hint: &'a str,
    }
    if matches!(failure, Failure::OutputClosed) {
        return;
    }
    let told = Told { kind: failure.kind(), message: failure.to_string(), hint };
    match serde_json::to_string(&std::collections::BTreeMap::from([("error", &told)])) {
        Ok(object) if json => note(object),
        _ => note(format_args!("error: {}\nhint: {}", told.message, told.hint)),
    }
}

/// Whether a person looks at the result.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Rows under a heading, each column as wide as its widest cell.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
    let all = || std::iter::once(&heading).chain(rows);
    let widths: Vec<usize> = (0..heading.len())
        .map(|column| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    for row in all() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width));
        line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Text of a stranger, made harmless for a terminal: control and direction characters are spelled out, but for line feeds and tabs.
pub(crate) fn harmless(text: &str) -> String {
    spelled_out(text, &['\n', '\t'])
}

/// What a stranger wrote into one line of ours: it ends no line and begins no column.
pub(crate) fn harmless_line(text: &str) -> String {
    spelled_out(text, &[])
}

fn spelled_out(text: &str, kept: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns =
            matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let breaks = matches!(c, '\u{2028}' | '\u{2029}');
        if (c.is_control() || turns || breaks) && !kept.contains(&c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A number of bytes as people read it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

/// A time as people read it, in the local time zone.
pub(crate) fn time(unix_ms: u64) -> String {
    let stamp = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(
        || "?".to_owned(),
        |stamp| stamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// This moment, in the same form.
pub(crate) fn now() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_writes_cannot_steer_a_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\u{202e}c\n"), "a\\u{1b}[2Jb\\u{d}\\u{202e}c\n");
        assert_eq!(harmless("grüß dich\t✓"), "grüß dich\t✓");
        assert_eq!(harmless("\u{61c}a"), "\\u{61c}a");
        assert_eq!(harmless_line("a\n#7  ben\tb\u{2028}"), "a\\u{a}#7  ben\\u{9}b\\u{2028}");
    }

    #[test]
    fn sizes_are_said_in_the_unit_that_fits() {
        assert_eq!(
            [size(0), size(1023), size(1536), size(1 << 20), size(5 << 30)],
            ["0 B", "1023 B", "1.5 KiB", "1.0 MiB", "5.0 GiB"]
        );
    }
}
