//! Every file of contracts/vectors is read and holds; nothing unknown is passed over; a wrong expectation is seen.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "vectors/call.rs"]
mod call;
#[path = "vectors/channel.rs"]
mod channel;
#[path = "vectors/docs.rs"]
mod docs;
#[path = "vectors/event.rs"]
mod event;
#[path = "vectors/handshake.rs"]
mod handshake;
#[path = "vectors/hop_proof.rs"]
mod hop_proof;
#[path = "vectors/hostile.rs"]
mod hostile;
#[path = "vectors/log.rs"]
mod log;
#[path = "../examples/make_vectors.rs"]
mod make_vectors;
#[path = "vectors/messages.rs"]
mod messages;
#[path = "vectors/names.rs"]
mod names;
#[path = "vectors/permit.rs"]
mod permit;
#[path = "vectors/query.rs"]
mod query;
#[path = "vectors/ratchet.rs"]
mod ratchet;
#[path = "vectors/sealing.rs"]
mod sealing;
#[path = "vectors/statement.rs"]
mod statement;
#[path = "vectors/timestamp.rs"]
mod timestamp;
#[path = "vectors/token.rs"]
mod token;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Not;

use make_vectors::{files, folder, kit::json_files};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The outcome of a vector's input: what `expect` must be, or the name of the refusal.
type Outcome = Result<Value, &'static str>;

/// Makes an outcome of an input. The expectation is there for values that the implementation can only confirm, not show.
type Reader = fn(&Value, &Value) -> Outcome;

/// Every area.
const AREAS: &[(&str, Reader)] = &[
    ("did-key", |input, _| messages::did_key(input)),
    ("bundle", |input, _| messages::bundle(input)),
    ("batch", |input, _| messages::batch(input)),
    ("deposit", |input, _| messages::deposit(input)),
    ("deposit-key", |input, _| messages::deposit_key(input)),
    ("retirement", |input, _| messages::retirement(input)),
    ("handshake", handshake::outcome),
    ("kdf", sealing::kdf),
    ("sealing", |input, _| sealing::seal(input)),
    ("frame", |input, _| messages::frame(input)),
    ("ratchet", ratchet::outcome),
    ("window", |input, _| messages::window(input)),
    ("letter", |input, _| messages::letter(input)),
    ("control", |input, _| messages::control(input)),
    ("padding", |input, _| messages::padding(input)),
    ("payload", |input, _| messages::payload(input)),
    ("snapshot", |input, _| messages::snapshot(input)),
    ("invitation", |input, _| messages::invitation(input)),
    ("statement", |input, _| statement::outcome(input)),
    ("token", |input, _| token::outcome(input)),
    ("hop-proof", |input, _| hop_proof::outcome(input)),
    ("tree", |input, _| log::tree(input)),
    ("tile", |input, _| log::tile(input)),
    ("note", |input, _| log::note(input)),
    ("receipt", |input, _| log::receipt(input)),
    ("add-checkpoint", |input, _| log::add_checkpoint(input)),
    ("tlog-policy", |input, _| log::policy(input)),
    ("timestamp", |input, _| timestamp::outcome(input)),
    ("event", |input, _| event::event(input)),
    ("chain", |input, _| event::chain(input)),
    ("commitment", |input, _| event::commitment(input)),
    ("opening", |input, _| event::opening(input)),
    ("pseudonym", |input, _| event::pseudonym(input)),
    ("call", |input, _| call::outcome(input)),
    ("permit", |input, _| permit::outcome(input)),
    ("query", |input, _| query::stream(input)),
    ("query-form", |input, _| query::form(input)),
    ("channel-statement", |input, _| channel::statement(input)),
    ("channel-entry", |input, _| channel::entry(input)),
    ("channel-record", |input, _| channel::record(input)),
    ("sender-key", |input, _| channel::sender_key(input)),
    ("channel-frame", |input, _| channel::frame(input)),
    ("hostile", |input, _| hostile::outcome(input)),
];

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    schema: String,
    area: String,
    comment: String,
    input: Value,
    expect: Value,
}

impl Vector {
    fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap()
    }

    fn is_refused(&self) -> bool {
        self.expect.get("error").is_some()
    }

    fn check(&self) -> Result<(), String> {
        if self.schema != "nuncio/vector/1" || self.comment.is_empty() {
            return Err("another schema, or no reason".into());
        }
        let (_, outcome) = AREAS.iter().find(|(area, _)| *area == self.area).ok_or("an area without a reader")?;
        match outcome(&self.input, &self.expect) {
            Ok(value) if value == self.expect => Ok(()),
            Ok(value) => Err(format!("came out as {value}")),
            Err(error) if self.expect == json!({ "error": error }) => Ok(()),
            Err(_) if self.expect == json!({ "error": "any" }) => Ok(()),
            Err(error) => Err(format!("refused: {error}")),
        }
    }
}

/// A vector's input, with no field too many or too few.
fn input<T: DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_else(|error| panic!("{error} in {value}"))
}

/// Bytes as an input writes them.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
struct Hex(Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = data_encoding::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).map(Self)
    }
}

impl Hex {
    fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap()
    }
}

fn committed() -> BTreeMap<String, Vector> {
    let folder = folder();
    let read = |path: String| {
        let vector = Vector::read(&fs::read_to_string(folder.join(&path)).unwrap());
        assert_eq!(path.split('/').next(), Some(vector.area.as_str()), "{path} stands in the folder of its area");
        (path, vector)
    };
    json_files(&folder).into_iter().map(read).collect()
}

#[test]
fn every_vector_holds() {
    let mut counts: BTreeMap<&str, usize> = AREAS.iter().map(|(area, _)| (*area, 0)).collect();
    let vectors = committed();
    let mut wrong = Vec::new();
    for (path, vector) in &vectors {
        *counts.get_mut(vector.area.as_str()).unwrap_or_else(|| panic!("{path} is of an unknown area")) += 1;
        if let Err(how) = vector.check() {
            wrong.push(format!("{path} ({}) {how}", vector.comment));
        }
    }
    for (area, count) in counts {
        println!("{area}: {count}");
        assert!(count > 0, "no vector of {area}");
    }
    assert!(wrong.is_empty(), "{} of {} vectors fail:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}

#[test]
fn malformed_inputs_of_our_own_are_a_thousand() {
    let refused = committed().values().filter(|vector| vector.is_refused()).count();
    assert!(refused >= 1_000, "{refused}");
}

#[test]
fn the_generator_writes_what_is_committed() {
    let (written, folder) = (files(), folder());
    let there: Vec<_> = json_files(&folder);
    let expected: Vec<_> = written.keys().cloned().collect();
    assert_eq!(there, expected, "run: cargo run -p nuncio-proto --example make_vectors");
    for (path, text) in written {
        assert!(fs::read_to_string(folder.join(&path)).unwrap() == text, "{path}: run the generator again");
    }
}

#[test]
fn an_altered_expectation_is_seen() {
    const TRIES: usize = 12;
    let vectors = committed();
    for (area, _) in AREAS {
        let positive: Vec<_> = vectors.iter().filter(|(_, v)| v.area == *area && !v.is_refused()).collect();
        let refused =
            vectors.iter().find(|(_, v)| v.area == *area && v.is_refused() && v.expect != json!({ "error": "any" }));
        for (path, vector) in &positive {
            let leaves = leaves_of(&vector.expect);
            for at in leaves.iter().step_by(leaves.len().div_ceil(TRIES).max(1)) {
                let mut altered = (*vector).clone();
                alter(altered.expect.pointer_mut(at).unwrap());
                assert!(fails(&altered), "{path}: nobody saw that {at} was altered");
            }
        }
        if let Some((path, vector)) = refused {
            let altered = Vector { expect: json!({ "error": "another" }), ..vector.clone() };
            assert!(altered.check().is_err(), "{path}: nobody saw another reason");
        }
        assert!(!positive.is_empty() || *area == "hostile", "no positive vector of {area}");
    }
    assert!(spared_are_taken(&vectors), "a hostile vector that spoils nothing is refused");
}

/// Whether each base of the hostile vectors, with nothing done to it, is a good message and not taken for refused.
fn spared_are_taken(vectors: &BTreeMap<String, Vector>) -> bool {
    let bases: BTreeMap<String, Vector> = vectors
        .values()
        .filter(|vector| vector.area == "hostile")
        .map(|vector| (vector.input["base"].to_string(), vector.clone()))
        .collect();
    bases.into_values().all(|mut vector| {
        vector.input["remove"] = json!(0);
        vector.input["insert"] = json!("");
        vector.check().is_err()
    })
}

#[test]
fn an_unknown_field_is_not_passed_over() {
    for (path, mut vector) in committed().into_iter().filter(|(_, vector)| !vector.is_refused()) {
        vector.input["surprise"] = json!(1);
        assert!(fails(&vector), "{path}");
    }
}

/// Whether a vector is found wrong: by its outcome, or by an assertion on the way to it.
fn fails(vector: &Vector) -> bool {
    std::panic::catch_unwind(|| vector.check()).is_ok_and(|outcome| outcome.is_ok()).not()
}

/// Pointers to the numbers, texts and truths in a value.
fn leaves_of(value: &Value) -> Vec<String> {
    let under = |key: String, child: &Value| {
        leaves_of(child).into_iter().map(move |leaf| format!("/{key}{leaf}")).collect::<Vec<_>>()
    };
    match value {
        Value::Object(map) => map.iter().flat_map(|(key, child)| under(key.clone(), child)).collect(),
        Value::Array(list) => list.iter().enumerate().flat_map(|(at, child)| under(at.to_string(), child)).collect(),
        Value::Null => Vec::new(),
        _ => vec![String::new()],
    }
}

/// Another value of the same form: the last hexadecimal digit, the number, the truth.
fn alter(value: &mut Value) {
    *value = match value.take() {
        Value::String(text) => {
            let (rest, last) = text.split_at(text.len().saturating_sub(1));
            json!(format!("{rest}{}", if last == "0" { "1" } else { "0" }))
        }
        Value::Number(number) => json!(number.as_u64().unwrap() ^ 1),
        Value::Bool(truth) => json!(!truth),
        other => panic!("{other} is no leaf"),
    };
}
