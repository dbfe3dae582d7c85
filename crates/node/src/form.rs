//! `application/x-www-form-urlencoded`, read strictly (RFC 6749 appendix B; contracts/txts.md N6).

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};

use crate::refusal::Refusal;

/// The parameters of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads a body. A parameter that is there twice is refused, even an empty or unknown one; an empty one is as if absent.
    pub(crate) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        if !is_form(headers) {
            return Err(Refusal::request("the body is to be application/x-www-form-urlencoded"));
        }
        let mut form = BTreeMap::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || decode(halves.next().unwrap_or_default());
            let (Some(name), Some(value)) = (half(), half()) else {
                return Err(Refusal::request("a parameter is not percent-encoded UTF-8"));
            };
            if form.insert(name, value).is_some() {
                return Err(Refusal::request("a parameter is there twice"));
            }
        }
        form.retain(|_, value| !value.is_empty());
        Ok(Self(form))
    }

    /// A parameter, if it is there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All that are there, by name.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A parameter that must be there.
    pub(crate) fn need(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::request(format!("{name} is missing")))
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let Some(Ok(named)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let mut parts = named.split(';').map(str::trim);
    let is_form = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    let is_utf8 = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    is_form && parts.all(is_utf8)
}

fn decode(mut text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    while let Some(plain) = text.iter().position(|byte| matches!(byte, b'+' | b'%')) {
        bytes.extend_from_slice(text.get(..plain)?);
        let (byte, rest) = match text.get(plain..)? {
            [b'%', high, low, rest @ ..] => (digit(*high)? << 4 | digit(*low)?, rest),
            [b'+', rest @ ..] => (b' ', rest),
            _ => return None,
        };
        bytes.push(byte);
        text = rest;
    }
    bytes.extend_from_slice(text);
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "application/x-www-form-urlencoded";

    fn parse(kind: &str, body: &str) -> Option<Form> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
        Form::parse(&headers, body.as_bytes()).ok()
    }

    #[test]
    fn a_form_is_read_and_empty_parameters_are_as_if_absent() {
        let form = parse(KIND, "a=1&b=x+y%2B%C3%A4&c=&d&&e=%3D=").unwrap();
        assert_eq!((form.get("a"), form.get("b"), form.get("e")), (Some("1"), Some("x y+ä"), Some("==")));
        assert_eq!((form.get("c"), form.get("d")), (None, None));
        assert!(form.need("c").is_err());
    }

    #[test]
    fn what_is_there_twice_or_badly_spelt_is_refused() {
        for bad in ["a=1&a=1", "a=1&b=2&a=", "a=&a=", "%61=1&a=2", "x=1&x=2", "a=%", "a=%4", "a=%zz", "a=%ff", "%ff=a"]
        {
            assert_eq!(parse(KIND, bad), None, "{bad}");
        }
    }

    #[test]
    fn the_charset_may_be_said_if_it_is_utf_8() {
        for good in
            [KIND, &format!("{KIND};charset=UTF-8"), &format!("{KIND}; charset=\"utf-8\""), &KIND.to_uppercase()]
        {
            assert!(parse(good, "a=1").is_some(), "{good}");
        }
        for bad in ["application/json", "text/plain", &format!("{KIND};charset=latin1"), ""] {
            assert!(parse(bad, "a=1").is_none(), "{bad}");
        }
        assert!(Form::parse(&HeaderMap::new(), b"a=1").is_err());
    }
}
