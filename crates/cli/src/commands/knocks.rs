//! `nuncio knocks`

use clap::{Args, Subcommand};

use crate::cli::Options;
use crate::client::segment;
use crate::commands::named::say_what_may;
use crate::failure::Failure;
use crate::output;
use crate::wire::{KnockTold, Knocks as Known, LetIn, LineNamed, LineTold, Lines, Named};

/// Lists agents that were not added and ask to be let in: who each is it has signed, what it wants is its own word.
///
/// An agent that offers services hears them. Nothing else of such an agent is taken until it is let in.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio knocks\n  nuncio knocks let-in did:key:z6Mk… --name ben\n  nuncio allow files ben tools.read\n  nuncio knocks decline did:key:z6Mk…\n  nuncio knocks lines\n  nuncio knocks revoke 3f9a10c2d4e5b6f7\n\nWho comes with a line of `nuncio expose` is let in by it, and not listed."
)]
pub(crate) struct Knocks {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Add the agent: its letters are taken from now on. What it may do with a service is said by `nuncio allow`
    LetIn {
        /// Its DID
        agent: String,
        /// A short name for it: letters, digits, '-', '_' and '.'
        #[arg(long)]
        name: Option<String>,
    },
    /// List the lines that may still let somebody in, those of `nuncio expose` among them
    Lines {},
    /// Make a line worth nothing; whoever was let in by it stays
    Revoke {
        /// Its name, as `nuncio knocks lines` shows it
        line: String,
    },
    /// Turn the agent away; it is not heard again for a week
    Decline {
        /// Its DID
        agent: String,
    },
}

impl Knocks {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        match &self.action {
            None => list(options).await,
            Some(Action::LetIn { agent, name }) => {
                let path = format!("/v1/knocks/{}/let-in", segment(agent));
                let how = LetIn { name: name.clone() };
                let named = options.with(async |api| api.post::<Named>(&path, &how).await).await?;
                said(options, &named, "let in")?;
                if let Some(name) = name.as_deref().filter(|_| !options.json) {
                    say_what_may(&options.home()?, name);
                }
                Ok(())
            }
            Some(Action::Lines {}) => lines(options).await,
            Some(Action::Revoke { line }) => {
                let path = format!("/v1/invitations/{}", segment(line));
                let named = options.with(async |api| api.delete::<LineNamed>(&path).await).await?;
                if options.json {
                    return output::json(&named);
                }
                output::line(format_args!("revoked: {}", named.line))
            }
            Some(Action::Decline { agent }) => {
                let path = format!("/v1/knocks/{}", segment(agent));
                let named = options.with(async |api| api.delete::<Named>(&path).await).await?;
                said(options, &named, "turned away")
            }
        }
    }
}

fn said(options: &Options, named: &Named, what: &str) -> Result<(), Failure> {
    if options.json { output::json(named) } else { output::line(format_args!("{what}: {}", named.agent)) }
}

async fn list(options: &Options) -> Result<(), Failure> {
    let known = options.with(async |api| api.get::<Known>("/v1/knocks").await).await?;
    if options.json {
        return output::json(&known);
    }
    if known.knocks.is_empty() {
        output::note("nobody knocks");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = known.knocks.iter().map(row).collect();
    output::table(&["AGENT", "LAST HEARD", "WANTS", "FROM", "BY ITS WORD FOR"], &rows)?;
    output::note("nuncio knocks let-in AGENT --name NAME, or nuncio knocks decline AGENT");
    Ok(())
}

async fn lines(options: &Options) -> Result<(), Failure> {
    let known = options.with(async |api| api.get::<Lines>("/v1/invitations").await).await?;
    if options.json {
        return output::json(&known);
    }
    if known.lines.is_empty() {
        output::note("no line lets anybody in");
        return Ok(());
    }
    let row = |told: &LineTold| {
        let LineTold { line, purpose, until_ms, times } = told;
        let service = purpose.service.clone().unwrap_or_default();
        vec![line.clone(), service, purpose.scopes.join(" "), output::time(*until_ms), times.to_string()]
    };
    output::table(&["LINE", "SERVICE", "MAY", "UNTIL", "TIMES"], &known.lines.iter().map(row).collect::<Vec<_>>())
}

fn row(knock: &KnockTold) -> Vec<String> {
    let service = knock.purpose.service.clone().unwrap_or_default();
    let wants = format!("{service} {}", knock.purpose.scopes.join(" "));
    // A column of its own: its words are not taken for scopes.
    let says = output::harmless_line(knock.transaction.as_deref().unwrap_or_default());
    let wants = output::harmless_line(wants.trim());
    vec![knock.agent.clone(), output::time(knock.at_ms), wants, knock.endpoints.join(" "), says]
}
