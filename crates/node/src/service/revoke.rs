//! The end of a transaction before its time (contracts/txts.md section 7).

use nuncio_contracts::registry::time;

use super::Service;
use crate::audit::{Deed, Record};
use crate::authn::Attempt;
use crate::entropy;
use crate::form::Form;
use crate::jose::SKEW_S;
use crate::refusal::Refusal;
use crate::revoked::List;

/// A receiver whose clock is late takes a token `token_skew` after its end by that clock (contracts/txts.md N25).
const CLOCKS_S: u64 = 2 * SKEW_S;

/// What is to be revoked, and until when it matters, in seconds.
struct Target {
    txn: String,
    until_s: u64,
}

impl Service {
    /// Revokes what an operator names. From the moment this returns no token of the transaction is issued.
    pub(crate) async fn revoke(&self, attempt: Attempt, form: &Form) -> Result<(), Refusal> {
        let now = entropy::now();
        let mut record = Record { at: now, client: attempt.client, used: attempt.used, ..Record::default() };
        let target = match self.target(form, now.0 / 1_000) {
            Ok(target) => target,
            Err(refusal) => return Err(self.deny(record, refusal).await),
        };
        record.deed = Deed::Revoke;
        match target {
            Some(target) => self.end(target, record).await,
            None => Ok(self.keep(record, Vec::new()).await?),
        }
    }

    /// The same, by the owner of the home.
    pub(crate) async fn revoke_as_owner(&self, txn: &str) -> Result<(), Refusal> {
        let now = entropy::now();
        let target = Target { txn: parse_txn(txn)?, until_s: until_without_token(now.0 / 1_000) };
        self.end(target, Record { at: now, deed: Deed::Revoke, ..Record::default() }).await
    }

    async fn end(&self, Target { txn, until_s }: Target, mut record: Record) -> Result<(), Refusal> {
        let now = record.at;
        record.txn = Some(txn.clone());
        // One after the other, so that lists come to the disk in the order of their serials; and written before anybody is told.
        let _alone = self.revoking.lock().await;
        let mut list = List::clone(&self.revoked.list());
        let Ok(ops) = list.add(&txn, until_s, now.0 / 1_000) else {
            return Err(self.deny(record, Refusal::unavailable("the list of revoked transactions is full")).await);
        };
        self.keep(record, ops).await?;
        self.revoked.put(list);
        Ok(())
    }

    /// `None` for a token that is none of ours: there is nothing to revoke (RFC 7009 section 2.2).
    fn target(&self, form: &Form, now_s: u64) -> Result<Option<Target>, Refusal> {
        // No transaction that lives lasts longer, whatever a token says.
        let longest = longest(now_s);
        match (form.get("token"), form.get("txn")) {
            (Some(token), None) => Ok(self.own(token).ok().map(|input| Target {
                txn: input.claims().txn.clone(),
                until_s: input.txn_exp.min(longest).saturating_add(CLOCKS_S),
            })),
            (None, Some(txn)) => Ok(Some(Target { txn: parse_txn(txn)?, until_s: until_without_token(now_s) })),
            _ => Err(Refusal::request("either token or txn names what is revoked")),
        }
    }
}

const fn longest(now_s: u64) -> u64 {
    now_s.saturating_add(time::TRANSACTION_LIFE_MAX / 1_000)
}

/// Its end is not known then.
const fn until_without_token(now_s: u64) -> u64 {
    longest(now_s).saturating_add(CLOCKS_S)
}

/// A transaction's name in its one spelling.
fn parse_txn(text: &str) -> Result<String, Refusal> {
    let parsed = uuid::Uuid::try_parse(text).map(|txn| txn.hyphenated().to_string()).ok();
    parsed.filter(|txn| txn == text).ok_or_else(|| Refusal::request("txn is no name of a transaction"))
}
