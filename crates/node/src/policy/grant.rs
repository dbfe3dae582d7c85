//! What a client may ask for.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::crypto;
use nuncio_proto::token::{Json, Receiver, Scope};

use crate::jose::Members;
use crate::refusal::{Code, Refusal};

/// The kinds of subject tokens (contracts/txts.md N9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SubjectType {
    AccessToken,
    Jwt,
    IdToken,
    SelfSigned,
    UnsignedJson,
    TxnToken,
}

impl SubjectType {
    /// By the last part of its URN.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "access_token" => Self::AccessToken,
            "jwt" => Self::Jwt,
            "id_token" => Self::IdToken,
            "self_signed" => Self::SelfSigned,
            "unsigned_json" => Self::UnsignedJson,
            "txn_token" => Self::TxnToken,
            _ => return None,
        })
    }
}

/// One thing that a client may do.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(super) types: BTreeSet<SubjectType>,
    pub(super) subjects: Vec<String>,
    pub(super) scope: Scope,
    pub(super) receivers: Receivers,
    pub(crate) hops_max: u8,
    pub(super) details: BTreeMap<String, Origin>,
    pub(super) context: BTreeMap<String, Origin>,
}

/// Towards whom.
#[derive(Debug)]
pub(super) enum Receivers {
    Anybody,
    These(BTreeSet<Receiver>),
}

/// Where a member of `tctx` or `rctx` comes from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Copy,
    Hash,
    Drop,
    Value(Json),
    Claim(String),
}

/// What a request comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) subject_type: SubjectType,
    pub(crate) subject: &'a str,
    pub(crate) scope: &'a Scope,
    /// `None` for the holder itself.
    pub(crate) receiver: Option<&'a Receiver>,
}

impl Grant {
    /// The first of these that allows it all; else what none allows, in the order of contracts/txts.md N14.
    pub(crate) fn find<'g>(grants: &'g [Self], asked: &Asked<'_>) -> Result<&'g Self, Refusal> {
        let denied = |code, why| move || Refusal::new(code, why);
        let named = narrow(Self::of_type(grants, asked.subject_type)?, |grant| {
            grant.subjects.iter().any(|pattern| fits(pattern, asked.subject))
        })
        .ok_or_else(denied(Code::UnauthorizedClient, "the client may not act for this subject"))?;
        let aimed = narrow(named, |grant| grant.reaches(asked.receiver))
            .ok_or_else(denied(Code::InvalidTarget, "the client may not write to this receiver"))?;
        let scoped = narrow(aimed, |grant| grant.scope.covers(asked.scope))
            .ok_or_else(denied(Code::InvalidScope, "the client may not ask for all of this scope"))?;
        scoped.first().copied().ok_or_else(denied(Code::UnauthorizedClient, "no grant"))
    }

    /// Those for subject tokens of this type. Where there are none, no such token is worth opening.
    pub(crate) fn of_type(grants: &[Self], subject_type: SubjectType) -> Result<Vec<&Self>, Refusal> {
        narrow(grants.iter().collect(), |grant| grant.types.contains(&subject_type))
            .ok_or_else(|| Refusal::new(Code::UnauthorizedClient, "the client may not use subject tokens of this type"))
    }

    fn reaches(&self, receiver: Option<&Receiver>) -> bool {
        match (&self.receivers, receiver) {
            (_, None) | (Receivers::Anybody, _) => true,
            (Receivers::These(these), Some(receiver)) => these.contains(receiver),
        }
    }

    /// `tctx` of `request_details`.
    pub(crate) fn details(&self, given: &Members, claims: Option<&Members>) -> Members {
        derive(&self.details, given, claims)
    }

    /// `rctx` of `request_context`.
    pub(crate) fn context(&self, given: &Members, claims: Option<&Members>) -> Members {
        derive(&self.context, given, claims)
    }
}

fn narrow(grants: Vec<&Grant>, allows: impl Fn(&Grant) -> bool) -> Option<Vec<&Grant>> {
    let left: Vec<_> = grants.into_iter().filter(|grant| allows(grant)).collect();
    if left.is_empty() { None } else { Some(left) }
}

/// A `*` at the end of a pattern stands for anything, also nothing.
fn fits(pattern: &str, subject: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == subject, |prefix| subject.starts_with(prefix))
}

// contracts/txts.md N15: a member that the policy does not name is dropped.
fn derive(rules: &BTreeMap<String, Origin>, given: &Members, claims: Option<&Members>) -> Members {
    let value = |name: &String, origin: &Origin| match origin {
        Origin::Copy => given.get(name).cloned(),
        Origin::Hash => given.get(name).map(hash),
        Origin::Value(value) => Some(value.clone()),
        Origin::Claim(claim) => claims.and_then(|claims| claims.get(claim)).cloned(),
        Origin::Drop => None,
    };
    rules.iter().filter_map(|(name, origin)| Some((name.clone(), value(name, origin)?))).collect()
}

/// Of the JSON as we write it: members in order, no white space.
fn hash(value: &Json) -> Json {
    let text = serde_json::to_vec(value).unwrap_or_default();
    Json::Text(BASE64URL_NOPAD.encode(&crypto::sha256(&[&text])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(seed: u8) -> Receiver {
        let key = nuncio_proto::crypto::SigningKey::from_seed(&[seed; 32]).public();
        nuncio_proto::ids::AgentId::from_bytes(key).unwrap().into()
    }

    fn grant(subjects: &str, scope: &str, receivers: Receivers) -> Grant {
        Grant {
            types: [SubjectType::Jwt].into(),
            subjects: vec![subjects.to_owned()],
            scope: Scope::parse(scope).unwrap(),
            receivers,
            hops_max: 4,
            details: BTreeMap::new(),
            context: BTreeMap::new(),
        }
    }

    /// contracts/txts.md N14.
    #[test]
    fn one_grant_must_allow_all_of_it_and_the_first_that_none_allows_is_the_reason() {
        let grants = [
            grant("user:*", "read", Receivers::These([agent(1)].into())),
            grant("user:anna", "read write", Receivers::These([agent(2)].into())),
        ];
        let code = |subject_type, subject: &str, receiver: u8, scope: &str| {
            let (scope, receiver) = (Scope::parse(scope).unwrap(), agent(receiver));
            let asked = Asked { subject_type, subject, scope: &scope, receiver: Some(&receiver) };
            Grant::find(&grants, &asked).map(|_| ()).map_err(|refusal| refusal.code)
        };
        assert_eq!(code(SubjectType::Jwt, "user:ben", 1, "read"), Ok(()));
        assert_eq!(code(SubjectType::Jwt, "user:anna", 2, "read write"), Ok(()));
        assert_eq!(code(SubjectType::TxnToken, "x", 9, "x"), Err(Code::UnauthorizedClient));
        assert_eq!(code(SubjectType::Jwt, "use", 9, "x"), Err(Code::UnauthorizedClient));
        assert_eq!(code(SubjectType::Jwt, "user:ben", 2, "x"), Err(Code::InvalidTarget));
        assert_eq!(
            code(SubjectType::Jwt, "user:anna", 1, "write"),
            Err(Code::InvalidScope),
            "two grants do not add up"
        );
        assert!(
            Grant::find(
                &[],
                &Asked { subject_type: SubjectType::Jwt, subject: "a", scope: &Scope::default(), receiver: None }
            )
            .is_err()
        );
    }

    /// contracts/txts.md N15.
    #[test]
    fn details_are_what_the_policy_makes_of_them() {
        let members = |text: &str| Json::parse_object(text.as_bytes()).unwrap();
        let rules = [
            ("trip", Origin::Copy),
            ("card", Origin::Hash),
            ("note", Origin::Drop),
            ("tier", Origin::Value(Json::Text("gold".to_owned()))),
            ("mail", Origin::Claim("email".to_owned())),
            ("gone", Origin::Claim("nothing".to_owned())),
        ];
        let rules = rules.into_iter().map(|(name, origin)| (name.to_owned(), origin)).collect();
        let given =
            members(r#"{"trip":{"no":4711},"card":"4111","note":"x","tier":"platinum","mail":"evil","unnamed":1}"#);
        let claims = members(r#"{"email":"a@example"}"#);
        let made = Json::Object(derive(&rules, &given, Some(&claims)));
        let card = BASE64URL_NOPAD.encode(&crypto::sha256(&[b"\"4111\""]));
        let wanted = format!(r#"{{"card":"{card}","mail":"a@example","tier":"gold","trip":{{"no":4711}}}}"#);
        assert_eq!(serde_json::to_string(&made).unwrap(), wanted);
    }
}
