//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use nuncio::{Agent, Config};

use crate::client::Api;
use crate::commands;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::unlock::UnlockArgs;
use crate::{demo, image, logs, output};

const EXAMPLES: &str = "\
Two agents, in one minute:
  nuncio --home a init --letters-without-token deliver    an identity each; nobody needs a token of authority here
  nuncio --home b init --letters-without-token deliver
  nuncio --home a agent --listen 127.0.0.1:4001   each in a terminal of its own
  nuncio --home b agent --listen 127.0.0.1:4002
  nuncio --home a id                              prints the DID, and below it an invitation: one line
  nuncio --home b peers add --name anna 'nuncio:did:key:z6Mk…'
  nuncio --home a peers add --name ben  'nuncio:did:key:z6Mk…'
  nuncio --home b send anna --text 'good morning' --wait
  nuncio --home a inbox

Or see it all at once: nuncio demo

An MCP server of anna's machine, used by an MCP client on ben's:
  nuncio expose mcp files -- npx some-mcp-server  at anna's; says which tools it has, and how ben may use them
  nuncio connect anna/files                       at ben's; prints what to paste into the client

Exit codes:
  0  done
  1  it failed; standard error says why and what to do
  2  what it was given is wrong: a flag, a form, a peer or letter that is not here
  3  the time ran out (--wait, --timeout); the letter is still on its way

Environment:
  NUNCIO_HOME  the home, where --home is not given
  NUNCIO_LOG   what is logged to standard error: error, warn, info, debug (or a tracing filter)";

/// Sealed letters between agents: end-to-end encrypted, on disk before they are sent, delivered once and in order.
#[derive(Parser)]
#[command(name = "nuncio", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// What every command has.
#[derive(Args)]
pub(crate) struct Options {
    /// Directory with the agent's identity, sessions and letters [default: the platform's data directory]
    #[arg(long, global = true, env = "NUNCIO_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Make an identity and its home
    Init(commands::init::Init),
    /// Print who this agent is, and the invitation to paste to another
    Id(commands::id::Id),
    /// Run the agent: it takes and sends letters until it is stopped
    Agent(commands::agent::Daemon),
    /// List, add and remove the agents that this one knows
    Peers(commands::peers::Peers),
    /// List agents that ask to be let in, and let them in or turn them away
    Knocks(commands::knocks::Knocks),
    /// Begin a transaction: for whom and for what letters act
    Begin(commands::begin::Begin),
    /// Send a letter
    Send(commands::send::Send),
    /// List letters that are on their way or failed, and take them back
    Outbox(commands::outbox::Outbox),
    /// Send a letter and wait for the one that answers it
    Request(commands::request::Request),
    /// Read letters
    Inbox(commands::inbox::Inbox),
    /// Remove letters from the inbox, for good
    Done(commands::done::Done),
    /// Run the agent, and beside it an HTTP door for people with the token of a login
    Gateway(commands::gateway::Gateway),
    /// Share letters with a group of agents
    Channel(commands::channel::Channel),
    /// Offer an MCP server or an A2A agent of this machine to other agents
    Expose(commands::expose::Expose),
    /// List what this agent offers, and who may use it
    Services(commands::services::List),
    /// Say what an agent may do with a service
    Allow(commands::services::Allow),
    /// Let an agent use a service for long: give, hand on, list and revoke permits
    Permit(commands::permit::Permit),
    /// Offer a service no more
    Withdraw(commands::services::Withdraw),
    /// Reach a service of another agent: prints what to paste into an MCP client
    Connect(commands::connect::Connect),
    /// List the services of others that are connected
    Connections(commands::connect::List),
    /// Give up a connection: its address answers no more
    Disconnect(commands::connect::Disconnect),
    /// Be a service of another agent on standard input and output, for an MCP client that starts programs
    Mcp(commands::mcp::Mcp),
    /// Say where letters wait while this agent is away, or renew the keys to it
    Mailbox(commands::mailbox::Mailbox),
    /// List the ratchet sessions
    Sessions(commands::sessions::Sessions),
    /// Say how the agent fares
    Status(commands::status::Status),
    /// Change what opens the home: another passphrase or key file
    Rekey(commands::rekey::Rekey),
    /// Copy the home's store, also while the agent runs
    Backup(commands::backup::Backup),
    /// Make a home from a backup
    Restore(commands::restore::Restore),
    /// Look for what is wrong: every record, permissions, the system's limits
    Doctor(commands::doctor::Doctor),
    /// Run a trust domain's node: it issues transaction tokens
    Node(commands::node::Node),
    /// Read and verify an audit log
    Audit(commands::audit::Audit),
    /// Print a completion script for a shell
    Completions(commands::completions::Completions),
    /// Show two agents talking, one of them killed in the middle
    Demo(demo::Demo),
}

/// The node of a trust domain: it issues transaction tokens.
#[derive(Parser)]
#[command(name = "nuncio-node", version, max_term_width = 110)]
struct NodeCli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: commands::node::Command,
}

/// Runs a command line of `nuncio`. `args` begins with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return complain(&error, wants_json(&args)),
    };
    carry_out(cli)
}

/// Runs a command line of `nuncio-node`: the same as behind `nuncio node`.
pub fn node_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    match NodeCli::try_parse_from(&args) {
        Ok(NodeCli { options, command }) => {
            carry_out(Cli { options, command: Command::Node(commands::node::Node { command }) })
        }
        Err(error) => complain(&error, wants_json(&args)),
    }
}

/// Whether a command line that could not be read asks for JSON.
fn wants_json(args: &[OsString]) -> bool {
    args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json")
}

fn carry_out(cli: Cli) -> ExitCode {
    let (json, at_node) = (cli.options.json, matches!(cli.command, Command::Node(_)));
    logs::start(cli.command.logs());
    image::leave_none();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let hint = if at_node { failure.hint_at_node() } else { failure.hint() };
            output::failure(&failure, hint, json);
            failure.exit_code()
        }
    }
}

/// What the command line's own grammar does not take. Help and version are no complaint.
fn complain(error: &clap::Error, json: bool) -> ExitCode {
    if json && error.exit_code() != 0 {
        let text = error.render().to_string();
        let what = match error.kind() {
            // What is rendered then is the help.
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a subcommand is missing: --help lists them",
            _ => text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: "),
        };
        let failure = Failure::usage(what, "`nuncio --help` and `nuncio COMMAND --help` show the forms");
        output::failure(&failure, failure.hint(), json);
    } else {
        // Help goes to standard output, complaints to standard error; whoever closed it does not want to know.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn run(cli: Cli) -> Result<(), Failure> {
    #[cfg(feature = "seal-log")]
    crate::seals::write_down()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::io("start", "the runtime"))?;
    let done = runtime.block_on(dispatch(cli));
    // A blocking read of a terminal or a pipe cannot be ended; it goes with the process.
    runtime.shutdown_background();
    done
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let options = &cli.options;
    options.unlock.check()?;
    match cli.command {
        Command::Init(command) => command.run(options),
        Command::Id(command) => command.run(options).await,
        Command::Agent(command) => command.run(options).await,
        Command::Peers(command) => command.run(options).await,
        Command::Knocks(command) => command.run(options).await,
        Command::Begin(command) => command.run(options).await,
        Command::Send(command) => command.run(options).await,
        Command::Outbox(command) => command.run(options).await,
        Command::Request(command) => command.run(options).await,
        Command::Inbox(command) => command.run(options).await,
        Command::Done(command) => command.run(options).await,
        Command::Gateway(command) => command.run(options).await,
        Command::Channel(command) => command.run(options).await,
        Command::Mailbox(command) => command.run(options).await,
        Command::Expose(command) => command.run(options).await,
        Command::Services(command) => command.run(options).await,
        Command::Allow(command) => command.run(options).await,
        Command::Permit(command) => command.run(options).await,
        Command::Withdraw(command) => command.run(options).await,
        Command::Connect(command) => command.run(options).await,
        Command::Connections(command) => command.run(options).await,
        Command::Disconnect(command) => command.run(options).await,
        Command::Mcp(command) => command.run(options).await,
        Command::Sessions(command) => command.run(options).await,
        Command::Status(command) => command.run(options).await,
        Command::Rekey(command) => command.run(options).await,
        Command::Backup(command) => command.run(options).await,
        Command::Restore(command) => command.run(options),
        Command::Doctor(command) => command.run(options).await,
        Command::Node(command) => command.run(options).await,
        Command::Audit(command) => command.run(options).await,
        Command::Completions(command) => command.run(),
        Command::Demo(command) => command.run(options).await,
    }
}

impl Command {
    /// What is logged where nobody says it otherwise: of what runs until it is stopped the log is worth reading.
    const fn logs(&self) -> &'static str {
        match self {
            Self::Agent(_) | Self::Gateway(_) => "info",
            Self::Node(node) if matches!(node.command, commands::node::Command::Run(_)) => "info",
            // The last words of a program that does not start are there alone.
            Self::Expose(_) | Self::Mcp(_) => "warn",
            _ => "error",
        }
    }
}

impl Options {
    /// The node's home that was named, or the platform's: beside the agent's, never the same.
    pub(crate) fn node_home(&self) -> Result<PathBuf, Failure> {
        self.home_or("node")
    }

    /// The home that was named, or one of its own in the platform's.
    pub(crate) fn home_or(&self, name: &str) -> Result<PathBuf, Failure> {
        if self.home.is_some() { self.home() } else { Ok(self.home()?.join(name)) }
    }

    /// The home that was named, or the platform's.
    pub(crate) fn home(&self) -> Result<PathBuf, Failure> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        let place = directories::ProjectDirs::from("", "", "nuncio");
        let place =
            place.ok_or_else(|| Failure::usage("this system names no data directory", "say where: --home DIR"))?;
        Ok(place.data_dir().to_owned())
    }

    /// The home as other programs have to name it; none where it is the platform's.
    pub(crate) fn named_home(&self) -> Option<PathBuf> {
        let home = self.home.as_ref()?;
        Some(std::path::absolute(home).unwrap_or_else(|_| home.clone()))
    }

    /// The agent that runs on the home; where none does, one in this process.
    pub(crate) async fn reach(&self) -> Result<Api, Failure> {
        let home = self.home()?;
        if Api::is_served(&home).await {
            return Ok(Api::at(&home));
        }
        Ok(Api::own(Agent::open(self.config(&home)?).await?, &home))
    }

    /// The same, for one question.
    pub(crate) async fn with<T>(&self, ask: impl AsyncFnOnce(&Api) -> Result<T, Failure>) -> Result<T, Failure> {
        let api = self.reach().await?;
        let answer = ask(&api).await;
        let ended = api.end().await;
        let answer = answer?;
        ended?;
        Ok(answer)
    }

    /// How a home that is there is opened.
    pub(crate) fn config(&self, home: &Path) -> Result<Config, Failure> {
        // It may run, and hold its store.
        if home.join(nuncio_node::OWNER_SOCKET).exists() {
            return Err(nuncio::Error::NodeHome(home.to_owned()).into());
        }
        let mut config = Config::new(home).unlock(self.unlock.open()?);
        config.create = false;
        Settings::read(home)?.apply(home, config)
    }
}

/// The command line's grammar, for completions.
pub(crate) fn grammar() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_grammar_is_sound() {
        super::grammar().debug_assert();
    }
}
