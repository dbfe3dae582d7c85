//! Four attacks on a transaction, each really tried. One that succeeds, or fails for another reason than it should, ends the demo.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use data_encoding::BASE64URL_NOPAD;
use nuncio::{Agent, AgentId, Config, Error, Inbox, Message, Scope, Transaction};
use nuncio_contracts::registry::code;
use serde::Serialize;

use super::domain::{AUDIT, DOMAIN, Domain};
use super::journey::{Crew, Hop};
use super::process::Order;
use super::{Teller, roles, wish};

/// An agent of the domain that its policy allows everything, and that has no part in the journey.
pub(super) const THIEF: &str = "mallory";
/// What booking hands on to payment.
const TO_PAYMENT: &str = "travel.pay travel.notify";
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two probes.
const PAUSE: Duration = Duration::from_millis(200);
/// What the journey costs.
const BILL: &str = "340";
/// Not a bill: payment takes note of it, and pays nothing.
const PROBE: &str = "are you there?";

/// One attack, and how it was refused.
#[derive(Debug, Serialize)]
pub(super) struct Attack {
    pub(super) what: &'static str,
    pub(super) refusals: Vec<String>,
}

/// The attackers: a thief with a home of its own, and whoever has taken over the booking agent's machine. Both run in this process.
pub(super) struct Siege<'a> {
    domain: &'a Domain,
    crew: Crew,
    teller: Teller,
    thief: Agent,
    booking: Agent,
    inbox: Inbox,
    /// The token with which planner asked booking, and that with which booking asked payment: as their receivers' logs leaked them.
    at_booking: String,
    at_payment: String,
}

pub(super) fn policy_of_thief(agents: &[(&str, AgentId)]) -> Result<String> {
    let (_, did) = agents.iter().find(|(name, _)| *name == THIEF).context("the thief has an identity")?;
    Ok(format!(
        "\n[[client]]\nname = \"{THIEF}\"\ndid = \"{did}\"\n[[client.grant]]\nsubject_types = [\"txn_token\"]\nsubjects = [\"user:*\"]\n\
         scope = \"travel.plan travel.book travel.pay travel.notify\"\nreceivers = [\"*\"]\n"
    ))
}

impl<'a> Siege<'a> {
    pub(super) async fn begin(
        dir: &Path,
        domain: &'a Domain,
        mut crew: Crew,
        path: &[Hop],
        teller: Teller,
    ) -> Result<Siege<'a>> {
        let leaked = |role: &str| path.iter().find(|hop| hop.to == role).and_then(|hop| hop.token.clone());
        let (at_booking, at_payment) = leaked("booking").zip(leaked("payment")).context("logs leak the tokens")?;
        let node = domain.invitation()?;
        let config = |name: &str| Config::new(dir.join(name)).trust(DOMAIN, node.clone()).audit(AUDIT);
        let thief = Agent::open(config(THIEF)).await?;
        let payment = crew.get("payment")?;
        thief.add_peer(&payment.invitation, Some("payment")).await?;
        payment.meet(vec![(THIEF.to_owned(), thief.invitation().await?.to_string())]).await?;

        let taken = crew.0.remove("booking").context("booking is there")?;
        let listening = taken.invitation.endpoints.first().context("booking listens")?.parse()?;
        taken.stop().await?;
        let rule = roles::rule("booking").context("booking has a rule")?;
        let booking = Agent::open(config("booking").listen(listening).rule(rule)).await?;
        let inbox = booking.inbox().await?;
        Ok(Self { domain, crew, teller, thief, booking, inbox, at_booking, at_payment })
    }

    pub(super) async fn all(&mut self) -> Result<Vec<Attack>> {
        self.teller.say(
            "The agents' logs leak their tokens to mallory, whom they know, and the booking agent is taken over.",
        )?;
        Ok(vec![self.replay().await?, self.astray().await?, self.widen().await?, self.revoke().await?])
    }

    pub(super) async fn end(self) -> Result<()> {
        self.thief.shutdown().await?;
        self.booking.shutdown().await?;
        self.crew.stop().await
    }

    /// The sender that a token names is the key of the session that it comes in.
    async fn replay(&self) -> Result<Attack> {
        let sent = refused_by_receiver(&self.thief, "payment", self.bill(), code::TOKEN_SENDER).await?;
        let under = Message::text(BILL).under(&transaction(&self.at_payment)?);
        let exchanged = refused_by_service(&self.thief, "payment", under, "invalid_grant").await?;
        let refusals =
            [("mallory sends booking's token to payment", sent), ("mallory asks the node to exchange it", exchanged)];
        self.tell(1, "a token replayed from another agent", &refusals)
    }

    /// A token is for one receiver, whoever sends it.
    async fn astray(&self) -> Result<Attack> {
        let sent = refused_by_receiver(&self.booking, "notification", self.bill(), code::TOKEN_RECEIVER).await?;
        let under = Message::text(BILL).under(&transaction(&self.at_booking)?).narrowed(scope("travel.notify")?);
        let exchanged = refused_by_service(&self.booking, "notification", under, "invalid_target").await?;
        let refusals = [
            ("booking sends its token for payment to notification", sent),
            ("booking asks the node for one towards notification", exchanged),
        ];
        self.tell(2, "a token sent to the wrong receiver", &refusals)
    }

    /// The policy lets booking ask for refunds, but in this transaction nobody was allowed any.
    async fn widen(&self) -> Result<Attack> {
        let under =
            Message::text(BILL).under(&transaction(&self.at_booking)?).narrowed(scope("travel.pay travel.refund")?);
        let exchanged = refused_by_service(&self.booking, "payment", under, "invalid_scope").await?;
        let forged = Message::text(BILL).with_raw_token(&widened(&self.at_payment)?);
        let forged = refused_by_receiver(&self.booking, "payment", forged, code::TOKEN_SIGNATURE).await?;
        let raised = Message::text("3400").with_raw_token(&self.at_payment);
        let raised = refused_by_receiver(&self.booking, "payment", raised, code::TOKEN_PAYLOAD).await?;
        let refusals = [
            ("booking asks the node for travel.refund too", exchanged),
            ("booking writes travel.refund into its token", forged),
            ("booking raises the bill under its token", raised),
        ];
        self.tell(3, "a scope widened", &refusals)
    }

    /// From the answer to the user on no token is issued; those that are there are refused as soon as their receivers have heard.
    async fn revoke(&mut self) -> Result<Attack> {
        self.crew.get("gateway")?.order(&Order::Wish(wish(self.domain)?)).await?;
        let order = tokio::time::timeout(PATIENCE, self.inbox.next()).await.context("planner asks booking")??;
        let midway = order.grant.clone().context("a grant")?.go_on();
        self.probe(&midway).await??;

        self.crew.get("gateway")?.order(&Order::Revoke).await?;
        ensure!(self.crew.get("gateway")?.answer().await? == "revoked", "the gateway revokes");
        let revoked = Instant::now();
        let bill = Message::text(BILL).under(&midway).narrowed(scope(TO_PAYMENT)?).bound_to_letter();
        let exchanged = refused_by_service(&self.booking, "payment", bill, "invalid_grant").await?;
        let sent = loop {
            match self.probe(&midway).await? {
                Ok(()) => ensure!(revoked.elapsed() < PATIENCE, "payment never hears of the revocation"),
                Err(error) => break expected(error, code::TOKEN_REVOKED)?,
            }
        };
        let sent_late =
            format!("booking sends payment the token it had, {:.1} s later", revoked.elapsed().as_secs_f32());
        let refusals = [("booking asks the node for payment's token", exchanged), (sent_late.as_str(), sent)];
        self.tell(4, "a transaction revoked midway", &refusals)
    }

    /// A letter under the token that booking has for payment already. Where it is delivered, it is what payment reads next: nothing was paid in between.
    async fn probe(&mut self, midway: &Transaction) -> Result<Result<(), Error>> {
        let probe = Message::text(PROBE).under(midway).narrowed(scope(TO_PAYMENT)?);
        if let Err(error) = self.booking.request(self.booking.resolve("payment").await?, probe, PATIENCE).await {
            return Ok(Err(error));
        }
        let read = self.crew.get("payment")?.hop().await?;
        ensure!(read.asked == PROBE && read.transaction == midway.id(), "payment was asked: {}", read.asked);
        tokio::time::sleep(PAUSE).await;
        Ok(Ok(()))
    }

    /// The bill of the first journey under the token that it came with.
    fn bill(&self) -> Message {
        Message::text(BILL).with_raw_token(&self.at_payment)
    }

    fn tell(&self, number: u8, what: &'static str, refusals: &[(&str, String)]) -> Result<Attack> {
        self.teller.say(format_args!("\n  {number}  {what}"))?;
        let refusals: Vec<String> = refusals.iter().map(|(tried, refusal)| format!("{tried}: {refusal}")).collect();
        refusals.iter().try_for_each(|refusal| self.teller.say(format_args!("     {refusal}")))?;
        Ok(Attack { what, refusals })
    }
}

/// A letter that its receiver has to refuse, for this reason.
async fn refused_by_receiver(from: &Agent, to: &str, letter: Message, code: u16) -> Result<String> {
    let to = from.resolve(to).await?;
    let id = from.send(to, letter).await?;
    match tokio::time::timeout(PATIENCE, from.delivered(to, id)).await? {
        Ok(()) => bail!("a letter was delivered that had to be refused"),
        Err(error) => expected(error, code),
    }
}

/// A letter for which the node has to refuse a token, for this reason: it is not sent at all.
async fn refused_by_service(from: &Agent, to: &str, letter: Message, code: &str) -> Result<String> {
    match from.send(from.resolve(to).await?, letter).await {
        Err(error @ Error::TokenRefused { .. }) if matches!(&error, Error::TokenRefused { code: found, .. } if found == code) => {
            Ok(error.to_string())
        }
        Err(other) => bail!("not refused with {code}, but: {other}"),
        Ok(_) => bail!("a token was issued that had to be refused"),
    }
}

fn expected(error: Error, code: u16) -> Result<String> {
    match error {
        Error::NotDelivered(found) if found == code => Ok(error.to_string()),
        other => bail!("refused, but for another reason: {other}"),
    }
}

fn transaction(token: &str) -> Result<Transaction> {
    Transaction::from_token(token).context("what was leaked is a token")
}

fn scope(text: &str) -> Result<Scope> {
    Scope::parse(text).context("a list of scopes")
}

/// The token with another word in its scope, under the signature that it had.
fn widened(token: &str) -> Result<String> {
    let [header, body, signature] = token.split('.').collect::<Vec<_>>()[..] else { bail!("a token has three parts") };
    let mut claims: serde_json::Map<_, _> = serde_json::from_slice(&BASE64URL_NOPAD.decode(body.as_bytes())?)?;
    claims.insert("scope".to_owned(), format!("{TO_PAYMENT} travel.refund").into());
    let body = BASE64URL_NOPAD.encode(&serde_json::to_vec(&claims)?);
    Ok([header, &body, signature].join("."))
}
