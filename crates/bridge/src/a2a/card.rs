//! An agent's card: where it says that it speaks JSON-RPC, and the same card with other addresses.

use std::collections::BTreeSet;

use nuncio_proto::crypto::SigningKey;
use reqwest::Url;
use serde_json::{Map, Value};

use super::signing::{SIGNATURES, sign};

/// The binding whose messages travel.
const BINDING: &str = "JSONRPC";

/// Paths, with queries, at which a card says that JSON-RPC is spoken.
pub(crate) fn paths(card: &Value) -> BTreeSet<String> {
    let Some(card) = card.as_object() else { return BTreeSet::new() };
    let listed = [("supportedInterfaces", "protocolBinding"), ("additionalInterfaces", "transport")];
    let listed = listed.into_iter().flat_map(|(list, binding)| {
        let all = card.get(list).and_then(Value::as_array).into_iter().flatten();
        all.filter(move |one| one.get(binding).and_then(Value::as_str) == Some(BINDING))
    });
    let listed = listed.filter_map(|one| one.get("url")?.as_str());
    listed.chain(main(card)).filter_map(path).collect()
}

/// The card with addresses that begin with `base` in the stead of its own. Its own signatures go, since they are of other bytes; `signer` signs it.
///
/// # Errors
/// It cannot be served so: why, for people.
// contracts/call.md X35.
pub(crate) fn rewritten(card: &[u8], base: &str, signer: Option<&SigningKey>) -> Result<Vec<u8>, &'static str> {
    let mut card: Map<String, Value> =
        serde_json::from_slice(card).map_err(|_| "the agent's card is no JSON object")?;
    moved_to(&mut card, base)?;
    card.remove(SIGNATURES);
    if let Some(signer) = signer {
        sign(&mut card, signer).ok_or("the agent's card has no canonical form")?;
    }
    serde_json::to_vec(&card).map_err(|_| "the agent's card cannot be written")
}

/// An answer whose result is a card, with that card as [`rewritten`] has it, unsigned; `None` of one that has no result.
///
/// # Errors
/// As [`rewritten`].
pub(crate) fn rewritten_in(answer: &[u8], base: &str) -> Result<Option<Vec<u8>>, &'static str> {
    let mut answer: Map<String, Value> = serde_json::from_slice(answer).map_err(|_| "the answer is no JSON object")?;
    let Some(result) = answer.get_mut("result") else { return Ok(None) };
    let card = result.as_object_mut().ok_or("the agent's card is no JSON object")?;
    moved_to(card, base)?;
    card.remove(SIGNATURES);
    serde_json::to_vec(&answer).map(Some).map_err(|_| "the agent's card cannot be written")
}

/// Moves all interfaces of a card that are of our binding, and takes out the others.
fn moved_to(card: &mut Map<String, Value>, base: &str) -> Result<(), &'static str> {
    let older = card.contains_key("url") || card.contains_key("additionalInterfaces");
    let mut served = interfaces(card, "supportedInterfaces", "protocolBinding", base);
    if older {
        let first = main(card).and_then(|url| moved(url, base));
        let others = interfaces(card, "additionalInterfaces", "transport", base);
        served |= first.is_some() || others;
        match first.or_else(|| first_of(card, "additionalInterfaces")) {
            Some(url) => {
                card.insert("url".to_owned(), url.into());
                if card.contains_key("preferredTransport") {
                    card.insert("preferredTransport".to_owned(), BINDING.into());
                }
            }
            None => drop(card.remove("url")),
        }
    }
    if !served {
        return Err("the agent's card names no interface of JSON-RPC");
    }
    Ok(())
}

/// The address that a card of 0.3 names by itself, where it is of our binding.
fn main(card: &Map<String, Value>) -> Option<&str> {
    let preferred = card.get("preferredTransport").is_none_or(|binding| binding == BINDING);
    card.get("url").and_then(Value::as_str).filter(|_| preferred)
}

/// Moves the interfaces of a list that are of our binding, and takes out the others. Whether any is left.
fn interfaces(card: &mut Map<String, Value>, list: &str, binding: &str, base: &str) -> bool {
    let Some(list) = card.get_mut(list) else { return false };
    let all = list.as_array().into_iter().flatten();
    let ours = all.filter(|one| one.get(binding).and_then(Value::as_str) == Some(BINDING));
    let moved: Vec<Value> = ours
        .filter_map(|one| {
            let mut one = one.as_object()?.clone();
            let url = moved(one.get("url")?.as_str()?, base)?;
            one.insert("url".to_owned(), url.into());
            Some(one.into())
        })
        .collect();
    let any = !moved.is_empty();
    *list = moved.into();
    any
}

fn first_of(card: &Map<String, Value>, list: &str) -> Option<String> {
    card.get(list)?.as_array()?.first()?.get("url")?.as_str().map(str::to_owned)
}

fn moved(url: &str, base: &str) -> Option<String> {
    path(url).map(|path| format!("{base}{path}"))
}

/// Path and query of an address of HTTP.
fn path(url: &str) -> Option<String> {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    Some(url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BASE: &str = "http://127.0.0.1:4000/agent/secret/a2a";

    fn served(card: &Value) -> Result<Value, &'static str> {
        rewritten(card.to_string().as_bytes(), BASE, None).map(|card| serde_json::from_slice(&card).unwrap())
    }

    #[test]
    fn only_interfaces_of_json_rpc_stay_and_all_else_is_as_it_was() {
        let card = json!({ "name": "é", "x": [1.5, null], "supportedInterfaces": [
            { "url": "https://a.example/rpc?t=1", "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "tenant": "t" },
            { "url": "https://a.example/rest", "protocolBinding": "HTTP+JSON" },
            { "url": "a.example:50051", "protocolBinding": "GRPC" },
            { "url": "https://b.example", "protocolBinding": "JSONRPC" } ] });
        let wanted = json!({ "name": "é", "x": [1.5, null], "supportedInterfaces": [
            { "url": format!("{BASE}/rpc?t=1"), "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "tenant": "t" },
            { "url": format!("{BASE}/"), "protocolBinding": "JSONRPC" } ] });
        assert_eq!(served(&card), Ok(wanted));
        assert_eq!(paths(&card), ["/".to_owned(), "/rpc?t=1".to_owned()].into());
    }

    #[test]
    fn a_card_of_0_3_names_its_interfaces_otherwise() {
        let rest = json!({ "url": "https://a.example/rest", "transport": "HTTP+JSON" });
        let rpc = json!({ "url": "https://a.example/rpc", "transport": "JSONRPC" });
        let card = json!({ "url": "https://a.example/", "additionalInterfaces": [rest, rpc] });
        let moved = json!({ "url": format!("{BASE}/rpc"), "transport": "JSONRPC" });
        let wanted = json!({ "url": format!("{BASE}/"), "additionalInterfaces": [moved] });
        assert_eq!(served(&card), Ok(wanted));
        assert_eq!(paths(&card), ["/".to_owned(), "/rpc".to_owned()].into());
        let other = json!({ "url": "https://a.example/rest", "preferredTransport": "HTTP+JSON", "additionalInterfaces": [rest, rpc] });
        let wanted =
            json!({ "url": format!("{BASE}/rpc"), "preferredTransport": "JSONRPC", "additionalInterfaces": [moved] });
        assert_eq!(served(&other), Ok(wanted));
        assert_eq!(paths(&other), ["/rpc".to_owned()].into());
    }

    #[test]
    fn what_cannot_be_served_is_not() {
        let rpc = json!([{ "url": "https://a.example/", "protocolBinding": "JSONRPC" }]);
        // Signatures of other bytes are not shown.
        for signatures in [json!([{}]), json!({}), json!([])] {
            let card = served(&json!({ "supportedInterfaces": rpc, "signatures": signatures })).unwrap();
            assert_eq!(card.get("signatures"), None);
        }
        for none in [
            json!({}),
            json!([]),
            json!({ "url": "grpc://a" }),
            json!({ "supportedInterfaces": [{ "url": "http://a" }] }),
        ] {
            assert!(served(&none).is_err() && paths(&none).is_empty(), "{none}");
        }
        assert!(served(&json!({ "url": "http://a", "preferredTransport": "GRPC" })).is_err());
    }
}
