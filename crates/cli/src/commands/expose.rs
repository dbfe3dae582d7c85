//! `nuncio expose`

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use nuncio::ServiceName;
use nuncio_bridge::{Found, NotFound, Offer, ServiceTold, Tool, expose_a2a, offer, probe, probe_a2a};
use serde::Serialize;

use crate::cli::Options;
use crate::commands::letting::Letting;
use crate::commands::services::is_for_nobody;
use crate::ending::Signals;
use crate::failure::Failure;
use crate::{output, span};

/// How long nothing is said while a service is waited for.
const QUIET: Duration = Duration::from_secs(3);

/// Offers an MCP server, or an agent that speaks A2A, of this machine to other agents, unmodified. It is asked once what it is, and written into `services.toml` in the home.
///
/// Nobody may use it but who has the line that is printed, and who you name: with --allow here, or `nuncio allow` later.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio expose mcp files -- npx -y @modelcontextprotocol/server-filesystem /srv\n  nuncio expose mcp files --allow ben=tools.read -- python3 server.py\n  nuncio expose mcp notes --read search --read fetch https://box.example/mcp\n  nuncio expose a2a planner http://127.0.0.1:9999\n\nScopes: tools.read (tools that only read, resources, prompts), tools.write (all other tools), tools.read:NAME and tools.write:NAME (one tool),\nservice.use (list the tools). Of an agent (a2a) tools.read reads its card and tasks, and tools.write sends it messages. What is not named is not allowed."
)]
pub(crate) struct Expose {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// An MCP server: a program that speaks on its input and output, or an address
    Mcp(Mcp),
    /// An agent that speaks A2A at an address; clients of the other agent's machine find its card at an address there
    A2a(A2a),
}

#[derive(Args)]
struct A2a {
    /// What it is called towards others: a to z, 0 to 9, '-', '_' and '.'
    name: ServiceName,
    #[command(flatten)]
    letting: Letting,
    /// How long its card is waited for
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span::up_to_ten_minutes)]
    patience: Duration,
    /// The address under which its card stands: https, or http on this machine
    #[arg(value_parser = address)]
    url: String,
}

#[derive(Serialize)]
struct AgentTold<'a> {
    agent: &'a str,
    version: &'a str,
    skills: &'a [String],
    service: &'a ServiceTold,
    agent_runs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<&'a str>,
}

#[derive(Args)]
struct Mcp {
    /// What it is called towards others: a to z, 0 to 9, '-', '_' and '.'
    name: ServiceName,
    /// A tool that only reads; as often as there are. Without it the server's own word (readOnlyHint) is written down as it is now
    #[arg(long, value_name = "TOOL")]
    read: Vec<String>,
    #[command(flatten)]
    letting: Letting,
    /// How long the program may take to say what it is: longer where it is fetched first
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span::up_to_ten_minutes)]
    patience: Duration,
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
        // A program that is tried goes with this, and with a signal that ends this.
        let mut signals = Signals::new()?;
        let exposed = async {
            match self.what {
                What::Mcp(mcp) => mcp.run(options).await,
                What::A2a(agent) => agent.run(options).await,
            }
        };
        tokio::select! {
            exposed = exposed => exposed,
            signal = signals.next() => Err(Failure::Interrupted(signal)),
        }
    }
}

/// A typing error is told as one, and not as something wrong with a file.
fn address(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let is_one = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if is_one { Ok(text.to_owned()) } else { Err("write http://… or https://…".to_owned()) }
}

/// What is to be offered, once it has said what it is. Where that takes a while it is said what is waited for.
async fn waited<T>(
    name: &ServiceName,
    patience: Duration,
    asked: impl Future<Output = Result<T, NotFound>>,
) -> Result<T, Failure> {
    let mut asked = std::pin::pin!(asked);
    let found = tokio::select! {
        found = asked.as_mut() => found,
        () = tokio::time::sleep(QUIET) => {
            output::note(format_args!(
                "{name}: started, and asked what it is; no answer so far: waiting, {} s in all (--patience)",
                patience.as_secs_f64()
            ));
            asked.await
        }
    };
    found.map_err(|error| Failure::not_found(name.as_str(), error))
}

impl A2a {
    async fn run(self, options: &Options) -> Result<(), Failure> {
        let home = options.home()?;
        if !home.is_dir() {
            return Err(nuncio::Error::NoHome(home).into());
        }
        let (name, url) = (&self.name, &self.url);
        self.letting.check(options).await?;
        let card = waited(name, self.patience, probe_a2a(&home, name, url, self.patience)).await?;
        expose_a2a(&home, name, url)?;
        let (told, line) = self.letting.apply(&home, name).await?;
        if options.json {
            return output::json(&AgentTold {
                agent: &card.name,
                version: &card.version,
                skills: &card.skills,
                service: &told,
                agent_runs: line.is_some(),
                invitation: line.as_deref(),
            });
        }
        let skills: Vec<_> = card.skills.iter().map(|skill| output::harmless_line(skill)).collect();
        let (agent, version) = (output::harmless_line(&card.name), output::harmless_line(&card.version));
        output::line(format_args!("{name}: {agent} {version}, good at: {}", skills.join(", ")))?;
        if card.is_signed {
            output::note(
                "its card is signed: name the file with its key (a JWK) as `card_keys` in services.toml, and what clients elsewhere get is signed too; else it is not",
            );
        }
        output::line(format_args!("\nwho may: {}", self.letting.who_may(&told, line.as_deref())))?;
        self.letting.say(name, line.as_deref())
    }
}

/// Options that say who may: behind the program they would be the program's, and let in others than was meant.
const WHO_MAY: [&str; 4] = ["--allow", "--ahead", "--let-in", "--nobody"];

impl Mcp {
    /// Behind a program nothing is this command's: whoever types there who may, and has not parted it by `--`, means this command.
    fn has_its_options(&self) -> Result<(), Failure> {
        let parted = std::env::args_os().any(|word| word == "--");
        let behind = self.command.iter().skip(1);
        let is_own = |word: &&String| WHO_MAY.iter().any(|own| word.split('=').next() == Some(own));
        match behind.clone().find(is_own).filter(|_| !parted) {
            Some(own) => Err(Failure::usage(
                format!("{own} stands behind the program, and would be the program's"),
                "options of `nuncio expose` stand before it; where they are the program's, part them: nuncio expose mcp NAME -- PROGRAM --allow",
            )),
            None if self.command.len() > 1 && self.command.first().is_some_and(|first| address(first).is_ok()) => {
                Err(Failure::usage("something stands behind the address", "options of `nuncio expose` stand before it"))
            }
            None => Ok(()),
        }
    }

    async fn run(self, options: &Options) -> Result<(), Failure> {
        let home = options.home()?;
        if !home.is_dir() {
            return Err(nuncio::Error::NoHome(home).into());
        }
        self.has_its_options()?;
        self.letting.check(options).await?;
        let name = &self.name;
        let directory = std::path::absolute(self.directory.as_deref().unwrap_or(Path::new(".")));
        let directory = directory.map_err(Failure::io("find", "this directory"))?;
        let new = Offer { mcp: &self.command, directory: Some(&directory), read: None };
        let found = waited(name, self.patience, probe(&home, name, &new, self.patience)).await?;
        let read = self.reads(&found)?;
        offer(&home, name, &Offer { read: Some(&read), ..new })?;
        let (told, invitation) = self.letting.apply(&home, name).await?;
        let (told, runs) = (&told, invitation.is_some());
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
        self.say(&found, told, invitation.as_deref())?;
        self.letting.say(name, invitation.as_deref())
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

    fn say(&self, found: &Found, told: &ServiceTold, line: Option<&str>) -> Result<(), Failure> {
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
        output::line(format_args!("\nwho may: {}", self.letting.who_may(told, line)))?;
        if is_for_nobody(told) {
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
