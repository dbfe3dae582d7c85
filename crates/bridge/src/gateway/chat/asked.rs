//! What a completion asks for, as far as it decides something here.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// Members that decide.
const KNOWN: [&str; 6] = ["model", "n", "stream", "stream_options", "max_tokens", "max_completion_tokens"];
/// Members that do not, as providers have them in common: none is another way to ask for more, or for another model.
const COMMON: [&str; 28] = [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "messages",
    "metadata",
    "modalities",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];
/// What is reserved is a sum and a product of such numbers, and none of them saturates.
const NUMBER_MAX: u64 = 1 << 24;
/// A token is not shorter, in bytes of a body; some are, and what was used is settled.
const BYTES_PER_TOKEN: usize = 4;
/// Of a name that is not known so much is said, in characters.
const NAME_TOLD: usize = 64;

/// A body's own words.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) model: String,
    n: Option<u64>,
    stream: Option<bool>,
    stream_options: Option<Options>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
}

/// What is said of a stream: what else there is could be another spelling.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    include_usage: Option<bool>,
    include_obfuscation: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

/// Whether a name says what decides, in whatever case.
pub(super) fn decides(name: &str) -> bool {
    KNOWN.contains(&folded(name).as_str())
}

impl Asked {
    /// Reads it; `more` are members that the owner has named beside [`COMMON`].
    ///
    /// # Errors
    /// It is no JSON object, or one that can be read in two ways: why, for people.
    // contracts/gateway.md W12.
    pub(super) fn read(body: &[u8], more: &BTreeSet<String>) -> Result<Self, String> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let read = Members { more }.deserialize(&mut json).and_then(|asked| json.end().map(|()| asked));
        let asked = read.map_err(|error| error.to_string())?;
        if asked.numbers().any(|number| number > NUMBER_MAX) {
            return Err(format!("a number of it is larger than {NUMBER_MAX}: no model says so much"));
        }
        Ok(asked)
    }

    /// What it leaves open, so that nobody could say what it uses: for people.
    // contracts/gateway.md W14.
    pub(super) fn untold(&self) -> Option<&'static str> {
        if self.max_tokens.max(self.max_completion_tokens).is_none() {
            return Some("your tokens have an end: say `max_completion_tokens` or `max_tokens`");
        }
        let told = self.stream_options.as_ref().and_then(|options| options.include_usage) == Some(true);
        let streams = self.stream == Some(true);
        (streams && !told).then_some("your tokens have an end: a stream has `stream_options` with `include_usage` true")
    }

    fn numbers(&self) -> impl Iterator<Item = u64> {
        [self.n, self.max_tokens, self.max_completion_tokens].into_iter().flatten()
    }

    /// Tokens that it may use at most, as far as its words say.
    // contracts/gateway.md W14.
    pub(super) fn tokens(&self, body_len: usize, estimate: u64) -> u64 {
        let most = self.max_tokens.max(self.max_completion_tokens).unwrap_or(estimate);
        let said = u64::try_from(body_len.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX);
        self.n.unwrap_or(1).max(1).saturating_mul(most).saturating_add(said)
    }
}

/// Reads members one after the other. Of those that decide nothing here nothing is kept, however long they are.
struct Members<'a> {
    more: &'a BTreeSet<String>,
}

impl Members<'_> {
    fn are_known(&self, name: &str) -> bool {
        COMMON.contains(&name) || self.more.contains(name)
    }
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Asked;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Asked, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Asked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Asked, M::Error> {
        let (mut asked, mut seen) = (Asked::default(), BTreeSet::new());
        while let Some(name) = map.next_key::<String>()? {
            let known = KNOWN.into_iter().find(|known| *known == name);
            if known.is_some_and(|known| !seen.insert(known)) {
                return Err(M::Error::custom(format!("`{name}` stands twice: it could be read in two ways")));
            }
            match name.as_str() {
                "model" => asked.model = map.next_value()?,
                "n" => asked.n = map.next_value()?,
                "stream" => asked.stream = map.next_value()?,
                "stream_options" => asked.stream_options = map.next_value()?,
                "max_tokens" => asked.max_tokens = map.next_value()?,
                "max_completion_tokens" => asked.max_completion_tokens = map.next_value()?,
                known if self.are_known(known) => drop(map.next_value::<IgnoredAny>()?),
                other => {
                    let told: String = other.chars().take(NAME_TOLD).collect();
                    return Err(M::Error::custom(format!(
                        "`{told}` is not known here: whoever runs this gateway can name it"
                    )));
                }
            }
        }
        if seen.contains("model") { Ok(asked) } else { Err(M::Error::missing_field("model")) }
    }
}

/// Without case, as readers fold it that know more than ASCII.
fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Asked, String> {
        Asked::read(body.as_bytes(), &BTreeSet::from(["top_k".to_owned()]))
    }

    fn tokens(body: &str) -> Result<u64, String> {
        read(body).map(|asked| asked.tokens(0, 100))
    }

    #[test]
    fn the_most_that_is_said_is_reserved() {
        assert_eq!(tokens(r#"{"model":"m","messages":[]}"#), Ok(100));
        assert_eq!(tokens(r#"{"model":"m","max_tokens":7}"#), Ok(7));
        assert_eq!(tokens(r#"{"model":"m","max_tokens":7,"max_completion_tokens":9,"n":3}"#), Ok(27));
        assert_eq!(tokens(r#"{"model":"m","max_tokens":16777216,"n":9}"#), Ok(9 << 24));
        assert!(tokens(r#"{"model":"m","max_tokens":16777217}"#).is_err());
        assert_eq!(read(r#"{"model":"m","max_tokens":7}"#).unwrap().tokens(401, 100), 108);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for bad in [
            r#"{"messages":[]}"#,
            r#"{"model":"m","model":"n"}"#,
            r#"{"model":"m","Model":"n"}"#,
            r#"{"model":"m","max_tokens":1,"max_tokens":9}"#,
            r#"{"model":"m","MAX_TOKENS":9}"#,
            r#"{"model":"m","max_tokenſ":9}"#,
            r#"{"model":"m","max_to\u212aens":9}"#,
            r#"{"model":"m","max_tokens":-1}"#,
            r#"{"model":"m","max_tokens":1.5}"#,
            r#"{"model":"m","max_tokens":"9"}"#,
            r#"{"model":"m","n":true}"#,
            r#"{"model":"m","stream":"yes"}"#,
            r#"{"model":"m","stream_options":{"include_usage":true,"include_usage":false}}"#,
            r#"{"model":"m","stream_options":{"include_usage":true,"Include_Usage":false}}"#,
            r#"{"model":"m","models":["n"]}"#,
            r#"{"model":"m","n_predict":9}"#,
            r#"{"model":"m","best_of":9}"#,
            r#"{"model":"m","max_output_tokens":9}"#,
            r#"{"model":"m"} {}"#,
            r#"["m"]"#,
            "m",
        ] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
        assert!(tokens(r#"{"model":"m","messages":[{"Model":"n","n":1,"n":2}]}"#).is_ok(), "deeper nothing decides");
        assert!(tokens(r#"{"model":"m","top_k":1,"temperature":null}"#).is_ok(), "the owner has named it");
    }

    /// contracts/gateway.md W14.
    #[test]
    fn what_leaves_open_what_it_uses_is_told_so() {
        for open in [
            r#"{"model":"m"}"#,
            r#"{"model":"m","max_tokens":null}"#,
            r#"{"model":"m","max_tokens":7,"stream":true}"#,
            r#"{"model":"m","max_tokens":7,"stream":true,"stream_options":null}"#,
            r#"{"model":"m","max_tokens":7,"stream":true,"stream_options":{"include_usage":false}}"#,
        ] {
            assert!(read(open).unwrap().untold().is_some(), "{open}");
        }
        for whole in [
            r#"{"model":"m","max_completion_tokens":7}"#,
            r#"{"model":"m","max_tokens":7,"stream":false}"#,
            r#"{"model":"m","max_tokens":7,"stream":true,"stream_options":{"include_usage":true}}"#,
        ] {
            assert_eq!(read(whole).unwrap().untold(), None, "{whole}");
        }
    }
}
