//! `contracts/registry.toml`: every number, label and code of the protocol, once, each with its reason.
//!
//! ```toml
//! [limit.frame_len_max]    # [section.name]
//! value = 65536
//! unit = "bytes"           # required of limits; of times it is always "ms"
//! type = "usize"           # optional; every section has a default
//! reason = "..."           # required
//! ```

mod render;
mod section;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use toml::Spanned;

use section::{RustType, Section};

/// The list, parsed and found consistent. Sections stand in their own order, entries in the file's.
pub(crate) struct Registry {
    sections: Vec<(&'static Section, Vec<Entry>)>,
}

/// One constant.
struct Entry {
    name: String,
    value: Value,
    rust_type: RustType,
    unit: Option<String>,
    reason: String,
}

#[derive(Clone, PartialEq, Eq)]
enum Value {
    Number(u64),
    Text(String),
}

/// An entry as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    value: toml::Value,
    #[serde(rename = "type")]
    rust_type: Option<String>,
    unit: Option<String>,
    reason: String,
}

type RawRegistry = BTreeMap<String, BTreeMap<String, Spanned<RawEntry>>>;

impl Registry {
    /// Parses the list and checks it: known sections, a reason each, values that fit their type, no two that clash.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut raw: RawRegistry = toml::from_str(text)?;
        let mut sections = Vec::new();
        for section in section::ALL {
            let Some(entries) = raw.remove(section.name) else { continue };
            let entries = parse_section(section, entries).with_context(|| format!("section [{}]", section.name))?;
            sections.push((section, entries));
        }
        if let Some(unknown) = raw.keys().next() {
            bail!("section [{unknown}] is unknown: add it to crates/xtask/src/registry/section.rs");
        }
        Ok(Self { sections })
    }

    /// The Rust module that holds these constants, formatted as rustfmt would.
    pub(crate) fn to_rust(&self) -> String {
        render::module(&self.sections)
    }
}

fn parse_section(section: &Section, raw: BTreeMap<String, Spanned<RawEntry>>) -> Result<Vec<Entry>> {
    let mut raw: Vec<_> = raw.into_iter().collect();
    raw.sort_by_key(|(_, entry)| entry.span().start);
    let entries = raw
        .into_iter()
        .map(|(name, entry)| parse_entry(section, &name, entry.into_inner()).context(name))
        .collect::<Result<Vec<_>>>()?;
    section.check_distinct(&entries)?;
    Ok(entries)
}

fn parse_entry(section: &Section, name: &str, raw: RawEntry) -> Result<Entry> {
    let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    ensure!(
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(snake),
        "the name is not snake_case"
    );
    ensure!(!raw.reason.trim().is_empty(), "the reason is empty");
    section.unit.check(raw.unit.as_deref())?;
    let rust_type = match raw.rust_type.as_deref() {
        Some(written) => RustType::parse(written)?,
        None => section.default_type,
    };
    let value = rust_type.value(raw.value)?;
    Ok(Entry { name: name.to_owned(), value, rust_type, unit: raw.unit, reason: raw.reason })
}

#[cfg(test)]
mod tests;
