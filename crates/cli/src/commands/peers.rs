//! `nuncio peers`

use clap::{Args, Subcommand};
use nuncio::{AgentId, Invitation, NotInvitation};

use super::named::{said, say_removed, say_renamed, say_what_may};
use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::output;
use crate::wire::{Named, NewPeer, Peer, Peers as Known};

/// Lists the agents that this one knows. Letters are exchanged with added peers only.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio peers\n  nuncio peers add --name anna 'nuncio:did:key:z6Mk…?at=198.51.100.7:4433&bundle=…'\n  nuncio peers remove anna\n\nQuote the invitation: a shell reads & and ? otherwise."
)]
pub(crate) struct Peers {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Add an agent by its invitation, or change its name or addresses
    Add(Add),
    /// Remove an agent: its sessions end, its letters are no longer taken, and services.toml says nothing of it any more
    Remove {
        /// A DID or short name
        peer: String,
    },
}

#[derive(Args)]
struct Add {
    /// A short name for it: letters, digits, '-', '_' and '.' [default: the one it has]
    #[arg(long)]
    name: Option<String>,
    /// The line that the other agent's `nuncio id` printed
    invitation: String,
}

impl Peers {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        match &self.action {
            None => list(options).await,
            Some(Action::Add(add)) => add.run(options).await,
            Some(Action::Remove { peer }) => remove(options, peer).await,
        }
    }
}

async fn remove(options: &Options, peer: &str) -> Result<(), Failure> {
    let path = format!("/v1/peers/{}", segment(peer));
    let home = options.home()?;
    // A file that cannot be read removes nothing here; the agent says what became of it.
    let before = said(&home);
    let removed = async |api: &Api| {
        let known = api.get::<Known>("/v1/peers").await?.peers;
        let name = known.into_iter().find(|one| one.agent == peer || one.name.as_deref() == Some(peer));
        Ok::<_, Failure>((api.delete::<Named>(&path).await?, name.and_then(|one| one.name)))
    };
    let (removed, name) = options.with(removed).await?;
    if options.json {
        return output::json(&removed);
    }
    output::line(format_args!("removed {}", removed.agent))?;
    say_removed(&home, &before, name.as_deref())
}

impl Add {
    async fn run(&self, options: &Options) -> Result<(), Failure> {
        // Whoever pastes all that `nuncio id` printed means the line that invites.
        let line = self.invitation.split_whitespace().find(|word| word.starts_with("nuncio:")).unwrap_or_default();
        // Read here first: a line that is none is a mistake of the command line, exit code 2.
        let Invitation { agent, .. } = line.parse().map_err(|error: NotInvitation| {
            let hint =
                "quote the whole last line that `nuncio id` printed: nuncio peers add --name NAME 'nuncio:did:key:…'";
            Failure::usage(error.to_string(), hint)
        })?;
        let home = options.home()?;
        let before = said(&home);
        let (added, former, name) = options.with(async |api| self.add(api, line, agent).await).await?;
        if options.json {
            return output::json(&added);
        }
        let named = name.as_ref().map(|name| format!(" as {name}")).unwrap_or_default();
        output::line(format_args!("added {}{named}", added.agent))?;
        let Some(name) = name else { return Ok(()) };
        if let Some(former) = former.filter(|former| *former != name) {
            say_renamed(&home, &before, &former, &name);
        }
        say_what_may(&home, &name);
        Ok(())
    }

    /// Adds it; its name before, and now. An invitation alone changes no name.
    async fn add(
        &self,
        api: &Api,
        line: &str,
        agent: AgentId,
    ) -> Result<(Named, Option<String>, Option<String>), Failure> {
        let agent = agent.to_string();
        let known = api.get::<Known>("/v1/peers").await?.peers;
        let former = known.into_iter().find(|peer| peer.agent == agent).and_then(|peer| peer.name);
        let name = self.name.clone().or_else(|| former.clone());
        let new = NewPeer { invitation: line.to_owned(), name: name.clone(), knock: None, transaction: None };
        Ok((api.post("/v1/peers", &new).await?, former, name))
    }
}

async fn list(options: &Options) -> Result<(), Failure> {
    let known = options.with(async |api| api.get::<Known>("/v1/peers").await).await?;
    if options.json {
        return output::json(&known);
    }
    if known.peers.is_empty() {
        output::note("no peers yet: add one with `nuncio peers add --name NAME 'nuncio:did:key:…'`");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = known.peers.iter().map(row).collect();
    output::table(&["NAME", "AGENT", "STATE", "WAITING", "ADDRESSES"], &rows)?;
    for peer in &known.peers {
        if let Some(pseudonym) = &peer.pseudonym {
            let name = peer.name.as_ref().unwrap_or(&peer.agent);
            output::note(format_args!("{name}: {pseudonym} in this agent's audit events"));
        }
    }
    for peer in &known.peers {
        if let Some(problem) = &peer.problem {
            output::note(format_args!(
                "{}: {}",
                peer.name.as_ref().unwrap_or(&peer.agent),
                output::harmless_line(problem)
            ));
        }
    }
    Ok(())
}

fn row(peer: &Peer) -> Vec<String> {
    let state = match peer {
        Peer { retired: true, .. } => "retired",
        Peer { connected: true, problem: Some(_), .. } => "refused",
        Peer { fellow: true, connected: true, .. } => "fellow member, connected",
        Peer { connected: true, .. } => "connected",
        Peer { fellow: true, .. } => "fellow member, away",
        Peer { allowed: false, .. } => "stranger",
        _ => "away",
    };
    let name = peer.name.clone().unwrap_or_else(|| "-".to_owned());
    vec![name, peer.agent.clone(), state.to_owned(), peer.waiting.to_string(), peer.endpoints.join(" ")]
}
