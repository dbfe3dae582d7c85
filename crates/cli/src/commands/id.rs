//! `nuncio id`

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::Options;
use crate::client::Api;
use crate::failure::Failure;
use crate::output;
use crate::wire::{Id as Who, Named, Peers, Retirement, Status};

/// Longest statement that is read.
const STATEMENT_LEN_MAX: u64 = 4_096;

/// Prints this agent's DID and its invitation: one line with DID, addresses and the hash of its keys. It holds no secret.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio id\n  nuncio id --json | jq -r .invitation\n  nuncio id retire --statement /mnt/stick/retirement --yes"
)]
pub(crate) struct Id {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// End an identity, lost or stolen, by the statement that `nuncio init` made: this agent's own, or a peer's
    Retire(Retire),
}

#[derive(Args)]
struct Retire {
    /// The file `retirement` that `nuncio init` wrote
    #[arg(long, value_name = "FILE")]
    statement: PathBuf,
    /// Do it without asking, although it cannot be undone
    #[arg(long)]
    yes: bool,
}

impl Id {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        match &self.action {
            Some(Action::Retire(retire)) => retire.run(options).await,
            None => show(options).await,
        }
    }
}

async fn show(options: &Options) -> Result<(), Failure> {
    let asked = async |api: &Api| {
        Ok((api.get::<Who>("/v1/id").await?, api.get::<Status>("/v1/status").await?, api.is_daemon()))
    };
    let (who, status, is_daemon) = options.with(asked).await?;
    if status.retired {
        output::note("this identity is retired: peers that know it take nothing from it any more");
    }
    if options.json {
        return output::json(&who);
    }
    output::line(&who.agent)?;
    output::line(&who.invitation)?;
    if !is_daemon {
        output::note(
            "no agent runs here, so the invitation has no address: start one with `nuncio agent --listen ADDR`",
        );
    } else if !who.invitation.contains("at=") {
        output::note(
            "the invitation has no address: the agent listens on all of them, so say which with --advertise HOST:PORT",
        );
    }
    Ok(())
}

/// Whose identity it is, for whoever is asked.
async fn whose(api: &Api, agent: &str) -> Result<String, Failure> {
    if api.get::<Who>("/v1/id").await?.agent == agent {
        return Ok(format!("this very agent, {agent}"));
    }
    let known = api.get::<Peers>("/v1/peers").await?.peers;
    let name = known.into_iter().find(|peer| peer.agent == agent).and_then(|peer| peer.name);
    Ok(name.map_or_else(|| agent.to_owned(), |name| format!("{name}, {agent}")))
}

/// Asks at a terminal; where there is none somebody has to have said it before.
fn confirm(options: &Options, whose: &str) -> Result<(), Failure> {
    let what = format!("this ends the identity of {whose}, for good");
    if options.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(what, "add --yes to do it"));
    }
    output::ask(format_args!("{what}. Go on? [yes/no] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Failure::io("ask at", "the terminal"))?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::Declined) }
}

impl Retire {
    async fn run(&self, options: &Options) -> Result<(), Failure> {
        let statement = self.read()?;
        let agent = nuncio::retirement_of(&statement);
        let agent = agent.ok_or_else(|| {
            Failure::usage("this is no statement that retires an identity", "give the file that `nuncio init` wrote")
        })?;
        let body = Retirement { statement: data_encoding::BASE64.encode(&statement) };
        let retired = options.with(async |api| {
            if !self.yes {
                confirm(options, &whose(api, &agent.to_string()).await?)?;
            }
            api.post::<Named>("/v1/retirements", &body).await
        });
        let retired = retired.await?;
        if options.json {
            return output::json(&retired);
        }
        output::line(format_args!("retired {}", retired.agent))
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&self.statement).map_err(Failure::io("open", &self.statement))?;
        file.take(STATEMENT_LEN_MAX).read_to_end(&mut bytes).map_err(Failure::io("read", &self.statement))?;
        Ok(bytes)
    }
}
