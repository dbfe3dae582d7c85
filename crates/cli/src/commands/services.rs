//! `nuncio services`, `nuncio allow` and `nuncio withdraw`

use std::path::Path;

use clap::Args;
use nuncio::ServiceName;
use nuncio_bridge::{ServiceTold, allow, services, withdraw};
use serde::Serialize;

use crate::cli::Options;
use crate::client::{Api, is_gone};
use crate::commands::letting::{are_known, are_scopes};
use crate::failure::Failure;
use crate::output;
use crate::wire::{Id, Peers, PermitTold, Permits, Services};

/// Lists what this agent offers to others, and who may what.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio services\n  nuncio services --json | jq '.services[].peers'\n\nThey stand in services.toml in the home, which may be edited by hand: `nuncio services` says what stands there and whether it can be read; an agent that runs follows it at SIGHUP, at `nuncio allow`, and at its next start."
)]
pub(crate) struct List {}

/// What is listed: permits count beside what stands with each service; they are known where an agent runs.
#[derive(Serialize)]
struct Listed {
    services: Vec<ServiceTold>,
    permits: Vec<PermitTold>,
}

/// Says what an agent may do with a service, in the stead of what was said before. It holds from the next message on; what runs is not interrupted.
#[derive(Args)]
#[command(
    override_usage = "nuncio allow NAME PEER SCOPE...\n       nuncio allow NAME PEER --nothing",
    after_help = "Examples:\n  nuncio allow files ben tools.read\n  nuncio allow files ben tools.read tools.write:create_file\n  nuncio allow files ben --nothing\n\nScopes: tools.read (tools that only read, resources, prompts), tools.write (all other tools), tools.read:NAME and tools.write:NAME (one tool),\nservice.use (list the tools)."
)]
pub(crate) struct Allow {
    /// The service
    name: ServiceName,
    /// The agent, by name or DID
    peer: String,
    /// What it may
    #[arg(required_unless_present = "nothing")]
    scopes: Vec<String>,
    /// It may nothing any more
    #[arg(long, conflicts_with = "scopes")]
    nothing: bool,
    /// The agent need not be a peer yet: whoever is given that name later may it then
    #[arg(long, conflicts_with = "nothing")]
    ahead: bool,
}

/// Offers a service no more: its sessions end, and what was said of who may use it is forgotten.
#[derive(Args)]
pub(crate) struct Withdraw {
    /// The service
    name: ServiceName,
}

impl List {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let home = options.home()?;
        is_home(&home)?;
        let all = services(&home)?;
        let permits = permits_of(&home).await?;
        if options.json {
            let permits = permits.into_iter().map(|(permit, _)| permit).collect();
            return output::json(&Listed { services: all, permits });
        }
        if all.is_empty() {
            output::note("nothing is offered: nuncio expose mcp NAME -- COMMAND");
            return Ok(());
        }
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|told| {
                let runs = output::harmless_line(&told.runs);
                vec![told.name.clone(), runs, told.read.join(" "), may_with(told, &permits)]
            })
            .collect();
        output::table(&["NAME", "RUNS", "ONLY READ", "WHO MAY"], &rows)
    }
}

impl Allow {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let home = options.home()?;
        is_offered(&home, &self.name)?;
        are_scopes("", &self.scopes)?;
        self.is_somebody(options, &home).await?;
        allow(&home, &self.name, &self.peer, &self.scopes)?;
        self.forget_other_spelling(options, &home).await?;
        follow(&home).await?;
        let all = services(&home)?;
        let Some(told) = all.iter().find(|told| told.name == self.name.as_str()) else { return Ok(()) };
        if options.json {
            return output::json(told);
        }
        output::line(format_args!("{}: {}", self.name, may(told)))?;
        for (permit, holder) in permits_of(&home).await? {
            let is_its = permit.holder == self.peer || holder.as_ref() == Some(&self.peer);
            if is_its && permit.service == self.name.as_str() {
                let scopes = permit.scopes.join(" ");
                output::note(format_args!(
                    "{} holds a permit for {scopes} beside that: nuncio permit revoke {}",
                    self.peer, permit.id
                ));
            }
        }
        Ok(())
    }
}

impl Allow {
    /// A name that nobody has, and of which nothing is said, is a slip: it would let nobody in, or nobody out.
    async fn is_somebody(&self, options: &Options, home: &Path) -> Result<(), Failure> {
        let is_named = |told: &ServiceTold| told.name == self.name.as_str() && told.peers.contains_key(&self.peer);
        if self.nothing && services(home)?.iter().any(is_named) {
            return Ok(());
        }
        are_known(options, [self.peer.as_str()], self.ahead).await
    }

    /// What is said of a peer by name is said of it by identity too: a line that let it in has written that.
    async fn forget_other_spelling(&self, options: &Options, home: &Path) -> Result<(), Failure> {
        let all = services(home)?;
        let told = all.iter().find(|told| told.name == self.name.as_str());
        let others = told.is_some_and(|told| told.peers.keys().any(|peer| *peer != self.peer));
        if !others {
            return Ok(());
        }
        let peers = options.with(async |api| api.get::<Peers>("/v1/peers").await).await?.peers;
        let same = peers.into_iter().find(|peer| peer.agent == self.peer || peer.name.as_ref() == Some(&self.peer));
        let spellings = same.into_iter().flat_map(|peer| [Some(peer.agent), peer.name]).flatten();
        for other in spellings.filter(|other| *other != self.peer) {
            allow(home, &self.name, &other, &[])?;
        }
        Ok(())
    }
}

impl Withdraw {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let home = options.home()?;
        is_offered(&home, &self.name)?;
        withdraw(&home, &self.name)?;
        if !follow(&home).await? {
            // Lines and permits for it go with it, also where no agent runs that sees it go.
            options.with(async |api| api.post::<Services>("/v1/services/reload", &()).await).await?;
        }
        if options.json {
            return output::json(&Services { services: services(&home)? });
        }
        output::line(format_args!("{} is offered no more", self.name))
    }
}

fn is_home(home: &Path) -> Result<(), Failure> {
    if home.is_dir() { Ok(()) } else { Err(nuncio::Error::NoHome(home.to_owned()).into()) }
}

/// Permits that this agent has given and that count now, and what their holders are called here; none where no agent runs.
async fn permits_of(home: &Path) -> Result<Vec<(PermitTold, Option<String>)>, Failure> {
    let api = Api::at(home);
    let known = match api.get::<Permits>("/v1/permits").await {
        Ok(known) => known.permits,
        Err(failure) if is_gone(&failure) => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let own = api.get::<Id>("/v1/id").await?.agent;
    let peers = api.get::<Peers>("/v1/peers").await?.peers;
    let called = |agent: &str| peers.iter().find(|peer| peer.agent == agent).and_then(|peer| peer.name.clone());
    let counts = known.into_iter().filter(|permit| permit.giver == own && permit.until_ms > nuncio::Agent::now().0);
    Ok(counts.map(|permit| (called(&permit.holder), permit)).map(|(name, permit)| (permit, name)).collect())
}

fn may_with(told: &ServiceTold, permits: &[(PermitTold, Option<String>)]) -> String {
    let held = permits.iter().filter(|(permit, _)| permit.service == told.name);
    let held = held.map(|(permit, name)| {
        format!("{}, by a permit: {}", name.as_ref().unwrap_or(&permit.holder), permit.scopes.join(" "))
    });
    let said = Some(may(told)).filter(|_| !is_for_nobody(told));
    let all: Vec<String> = said.into_iter().chain(held).collect();
    if all.is_empty() { may(told) } else { all.join("; ") }
}

fn is_offered(home: &Path, name: &ServiceName) -> Result<(), Failure> {
    is_home(home)?;
    if services(home)?.iter().any(|told| told.name == name.as_str()) {
        return Ok(());
    }
    Err(Failure::usage(
        format!("no service is called {name}"),
        "`nuncio services` lists them; `nuncio expose` offers one",
    ))
}

/// The agent that runs follows the file; whether one does.
pub(crate) async fn follow(home: &Path) -> Result<bool, Failure> {
    match Api::at(home).post::<Services>("/v1/services/reload", &()).await {
        Ok(_) => Ok(true),
        Err(failure) if is_gone(&failure) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Whether nobody may anything of it.
pub(crate) fn is_for_nobody(told: &ServiceTold) -> bool {
    told.peers.is_empty() && told.open.is_empty() && told.tokens.is_empty()
}

/// Who may what, in a line.
pub(crate) fn may(told: &ServiceTold) -> String {
    let everybody = (!told.open.is_empty()).then(|| format!("every peer: {}", told.open.join(" ")));
    let tokens = (!told.tokens.is_empty()).then(|| format!("tokens up to: {}", told.tokens.join(" ")));
    let peers = told.peers.iter().map(|(peer, scopes)| format!("{peer}: {}", scopes.join(" ")));
    let all: Vec<String> = everybody.into_iter().chain(peers).chain(tokens).collect();
    if all.is_empty() { "nobody".to_owned() } else { all.join("; ") }
}
