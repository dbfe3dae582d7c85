//! A token for the next hop, or the same once more: only narrower, never longer than its transaction (contracts/txts.md N19 to N21).

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::time;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{Claims, Genuine, Json, Receiver, Unopened};

use super::{Asked, Decided, Service};
use crate::audit::{Deed, Record};
use crate::jose::{AwsLc, Members, SKEW_S};
use crate::keys::Keys;
use crate::mint::Draft;
use crate::policy::{Asked as Wanted, Grant, SubjectType};
use crate::refusal::{Code, Refusal};

/// A token of ours, and the end of its transaction.
pub(super) struct Input {
    token: Genuine,
    pub(super) txn_exp: u64,
}

impl Input {
    pub(super) fn claims(&self) -> &Claims {
        self.token.claims()
    }

    /// Whether the service can have made it, if it lives: a key that is over may be a thief's, and then its claims are, too
    /// (contracts/txts.md N19).
    fn is_ours(&self, keys: &Keys, now: UnixMillis) -> bool {
        let (claims, now_s) = (self.claims(), now.0 / 1_000);
        let begun = claims.iat < now_s.saturating_add(SKEW_S) && claims.iat < claims.exp;
        begun
            && claims.exp - claims.iat <= time::TOKEN_LIFE_MAX / 1_000
            && self.txn_exp.saturating_sub(claims.iat) <= time::TRANSACTION_LIFE_MAX / 1_000
            && keys.can_have_signed(self.token.kid(), claims.iat, now)
    }
}

/// Which of the two it is.
enum Step {
    Renewal,
    Replacement(Receiver),
}

impl Service {
    /// Opens a token of ours, of any age.
    pub(super) fn own(&self, token: &str) -> Result<Input, Refusal> {
        let token_refused = |unopened| match unopened {
            Unopened::Need(_) => Refusal::request("the subject token is none of this service's"),
            Unopened::Denied(denial) => Refusal::request(denial.to_string()),
        };
        let opened = Genuine::open(token.as_bytes(), self.keys().set(), &AwsLc).map_err(token_refused)?;
        let txn_exp = txn_exp(token)
            .ok_or_else(|| Refusal::request("the subject token does not say when its transaction ends"))?;
        Ok(Input { token: opened, txn_exp })
    }

    pub(super) fn replace(&self, asked: &Asked<'_>, record: &mut Record) -> Result<Decided, Refusal> {
        let input = self.own(asked.request.subject_token)?;
        let claims = input.claims();
        record.txn = Some(claims.txn.clone());
        record.subject = Some(claims.sub.clone());
        record.hop = Some(claims.hop.n);
        if claims.aud != asked.policy.service.domain {
            return Err(Refusal::grant("the token is of another trust domain"));
        }
        if claims.exp <= asked.now_s || input.txn_exp <= asked.now_s {
            return Err(Refusal::grant("the token has expired"));
        }
        if !input.is_ours(&self.keys(), record.at) {
            return Err(Refusal::request("the subject token is none that this service made"));
        }
        if self.revoked.has(&claims.txn) {
            return Err(Refusal::grant("the transaction was revoked"));
        }
        match asked.step(claims)? {
            Step::Renewal => asked.renew(&input),
            Step::Replacement(next) => asked.hand_on(&input, next),
        }
    }
}

impl Asked<'_> {
    /// The holder may renew; the receiver may hand on, if it is one agent: what is for a channel nobody replaces. Nobody else has any use of the token.
    // contracts/txts.md N19.
    fn step(&self, claims: &Claims) -> Result<Step, Refusal> {
        let (is_holder, is_receiver) = (claims.cnf == self.holder.jkt, self.itself() == Some(claims.hop.to));
        match self.request.receiver {
            None if is_holder => Ok(Step::Renewal),
            Some(same) if is_holder && same == claims.hop.to => Ok(Step::Renewal),
            Some(next) if is_receiver => Ok(Step::Replacement(next)),
            None if is_receiver => Err(Refusal::request("resource is missing: for whom is the next token?")),
            _ => Err(Refusal::grant("the token is another's")),
        }
    }

    fn renew(&self, input: &Input) -> Result<Decided, Refusal> {
        let claims = input.claims();
        let (_, draft) = self.follow(input, &claims.hop.to)?;
        Ok(Decided { deed: Deed::Renew, draft })
    }

    fn itself(&self) -> Option<Receiver> {
        self.holder.agent.map(Receiver::Agent)
    }

    fn hand_on(&self, input: &Input, next: Receiver) -> Result<Decided, Refusal> {
        let claims = input.claims();
        self.refuse_loop(claims, &next)?;
        let (grant, mut draft) = self.follow(input, &next)?;
        draft.max = claims.hop.max.min(self.request.hops_max.unwrap_or(u8::MAX)).min(grant.hops_max);
        draft.n = claims.hop.n.saturating_add(1);
        // contracts/txts.md N20
        if draft.n > draft.max {
            return Err(Refusal::grant("the token has been handed on as often as it may"));
        }
        draft.chain.push(self.caller.client.name.clone());
        draft.cnf = self.holder.jkt;
        draft.to = next;
        draft.prev = Some(*input.token.hash());
        Ok(Decided { deed: Deed::Replace, draft })
    }

    /// The same hop, with what may have become less or more.
    fn follow(&self, input: &Input, receiver: &Receiver) -> Result<(&Grant, Draft), Refusal> {
        let (claims, request) = (input.claims(), self.request);
        if !claims.scope.covers(&request.scope) {
            return Err(Refusal::new(Code::InvalidScope, "the token does not allow all of this scope"));
        }
        let wanted = Wanted {
            subject_type: SubjectType::TxnToken,
            subject: &claims.sub,
            scope: &request.scope,
            receiver: Some(receiver).filter(|receiver| self.itself() != Some(**receiver)),
        };
        let grant = Grant::find(&self.caller.client.grants, &wanted)?;
        let draft = Draft {
            txn: claims.txn.clone(),
            sub: claims.sub.clone(),
            scope: request.scope.clone(),
            chain: claims.req_wl_chain.clone(),
            act: claims.act.clone(),
            agentic_ctx: claims.agentic_ctx.clone(),
            tctx: gain(claims.tctx.as_ref(), grant.details(&request.details, None))?,
            rctx: claims.rctx.clone(),
            cnf: claims.cnf,
            n: claims.hop.n,
            max: claims.hop.max,
            to: claims.hop.to,
            prev: claims.hop.prev,
            pay: request.pay.clone(),
            txn_exp: input.txn_exp,
        };
        Ok((grant, draft))
    }

    /// contracts/txts.md N20: nobody comes twice, but for who holds a first token to itself and now knows to whom it writes.
    fn refuse_loop(&self, claims: &Claims, next: &Receiver) -> Result<(), Refusal> {
        let is_in_chain = |name: &str| claims.req_wl_chain.iter().any(|link| link == name);
        let begins = claims.hop.n == 0 && claims.cnf == self.holder.jkt;
        let returns = is_in_chain(&self.caller.client.name) && !begins;
        let next_name = next.agent().and_then(|next| self.policy.client_of(next)).map(|client| client.name.as_str());
        let leads_back = self.itself() == Some(*next) || next_name.is_some_and(is_in_chain);
        if returns || leads_back { Err(Refusal::grant("the transaction would go in a loop")) } else { Ok(()) }
    }
}

/// What was said stays said; more may be added (contracts/txts.md N19).
fn gain(said: Option<&Json>, more: Members) -> Result<Option<Json>, Refusal> {
    let mut members = said.and_then(Json::as_object).cloned().unwrap_or_default();
    for (name, value) in more {
        if members.get(&name).is_some_and(|said| *said != value) {
            return Err(Refusal::request("request_details would change what the transaction says already"));
        }
        members.insert(name, value);
    }
    Ok(if members.is_empty() { said.cloned() } else { Some(Json::Object(members)) })
}

/// The claim of ours that receivers pass over.
fn txn_exp(token: &str) -> Option<u64> {
    let body = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
    Json::parse_object(&body).ok()?.get("txn_exp")?.as_integer()
}
