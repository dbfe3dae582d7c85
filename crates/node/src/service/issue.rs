//! The first token of a transaction (contracts/txts.md N17).

use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{Json, Receiver};

use super::{Asked, Decided, new_txn};
use crate::audit::Deed;
use crate::jose::Members;
use crate::mint::Draft;
use crate::policy::{Asked as Wanted, Grant};
use crate::refusal::{Code, Refusal};
use crate::subject::{self, Subject};

impl Asked<'_> {
    /// Begins a transaction.
    pub(super) async fn issue(&self, now: UnixMillis) -> Result<Decided, Refusal> {
        let (client, request) = (&self.caller.client, self.request);
        Grant::of_type(&client.grants, request.subject_type)?;
        let (kind, token) = (request.subject_type, request.subject_token);
        let subject = subject::open(self.policy, &self.node, client, kind, token, self.now_s).await?;
        // contracts/txts.md N12
        if subject.scope.as_ref().is_some_and(|allowed| !allowed.covers(&request.scope)) {
            return Err(Refusal::new(Code::InvalidScope, "the subject token does not allow all of this scope"));
        }
        let itself = self.holder.agent.map(Receiver::Agent);
        let receiver = request.receiver.filter(|receiver| itself != Some(*receiver));
        let wanted = Wanted {
            subject_type: request.subject_type,
            subject: &subject.sub,
            scope: &request.scope,
            receiver: receiver.as_ref(),
        };
        let grant = Grant::find(&client.grants, &wanted)?;
        let draft = self.first(grant, subject, now)?;
        Ok(Decided { deed: Deed::Issue, draft })
    }

    fn first(&self, grant: &Grant, subject: Subject, now: UnixMillis) -> Result<Draft, Refusal> {
        let (client, request) = (&self.caller.client, self.request);
        let to = request.receiver.or(self.holder.agent.map(Receiver::Agent));
        let to = to.ok_or_else(|| Refusal::request("resource is missing, and the holder's key is no agent's"))?;
        let ends = self.now_s.saturating_add(self.policy.service.transaction_life_s);
        Ok(Draft {
            txn: new_txn(now)?,
            scope: request.scope.clone(),
            chain: vec![client.name.clone()],
            act: Some(self.actor(&subject.claims)),
            agentic_ctx: client.agentic_ctx.clone(),
            tctx: some(grant.details(&request.details, Some(&subject.claims))),
            rctx: some(grant.context(&request.context, Some(&subject.claims))),
            cnf: self.holder.jkt,
            n: 0,
            max: request.hops_max.unwrap_or(grant.hops_max).min(grant.hops_max),
            to,
            prev: None,
            pay: request.pay.clone(),
            txn_exp: subject.ends.map_or(ends, |subject_ends| subject_ends.min(ends)),
            sub: subject.sub,
        })
    }

    /// Who acts, around who acted before (RFC 8693 section 4.1).
    fn actor(&self, claims: &Members) -> Json {
        let name = self.holder.agent.map_or_else(|| self.caller.client.name.clone(), |agent| agent.to_string());
        let mut act = Members::from([("sub".to_owned(), Json::Text(name))]);
        if let Some(before @ Json::Object(_)) = claims.get("act") {
            act.insert("act".to_owned(), before.clone());
        }
        Json::Object(act)
    }
}

fn some(members: Members) -> Option<Json> {
    if members.is_empty() { None } else { Some(Json::Object(members)) }
}
