//! `nuncio connect`, `nuncio connections` and `nuncio disconnect`

use std::io::{BufRead as _, Read as _};
use std::path::PathBuf;

use clap::Args;
use nuncio::{Invitation, NotInvitation, ServiceName};
use nuncio_contracts::registry::limit;
use serde::Serialize;

use super::send::transaction;
use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::output;
use crate::wire::{Connection, Connections, Id, Named, NewConnection, NewPeer, Peers, Purpose};

/// Of a line of the input.
const LINE_MAX: u64 = 64 << 10;

/// Connects a service of another agent to this machine: its messages travel as sealed letters, and MCP clients use it unmodified.
///
/// Given the line that `nuncio expose` printed at the other agent, it adds that agent as a peer first. It prints what to paste into an MCP client: a program that
/// the client starts, and an address of this machine. The address is a secret: whoever knows it can use the service from this machine.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio connect 'nuncio:did:key:z6Mk…?at=…&bundle=…#files'     the line that the other agent's `nuncio expose` printed\n  nuncio connect -     the same, read from the input\n  nuncio connect anna/files\n  nuncio connect anna/files --name anna-files\n  nuncio begin --principal user:anna --scope tools.read > trip.token && nuncio connect anna/files --under trip.token"
)]
pub(crate) struct Connect {
    /// The line of `nuncio expose`, or PEER/SERVICE; `-` reads it from the input, where no other user of the machine sees it
    what: String,
    /// What the connection is called here [default: the service's name]
    #[arg(long)]
    name: Option<ServiceName>,
    /// What to ask for there, where the line lets nobody in by itself; as often as needed
    #[arg(long, value_name = "SCOPE", default_value = "tools.read")]
    ask: Vec<String>,
    /// A short name for the agent, where it is added
    #[arg(long, value_name = "NAME")]
    peer_name: Option<String>,
    /// Calls over it act in a transaction: a file with its token, as `nuncio begin` prints it or a grant in the inbox holds it. It is renewed while the agent runs, if
    /// this agent began it
    #[arg(long, value_name = "FILE")]
    under: Option<PathBuf>,
    /// An address of this side's that an agent of A2A may have called: clients may give it, or one beneath it, as a webhook, and this agent calls it; as often as needed
    #[arg(long, value_name = "NAME=URL", value_parser = webhook)]
    webhook: Vec<(String, String)>,
}

/// Lists the services of other agents that are connected, with the addresses at which programs of this machine reach them.
#[derive(Args)]
pub(crate) struct List {}

/// Gives up a connection: its address answers no more. The agent stays a peer.
#[derive(Args)]
pub(crate) struct Disconnect {
    /// What `nuncio connections` calls it
    name: String,
}

#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    connection: Connection,
    command: &'static str,
    args: Vec<String>,
}

impl Connect {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let (whom, service) = self.read()?;
        let under = self.under.as_deref().map(transaction).transpose()?;
        let asked = async |api: &Api| {
            let peer = match &whom {
                Whom::Known(peer) => peer.clone(),
                Whom::Invited(line, agent) => {
                    let words = under.as_deref().and_then(in_words);
                    self.acquaint(api, (line, agent), &service, words).await?
                }
            };
            let name = self.name.as_ref().map(ToString::to_string);
            let new = NewConnection {
                peer,
                service: service.to_string(),
                name,
                under: under.clone(),
                webhooks: self.webhook.iter().cloned().collect(),
            };
            let connection = api.post::<Connection>("/v1/connections", &new).await?;
            let peers = api.get::<Peers>("/v1/peers").await?.peers;
            let called = peers.into_iter().find(|peer| peer.agent == connection.peer).and_then(|peer| peer.name);
            let problem = api.get::<Connections>("/v1/connections").await?.problem;
            let own = api.get::<Id>("/v1/id").await?;
            Ok((connection, called, problem, own))
        };
        let (connection, called, problem, own) = options.with(asked).await?;
        let whose = called.unwrap_or_else(|| connection.peer.clone());
        let args = shim_args(options, &whose, &connection.service);
        if options.json {
            return output::json(&Told { connection, command: "nuncio", args });
        }
        say(&connection, &whose, &args)?;
        if let Some(problem) = problem {
            output::note(format_args!("the address does not answer now: {problem}"));
        }
        let service = &connection.service;
        match &whom {
            Whom::Invited(line, _) if line.contains("knock=") => {
                output::note(format_args!(
                    "{whose} is shown the line now, and lets this agent in if it is still good; if not, this agent asks to be let in: there, once\n  nuncio knocks\n  nuncio knocks let-in {} --name NAME\n  nuncio allow {service} NAME tools.read",
                    own.agent
                ));
            }
            Whom::Invited(..) => output::note(format_args!(
                "this agent asks {whose} to be let in: there, once\n  nuncio knocks\n  nuncio knocks let-in {} --name NAME\n  nuncio allow {service} NAME tools.read",
                own.agent
            )),
            Whom::Known(_) => output::note(format_args!(
                "{whose} has to know this agent and to let it: there, once\n  nuncio peers add --name NAME '{}'\n  nuncio allow {service} NAME tools.read",
                own.invitation
            )),
        }
        Ok(())
    }

    /// What is to be connected: as it was given, or the first line of the input.
    fn what(&self) -> Result<String, Failure> {
        if self.what != "-" {
            return Ok(self.what.clone());
        }
        let mut line = String::new();
        let input = std::io::stdin().lock().take(LINE_MAX);
        std::io::BufReader::new(input).read_line(&mut line).map_err(Failure::io("read", "the input"))?;
        Ok(line.trim().trim_matches('\'').to_owned())
    }

    fn read(&self) -> Result<(Whom, ServiceName), Failure> {
        let what = self.what()?;
        let hint = "nuncio connect 'nuncio:did:key:…#SERVICE', quoted, as `nuncio expose` printed it; or nuncio connect PEER/SERVICE";
        let service =
            |text: &str| text.parse().map_err(|_| Failure::usage(format!("{text:?} is no name of a service"), hint));
        if what.starts_with("nuncio:") {
            let Some((line, named)) = what.rsplit_once('#') else {
                return Err(Failure::usage("the line names no service", hint));
            };
            let Invitation { agent, .. } =
                line.parse().map_err(|error: NotInvitation| Failure::usage(error.to_string(), hint))?;
            return Ok((Whom::Invited(line.to_owned(), agent.to_string()), service(named)?));
        }
        let Some((peer, named)) = what.rsplit_once('/').filter(|(peer, _)| !peer.is_empty()) else {
            return Err(Failure::usage(format!("{what:?} names no agent and service"), hint));
        };
        Ok((Whom::Known(peer.to_owned()), service(named)?))
    }

    /// Adds the agent of an invitation. One that is known keeps its name, and is reached where the invitation says.
    async fn acquaint(
        &self,
        api: &Api,
        (line, agent): (&str, &str),
        service: &ServiceName,
        transaction: Option<String>,
    ) -> Result<String, Failure> {
        let known = api.get::<Peers>("/v1/peers").await?.peers;
        let former = known.into_iter().find(|peer| peer.agent == agent).and_then(|peer| peer.name);
        let knock = Purpose { service: Some(service.to_string()), scopes: self.ask.clone() };
        let name = self.peer_name.clone().or(former);
        let new = NewPeer { invitation: line.to_owned(), name, knock: Some(knock), transaction };
        Ok(api.post::<Named>("/v1/peers", &new).await?.agent)
    }
}

/// For whom a token acts, and in which transaction, as whoever lets this agent in is shown it: cut where it is longer than may be said.
fn in_words(token: &str) -> Option<String> {
    let acts = nuncio::Transaction::from_token(token)?;
    let words = format!("{}, {}", acts.principal(), acts.id());
    let words: String = words.chars().filter(|sign| !sign.is_control()).collect();
    let end = words.floor_char_boundary(limit::EVENT_TEXT_MAX);
    Some(words.get(..end).unwrap_or_default().to_owned())
}

fn webhook(text: &str) -> Result<(String, String), String> {
    let named = text.split_once('=').filter(|(name, url)| !name.is_empty() && url.starts_with("http"));
    named.map(|(name, url)| (name.to_owned(), url.to_owned())).ok_or_else(|| "write NAME=https://…".to_owned())
}

enum Whom {
    Known(String),
    Invited(String, String),
}

/// How an MCP client starts this program as the service.
fn shim_args(options: &Options, whose: &str, service: &str) -> Vec<String> {
    let home = options.named_home().map(|home| ["--home".to_owned(), home.display().to_string()]);
    let what = ["mcp".to_owned(), format!("{whose}/{service}")];
    home.into_iter().flatten().chain(what).collect()
}

fn say(connection: &Connection, whose: &str, args: &[String]) -> Result<(), Failure> {
    let Connection { name, service, url, card_key, .. } = connection;
    let args = serde_json::json!(args);
    let program = format!(r#"{{"mcpServers":{{"{name}":{{"command":"nuncio","args":{args}}}}}}}"#);
    output::line(format_args!("{name}: {service} of {whose}"))?;
    output::line("an MCP client that starts programs:")?;
    output::line(format_args!("  {program}"))?;
    output::line("one that takes a URL, which is a secret:")?;
    output::line(format_args!("  {url}"))?;
    output::line("an A2A client, where what is offered is an agent: its card, a secret too:")?;
    output::line(format_args!("  {url}/.well-known/agent-card.json"))?;
    let Some(key) = card_key else { return Ok(()) };
    output::line("the key that signs an agent's card there (A2A), where the agent's own signature was good:")?;
    output::line(format_args!("  {key}"))
}

impl List {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let asked = async |api: &Api| {
            Ok((api.get::<Connections>("/v1/connections").await?, api.get::<Peers>("/v1/peers").await?.peers))
        };
        let (all, peers) = options.with(asked).await?;
        if options.json {
            return output::json(&all);
        }
        if all.connections.is_empty() {
            output::note("nothing is connected: nuncio connect PEER/SERVICE");
            return Ok(());
        }
        let called = |agent: &str| peers.iter().find(|peer| peer.agent == agent).and_then(|peer| peer.name.clone());
        let rows = all.connections.iter().map(|one| {
            let peer = called(&one.peer).unwrap_or_else(|| one.peer.clone());
            let under = one.transaction.as_deref().unwrap_or("-");
            vec![one.name.clone(), format!("{peer}/{}", one.service), output::harmless_line(under), one.url.clone()]
        });
        output::table(&["NAME", "SERVICE", "TRANSACTION", "ADDRESS (SECRET)"], &rows.collect::<Vec<_>>())?;
        if let Some(problem) = &all.problem {
            output::note(format_args!("the addresses do not answer now: {problem}"));
        }
        Ok(())
    }
}

impl Disconnect {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let path = format!("/v1/connections/{}", segment(&self.name));
        let of = options.with(async |api| api.delete::<Named>(&path).await).await?;
        if options.json {
            return output::json(&of);
        }
        output::line(format_args!("{} is connected no more", self.name))
    }
}
