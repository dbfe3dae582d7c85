//! An external decision point, in AuthZEN 1.0's form. Whatever is no yes is a no (contracts/txts.md N16).

use nuncio_contracts::registry::time;
use nuncio_proto::token::Json;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::fetch::Fetch;
use crate::mint::Draft;
use crate::refusal::{Code, Refusal};

/// Where decisions are asked for.
#[derive(Debug)]
pub(crate) struct DecisionPoint {
    fetch: Fetch,
    url: String,
    bearer: Option<Bearer>,
}

struct Bearer(Zeroizing<String>);

impl core::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Bearer(..)")
    }
}

impl DecisionPoint {
    pub(crate) fn new(base: &str, bearer: Option<Zeroizing<String>>) -> Result<Self, String> {
        let url = format!("{}/access/v1/evaluation", base.trim_end_matches('/'));
        Ok(Self { fetch: Fetch::new(time::DECISION_PATIENCE)?, url, bearer: bearer.map(Bearer) })
    }

    /// Asks whether a client may have this token.
    pub(crate) async fn permits(&self, client: &str, action: &'static str, draft: &Draft) -> Result<(), Refusal> {
        let bearer = self.bearer.as_ref().map(|bearer| bearer.0.as_str());
        let answer = self.fetch.post(&self.url, question(client, action, draft).to_string(), bearer).await;
        match answer.and_then(|answer| decision(&answer)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::new(Code::UnauthorizedClient, "the decision point denies it")),
            Err(why) => {
                tracing::warn!(url = self.url, why, "the decision point gives no decision: the request is refused");
                Err(Refusal::unavailable("the decision point gives no decision"))
            }
        }
    }
}

fn question(client: &str, action: &'static str, draft: &Draft) -> Value {
    let object = |members: &Option<Json>| members.as_ref().map_or_else(|| json!({}), |members| json!(members));
    json!({
        "subject": { "type": "workload", "id": client },
        "action": { "name": action },
        "resource": {
            "type": "transaction",
            "id": draft.txn,
            "properties": {
                "sub": draft.sub,
                "scope": draft.scope.to_string(),
                "receiver": draft.to.to_string(),
                "hop": draft.n,
                "tctx": object(&draft.tctx),
            },
        },
        "context": { "chain": draft.chain, "rctx": object(&draft.rctx) },
    })
}

fn decision(answer: &[u8]) -> Result<bool, String> {
    let members = Json::parse_object(answer).map_err(|_| "no JSON object".to_owned())?;
    match members.get("decision") {
        Some(Json::Bool(decision)) => Ok(*decision),
        _ => Err("no decision in the answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::decision;

    #[test]
    fn only_a_plain_yes_is_a_yes() {
        assert_eq!(decision(br#"{"decision":true,"context":{}}"#), Ok(true));
        assert_eq!(decision(br#"{"decision":false}"#), Ok(false));
        for none in
            [r#"{"decision":"true"}"#, r#"{"decision":1}"#, "{}", "true", "", r#"{"decision":true,"decision":false}"#]
        {
            assert!(decision(none.as_bytes()).is_err(), "{none}");
        }
    }
}
