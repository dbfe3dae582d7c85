//! What slices came to, a line each: appended durably, so that a soak can be cut anywhere and goes on behind its last line.
//!
//! ```json
//! {"seed":1,"frames":10000000,"forged":2500000,"mutated":3000000,"replayed":2000000,"reordered":1500000,"cut":1000000,"starts":7000,"letters":900,"seconds":12.5,"verdict":"well"}
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Broken, Class, Tally};

/// How a slice that broke nothing ended.
pub const WELL: &str = "well";
/// The name of refusals that have cost a handshake, or its reading.
const START_REFUSED: &str = "start_refused";

/// One slice's line, without a line's end.
#[must_use]
pub fn line(seed: u64, outcome: &Result<Tally, Broken>, seconds: f64) -> String {
    let mut fields = BTreeMap::from([("seed".to_owned(), json!(seed)), ("seconds".to_owned(), json!(seconds))]);
    let verdict = match outcome {
        Ok(tally) => {
            for (class, _) in Class::SHARES {
                fields.insert(class.name().to_owned(), json!(tally.of(class)));
            }
            fields.insert("frames".to_owned(), json!(tally.frames()));
            fields.insert("starts".to_owned(), json!(tally.named(START_REFUSED)));
            fields.insert("letters".to_owned(), json!(tally.letters));
            WELL.to_owned()
        }
        Err(broken) => broken.to_string(),
    };
    fields.insert("verdict".to_owned(), json!(verdict));
    json!(fields).to_string()
}

/// Appends a line; it is on the device when this returns.
///
/// # Errors
/// The file cannot be read or written.
pub fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    // What was cut short stays a line of its own.
    let torn = fs::read(path)?.last().is_some_and(|last| *last != b'\n');
    file.write_all(format!("{}{line}\n", if torn { "\n" } else { "" }).as_bytes())?;
    file.sync_all()
}

/// What the lines of a ledger add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    /// Slices that ended well, each seed once.
    pub slices: u64,
    /// Their counts by name: frames, the classes, starts, letters.
    pub counts: BTreeMap<String, u64>,
    /// Their time: threads beside each other add up.
    pub seconds: f64,
    /// Seeds of slices that ended otherwise.
    pub broken: BTreeSet<u64>,
    /// Lines that say nothing: cut short, or of something else.
    pub unread: u64,
    /// The first seed behind all that are told of.
    pub next: u64,
}

/// Adds up. A seed that ended well once and otherwise another time is broken.
#[must_use]
pub fn sum(text: &str) -> Sum {
    let (mut sum, mut well) = (Sum::default(), BTreeMap::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let Some((seed, fields)) = read(line) else {
            sum.unread += 1;
            continue;
        };
        sum.next = sum.next.max(seed + 1);
        if fields.get("verdict").and_then(Value::as_str) == Some(WELL) {
            well.insert(seed, fields);
        } else {
            sum.broken.insert(seed);
        }
    }
    for (_, fields) in well.into_iter().filter(|(seed, _)| !sum.broken.contains(seed)) {
        sum.slices += 1;
        sum.seconds += fields.get("seconds").and_then(Value::as_f64).unwrap_or_default();
        for (name, value) in fields.iter().filter(|(name, _)| !["seed", "seconds"].contains(&name.as_str())) {
            if let Some(count) = value.as_u64() {
                *sum.counts.entry(name.clone()).or_default() += count;
            }
        }
    }
    sum
}

fn read(line: &str) -> Option<(u64, Map<String, Value>)> {
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else { return None };
    let seed = fields.get("seed")?.as_u64().filter(|seed| *seed < u64::MAX)?;
    Some((seed, fields))
}
