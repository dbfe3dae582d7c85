//! `nuncio permit`

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Duration;

use clap::{Args, Subcommand};
use nuncio::{NotPermit, Permit as Signed};
use nuncio_bridge::services;

use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::wire::{Id, KeepPermit, NewNarrower, NewPermit, Peers, PermitTold, Permits, Revoked};
use crate::{output, span};

/// Longest line of a permit, and more.
const LINE_LEN_MAX: u64 = 16_384;

/// Lets another agent use a service of this one for long: signed, for that agent alone, until a time, and revoked at any moment.
///
/// A permit is no secret: whoever has its line and is not its holder may nothing.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio permit give ben files tools.read --for 30d                at anna's: it counts at once, if ben is a peer\n  nuncio permit give ben files tools.read --for 30d --further 1    ben may hand it on, once\n  nuncio permit keep 'nuncio-permit:…'                             at ben's: the line that anna's printed\n  nuncio permit narrow ID cora tools.read --for 2d                 at ben's: prints a line for cora\n  nuncio permit keep 'nuncio-permit:…'                             at cora's: shows it to anna's\n  nuncio permit revoke ID                                          at anna's or ben's: with all that stands below it"
)]
pub(crate) struct Permit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Give an agent a permit for a service of this one's
    Give {
        /// Whose it is: a peer's name, or a DID
        holder: String,
        /// Which service of this agent's
        service: String,
        /// What it allows: tools.read, tools.write, service.use, or tools.read:NAME, tools.write:NAME
        #[arg(required = true)]
        scopes: Vec<String>,
        /// How long it is good, from now on
        #[arg(long = "for", value_name = "DURATION", default_value = "30d", value_parser = span::parse)]
        life: Duration,
        /// How many may hand it on, one after the other: up to 3
        #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=3))]
        further: u8,
    },
    /// Hand on a permit that this agent holds, for no more than it allows
    Narrow {
        /// Its id, or its line
        permit: String,
        /// Whose the new one is: a peer's name, or a DID
        holder: String,
        /// What the new one allows: scopes of the one above, as they stand there
        #[arg(required = true)]
        scopes: Vec<String>,
        /// How long it is good, from now on [default: as long as the one above]
        #[arg(long = "for", value_name = "DURATION", value_parser = span::parse)]
        life: Option<Duration>,
        /// How many may hand it on, one after the other: fewer than the one above says
        #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=3))]
        further: u8,
    },
    /// Verify a permit and say what it allows; no agent is asked, so whether it was revoked is not said
    Show {
        /// Its line; '-' reads it from standard input
        permit: String,
    },
    /// Keep a permit of this agent's, and show it to the agent that gave it, which is a peer
    Keep {
        /// Its line; '-' reads it from standard input
        permit: String,
    },
    /// List permits: given, shown by others, held and handed on
    List,
    /// Revoke a link of a permit, and all that stands below it
    Revoke {
        /// The link's id; a permit's is its last link's
        id: String,
    },
}

impl Permit {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        match &self.action {
            Action::Give { holder, service, scopes, life, further } => {
                let (to, service, scopes) = (holder.clone(), service.clone(), scopes.clone());
                let new = NewPermit { to, service, scopes, life_ms: span::ms(*life), further: *further };
                let asked = async |api: &Api| {
                    let peers = api.get::<Peers>("/v1/peers").await?.peers;
                    Ok((api.post::<PermitTold>("/v1/permits", &new).await?, peers))
                };
                let (told, peers) = options.with(asked).await?;
                if !peers.iter().any(|peer| peer.agent == told.holder && peer.allowed) {
                    output::note(format_args!(
                        "{} is no peer of this agent so far, and may nothing until it is: nuncio peers add, there and here",
                        told.holder
                    ));
                }
                if !services(&options.home()?)?.iter().any(|offered| offered.name == told.service) {
                    output::note(format_args!("{} is not offered here so far: nuncio expose", told.service));
                }
                given(options, &told, "it counts from now on; to hand it on, its holder keeps this line")
            }
            Action::Narrow { permit, holder, scopes, life, further } => {
                let (to, scopes, life_ms) = (holder.clone(), scopes.clone(), life.map(span::ms));
                let new = NewNarrower { to, scopes, life_ms, further: *further };
                let path = format!("/v1/permits/{}/narrower", segment(&id_of(permit)?));
                let told = options.with(async |api| api.post::<PermitTold>(&path, &new).await).await?;
                given(
                    options,
                    &told,
                    "it counts once its holder has shown it: nuncio permit keep, and this line, there",
                )
            }
            Action::Show { permit } => {
                let told = PermitTold::of(&read(&line_of(permit)?)?);
                if options.json { output::json(&told) } else { show(&told) }
            }
            Action::Keep { permit } => {
                let keep = KeepPermit { permit: read(&line_of(permit)?)?.to_string() };
                let told = options.with(async |api| api.post::<PermitTold>("/v1/permits/kept", &keep).await).await?;
                if options.json {
                    return output::json(&told);
                }
                show(&told)?;
                output::note(
                    "whether it was revoked its giver knows, who is shown it: one that was allows nothing there",
                );
                Ok(())
            }
            Action::List => list(options).await,
            Action::Revoke { id } => {
                let path = format!("/v1/permits/{}", segment(&id_of(id)?));
                let revoked = options.with(async |api| api.delete::<Revoked>(&path).await).await?;
                if options.json {
                    return output::json(&revoked);
                }
                output::line(format_args!("revoked: {}", revoked.id))
            }
        }
    }
}

fn given(options: &Options, told: &PermitTold, what: &str) -> Result<(), Failure> {
    if options.json {
        return output::json(told);
    }
    output::line(&told.permit)?;
    output::note(format_args!("{}: {} until {}", told.id, may(told), output::time(told.until_ms)));
    output::note(what);
    Ok(())
}

fn show(told: &PermitTold) -> Result<(), Failure> {
    output::line(format_args!("permit {}\n  service  {} of {}", told.id, told.service, told.giver))?;
    for link in &told.links {
        let until = output::time(link.until_ms);
        output::line(format_args!(
            "  link     {}  {} until {until}\n    by     {}\n    for    {}",
            link.id,
            link.scopes.join(" "),
            link.by,
            link.holder
        ))?;
    }
    output::line(format_args!("  may be handed on from here: {}", told.further))?;
    if is_over(told) {
        output::note("its time is over");
    }
    Ok(())
}

async fn list(options: &Options) -> Result<(), Failure> {
    let known = options.with(async |api| api.get::<Permits>("/v1/permits").await).await?;
    if options.json {
        return output::json(&known);
    }
    if known.permits.is_empty() {
        output::note("no permit is kept here: nuncio permit give, or nuncio permit keep");
        return Ok(());
    }
    let me = options.with(async |api| api.get::<Id>("/v1/id").await).await?.agent;
    let rows: Vec<Vec<String>> = known.permits.iter().map(|told| row(told, &me)).collect();
    output::table(&["PERMIT", "", "WHAT", "UNTIL", "LINKS"], &rows)
}

fn row(told: &PermitTold, me: &str) -> Vec<String> {
    let first = told.links.first().map_or(&told.holder, |link| &link.holder);
    let whose = match (told.giver == me, told.holder == me) {
        (true, _) if told.links.len() > 1 => format!("handed on to {}, given to {first}", told.holder),
        (true, _) => format!("given to {}", told.holder),
        (_, true) => format!("held, of {}", told.giver),
        _ => format!("handed on to {}, of {}", told.holder, told.giver),
    };
    let links = told.links.iter().map(|link| link.id.as_str()).collect::<Vec<_>>().join(" ");
    let until = output::time(told.until_ms);
    vec![told.id.clone(), whose, may(told), if is_over(told) { format!("over: {until}") } else { until }, links]
}

fn may(told: &PermitTold) -> String {
    let further = match told.further {
        0 => String::new(),
        further => format!(" (may be handed on: {further})"),
    };
    format!("{} {}{further}", told.service, told.scopes.join(" "))
}

fn is_over(told: &PermitTold) -> bool {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).is_ok_and(|now| told.until_ms <= now)
}

/// An id, or the id of a line.
fn id_of(text: &str) -> Result<String, Failure> {
    if text.trim_start().starts_with("nuncio-permit:") { Ok(read(text)?.id().to_string()) } else { Ok(text.to_owned()) }
}

fn line_of(text: &str) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut line = String::new();
    let input = std::io::stdin().lock().take(LINE_LEN_MAX);
    BufReader::new(input).read_line(&mut line).map_err(Failure::io("read", "the input"))?;
    Ok(line)
}

fn read(line: &str) -> Result<Signed, Failure> {
    let hint = "a permit is the one line that `nuncio permit give` or `nuncio permit narrow` printed: all of it";
    line.parse().map_err(|error: NotPermit| Failure::usage(error.to_string(), hint))
}
