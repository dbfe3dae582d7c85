//! Who said what, who is to read it, and whether that is what everybody has read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::member::Heard;
use super::story::NAMES;

/// A letter that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) by: &'static str,
    pub(crate) id: String,
    pub(crate) text: String,
}

/// Everything that was said, in its order.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    scene: &'static str,
    said: Said,
    /// Without its author.
    readers: BTreeSet<&'static str>,
}

/// One scene in the table: how many letters, and how many of them each has read. Of its own letters nobody is a reader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) scene: &'static str,
    pub(crate) letters: usize,
    /// What each has read, and was to read.
    pub(crate) read: BTreeMap<&'static str, (usize, usize)>,
}

impl Ledger {
    /// A letter that is not there yet.
    pub(crate) fn said(&mut self, scene: &'static str, said: Said, readers: &[&'static str]) {
        if self.0.iter().any(|entry| entry.said.id == said.id) {
            return;
        }
        let readers = readers.iter().copied().filter(|name| *name != said.by).collect();
        self.0.push(Entry { scene, said, readers });
    }

    pub(crate) fn texts(&self, scene: &str) -> BTreeSet<String> {
        self.0.iter().filter(|entry| entry.scene == scene).map(|entry| entry.said.text.clone()).collect()
    }

    /// What somebody is to have read and has not.
    pub(crate) fn missing(&self, name: &str, read: &BTreeSet<String>) -> Vec<&str> {
        let missing = self.0.iter().filter(|entry| entry.readers.contains(name) && !read.contains(&entry.said.id));
        missing.map(|entry| entry.said.text.as_str()).collect()
    }

    /// Holds what everybody has read against what was said: author, text, order, once, all of it and nothing else.
    pub(crate) fn check(
        &self,
        names: &BTreeMap<String, &'static str>,
        read: &BTreeMap<&'static str, Vec<Heard>>,
    ) -> Result<Vec<Row>> {
        for (reader, letters) in read {
            for by in names.values() {
                let wanted = self.0.iter().filter(|entry| entry.said.by == *by && entry.readers.contains(reader));
                let wanted: Vec<(&str, &str)> = wanted.map(|entry| (&*entry.said.id, &*entry.said.text)).collect();
                let of = letters.iter().filter(|letter| names.get(&letter.from) == Some(by));
                let of: Vec<(&str, &str)> = of.map(|letter| (&*letter.id, &*letter.text)).collect();
                ensure!(of == wanted, "{reader} has read of {by} {of:?}, and was to read {wanted:?}");
            }
            let strangers = letters.iter().filter(|letter| !names.contains_key(&letter.from)).count();
            ensure!(strangers == 0, "{reader} has read {strangers} letters of strangers");
        }
        let mut scenes: Vec<&'static str> = self.0.iter().map(|entry| entry.scene).collect();
        scenes.dedup();
        let seen: BTreeMap<_, BTreeSet<&str>> =
            read.iter().map(|(name, letters)| (*name, letters.iter().map(|letter| &*letter.id).collect())).collect();
        Ok(scenes.into_iter().map(|scene| self.row(scene, &seen)).collect())
    }

    fn row(&self, scene: &'static str, seen: &BTreeMap<&'static str, BTreeSet<&str>>) -> Row {
        let of_scene = || self.0.iter().filter(|entry| entry.scene == scene);
        let cell = |(name, ids): (&&'static str, &BTreeSet<&str>)| {
            let read = of_scene().filter(|entry| ids.contains(entry.said.id.as_str())).count();
            (*name, (read, of_scene().filter(|entry| entry.readers.contains(name)).count()))
        };
        Row { scene, letters: of_scene().count(), read: seen.iter().map(cell).collect() }
    }
}

impl Row {
    /// What stands above rows.
    pub(crate) fn heading() -> String {
        let names: String = NAMES.iter().map(|name| format!("{name:>9}")).collect();
        format!("  {:<15}{:>7}{names}", "", "letters")
    }
}

/// `6/6` where all was to be read and was; `-` where nothing was for it and it has nothing.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<15}{:>7}", self.scene, self.letters)?;
        NAMES.iter().try_for_each(|name| match self.read.get(name) {
            Some((0, 0)) | None => write!(f, "{:>9}", "-"),
            Some((read, of)) => write!(f, "{:>9}", format!("{read}/{of}")),
        })
    }
}
