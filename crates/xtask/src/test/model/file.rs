//! One model, with what is written in it for the test.
//!
//! ```text
//! // Sessions: 2                                how many runs of each principal the search looks at
//! // Sessions under a change: 1                 optional; as many otherwise
//! // Change c1a0: the signature is not checked  the verdicts under it, and what it is
//! //   - TEXT                                   what stands in the model, wherever it does ..
//! //   + OTHER                                  .. and what stands there instead
//!
//! queries[
//!     confidentiality? m1 // holds              or: fails
//! ]
//! ```
//!
//! Each query's verdict must be another under one change at least: a verdict that nothing turns says nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

/// A model that says what is expected of it.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: String,
    /// The model without its comments.
    pub(super) body: String,
    pub(super) sessions: u8,
    pub(super) sessions_changed: u8,
    /// Verifpal's result code for what is written beside the queries.
    pub(super) code: String,
    pub(super) changes: Vec<Change>,
}

/// The model, changed.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) about: String,
    pub(super) code: String,
    pub(super) body: String,
}

impl Model {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&name, &text).with_context(|| format!("docs/model/{name}"))
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let body: String = text.lines().map(|line| format!("{}\n", without_comment(line))).collect();
        let notes: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("// ")).collect();
        let sessions = number(&notes, "Sessions: ")?.context("how many sessions?")?;
        let sessions_changed = number(&notes, "Sessions under a change: ")?.unwrap_or(sessions);
        let code = text.lines().filter_map(verdict).collect::<Result<String>>()?;
        let changes = changes(&notes, &body)?;
        all_turn(&code, &changes)?;
        Ok(Self { name: name.to_owned(), body, sessions, sessions_changed, code, changes })
    }
}

fn without_comment(line: &str) -> &str {
    line.split_once("//").map_or(line, |(before, _)| before)
}

fn number(notes: &[&str], label: &str) -> Result<Option<u8>> {
    let found = notes.iter().find_map(|note| note.strip_prefix(label));
    found.map(|number| number.parse().with_context(|| format!("no number: {label}{number}"))).transpose()
}

/// The part of the code that one line of the queries expects; none where the line is no query.
fn verdict(line: &str) -> Option<Result<String>> {
    let (query, _) = line.trim_start().split_once("? ")?;
    let letter = match query {
        "confidentiality" => 'c',
        "authentication" => 'a',
        "freshness" => 'f',
        "unlinkability" => 'u',
        "equivalence" => 'e',
        _ => return None,
    };
    Some(match line.split_once("// ") {
        Some((_, "holds")) => Ok(format!("{letter}0")),
        Some((_, "fails")) => Ok(format!("{letter}1")),
        _ => Err(anyhow::anyhow!("neither holds nor fails: {}", line.trim())),
    })
}

fn changes(notes: &[&str], body: &str) -> Result<Vec<Change>> {
    let mut changes: Vec<Change> = Vec::new();
    let mut old = None;
    for note in notes {
        if let Some(head) = note.strip_prefix("Change ") {
            let (code, about) = head.split_once(": ").with_context(|| format!("no code, or no words: {head}"))?;
            changes.push(Change { about: about.to_owned(), code: code.to_owned(), body: body.to_owned() });
        } else if let Some(text) = note.strip_prefix("  - ") {
            ensure!(old.replace(text).is_none(), "nothing stands in the place of what is before: {text}");
        } else if let Some(text) = note.strip_prefix("  +") {
            let (Some(change), Some(old)) = (changes.last_mut(), old.take()) else { bail!("in which place? {text}") };
            ensure!(change.body.contains(old), "the model does not have what is changed: {old}");
            change.body = change.body.replace(old, text.trim_start());
        }
    }
    ensure!(old.is_none(), "nothing stands in the place of the last that is changed");
    Ok(changes)
}

/// Holds that each verdict is another under one change at least.
fn all_turn(code: &str, changes: &[Change]) -> Result<()> {
    ensure!(!code.is_empty(), "no query");
    for change in changes {
        let same_queries = change.code.len() == code.len() && letters(&change.code).eq(letters(code));
        ensure!(same_queries, "{} is no code for these queries", change.code);
    }
    for (index, verdict) in code.bytes().enumerate().filter(|(index, _)| index % 2 == 1) {
        let turns = changes.iter().any(|change| change.code.as_bytes().get(index) != Some(&verdict));
        ensure!(turns, "no change turns the verdict of query {}", index / 2 + 1);
    }
    Ok(())
}

fn letters(code: &str) -> impl Iterator<Item = u8> {
    code.bytes().step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
// A question?
//
// Sessions: 2
// Sessions under a change: 1
//
// Change c1a0: it is not sealed
//   - SEAL(m)
//   + m
//   - _ = CHECK(m)
//   +
// Change c0a0: it is signed
//   - SEAL(m)
//   + SIGN(m)

e = SEAL(m) // a word
_ = CHECK(m)
queries[
	confidentiality? m // holds
	authentication? A -> B: e // fails
]
";

    fn error(text: &str) -> String {
        Model::parse("x.vp", text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        let model = Model::parse("x.vp", SAMPLE).unwrap();
        assert_eq!((model.sessions, model.sessions_changed, model.code.as_str()), (2, 1, "c0a1"));
        assert!(model.body.contains("e = SEAL(m) \n") && !model.body.contains("//"));
        let codes: Vec<&str> = model.changes.iter().map(|change| change.code.as_str()).collect();
        assert_eq!(codes, ["c1a0", "c0a0"]);
        assert!(model.changes[0].body.contains("e = m \n") && !model.changes[0].body.contains("CHECK"));
        assert!(model.changes[1].body.contains("e = SIGN(m) \n") && model.changes[1].body.contains("CHECK"));
    }

    #[test]
    fn sessions_under_a_change_are_as_many_where_nothing_is_said() {
        let model = Model::parse("x.vp", &SAMPLE.replace("// Sessions under a change: 1\n", "")).unwrap();
        assert_eq!(model.sessions_changed, 2);
    }

    #[test]
    fn a_verdict_that_nothing_turns_is_refused() {
        let all_fail = SAMPLE.replace("Change c1a0", "Change c0a0");
        assert_eq!(error(&all_fail), "no change turns the verdict of query 1");
        let none = SAMPLE.replace("// Change", "// No change").replace("//   ", "// ");
        assert_eq!(error(&none), "no change turns the verdict of query 1");
    }

    #[test]
    fn a_change_of_what_is_not_there_is_refused() {
        assert_eq!(
            error(&SAMPLE.replace("- SEAL(m)", "- HIDE(m)")),
            "the model does not have what is changed: HIDE(m)"
        );
    }

    #[test]
    fn what_is_half_written_is_refused() {
        assert_eq!(error(&SAMPLE.replace("// Sessions: 2\n", "")), "how many sessions?");
        assert_eq!(error(&SAMPLE.replace(" // fails", "")), "neither holds nor fails: authentication? A -> B: e");
        assert_eq!(error(&SAMPLE.replace("Change c1a0", "Change c1")), "c1 is no code for these queries");
        assert_eq!(error(&SAMPLE.replace("Change c1a0", "Change a1c0")), "a1c0 is no code for these queries");
        let hanging = SAMPLE.replace("//   + m\n", "");
        assert_eq!(error(&hanging), "nothing stands in the place of what is before: _ = CHECK(m)");
    }
}
