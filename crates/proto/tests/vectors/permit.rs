//! Permits.

use nuncio_proto::ids::{AgentId, PermitId};
use nuncio_proto::permit::{Asked, Link, Permit};
use nuncio_proto::time::UnixMillis;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::kit::hex;
use crate::names::Name;
use crate::{Hex, Outcome, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, untagged)]
enum Given {
    Line { line: String },
    Asked { bytes: Hex, asked: By },
    Bytes { bytes: Hex },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct By {
    giver: String,
    holder: String,
    service: String,
    now: u64,
    revoked: Vec<Hex>,
}

pub(crate) fn outcome(value: &Value) -> Outcome {
    let permit: Permit = match input(value) {
        Given::Line { line } => line.parse().map_err(|error: nuncio_proto::permit::NotPermit| error.name())?,
        Given::Bytes { bytes } => read(&bytes)?,
        Given::Asked { bytes, asked } => return ask(&read(&bytes)?, &asked),
    };
    let link = |(by, link): (&AgentId, &Link)| {
        json!({
            "by": by.to_string(),
            "holder": link.terms.holder.to_string(),
            "scope": link.terms.scope.to_string(),
            "until": link.terms.until.0,
            "further": link.terms.further,
            "id": hex(link.id().as_bytes()),
        })
    };
    Ok(json!({
        "giver": permit.giver().to_string(),
        "service": permit.service().as_str(),
        "links": permit.signed_links().map(link).collect::<Vec<_>>(),
        "line": permit.to_string(),
    }))
}

fn read(bytes: &Hex) -> Result<Permit, &'static str> {
    let permit = Permit::parse(&bytes.0).map_err(|error| error.name())?;
    assert_eq!(permit.to_bytes(), bytes.0, "one spelling");
    Ok(permit)
}

fn ask(permit: &Permit, by: &By) -> Outcome {
    let revoked: Vec<PermitId> = by.revoked.iter().map(|id| PermitId::from_bytes(id.array())).collect();
    let (giver, holder) = (by.giver.parse().unwrap(), by.holder.parse().unwrap());
    let service = by.service.parse().unwrap();
    let asked = Asked { giver: &giver, holder: &holder, service: &service, now: UnixMillis(by.now) };
    let allowed = permit.allows(&asked, |_, link| revoked.contains(&link.id())).map_err(|error| error.name())?;
    Ok(json!({ "allowed": allowed.to_string() }))
}
