//! Agents that would be let in (contracts/call.md section 7).

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use data_encoding::HEXLOWER;
use nuncio::{AgentId, Scope, ServiceName};

use super::Served;
use super::names::{in_turn, named};
use super::read::Body;
use super::refused::Refused;
use crate::wire::{Invited, KnockTold, Knocks, LetIn, LineNamed, LineTold, Lines, Named, NewInvitation, Purpose};

/// Longest life of a line that lets its bearer in.
const LIFE_MAX: Duration = Duration::from_secs(30 * 86_400);
/// How often it may be good.
const TIMES_MAX: u32 = 1_000;

pub(super) fn read(purpose: &Purpose) -> Result<(Option<ServiceName>, Scope), Refused> {
    let service = purpose.service.as_deref().map(str::parse).transpose();
    let scope = Scope::parse(&purpose.scopes.join(" "));
    Ok((
        service.map_err(|error: nuncio::NotServiceName| Refused::bad(error.to_string()))?,
        scope.ok_or_else(|| Refused::bad("a scope has visible characters alone, without quotes, and stands once"))?,
    ))
}

pub(super) async fn invite(
    State(served): State<Served>,
    Body(new): Body<NewInvitation>,
) -> Result<(StatusCode, Json<Invited>), Refused> {
    let (service, scope) = read(&new.purpose)?;
    let life = Duration::from_secs(new.life_s);
    if let Some(unknown) = scope.iter().find(|scope| service.is_some() && !nuncio_bridge::is_scope(scope)) {
        return Err(Refused::bad(format!(
            "{unknown} is no scope of a service: what it lets in for cannot be written down"
        )));
    }
    if life > LIFE_MAX || !(1..=TIMES_MAX).contains(&new.times) {
        return Err(Refused::bad("a line is good for at most 30 days, and 1 to 1,000 times"));
    }
    let line = served.agent.invite_for(service, scope, life, new.times).await?;
    Ok((StatusCode::CREATED, Json(Invited { invitation: line.to_string() })))
}

pub(super) async fn lines(State(served): State<Served>) -> Result<Json<Lines>, Refused> {
    let lines = served.agent.lines().await?.into_iter().map(|line| LineTold {
        line: HEXLOWER.encode(&line.id),
        purpose: purpose(line.meant.service, &line.meant.scope),
        until_ms: line.until.0,
        times: line.left,
    });
    Ok(Json(Lines { lines: lines.collect() }))
}

pub(super) async fn revoke(State(served): State<Served>, Path(line): Path<String>) -> Result<Json<LineNamed>, Refused> {
    let id = HEXLOWER.decode(line.as_bytes()).ok().and_then(|id| id.try_into().ok());
    let id = id.ok_or_else(|| Refused::bad("a line is named by 16 hexadecimal digits"))?;
    match served.agent.revoke_line(id).await? {
        true => Ok(Json(LineNamed { line })),
        false => Err(nuncio::Error::NoLine(line).into()),
    }
}

fn purpose(service: Option<ServiceName>, scope: &Scope) -> Purpose {
    Purpose { service: service.map(|service| service.to_string()), scopes: scope.iter().map(str::to_owned).collect() }
}

pub(super) async fn list(State(served): State<Served>) -> Result<Json<Knocks>, Refused> {
    // One that came with a line is let in by itself in a moment.
    let waiting = served.agent.knocks().await?.into_iter().filter(|knock| knock.let_in.is_none());
    let knocks = waiting.map(|knock| KnockTold {
        agent: knock.by.to_string(),
        at_ms: knock.at.0,
        purpose: purpose(knock.service, &knock.scope),
        transaction: knock.transaction,
        endpoints: knock.from.endpoints,
    });
    Ok(Json(Knocks { knocks: knocks.collect() }))
}

pub(super) async fn let_in(
    State(served): State<Served>,
    Path(agent): Path<String>,
    Body(how): Body<LetIn>,
) -> Result<Json<Named>, Refused> {
    let (at, by) = (served.clone(), agent_of(&agent)?);
    in_turn(&served, async move {
        let name = how.name.as_deref();
        named(&at, by, name, async { found(at.agent.let_in(by, name).await?, agent) }).await
    })
    .await
}

pub(super) async fn decline(State(served): State<Served>, Path(agent): Path<String>) -> Result<Json<Named>, Refused> {
    let by = agent_of(&agent)?;
    found(served.agent.decline_knock(by).await?, agent)
}

fn agent_of(text: &str) -> Result<AgentId, Refused> {
    text.parse().map_err(|_| Refused::bad("an agent that knocks is named by its DID"))
}

fn found(yes: bool, agent: String) -> Result<Json<Named>, Refused> {
    if yes { Ok(Json(Named { agent })) } else { Err(nuncio::Error::NoKnock(agent).into()) }
}
