//! What a completion asks for, as far as it decides something here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Members that decide.
const KNOWN: [&str; 5] = ["model", "n", "stream", "max_tokens", "max_completion_tokens"];
/// What is reserved is a sum and a product of such numbers, and none of them saturates.
const NUMBER_MAX: u64 = 1 << 24;
/// A token is not shorter, in bytes of a body; some are, and what was used is settled.
const BYTES_PER_TOKEN: usize = 4;

/// A body's own words.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    pub(super) model: String,
    n: Option<u64>,
    #[expect(dead_code, reason = "another form of it is refused: the provider could take it for a stream")]
    stream: Option<bool>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    #[serde(flatten)]
    rest: BTreeMap<String, IgnoredAny>,
}

impl Asked {
    /// Reads it.
    ///
    /// # Errors
    /// It is no JSON object, or one that can be read in two ways: why, for people.
    // contracts/gateway.md W12.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let asked: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        match asked.rest.keys().find(|name| KNOWN.contains(&folded(name).as_str())) {
            Some(name) => Err(format!("`{name}` is written otherwise: in another case it could be read in two ways")),
            None if asked.numbers().any(|number| number > NUMBER_MAX) => {
                Err(format!("a number of it is larger than {NUMBER_MAX}: no model says so much"))
            }
            None => Ok(asked),
        }
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

/// Without case, as readers fold it that know more than ASCII.
fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(body: &str) -> Result<u64, String> {
        Asked::read(body.as_bytes()).map(|asked| asked.tokens(0, 100))
    }

    #[test]
    fn the_most_that_is_said_is_reserved() {
        assert_eq!(tokens(r#"{"model":"m","messages":[]}"#), Ok(100));
        assert_eq!(tokens(r#"{"model":"m","max_tokens":7}"#), Ok(7));
        assert_eq!(tokens(r#"{"model":"m","max_tokens":7,"max_completion_tokens":9,"n":3}"#), Ok(27));
        assert_eq!(tokens(r#"{"model":"m","max_tokens":16777216,"n":9}"#), Ok(9 << 24));
        assert!(tokens(r#"{"model":"m","max_tokens":16777217}"#).is_err());
        assert_eq!(Asked::read(br#"{"model":"m","max_tokens":7}"#).unwrap().tokens(401, 100), 108);
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
            r#"["m"]"#,
            "m",
        ] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
        assert!(tokens(r#"{"model":"m","messages":[{"Model":"n","n":1,"n":2}]}"#).is_ok(), "deeper nothing decides");
    }
}
