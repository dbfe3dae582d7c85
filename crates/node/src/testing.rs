//! For fuzzers: a request and a policy file as they are read, without a node.

use std::path::Path;

use axum::http::{HeaderMap, HeaderValue, header};
use nuncio_proto::ids::AgentId;
use nuncio_proto::token::{Algorithm, Json};
use nuncio_store::Op;

use crate::audit::{Deed, Record};
use crate::entropy;
use crate::form::Form;
use crate::once::UsedId;
use crate::policy::{self, Service};
use crate::request::TokenRequest;

/// A request's body that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its parameters that are not empty, by name.
    pub parameters: Vec<(String, String)>,
    /// What it asks for, if it is a token request.
    pub asked: Option<Asked>,
}

/// What a token request asks for: scope, and the two objects as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the parameters are")]
pub struct Asked {
    pub scope: String,
    pub request_details: String,
    pub request_context: String,
}

/// Reads a request to the trust domain `acme.example`.
#[must_use]
pub fn request(body: &[u8]) -> Option<Request> {
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    let form = Form::parse(&HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]), body).ok()?;
    let text = |members| serde_json::to_string(&Json::Object(members)).unwrap_or_default();
    let asked = TokenRequest::read(&form, &service()).ok().map(|asked| Asked {
        scope: asked.scope.to_string(),
        request_details: text(asked.details),
        request_context: text(asked.context),
    });
    let parameters = form.parameters().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Some(Request { parameters, asked })
}

fn service() -> Service {
    Service {
        domain: "acme.example".to_owned(),
        issuer: "https://txts.acme.example".to_owned(),
        token_endpoint: "https://txts.acme.example/token".to_owned(),
        algorithm: Algorithm::EdDsa,
        token_life_s: 120,
        transaction_life_s: 3_600,
        hops_max: 4,
        connections_per_source: 64,
    }
}

/// A policy that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the policy's members are")]
pub struct Policy {
    pub trust_domain: String,
    pub clients: Vec<String>,
    pub operators: Vec<String>,
    /// Of each issuer.
    pub subject_prefixes: Vec<String>,
}

/// Reads a policy file. One that names other files is passed over: a fuzzer must not open them.
#[must_use]
pub fn policy(text: &str) -> Option<Policy> {
    let value: serde_json::Value = toml::from_str(text).ok()?;
    if value.to_string().contains("_file") {
        return None;
    }
    let policy = policy::parse(text, Path::new("")).ok()?;
    Some(Policy {
        trust_domain: policy.service.domain.clone(),
        clients: policy.client_names().map(str::to_owned).collect(),
        operators: policy.operator_names().map(str::to_owned).collect(),
        subject_prefixes: policy.issuers.values().map(|issuer| issuer.subject_prefix.clone()).collect(),
    })
}

/// Key and value of a record as the service writes one for a token that it has issued or replaced: records leave its store for the log.
#[must_use]
pub fn record(holder: AgentId, is_replacement: bool) -> Option<(Vec<u8>, Vec<u8>)> {
    let at = entropy::now();
    let record = Record {
        at,
        deed: if is_replacement { Deed::Replace } else { Deed::Issue },
        client: Some("gateway".to_owned()),
        txn: Some("01a21892-77f0-77d1-a1be-1ff4b8bf8ce3".to_owned()),
        subject: Some("user:anna".to_owned()),
        receiver: is_replacement.then(|| holder.to_string()),
        hop: Some(u8::from(is_replacement)),
        token: Some([7; 32]),
        input: is_replacement.then_some([8; 32]),
        holder: Some(holder),
        scope: Some("travel.book travel.pay".to_owned()),
        error: None,
        used: vec![UsedId { id: [9; 16], until_s: at.0 / 1_000 + 60 }],
    };
    match record.put([1; 10]) {
        Op::Put { key, value } => Some((key, value)),
        Op::Delete { .. } => None,
    }
}
