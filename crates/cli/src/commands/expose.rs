//! `nuncio expose`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use nuncio::ServiceName;
use nuncio_bridge::{Found, Offer, ServiceTold, Tool, allow, offer, probe, services};
use serde::Serialize;

use crate::cli::Options;
use crate::client::Api;
use crate::commands::services::{follow, is_known, may};
use crate::failure::Failure;
use crate::output;
use crate::wire::{Id, Invited, NewInvitation, Purpose};

/// Offers an MCP server of this machine to other agents, unmodified. It is started once, asked for its tools, and written into `services.toml` in the home.
///
/// Nobody may use it but who has the line that is printed, and who you name: with --allow here, or `nuncio allow` later.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio expose mcp files -- npx -y @modelcontextprotocol/server-filesystem /srv\n  nuncio expose mcp files --allow ben=tools.read -- python3 server.py\n  nuncio expose mcp notes --read search --read fetch https://box.example/mcp\n\nScopes: tools.read (tools that only read, resources, prompts), tools.write (all other tools), tools.read:NAME and tools.write:NAME (one tool),\nservice.use (list the tools). What is not named is not allowed."
)]
pub(crate) struct Expose {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// An MCP server: a program that speaks on its input and output, or an address
    Mcp(Mcp),
}

#[derive(Args)]
struct Mcp {
    /// What it is called towards others: a to z, 0 to 9, '-', '_' and '.'
    name: ServiceName,
    /// A tool that only reads; as often as there are. Without it the server's own word (readOnlyHint) is written down as it is now
    #[arg(long, value_name = "TOOL")]
    read: Vec<String>,
    /// Who may what, such as ben=tools.read; as often as needed
    #[arg(long, value_name = "PEER=SCOPE", value_parser = grant)]
    allow: Vec<(String, String)>,
    /// What whoever has the line that is printed may; as often as needed [default: tools.read]
    #[arg(long, value_name = "SCOPE", conflicts_with = "nobody")]
    let_in: Vec<String>,
    /// The line that is printed lets nobody in by itself
    #[arg(long)]
    nobody: bool,
    /// How often the line is good
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    times: u32,
    /// How many hours the line is good
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    hours: u32,
    /// Where the program runs [default: here]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The program and its arguments, or one http(s) address
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Serialize)]
struct Told<'a> {
    server: &'a str,
    revision: &'a str,
    tools: Vec<ToolTold<'a>>,
    service: &'a ServiceTold,
    agent_runs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<&'a str>,
}

#[derive(Serialize)]
struct ToolTold<'a> {
    name: &'a str,
    /// By the server's word.
    says_it_reads: bool,
    reads: bool,
}

impl Expose {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Failure> {
        let What::Mcp(mcp) = self.what;
        mcp.run(options).await
    }
}

impl Mcp {
    async fn run(self, options: &Options) -> Result<(), Failure> {
        let home = options.home()?;
        if !home.is_dir() {
            return Err(nuncio::Error::NoHome(home).into());
        }
        if let Some(unknown) = self.let_in.iter().find(|scope| !nuncio_bridge::is_scope(scope)) {
            let what = format!("--let-in {unknown}: there is no such scope");
            return Err(Failure::usage(
                what,
                "tools.read, tools.write, service.use, or tools.read:NAME, tools.write:NAME",
            ));
        }
        let name = &self.name;
        let directory = std::path::absolute(self.directory.as_deref().unwrap_or(Path::new(".")));
        let directory = directory.map_err(Failure::io("find", "this directory"))?;
        let new = Offer { mcp: &self.command, directory: Some(&directory), read: None };
        let found = probe(&home, name, &new).await.map_err(|error| Failure::not_found(name.as_str(), error))?;
        let read = self.reads(&found)?;
        offer(&home, name, &Offer { read: Some(&read), ..new })?;
        for (peer, scopes) in self.grants() {
            allow(&home, name, &peer, &scopes)?;
        }
        let runs = follow(&home).await?;
        for peer in self.grants().keys().filter(|_| runs) {
            is_known(&home, peer).await?;
        }
        let all = services(&home)?;
        let told = all.iter().find(|told| told.name == name.as_str());
        let told = told.ok_or_else(|| Failure::Unsound(format!("{name} is in the file no more")))?;
        let invitation = match runs {
            true => Some(self.invitation(&home).await?),
            false => None,
        };
        if options.json {
            let tools = found.tools.iter().map(|tool| ToolTold {
                name: &tool.name,
                says_it_reads: tool.reads,
                reads: told.read.contains(&tool.name),
            });
            return output::json(&Told {
                server: &found.server,
                revision: &found.revision,
                tools: tools.collect(),
                service: told,
                agent_runs: runs,
                invitation: invitation.as_deref(),
            });
        }
        self.say(&found, told)?;
        match invitation {
            Some(line) => {
                output::line(format_args!("\nat the other agent:\n  nuncio connect '{line}'"))?;
                output::note("where other users have that machine too: nuncio connect -, and the line on its input");
                if self.nobody {
                    output::note(format_args!(
                        "it asks to be let in then: nuncio knocks, then nuncio allow {name} PEER SCOPE"
                    ));
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
            None => {
                output::note(
                    "no agent runs here: start it (nuncio agent --listen ADDR), then run this again for the line to hand on",
                );
                Ok(())
            }
        }
    }

    fn scopes(&self) -> Vec<String> {
        if self.let_in.is_empty() { vec!["tools.read".to_owned()] } else { self.let_in.clone() }
    }

    /// The line for the other agent, with the service behind it.
    async fn invitation(&self, home: &Path) -> Result<String, Failure> {
        let api = Api::at(home);
        let line = if self.nobody {
            api.get::<Id>("/v1/id").await?.invitation
        } else {
            let purpose = Purpose { service: Some(self.name.to_string()), scopes: self.scopes() };
            let new = NewInvitation { purpose, life_s: u64::from(self.hours) * 3_600, times: self.times };
            api.post::<Invited>("/v1/invitations", &new).await?.invitation
        };
        Ok(format!("{line}#{}", self.name))
    }

    /// What is written down as reading: what was given, or what the server says now.
    fn reads(&self, found: &Found) -> Result<Vec<String>, Failure> {
        let has = |wanted: &str| wanted == "*" || found.tools.iter().any(|tool| tool.name == wanted);
        if let Some(unknown) = self.read.iter().find(|wanted| !has(wanted)) {
            let what = format!("--read {unknown}: {} has no such tool", self.name);
            return Err(Failure::usage(
                what,
                "without --read the tools are listed, with which say that they only read",
            ));
        }
        // A tool that is called as all of them are in the file is none that only reads.
        let own =
            || found.tools.iter().filter(|tool| tool.reads && tool.name != "*").map(|tool| tool.name.clone()).collect();
        Ok(if self.read.is_empty() { own() } else { self.read.clone() })
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

    fn say(&self, found: &Found, told: &ServiceTold) -> Result<(), Failure> {
        let name = &self.name;
        let (server, revision) = (output::harmless_line(&found.server), output::harmless_line(&found.revision));
        output::line(format_args!("{name}: {server}, MCP {revision}, {} tools", found.tools.len()))?;
        if !found.tools.is_empty() {
            let rows: Vec<Vec<String>> = found.tools.iter().map(|tool| row(tool, told)).collect();
            output::table(&["TOOL", "NEEDS"], &rows)?;
        }
        if self.read.is_empty() && found.tools.iter().any(|tool| tool.reads) {
            output::note(
                "which tools only read is the server's own word, written into services.toml as it is now: --read TOOL says it otherwise",
            );
        }
        output::line(format_args!("\nwho may: {}", may(told)))?;
        if told.peers.is_empty() && told.open.is_empty() && told.tokens.is_empty() {
            output::line(format_args!(
                "  nuncio allow {name} PEER tools.read    lets an agent use what only reads; `nuncio peers` lists them"
            ))?;
        }
        Ok(())
    }
}

fn row(tool: &Tool, told: &ServiceTold) -> Vec<String> {
    let reads = told.read.iter().any(|read| *read == tool.name || read == "*");
    vec![output::harmless_line(&tool.name), if reads { "tools.read" } else { "tools.write" }.to_owned()]
}

fn grant(text: &str) -> Result<(String, String), String> {
    let (peer, scope) = text.rsplit_once('=').unwrap_or_default();
    if peer.is_empty() || scope.is_empty() {
        return Err("write PEER=SCOPE, such as ben=tools.read".to_owned());
    }
    Ok((peer.to_owned(), scope.to_owned()))
}
