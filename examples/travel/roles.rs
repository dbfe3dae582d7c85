//! The five agents of a journey. What an agent may do stands in the grant of the letter that it got; what it wants of the next it asks for under that
//! grant, narrowed to what the next one needs.

use std::time::Duration;

use nuncio::{Agent, Error, Grant, Inbox, Incoming, Message, Rule, Scope, Subject};
use serde_json::json;

/// Who takes part, in the order in which one asks the next.
pub(crate) const ROLES: [&str; 5] = ["gateway", "planner", "booking", "payment", "notification"];

const PATIENCE: Duration = Duration::from_secs(30);
/// What this booking agent asks for any journey.
const PRICE_EUR: u64 = 340;

/// What a user asks of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Wish {
    /// The access token of their login.
    pub(crate) login: String,
    pub(crate) journey: String,
    pub(crate) budget_eur: u64,
}

/// Begins a transaction in the user's name, and has the journey planned in it. If the user changes their mind the transaction is revoked.
pub(crate) async fn gateway(agent: &Agent, wish: Wish, changed: impl Future<Output = ()>) -> Result<String, Error> {
    let needed = scope("travel.plan travel.book travel.pay travel.notify");
    let details = json!({ "budget_eur": wish.budget_eur });
    let journey = agent.begin(Subject::AccessToken(wish.login), &needed, Some(&details)).await?;
    let planner = agent.resolve("planner").await?;
    tokio::select! {
        answer = agent.request(planner, Message::text(wish.journey).under(&journey), PATIENCE) => text(&answer?),
        () = changed => agent.revoke(&journey).await.map(|()| "revoked".to_owned()),
    }
}

async fn planner(agent: &Agent, letter: &Incoming, grant: &Grant) -> Result<String, Error> {
    let order = Message::text(format!("flight and room: {}", text(letter)?));
    let order = order.under(&grant.go_on()).narrowed(scope("travel.book travel.pay travel.notify"));
    let booked = agent.request(agent.resolve("booking").await?, order, PATIENCE).await?;
    text(&booked)
}

async fn booking(agent: &Agent, letter: &Incoming, grant: &Grant) -> Result<String, Error> {
    // A payment's token allows this one letter, and no other sum.
    let bill = Message::text(PRICE_EUR.to_string()).under(&grant.go_on());
    let bill = bill.narrowed(scope("travel.pay travel.notify")).bound_to_letter();
    let paid = agent.request(agent.resolve("payment").await?, bill, PATIENCE).await?;
    Ok(format!("{}; {}", text(letter)?, text(&paid)?))
}

async fn payment(agent: &Agent, letter: &Incoming, grant: &Grant) -> Result<String, Error> {
    // What the user is ready to pay stands in the token: nobody on the way could raise it.
    let budget_eur = grant.details().and_then(|details| details.get("budget_eur")?.as_u64()).unwrap_or(0);
    let Ok(price_eur) = text(letter)?.parse::<u64>() else { return Ok("that is no bill".to_owned()) };
    if price_eur > budget_eur {
        return Ok(format!("{price_eur} EUR not paid: the budget is {budget_eur} EUR"));
    }
    let receipt = Message::text(format!("{price_eur} EUR paid for {}", grant.principal()));
    let receipt = receipt.under(&grant.go_on()).narrowed(scope("travel.notify"));
    let told = agent.request(agent.resolve("notification").await?, receipt, PATIENCE).await?;
    Ok(format!("{price_eur} EUR paid, {}", text(&told)?))
}

fn notification(grant: &Grant) -> String {
    format!("{} told", grant.principal())
}

/// The scope without which an agent takes no letter.
pub(crate) fn rule(role: &str) -> Option<Rule> {
    let needed = match role {
        "planner" => "travel.plan",
        "booking" => "travel.book",
        "payment" => "travel.pay",
        "notification" => "travel.notify",
        _ => return None,
    };
    Some(Rule { content_type: None, from: None, scope: scope(needed) })
}

/// Answers letters until the agent stops. `seen` is told of each.
pub(crate) async fn serve(agent: Agent, role: String, seen: impl Fn(&Incoming)) -> Result<(), Error> {
    let mut inbox = agent.inbox().await?;
    loop {
        match serve_next(&agent, &mut inbox, &role, &seen).await {
            // What was not answered is in the inbox at the next start.
            Err(Error::Stopped) => return Ok(()),
            other => other?,
        }
    }
}

async fn serve_next(agent: &Agent, inbox: &mut Inbox, role: &str, seen: impl Fn(&Incoming)) -> Result<(), Error> {
    let letter = inbox.next().await?;
    seen(&letter);
    let answer = match answer(agent, role, &letter).await {
        Ok(answer) => answer,
        Err(error) => format!("{role} could not: {error}"),
    };
    // The answer first, then `done`: a crash between the two answers twice, never not at all.
    agent.send(letter.from, Message::text(answer).reply_to(letter.id)).await?;
    agent.done(letter.no).await?;
    Ok(())
}

async fn answer(agent: &Agent, role: &str, letter: &Incoming) -> Result<String, Error> {
    let Some(grant) = &letter.grant else { return Ok("nothing is done without authority".to_owned()) };
    match role {
        "planner" => planner(agent, letter, grant).await,
        "booking" => booking(agent, letter, grant).await,
        "payment" => payment(agent, letter, grant).await,
        "notification" => Ok(notification(grant)),
        _ => Ok("nothing is done here by letter".to_owned()),
    }
}

fn text(letter: &Incoming) -> Result<String, Error> {
    letter.payload.text().map(str::to_owned)
}

#[expect(
    clippy::expect_used,
    reason = "scopes are literals of this file; an empty one would allow everything that wants none"
)]
fn scope(text: &str) -> Scope {
    Scope::parse(text).expect("a list of scopes")
}
