//! Groups of agents that share letters.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use nuncio::{AgentId, ChannelId, ChannelInfo, ContentType, Error, Message, Said, Told};
use serde::Deserialize;
use tokio::time::Instant;

use super::Served;
use super::inbox::{self, Names, Which};
use super::read::{Asked, Body, base64, letter_id, wait};
use super::refused::Refused;
use super::state::wide;
use super::transactions;
use crate::wire::{
    Channel, ChannelAccepted, ChannelCancelled, ChannelChange, ChannelInvitation, ChannelMember, ChannelNamed,
    ChannelTally, Channels, Delivery, HandedHistory, InboxPage, MemberTold, Named, NewChannel, NewChannelLetter,
    NewHistory, NewMember, NewSuccession, Role, SaidLetter, SaidPage,
};

/// Letters of the inbox that are looked through at once for those of a channel.
const LOOKED_THROUGH: usize = 1_000;

pub(super) async fn list(State(served): State<Served>) -> Result<Json<Channels>, Refused> {
    let channels = served.agent.channels().await?.into_iter().map(channel).collect();
    let invitations = served.agent.channel_invitations().await?.into_iter().map(|invitation| ChannelInvitation {
        channel: invitation.channel.to_string(),
        name: invitation.name,
        by: invitation.by.to_string(),
        by_name: invitation.by_name,
        expires_ms: invitation.expires.0,
        joining: invitation.joining,
    });
    Ok(Json(Channels { channels, invitations: invitations.collect() }))
}

pub(super) async fn create(
    State(served): State<Served>,
    Body(new): Body<NewChannel>,
) -> Result<(StatusCode, Json<Channel>), Refused> {
    let id = match new.audits {
        true => served.agent.create_audited_channel(&new.name).await?,
        false => served.agent.create_channel(&new.name).await?,
    };
    Ok((StatusCode::CREATED, Json(of_id(&served, id).await?)))
}

pub(super) async fn one(State(served): State<Served>, Path(text): Path<String>) -> Result<Json<Channel>, Refused> {
    let id = served.agent.resolve_channel(&text).await?;
    Ok(Json(of_id(&served, id).await?))
}

async fn of_id(served: &Served, id: ChannelId) -> Result<Channel, Refused> {
    let channels = served.agent.channels().await?;
    let found = channels.into_iter().find(|one| one.id == id);
    Ok(channel(found.ok_or_else(|| Error::NoSuchChannel(id.to_string()))?))
}

pub(super) async fn invite(
    State(served): State<Served>,
    Path(text): Path<String>,
    Body(new): Body<NewMember>,
) -> Result<(StatusCode, Json<Named>), Refused> {
    let (channel, agent) = (served.agent.resolve_channel(&text).await?, served.agent.resolve(&new.agent).await?);
    served.agent.invite_to_channel(channel, agent).await?;
    Ok((StatusCode::CREATED, Json(Named { agent: agent.to_string() })))
}

pub(super) async fn join(
    State(served): State<Served>,
    Path(text): Path<String>,
) -> Result<Json<ChannelNamed>, Refused> {
    let channel = served.agent.resolve_invitation(&text).await?;
    served.agent.join_channel(channel).await?;
    Ok(named(channel))
}

pub(super) async fn decline(
    State(served): State<Served>,
    Path(text): Path<String>,
) -> Result<Json<ChannelNamed>, Refused> {
    let channel = served.agent.resolve_invitation(&text).await?;
    if served.agent.decline_channel(channel).await? {
        Ok(named(channel))
    } else {
        Err(Error::NoSuchChannel(text).into())
    }
}

pub(super) async fn leave(
    State(served): State<Served>,
    Path(text): Path<String>,
) -> Result<Json<ChannelNamed>, Refused> {
    let channel = served.agent.resolve_channel(&text).await?;
    served.agent.leave_channel(channel).await?;
    Ok(named(channel))
}

pub(super) async fn take_over(
    State(served): State<Served>,
    Path(text): Path<String>,
) -> Result<Json<ChannelNamed>, Refused> {
    let channel = served.agent.resolve_channel(&text).await?;
    served.agent.take_over_channel(channel).await?;
    Ok(named(channel))
}

/// This agent, an admin, would be the owner.
pub(super) async fn succeed(
    State(served): State<Served>,
    Path(text): Path<String>,
    Body(new): Body<NewSuccession>,
) -> Result<Json<ChannelNamed>, Refused> {
    let channel = served.agent.resolve_channel(&text).await?;
    served.agent.succeed_in_channel(channel, new.behind).await?;
    Ok(named(channel))
}

/// Another admin would be, and asks for support.
pub(super) async fn support(
    State(served): State<Served>,
    Path(text): Path<String>,
    Body(new): Body<NewMember>,
) -> Result<Json<ChannelNamed>, Refused> {
    let (channel, by) = (served.agent.resolve_channel(&text).await?, served.agent.resolve(&new.agent).await?);
    served.agent.support_in_channel(channel, by).await?;
    Ok(named(channel))
}

pub(super) async fn forget(
    State(served): State<Served>,
    Path(text): Path<String>,
) -> Result<Json<ChannelNamed>, Refused> {
    let channel = served.agent.resolve_channel(&text).await?;
    served.agent.forget_channel(channel).await?;
    Ok(named(channel))
}

/// Earlier letters for a member that was not there.
pub(super) async fn history(
    State(served): State<Served>,
    Path(text): Path<String>,
    Body(new): Body<NewHistory>,
) -> Result<(StatusCode, Json<HandedHistory>), Refused> {
    let (channel, to) = (served.agent.resolve_channel(&text).await?, served.agent.resolve(&new.to).await?);
    let handed = match new.again {
        false => served.agent.hand_over_history(channel, to, &new.letters, &new.said).await?,
        true => served.agent.hand_over_history_again(channel, to, &new.letters, &new.said).await?,
    };
    let letters = handed.letters.into_iter().map(|id| id.to_string()).collect();
    let (channel, to, before) = (channel.to_string(), to.to_string(), wide(handed.before));
    let handed = HandedHistory { channel, to, letters, before };
    Ok((StatusCode::CREATED, Json(handed)))
}

pub(super) async fn change(
    State(served): State<Served>,
    Path(text): Path<String>,
    Body(new): Body<ChannelChange>,
) -> Result<Json<ChannelNamed>, Refused> {
    let (agent, channel) = (&served.agent, served.agent.resolve_channel(&text).await?);
    match new {
        ChannelChange { remove: Some(who), admin: None, no_admin: None, rename: None, hand_over: None } => {
            agent.remove_from_channel(channel, agent.resolve(&who).await?).await?;
        }
        ChannelChange { remove: None, admin: Some(who), no_admin: None, rename: None, hand_over: None } => {
            agent.set_channel_admin(channel, agent.resolve(&who).await?, true).await?;
        }
        ChannelChange { remove: None, admin: None, no_admin: Some(who), rename: None, hand_over: None } => {
            agent.set_channel_admin(channel, agent.resolve(&who).await?, false).await?;
        }
        ChannelChange { remove: None, admin: None, no_admin: None, rename: Some(name), hand_over: None } => {
            agent.rename_channel(channel, &name).await?;
        }
        ChannelChange { remove: None, admin: None, no_admin: None, rename: None, hand_over: Some(who) } => {
            agent.hand_over_channel(channel, agent.resolve(&who).await?).await?;
        }
        _ => return Err(Refused::bad("exactly one of remove, admin, no_admin, rename and hand_over is wanted")),
    }
    Ok(named(channel))
}

pub(super) async fn send(
    State(served): State<Served>,
    Path(text): Path<String>,
    Body(new): Body<NewChannelLetter>,
) -> Result<(StatusCode, Json<ChannelAccepted>), Refused> {
    let channel = served.agent.resolve_channel(&text).await?;
    let id = served.agent.send_to_channel(channel, message(new)?).await?;
    Ok((StatusCode::CREATED, Json(ChannelAccepted { channel: channel.to_string(), id: id.to_string() })))
}

fn message(new: NewChannelLetter) -> Result<Message, Refused> {
    let content_type = new.content_type.map(|text| text.parse::<ContentType>()).transpose();
    let content_type = content_type.map_err(|error| Refused::bad(error.to_string()))?;
    let mut message = match (new.text, new.base64) {
        (Some(text), None) => Message::bytes(content_type.unwrap_or(ContentType::TEXT), text.into_bytes()),
        (None, Some(bytes)) => Message::bytes(content_type.unwrap_or(ContentType::BYTES), base64(&bytes)?),
        _ => return Err(Refused::bad("exactly one of text and base64 is wanted")),
    };
    if let Some(id) = new.reply_to {
        message = message.reply_to(letter_id(&id)?);
    }
    if let Some(ms) = new.expires_ms {
        message = message.expires_in(std::time::Duration::from_millis(ms));
    }
    match &new.under {
        Some(under) => transactions::under(message, under),
        None => Ok(message),
    }
}

/// The letters of the inbox that were sent to one channel, and those of before that were handed over.
pub(super) async fn letters(
    State(served): State<Served>,
    Path(text): Path<String>,
    Asked(which): Asked<Which>,
) -> Result<Json<InboxPage>, Refused> {
    let channel = served.agent.resolve_channel(&text).await?;
    let (max, until) = (which.most(), Instant::now() + wait(which.wait_ms));
    let (mut after, mut found) = (which.after, Vec::new());
    let mut bell = served.agent.arrivals().await?;
    loop {
        let letters = served.agent.letters(after, LOOKED_THROUGH).await?;
        after = letters.last().map(|letter| letter.no).or(after);
        let is_end = letters.len() < LOOKED_THROUGH;
        found.extend(letters.into_iter().filter(|letter| {
            let handed = letter.handed_over.is_some_and(|about| about.channel == channel);
            handed || letter.channel == Some(channel)
        }));
        if found.len() >= max || (is_end && !found.is_empty()) {
            break;
        }
        if !is_end {
            continue;
        }
        if !served.rings(&mut bell, until).await {
            break;
        }
    }
    found.truncate(max);
    let names = inbox::names(&served).await?;
    Ok(Json(InboxPage { letters: found.iter().map(|incoming| inbox::letter(incoming, &names)).collect() }))
}

#[derive(Deserialize)]
pub(super) struct SaidWhich {
    after: Option<u64>,
    max: Option<usize>,
    wait_ms: Option<u64>,
    moved: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Patience {
    wait_ms: Option<u64>,
}

pub(super) async fn tally(
    State(served): State<Served>,
    Path((text, id)): Path<(String, String)>,
    Asked(patience): Asked<Patience>,
) -> Result<Json<ChannelTally>, Refused> {
    let (channel, letter) = (served.agent.resolve_channel(&text).await?, letter_id(&id)?);
    let until = Instant::now() + wait(patience.wait_ms);
    let mut bell = served.agent.tallied().await?;
    let none = || Refused::new(StatusCode::NOT_FOUND, "no_such_letter", "no such letter was sent to that channel");
    let tally = loop {
        let tally = served.agent.tally(letter).await?.filter(|tally| tally.channel == channel).ok_or_else(none)?;
        if tally.waiting() == 0 {
            break tally;
        }
        if !served.rings(&mut bell, until).await {
            break tally;
        }
    };
    let names = inbox::names(&served).await?;
    let audits = names.audited.contains(&channel);
    let (of, delivered, waiting) = (wide(tally.members.len()), wide(tally.delivered()), wide(tally.waiting()));
    let members = tally.members.into_iter().map(|(agent, told)| member_told((agent, told), audits, &names));
    Ok(Json(ChannelTally { channel: channel.to_string(), id, of, delivered, waiting, members: members.collect() }))
}

/// Takes a letter back from whoever does not have it.
pub(super) async fn cancel(
    State(served): State<Served>,
    Path((text, id)): Path<(String, String)>,
) -> Result<Json<ChannelCancelled>, Refused> {
    let (channel, letter) = (served.agent.resolve_channel(&text).await?, letter_id(&id)?);
    let cancelled = wide(served.agent.cancel_in_channel(channel, letter).await?);
    Ok(Json(ChannelCancelled { cancelled }))
}

/// What this agent said to one channel.
pub(super) async fn said(
    State(served): State<Served>,
    Path(text): Path<String>,
    Asked(SaidWhich { after, max, wait_ms, moved: seen }): Asked<SaidWhich>,
) -> Result<Json<SaidPage>, Refused> {
    let which = Which { after, max, wait_ms };
    let channel = served.agent.resolve_channel(&text).await?;
    let until = Instant::now() + wait(which.wait_ms);
    let mut bell = served.agent.tallied().await?;
    let (moved, letters) = loop {
        // Looked at first: what moves while the letters are read is told with the next page.
        let moved = *bell.borrow_and_update();
        let letters = served.agent.said_to_channel(channel, which.after, which.most()).await?;
        let is_news = seen.map_or(!letters.is_empty(), |seen| seen != moved);
        if is_news || !served.rings(&mut bell, until).await {
            break (moved, letters);
        }
    };
    let (from, names) = (served.agent.id().to_string(), inbox::names(&served).await?);
    let audits = names.audited.contains(&channel);
    let letters = letters.into_iter().map(|letter| said_letter(letter, from.clone(), audits, &names));
    Ok(Json(SaidPage { letters: letters.collect(), moved }))
}

fn said_letter(said: Said, from: String, audits: bool, names: &Names) -> SaidLetter {
    let len = wide(said.payload.len());
    let text = String::from_utf8(said.payload);
    let (text, base64) = match text {
        Ok(text) if inbox::is_text(said.content_type.as_str()) => (Some(text), None),
        Ok(text) => (None, Some(data_encoding::BASE64.encode(text.as_bytes()))),
        Err(error) => (None, Some(data_encoding::BASE64.encode(error.as_bytes()))),
    };
    let tally = said.tally;
    let (of, delivered, waiting) = (wide(tally.members.len()), wide(tally.delivered()), wide(tally.waiting()));
    let failed = tally.members.into_iter().filter(|(_, told)| matches!(told, Told::Failed(_)));
    SaidLetter {
        said: said.no,
        id: said.id.to_string(),
        from,
        channel: tally.channel.to_string(),
        sent_ms: said.id.created().0,
        reply_to: said.reply_to.map(|id| id.to_string()),
        content_type: said.content_type.as_str().to_owned(),
        len,
        text,
        base64,
        of,
        delivered,
        waiting,
        failed: failed.map(|member| member_told(member, audits, names)).collect(),
    }
}

/// Why a letter to a channel failed, in words.
// contracts/channel.md C73: where the channel audits, none is sealed again.
pub(super) fn reason(error: &Error, audits: bool) -> String {
    match error.letter_code() {
        Some("token_expired") if audits => {
            "its token expired before the letter was there, and in a channel that audits none is sealed again under another: send it once more, under a fresh one"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

fn member_told((agent, told): (AgentId, Told), audits: bool, names: &Names) -> MemberTold {
    let (state, error) = match told {
        Told::Waiting => (Delivery::Waiting, None),
        Told::Delivered => (Delivery::Delivered, None),
        Told::Failed(error) => (Delivery::Failed, Some(error)),
    };
    MemberTold {
        agent: agent.to_string(),
        name: names.agents.get(&agent).cloned(),
        state,
        code: error.as_ref().and_then(Error::letter_code).map(str::to_owned),
        reason: error.map(|error| reason(&error, audits)),
    }
}

fn named(channel: ChannelId) -> Json<ChannelNamed> {
    Json(ChannelNamed { channel: channel.to_string() })
}

fn channel(info: ChannelInfo) -> Channel {
    let members = info.members.into_iter().map(|member| ChannelMember {
        agent: member.agent.to_string(),
        name: member.name,
        role: role(member.role),
    });
    Channel {
        channel: info.id.to_string(),
        name: info.name,
        owner: info.owner.to_string(),
        role: role(info.role),
        members: members.collect(),
        number: info.number,
        audits: info.audits,
        heir: info.heir.map(|heir| heir.to_string()),
        asking: info.asking.iter().map(ToString::to_string).collect(),
    }
}

const fn role(role: nuncio::Role) -> Role {
    match role {
        nuncio::Role::Owner => Role::Owner,
        nuncio::Role::Admin => Role::Admin,
        nuncio::Role::Member => Role::Member,
        nuncio::Role::Leaving => Role::Leaving,
        nuncio::Role::Gone => Role::Gone,
    }
}

#[cfg(test)]
mod tests {
    use nuncio_contracts::registry::code;

    use super::*;

    #[test]
    fn a_token_that_expired_on_the_way_is_told_where_nothing_is_sealed_again() {
        let expired = Error::NotDelivered(code::TOKEN_EXPIRED);
        assert!(reason(&expired, true).contains("none is sealed again"));
        assert_eq!(reason(&expired, false), expired.to_string());
        let other = Error::NotDelivered(code::CANCELLED);
        assert_eq!(reason(&other, true), other.to_string());
    }
}
