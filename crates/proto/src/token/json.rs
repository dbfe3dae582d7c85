//! JSON that means one thing: no member twice, no depth without end.

use std::collections::BTreeMap;
use std::fmt;

use nuncio_contracts::registry::limit;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::Denial;

/// A JSON value of a token. Members are in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(serde_json::Number),
    /// A text.
    Text(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(BTreeMap<String, Self>),
}

impl Json {
    /// Reads one object and nothing else (contracts/token.md K3).
    ///
    /// # Errors
    /// What is no JSON object, names a member twice, or nests too deep.
    pub fn parse_object(bytes: &[u8]) -> Result<BTreeMap<String, Self>, Denial> {
        let mut from = serde_json::Deserializer::from_slice(bytes);
        let value = Level(limit::TOKEN_DEPTH_MAX).deserialize(&mut from);
        match value.and_then(|value| from.end().map(|()| value)) {
            Ok(Self::Object(members)) => Ok(members),
            Ok(_) => Err(Denial::Malformed("not a JSON object")),
            Err(_) => Err(Denial::Malformed("not JSON, a member named twice, or nested too deep")),
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one that is not negative.
    #[must_use]
    pub fn as_integer(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// The members, if it is an object.
    #[must_use]
    pub const fn as_object(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Number(value) => value.serialize(to),
            Self::Text(value) => to.serialize_str(value),
            Self::Array(items) => to.collect_seq(items),
            Self::Object(members) => to.collect_map(members),
        }
    }
}

/// How many levels may still open.
struct Level(usize);

impl Level {
    fn below<E: serde::de::Error>(&self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("nested too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        serde_json::Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let (mut items, below) = (Vec::new(), self.below()?);
        while let Some(item) = from.next_element_seed(Self(below.0))? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let (mut members, below) = (BTreeMap::new(), self.below()?);
        while let Some(name) = from.next_key::<String>()? {
            let value = from.next_value_seed(Self(below.0))?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member named twice"));
            }
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_named_twice_is_refused_however_deep() {
        assert!(Json::parse_object(br#"{"a":1,"b":{"a":1}}"#).is_ok());
        for twice in [r#"{"a":1,"a":1}"#, r#"{"b":{"a":1,"a":2}}"#, r#"{"b":[{"a":1,"\u0061":2}]}"#] {
            assert!(Json::parse_object(twice.as_bytes()).is_err(), "{twice}");
        }
    }

    #[test]
    fn depth_has_an_end_and_nothing_follows() {
        let nested =
            |levels: usize| [vec![br#"{"a":"#.as_slice(); levels].concat(), b"1".to_vec(), vec![b'}'; levels]].concat();
        assert!(Json::parse_object(&nested(limit::TOKEN_DEPTH_MAX)).is_ok());
        assert!(Json::parse_object(&nested(limit::TOKEN_DEPTH_MAX + 1)).is_err());
        for no_object in ["", "[]", "1", "{} {}", "{\"a\":1}x", "{\"a\":NaN}", "{a:1}"] {
            assert!(Json::parse_object(no_object.as_bytes()).is_err(), "{no_object}");
        }
    }

    #[test]
    fn what_was_read_is_written_again() {
        let text = r#"{"a":[1,-2,1.5,null,true,"x"],"b":{}}"#;
        let members = Json::parse_object(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&Json::Object(members)).unwrap(), text);
    }
}
