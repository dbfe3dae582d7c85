//! Transactions: begun, gone on with, and what a letter may do.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use nuncio::{Grant, Message, Scope, Subject, Transaction};

use super::Served;
use super::read::Body;
use super::refused::Refused;
use crate::wire::{self, NewTransaction, SubjectType, Under};

/// The longest wait for a token service that cannot be reached.
const TOKEN_PATIENCE_MAX: Duration = Duration::from_secs(60);

pub(super) async fn begin(
    State(served): State<Served>,
    Body(new): Body<NewTransaction>,
) -> Result<(StatusCode, Json<wire::Transaction>), Refused> {
    let subject = match new.subject_type {
        SubjectType::AccessToken => Subject::AccessToken(new.subject),
        SubjectType::Jwt => Subject::Jwt(new.subject),
        SubjectType::IdToken => Subject::IdToken(new.subject),
        SubjectType::SelfSigned => Subject::SelfSigned(new.subject),
    };
    let begun = served.agent.begin(subject, &scope(&new.scope)?, new.details.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(told(&begun))))
}

fn told(transaction: &Transaction) -> wire::Transaction {
    wire::Transaction {
        transaction: transaction.id().to_owned(),
        principal: transaction.principal().to_owned(),
        scope: transaction.scope().to_string(),
        hops_left: transaction.hops_left(),
        expires_ms: transaction.expires().0,
        token: transaction.token().to_owned(),
    }
}

/// What a letter may do, as the API tells it.
pub(super) fn grant(grant: &Grant) -> wire::Grant {
    wire::Grant {
        transaction: grant.transaction().to_owned(),
        principal: grant.principal().to_owned(),
        chain: grant.chain().to_vec(),
        actors: grant.actors(),
        scope: grant.scope().to_string(),
        details: grant.details(),
        context: grant.context(),
        hops_left: grant.hops_left(),
        bound: grant.is_of_this_letter(),
        expires_ms: grant.expires().0,
        token: grant.token().to_owned(),
    }
}

/// The transaction of a token.
pub(super) fn named(token: &str) -> Result<Transaction, Refused> {
    let none = || Refused::bad("`under` holds no transaction token: give what /v1/transactions or a grant gave");
    Transaction::from_token(token).ok_or_else(none)
}

/// Puts a letter under the transaction that a body names.
pub(super) fn under(message: Message, under: &Under) -> Result<Message, Refused> {
    let transaction = named(&under.token)?;
    let mut message = message.under(&transaction);
    if let Some(narrower) = &under.scope {
        message = message.narrowed(scope(narrower)?);
    }
    if under.bind_payload {
        message = message.bound_to_letter();
    }
    if under.prove {
        message = message.with_proof();
    }
    let patience = Duration::from_millis(under.wait_ms.unwrap_or_default()).min(TOKEN_PATIENCE_MAX);
    Ok(message.wait_for_token(patience))
}

fn scope(text: &str) -> Result<Scope, Refused> {
    let scope = Scope::parse(text).filter(|scope| !scope.is_empty());
    scope.ok_or_else(|| Refused::bad("a scope is a list of words with one space between two, such as travel.book"))
}
