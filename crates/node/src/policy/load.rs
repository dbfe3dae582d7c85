//! From the file to a policy in force.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::POLICY_SCHEMA;
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::crypto;
use nuncio_proto::identity::Retirement;
use nuncio_proto::ids::AgentId;
use nuncio_proto::tlog::NoteKey;
use nuncio_proto::token::{Algorithm, Json, Receiver, Scope};
use reqwest::Url;
use serde_json::Value;

use super::grant::{Grant, Origin, Receivers, SubjectType};
use super::issuer::{Fetched, Issuer, Source};
use super::{Anchors, Client, Policy, Service, Witness, file};
use crate::decisions::DecisionPoint;
use crate::error::NodeError;
use crate::holder::Holder;
use crate::jose::KeyRing;
use crate::limits::Rate;

type Why = String;

/// A policy file is a page of text, with many clients a few megabytes.
const POLICY_LEN_MAX: u64 = 16 << 20;

static SCHEMA: LazyLock<Option<jsonschema::Validator>> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(POLICY_SCHEMA).ok()?;
    jsonschema::validator_for(&schema).ok()
});

/// Reads a policy, whole or not at all.
pub(crate) fn load(path: &Path) -> Result<Policy, NodeError> {
    let failed = |why: &str| NodeError::policy(path, why);
    if std::fs::metadata(path).map_err(NodeError::io("read", path.display()))?.len() > POLICY_LEN_MAX {
        return Err(failed("it is longer than 16 MiB"));
    }
    let text = std::fs::read_to_string(path).map_err(NodeError::io("read", path.display()))?;
    let beside = path.parent().unwrap_or(Path::new("."));
    parse(&text, beside).map_err(|why| failed(&why))
}

pub(crate) fn parse(text: &str, beside: &Path) -> Result<Policy, Why> {
    let value: Value = toml::from_str(text).map_err(|error| error.to_string())?;
    let schema = SCHEMA.as_ref().ok_or("the schema cannot be read")?;
    if let Some(error) = schema.iter_errors(&value).next() {
        let at = error.instance_path().to_string();
        return Err(if at.is_empty() { error.to_string() } else { format!("{at}: {error}") });
    }
    let file: file::File = serde_json::from_value(value).map_err(|error| error.to_string())?;
    build(file, BASE64URL_NOPAD.encode(&crypto::sha256(&[text.as_bytes()])), beside)
}

fn build(file: file::File, hash: String, beside: &Path) -> Result<Policy, Why> {
    let service = service(file.service)?;
    let dids = dids(&file.client)?;
    let mut policy = Policy {
        hash,
        issuers: issuers(file.issuer, beside)?,
        clients: BTreeMap::new(),
        agents: BTreeMap::new(),
        operators: file.operators.into_iter().collect(),
        retired: file.retired_files.iter().map(|file| retired(&beside.join(file))).collect::<Result<_, _>>()?,
        decisions: file.decisions.map(|decisions| decision_point(decisions, beside)).transpose()?,
        witnesses: file.witness.into_iter().map(witness).collect::<Result<_, _>>()?,
        anchors: anchors(file.anchor, file.anchor_every_minutes)?,
        service,
    };
    for client in file.client {
        let name = client.name.clone();
        let client =
            build_client(client, &policy.service, &dids, beside).map_err(|why| format!("client {name}: {why}"))?;
        let client = Arc::new(client);
        if let Some(did) = client.did
            && policy.agents.insert(did, Arc::clone(&client)).is_some()
        {
            return Err(format!("client {name}: its did is another client's too"));
        }
        if policy.clients.insert(name.clone(), client).is_some() {
            return Err(format!("client {name} is there twice"));
        }
    }
    match policy.operators.iter().find(|name| !policy.clients.contains_key(*name)) {
        Some(nobody) => Err(format!("operator {nobody} is no client")),
        None => Ok(policy),
    }
}

fn service(service: file::Service) -> Result<Service, Why> {
    check_url(&service.issuer)?;
    Ok(Service {
        token_endpoint: format!("{}/token", service.issuer),
        domain: service.trust_domain,
        issuer: service.issuer,
        algorithm: service.algorithm.as_deref().and_then(Algorithm::parse).unwrap_or(Algorithm::EdDsa),
        token_life_s: service.token_life_s.unwrap_or(time::TOKEN_LIFE / 1_000),
        transaction_life_s: service.transaction_life_s,
        hops_max: service.hops_max.unwrap_or(limit::HOPS_MAX),
        connections_per_source: service.connections_per_source.unwrap_or(limit::NODE_CONNECTIONS_PER_SOURCE),
    })
}

fn dids(clients: &[file::Client]) -> Result<BTreeMap<String, AgentId>, Why> {
    let named = clients.iter().filter_map(|client| Some((client.name.clone(), client.did.as_deref()?)));
    named.map(|(name, did)| Ok((name, agent(did)?))).collect()
}

fn agent(did: &str) -> Result<AgentId, Why> {
    did.parse().map_err(|error| format!("{did}: {error}"))
}

fn build_client(
    client: file::Client,
    service: &Service,
    dids: &BTreeMap<String, AgentId>,
    beside: &Path,
) -> Result<Client, Why> {
    let did = dids.get(&client.name).copied();
    let mut keys = match (client.jwks, client.jwks_file) {
        (Some(jwks), _) => KeyRing::parse(jwks.to_string().as_bytes())?,
        (None, Some(file)) => key_file(&beside.join(file))?,
        (None, None) => KeyRing::default(),
    };
    if let Some(did) = &did {
        keys.insert(did);
    }
    let grants = client.grant.into_iter().map(|grant| build_grant(grant, service, dids));
    Ok(Client {
        did,
        holder: did.map(Holder::agent),
        keys,
        rate: Rate::per_second(client.requests_per_s.unwrap_or(limit::REQUESTS_PER_CLIENT)),
        agentic_ctx: client.agentic_ctx.map(json).transpose()?,
        grants: grants.collect::<Result<_, _>>()?,
        name: client.name,
    })
}

fn build_grant(grant: file::Grant, service: &Service, dids: &BTreeMap<String, AgentId>) -> Result<Grant, Why> {
    let members = |members: BTreeMap<String, file::Member>| {
        members.into_iter().map(|(name, member)| Ok((name, origin(member)?))).collect::<Result<_, Why>>()
    };
    Ok(Grant {
        types: types(&grant.subject_types)?,
        subjects: grant.subjects,
        scope: scope(&grant.scope)?,
        receivers: receivers(&grant.receivers, dids)?,
        hops_max: grant.hops_max.unwrap_or(service.hops_max).min(service.hops_max),
        details: members(grant.details)?,
        context: members(grant.context)?,
    })
}

fn types(names: &[String]) -> Result<BTreeSet<SubjectType>, Why> {
    names.iter().map(|name| SubjectType::parse(name).ok_or_else(|| format!("{name} is no subject type"))).collect()
}

fn scope(text: &str) -> Result<Scope, Why> {
    Scope::parse(text).ok_or_else(|| format!("{text:?} is no scope"))
}

fn receivers(names: &[String], dids: &BTreeMap<String, AgentId>) -> Result<Receivers, Why> {
    if names.iter().any(|name| name == "*") {
        return Ok(Receivers::Anybody);
    }
    let receiver = |name: &String| match dids.get(name) {
        Some(did) => Ok(Receiver::Agent(*did)),
        None if name.starts_with("did:") => agent(name).map(Receiver::Agent),
        None => name.parse().map_err(|_| format!("receiver {name} is no client with a did, and no id of a channel")),
    };
    names.iter().map(receiver).collect::<Result<_, _>>().map(Receivers::These)
}

fn origin(member: file::Member) -> Result<Origin, Why> {
    Ok(match member {
        file::Member::Word(word) => match word.as_str() {
            "copy" => Origin::Copy,
            "hash" => Origin::Hash,
            "drop" => Origin::Drop,
            _ => return Err(format!("{word} is nothing that becomes of a member")),
        },
        file::Member::Claim { claim } => Origin::Claim(claim),
        file::Member::Value { value } => Origin::Value(json_value(value)?),
    })
}

fn json(value: Value) -> Result<Json, Why> {
    Json::parse_object(value.to_string().as_bytes()).map(Json::Object).map_err(|error| error.to_string())
}

fn json_value(value: Value) -> Result<Json, Why> {
    let Json::Object(mut wrapped) = json(serde_json::json!({ "value": value }))? else {
        return Err("no JSON".to_owned());
    };
    wrapped.remove("value").ok_or_else(|| "no JSON".to_owned())
}

fn issuers(listed: Vec<file::Issuer>, beside: &Path) -> Result<BTreeMap<String, Issuer>, Why> {
    let mut issuers = BTreeMap::new();
    refuse_shared_subjects(&listed)?;
    for issuer in listed {
        let name = issuer.issuer.clone();
        let issuer = build_issuer(issuer, beside).map_err(|why| format!("issuer {name}: {why}"))?;
        if issuers.insert(name.clone(), issuer).is_some() {
            return Err(format!("issuer {name} is there twice"));
        }
    }
    Ok(issuers)
}

/// contracts/txts.md N11. In their order a prefix stands right before those that begin with it.
fn refuse_shared_subjects(listed: &[file::Issuer]) -> Result<(), Why> {
    let mut prefixes: Vec<&str> = listed.iter().map(|issuer| issuer.subject_prefix.as_str()).collect();
    prefixes.sort_unstable();
    match prefixes.array_windows().find(|[former, latter]| latter.starts_with(former)) {
        None => Ok(()),
        Some([former, latter]) => Err(format!(
            "two issuers have subject_prefix {former:?} and {latter:?}, so a subject of the one could be the other's"
        )),
    }
}

fn build_issuer(issuer: file::Issuer, beside: &Path) -> Result<Issuer, Why> {
    let keys = match (issuer.jwks_file, issuer.jwks_url) {
        (Some(file), _) => Source::File(key_file(&beside.join(file))?),
        (None, Some(url)) => {
            check_url(&url)?;
            Source::Url(Arc::new(Fetched::new(url)?))
        }
        (None, None) => return Err("no keys".to_owned()),
    };
    Ok(Issuer {
        audience: issuer.audience,
        types: types(&issuer.types)?,
        subject_prefix: issuer.subject_prefix,
        scope: issuer.scope.as_deref().map(scope).transpose()?,
        keys,
    })
}

fn key_file(path: &Path) -> Result<KeyRing, Why> {
    let jwks = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    KeyRing::parse(&jwks).map_err(|why| format!("{}: {why}", path.display()))
}

/// Whose identity is over.
fn retired(path: &Path) -> Result<AgentId, Why> {
    let statement = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let retirement = Retirement::parse(&statement);
    retirement.map(|it| it.agent).map_err(|error| format!("{}: no retirement of an agent: {error}", path.display()))
}

fn decision_point(decisions: file::Decisions, beside: &Path) -> Result<DecisionPoint, Why> {
    check_url(&decisions.url)?;
    let bearer = decisions.bearer_file.map(|file| secret_file(&beside.join(file))).transpose()?;
    DecisionPoint::new(&decisions.url, bearer)
}

fn witness(witness: file::Witness) -> Result<Witness, Why> {
    check_url(&witness.url)?;
    let key = NoteKey::parse(&witness.key).filter(|key| key.kind().cosigns());
    let key = key.ok_or_else(|| format!("{}: no key of a witness", witness.key))?;
    Ok(Witness { key, url: witness.url })
}

fn anchors(listed: Vec<file::Anchor>, every_minutes: Option<u64>) -> Result<Anchors, Why> {
    let mut calendars: Vec<String> = Vec::new();
    for file::Anchor { calendar } in listed {
        check_url(&calendar)?;
        let calendar = calendar.trim_end_matches('/').to_owned();
        if calendars.contains(&calendar) {
            return Err(format!("anchor {calendar} is there twice"));
        }
        calendars.push(calendar);
    }
    let every_ms = every_minutes.map_or(time::ANCHOR_EVERY, |minutes| minutes.saturating_mul(60_000));
    Ok(Anchors { calendars, every: Duration::from_millis(every_ms) })
}

/// A secret that others can read is none.
fn secret_file(path: &Path) -> Result<zeroize::Zeroizing<String>, Why> {
    use std::os::unix::fs::MetadataExt as _;
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if std::fs::metadata(path).map_err(failed)?.mode() & 0o077 != 0 {
        return Err(format!("{}: others can read it: chmod 600", path.display()));
    }
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
    Ok(zeroize::Zeroizing::new(text.trim_end().to_owned()))
}

/// Keys and decisions come over TLS, or from this machine. A URL stands in logs, so no secret stands in it.
fn check_url(text: &str) -> Result<(), Why> {
    let url = Url::parse(text).map_err(|error| format!("a URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user or a password in it, which logs would show".to_owned());
    }
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_near = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_near => Ok(()),
        _ => Err(format!("{text}: https, or http on loopback")),
    }
}

#[cfg(test)]
mod tests;
