//! The registry as Rust source, in the form that rustfmt would give it.

use std::fmt::Write as _;

use super::section::{RustType, Section};
use super::{Entry, Value};

/// `max_width` of rustfmt.toml.
const LINE_WIDTH: usize = 120;
const INDENT: &str = "    ";

const HEADER: &str = "\
//! The constants of the contracts.
//!
//! Generated from `contracts/registry.toml` by `cargo xtask contracts`: change that file, not this one.
";

/// The whole file.
pub(super) fn module(sections: &[(&Section, Vec<Entry>)]) -> String {
    let mut out = String::from(HEADER);
    for (section, entries) in sections {
        let mut constants: Vec<String> = entries.iter().map(constant).collect();
        constants.extend(section.named.then(|| names(entries)));
        let _ = write!(out, "\n/// {}\npub mod {} {{\n{}}}\n", section.doc, section.name, constants.join("\n"));
    }
    out
}

/// What programs are told instead of a number.
fn names(entries: &[Entry]) -> String {
    let arms = entries.iter().map(|entry| format!("{INDENT}{INDENT}{INDENT}{} => {:?},\n", literal(entry), entry.name));
    format!(
        "{INDENT}/// Its name; `unknown` for a number of another version.\n{INDENT}#[must_use]\n{INDENT}pub const fn name(code: {}) -> &'static str {{\n{INDENT}{INDENT}match code {{\n{}{INDENT}{INDENT}{INDENT}_ => \"unknown\",\n{INDENT}{INDENT}}}\n{INDENT}}}\n",
        entries.first().map_or("u16", |entry| entry.rust_type.name()),
        arms.collect::<String>()
    )
}

fn constant(entry: &Entry) -> String {
    let mut out = doc_lines(&entry.reason);
    if let Some(unit) = &entry.unit {
        let _ = write!(out, "{INDENT}///\n{INDENT}/// Unit: {unit}.\n");
    }
    out + &declaration(entry)
}

fn declaration(entry: &Entry) -> String {
    let start = format!("{INDENT}pub const {}: {} =", entry.name.to_uppercase(), entry.rust_type.name());
    let value = literal(entry);
    if start.len() + value.len() + 2 > LINE_WIDTH {
        return format!("{start}\n{INDENT}{INDENT}{value};\n");
    }
    format!("{start} {value};\n")
}

fn literal(entry: &Entry) -> String {
    match (&entry.value, entry.rust_type) {
        (Value::Number(number), _) => grouped(*number),
        (Value::Text(text), RustType::Bytes) => format!("b{text:?}"),
        (Value::Text(text), _) => format!("{text:?}"),
    }
}

/// Digits in groups of three, from 10,000 on.
fn grouped(number: u64) -> String {
    if number < 10_000 {
        return number.to_string();
    }
    let thousands = grouped_always(number / 1000);
    format!("{thousands}_{:03}", number % 1000)
}

fn grouped_always(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{}_{:03}", grouped_always(number / 1000), number % 1000) }
}

/// A text as doc comment lines that fit the width.
fn doc_lines(text: &str) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && INDENT.len() + "/// ".len() + line.len() + 1 + word.len() > LINE_WIDTH {
            let _ = writeln!(out, "{INDENT}/// {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{INDENT}/// {line}");
    out
}
