//! What every area needs: cases, their text, fixed keys and actors.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use nuncio_proto::codec;
use nuncio_proto::crypto;
use nuncio_proto::identity::Identity;
use nuncio_proto::secret::{Key, Secret};
use nuncio_proto::time::UnixMillis;
use serde_bytes::ByteArray;
use serde_json::{Value, json};

/// The time at which vectors play: 2026-09-21T14:13:20Z.
pub(crate) const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

/// One vector.
pub(crate) struct Case {
    area: &'static str,
    name: String,
    comment: String,
    input: Value,
    expect: Value,
}

impl Case {
    /// A vector that is taken.
    pub(crate) fn valid(area: &'static str, name: &str, comment: &str, input: Value, expect: Value) -> Self {
        Self { area, name: name.into(), comment: comment.into(), input, expect }
    }

    /// A vector that is refused, and why.
    pub(crate) fn refused(area: &'static str, name: &str, comment: &str, input: Value, error: &str) -> Self {
        Self::valid(area, name, comment, input, json!({ "error": error }))
    }

    pub(crate) fn path(&self) -> String {
        format!("{}/{}.json", self.area, self.name)
    }

    pub(crate) fn to_text(&self) -> String {
        let area = self.area.split('/').next().unwrap();
        let mut out = String::from("{\n");
        let parts = [("schema", json!("nuncio/vector/1")), ("area", json!(area)), ("comment", json!(self.comment))];
        for (key, value) in &parts {
            writeln!(out, "  \"{key}\": {value},").unwrap();
        }
        out.push_str("  \"input\": ");
        write_value(&mut out, &self.input, 1);
        out.push_str(",\n  \"expect\": ");
        write_value(&mut out, &self.expect, 1);
        out.push_str("\n}\n");
        out
    }
}

/// Sorted keys and two spaces, whatever serde_json's features make of a map. A short value stays on one line.
fn write_value(out: &mut String, value: &Value, depth: usize) {
    let one_line = inline(value);
    if one_line.len() <= 100 {
        return out.push_str(&one_line);
    }
    let (open, close) = if value.is_object() { ('{', '}') } else { ('[', ']') };
    let children: Vec<(Option<&String>, &Value)> = match value {
        Value::Object(map) => sorted(map).into_iter().map(|(key, value)| (Some(key), value)).collect(),
        Value::Array(list) => list.iter().map(|value| (None, value)).collect(),
        _ => return out.push_str(&one_line),
    };
    out.push(open);
    for (at, (key, child)) in children.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(out, "{comma}\n{}", "  ".repeat(depth + 1)).unwrap();
        if let Some(key) = key {
            write!(out, "\"{key}\": ").unwrap();
        }
        write_value(out, child, depth + 1);
    }
    write!(out, "\n{}{close}", "  ".repeat(depth)).unwrap();
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let parts: Vec<_> =
                sorted(map).into_iter().map(|(key, value)| format!("\"{key}\": {}", inline(value))).collect();
            if parts.is_empty() { "{}".into() } else { format!("{{ {} }}", parts.join(", ")) }
        }
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn sorted(map: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut pairs: Vec<_> = map.iter().collect();
    pairs.sort_by_key(|(key, _)| *key);
    pairs
}

/// The vectors in a folder, by their paths below it.
pub(crate) fn json_files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> Value {
    json!(data_encoding::HEXLOWER.encode(bytes.as_ref()))
}

pub(crate) fn unhex(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

/// Fixed bytes that look random, of a name.
pub(crate) fn fixed<const N: usize>(name: &str) -> [u8; N] {
    let blocks = (0_u32..).flat_map(|i| crypto::sha256(&[b"nuncio vector ", name.as_bytes(), &i.to_be_bytes()]));
    let bytes: Vec<u8> = blocks.take(N).collect();
    bytes.try_into().unwrap()
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(fixed(name))
}

/// An agent with the secrets that make it.
pub(crate) struct Actor {
    pub(crate) seed: [u8; 32],
    pub(crate) agreement: [u8; 32],
    pub(crate) identity: Identity,
}

pub(crate) fn actor(name: &str) -> Actor {
    let (seed, agreement) = (fixed(&format!("{name} seed")), fixed(&format!("{name} agreement")));
    Actor { seed, agreement, identity: identity_of(seed, agreement) }
}

pub(crate) fn identity_of(seed: [u8; 32], agreement: [u8; 32]) -> Identity {
    Identity::from_bytes(&codec::encode(&(1, ByteArray::new(seed), ByteArray::new(agreement)))).unwrap()
}

impl Actor {
    pub(crate) fn did(&self) -> String {
        self.identity.id().to_string()
    }

    /// The secrets, as an input.
    pub(crate) fn secrets(&self) -> Value {
        json!({ "seed": hex(self.seed), "agreement": hex(self.agreement) })
    }
}

/// Draws what it was given, and nothing more.
pub(crate) struct Script(pub(crate) Vec<u8>);

impl rand_core::TryRng for Script {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unreachable!("keys are drawn as bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unreachable!("keys are drawn as bytes")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        assert!(out.len() <= self.0.len(), "more randomness was drawn than the vector lists");
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&std::mem::replace(&mut self.0, rest));
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Script {}

pub(crate) fn secret<const N: usize>(bytes: &[u8]) -> Secret<N> {
    Secret::from_slice(bytes).unwrap()
}
