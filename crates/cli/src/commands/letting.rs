//! Who may use a service from its first moment on: who is named, and who has the line that is printed.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use nuncio::{AgentId, ServiceName};
use nuncio_bridge::{ServiceTold, allow, services};

use crate::cli::Options;
use crate::client::Api;
use crate::commands::services::{follow, is_for_nobody, may};
use crate::failure::Failure;
use crate::output;
use crate::wire::{Id, Invited, NewInvitation, Peers, Purpose};

/// What was typed are scopes of services, all of them.
///
/// # Errors
/// One is not: which, and where it was typed.
pub(super) fn are_scopes(place: &str, scopes: &[String]) -> Result<(), Failure> {
    match scopes.iter().find(|scope| !nuncio_bridge::is_scope(scope)) {
        None => Ok(()),
        Some(unknown) => Err(Failure::usage(
            format!("{place}{unknown}: there is no such scope"),
            "tools.read, tools.write, service.use, or tools.read:NAME, tools.write:NAME",
        )),
    }
}

/// Whoever is to be let in by name is a peer of that name, unless it is to be one later. Nothing is asked where nobody is named so.
///
/// # Errors
/// Somebody is not: who, and what to do.
pub(super) async fn are_known<'a>(
    options: &Options,
    peers: impl IntoIterator<Item = &'a str>,
    ahead: bool,
) -> Result<(), Failure> {
    let (dids, names): (Vec<_>, Vec<_>) = peers.into_iter().partition(|peer| peer.starts_with("did:"));
    if let Some(bad) = dids.into_iter().find(|did| did.parse::<AgentId>().is_err()) {
        return Err(Failure::usage(format!("{bad} is no DID of an agent"), "`nuncio peers` lists names and DIDs"));
    }
    if ahead || names.is_empty() {
        return Ok(());
    }
    let known = options.with(async |api| api.get::<Peers>("/v1/peers").await).await?.peers;
    let is_known = |name: &str| known.iter().any(|one| one.allowed && one.name.as_deref() == Some(name));
    match names.into_iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(unknown) => Err(Failure::usage(
            format!("no peer is called {unknown}"),
            "`nuncio peers` lists those that are; --ahead says it of whoever is given that name later, with `nuncio peers add --name` or `nuncio knocks let-in --name`",
        )),
    }
}

#[derive(Args)]
pub(super) struct Letting {
    /// Who may what, such as ben=tools.read; as often as needed
    #[arg(long, value_name = "PEER=SCOPE", value_parser = grant)]
    allow: Vec<(String, String)>,
    /// Who is named with --allow need not be a peer yet: whoever is given that name later may it then
    #[arg(long, requires = "allow")]
    ahead: bool,
    /// What whoever has the line that is printed may; as often as needed [default: tools.read]
    #[arg(long, value_name = "SCOPE", conflicts_with = "nobody")]
    let_in: Vec<String>,
    /// The line that is printed lets nobody in by itself
    #[arg(long)]
    nobody: bool,
    /// How often the line is good
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    times: u32,
    /// How many hours the line is good: 1 to 720
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=720))]
    hours: u32,
}

impl Letting {
    /// Lets those in who are named, has an agent that runs follow, and makes the line. What is said of the service now, and the line, where an agent runs.
    pub(super) async fn apply(
        &self,
        home: &Path,
        name: &ServiceName,
    ) -> Result<(ServiceTold, Option<String>), Failure> {
        for (peer, scopes) in self.grants() {
            allow(home, name, &peer, &scopes)?;
        }
        let runs = follow(home).await?;
        let told = services(home)?.into_iter().find(|told| told.name == name.as_str());
        let told = told.ok_or_else(|| Failure::Unsound(format!("{name} is in the file no more")))?;
        let line = match runs {
            true => Some(self.line(home, name).await?),
            false => None,
        };
        Ok((told, line))
    }

    /// Whether there are such scopes and such peers: asked before anything is begun.
    pub(super) async fn check(&self, options: &Options) -> Result<(), Failure> {
        are_scopes("--let-in ", &self.let_in)?;
        let grants = self.grants();
        grants.iter().try_for_each(|(peer, scopes)| are_scopes(&format!("--allow {peer}="), scopes))?;
        are_known(options, grants.keys().map(String::as_str), self.ahead).await
    }

    fn grants(&self) -> BTreeMap<String, Vec<String>> {
        let mut grants = BTreeMap::<String, Vec<String>>::new();
        for (peer, scope) in &self.allow {
            let scopes = grants.entry(peer.clone()).or_default();
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        grants
    }

    fn scopes(&self) -> Vec<String> {
        if self.let_in.is_empty() { vec!["tools.read".to_owned()] } else { self.let_in.clone() }
    }

    /// The line for the other agent, with the service behind it.
    async fn line(&self, home: &Path, name: &ServiceName) -> Result<String, Failure> {
        let api = Api::at(home);
        let line = if self.nobody {
            api.get::<Id>("/v1/id").await?.invitation
        } else {
            let purpose = Purpose { service: Some(name.to_string()), scopes: self.scopes() };
            let new = NewInvitation { purpose, life_s: u64::from(self.hours) * 3_600, times: self.times };
            api.post::<Invited>("/v1/invitations", &new).await?.invitation
        };
        Ok(format!("{line}#{name}"))
    }

    /// Who may what from now on, the bearer of the line among them.
    pub(super) fn who_may(&self, told: &ServiceTold, line: Option<&str>) -> String {
        let Some(_) = line.filter(|_| !self.nobody) else { return may(told) };
        let bearer = format!("whoever has the line below: {}", self.scopes().join(" "));
        if is_for_nobody(told) { bearer } else { format!("{}; {bearer}", may(told)) }
    }

    /// Says what to do at the other agent.
    pub(super) fn say(&self, name: &ServiceName, line: Option<&str>) -> Result<(), Failure> {
        let Some(line) = line else {
            output::note(
                "no agent runs here: start it (nuncio agent --listen ADDR), then run this again for the line to hand on",
            );
            return Ok(());
        };
        output::line(format_args!("\nat the other agent:\n  nuncio connect '{line}'"))?;
        output::note("where other users have that machine too: nuncio connect -, and the line on its input");
        if self.nobody {
            output::note(format_args!("it asks to be let in then: nuncio knocks, then nuncio allow {name} PEER SCOPE"));
        } else {
            output::note(format_args!(
                "whoever has this line is let in, {} within {} h, and may {}: send it like a password",
                if self.times == 1 { "once".to_owned() } else { format!("{} times", self.times) },
                self.hours,
                self.scopes().join(" ")
            ));
        }
        Ok(())
    }
}

fn grant(text: &str) -> Result<(String, String), String> {
    let (peer, scope) = text.rsplit_once('=').unwrap_or_default();
    if peer.is_empty() || scope.is_empty() {
        return Err("write PEER=SCOPE, such as ben=tools.read".to_owned());
    }
    Ok((peer.to_owned(), scope.to_owned()))
}
