//! Statements of a token service, as an agent believes them.

use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{KeyBundle, RevokedList, StatementError, Trusted};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Outcome, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    what: String,
    statement: String,
    node: String,
    domain: String,
    now: u64,
}

pub(crate) fn outcome(value: &Value) -> Outcome {
    let given: Input = input(value);
    let node: AgentId = given.node.parse().unwrap();
    let trusted = Trusted { node: &node, domain: &given.domain, now: UnixMillis(given.now) };
    if given.what == "keys" {
        let bundle = KeyBundle::open(given.statement.as_bytes(), &trusted).map_err(name)?;
        let keys: Vec<_> = bundle.keys.thumbprints().map(|kid| kid.to_string()).collect();
        return Ok(json!({ "issued": bundle.issued, "expires": bundle.expires, "keys": keys }));
    }
    let list = RevokedList::open(given.statement.as_bytes(), &trusted).map_err(name)?;
    Ok(json!({ "expires": list.expires, "serial": list.serial, "transactions": list.transactions }))
}

fn name(error: StatementError) -> &'static str {
    match error {
        StatementError::Malformed(_) => "malformed",
        StatementError::Type => "type",
        StatementError::Signature => "signature",
        StatementError::Domain => "domain",
        StatementError::Time => "time",
        _ => "unknown",
    }
}
