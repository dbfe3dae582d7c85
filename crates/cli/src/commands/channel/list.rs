//! `nuncio channel list` and `members`

use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::output;
use crate::wire::{Channel, ChannelInvitation, ChannelMember, Channels, Id, Role};

/// So much of an id that people tell one from another.
const ID_SHOWN: usize = 16;

pub(super) async fn all(options: &Options, api: &Api) -> Result<(), Failure> {
    let known: Channels = api.get("/v1/channels").await?;
    if options.json {
        return output::json(&known);
    }
    if known.channels.is_empty() && known.invitations.is_empty() {
        output::note("no channels yet: make one with `nuncio channel create NAME`");
        return Ok(());
    }
    if !known.channels.is_empty() {
        let rows: Vec<Vec<String>> = known.channels.iter().map(row).collect();
        output::table(&["NAME", "CHANNEL", "HERE", "MEMBERS", "OWNER"], &rows)?;
    }
    known.channels.iter().try_for_each(offer)?;
    known.channels.iter().try_for_each(asking)?;
    known.invitations.iter().try_for_each(invitation)
}

/// Who is asked to be the next owner.
fn offer(channel: &Channel) -> Result<(), Failure> {
    let Some(heir) = &channel.heir else { return Ok(()) };
    let name = output::harmless_line(&channel.name);
    if channel.role == Role::Owner {
        let heir = channel.members.iter().find(|member| member.agent == *heir).map_or(heir.as_str(), called);
        return output::line(format_args!("{heir} is asked to be the owner of {name}"));
    }
    output::line(format_args!("this agent is asked to be the owner of {name}: nuncio channel take-over CHANNEL"))
}

/// Admins that would be owner.
fn asking(channel: &Channel) -> Result<(), Failure> {
    let name = output::harmless_line(&channel.name);
    channel.asking.iter().try_for_each(|by| {
        let found = channel.members.iter().find(|member| member.agent == *by);
        let by = found.map_or(by.as_str(), called);
        output::line(format_args!("{by} would be the owner of {name}: nuncio channel support CHANNEL {by}"))
    })
}

fn row(channel: &Channel) -> Vec<String> {
    let owner = channel.members.iter().find(|member| member.agent == channel.owner).map(called);
    let owner = owner.filter(|_| channel.role != Role::Owner).unwrap_or(match channel.role {
        Role::Owner => "this agent",
        _ => &channel.owner,
    });
    let id = channel.channel.get(..ID_SHOWN).unwrap_or(&channel.channel);
    let (name, role) = (output::harmless_line(&channel.name), told(channel.role).to_owned());
    vec![name, format!("{id}…"), role, channel.members.len().to_string(), owner.to_owned()]
}

fn invitation(invitation: &ChannelInvitation) -> Result<(), Failure> {
    let (by, name) = (invitation.by_name.as_ref().unwrap_or(&invitation.by), output::harmless_line(&invitation.name));
    let until = output::time(invitation.expires_ms);
    let state = if invitation.joining { "answered; the owner has still to take this agent in" } else { "not answered" };
    let id = invitation.channel.get(..ID_SHOWN).unwrap_or(&invitation.channel);
    output::line(format_args!("{by} invites into {name} ({id}…) until {until}: {state}"))
}

pub(super) async fn members(options: &Options, api: &Api, channel: &str) -> Result<(), Failure> {
    let channel: Channel = api.get(&format!("/v1/channels/{}", segment(channel))).await?;
    if options.json {
        return output::json(&channel);
    }
    let me = api.get::<Id>("/v1/id").await?.agent;
    let mut members: Vec<&ChannelMember> = channel.members.iter().collect();
    members.sort_by_key(|member| (rank(member.role), called(member)));
    let row = |member: &&ChannelMember| {
        let unnamed = if member.agent == me { "(this agent)" } else { "-" };
        let name = member.name.clone().unwrap_or_else(|| unnamed.to_owned());
        vec![name, told(member.role).to_owned(), member.agent.clone()]
    };
    output::table(&["NAME", "ROLE", "AGENT"], &members.iter().map(row).collect::<Vec<_>>())?;
    match channel.role {
        Role::Gone => output::note("this agent is in it no more; that is who was when it last heard"),
        Role::Leaving => output::note("this agent has left; the owner has still to tell the others"),
        _ => {}
    }
    Ok(())
}

const fn rank(role: Role) -> u8 {
    match role {
        Role::Owner => 0,
        Role::Admin => 1,
        Role::Member => 2,
        Role::Leaving | Role::Gone => 3,
    }
}

const fn told(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::Member => "member",
        Role::Leaving => "leaving",
        Role::Gone => "gone",
    }
}

fn called(member: &ChannelMember) -> &str {
    member.name.as_deref().unwrap_or(&member.agent)
}
