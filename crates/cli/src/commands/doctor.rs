//! `nuncio doctor`

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clap::Args;
use nuncio::Config;
use nuncio_bridge::{CONNECTIONS_FILE, SERVICES_FILE, WEBHOOKS_FILE, check_files, native_services};
use nuncio_store::Store;
use nuncio_transport::tuning::SOCKET_BUFFER;
use serde::Serialize;

use super::init::RETIREMENT;
use crate::cli::Options;
use crate::client::Api;
use crate::failure::Failure;
use crate::local_api::{RETIRED_ROWS, SOCKET, TOKEN, told};
use crate::output;
use crate::settings::{self, Settings};
use crate::wire::Checkup;

/// Opens every record, reads what stands in the home's files as the next start does, and looks at permissions, sockets and the system's limits. Changes nothing. Exit code 1 when something is bad.
#[derive(Args)]
pub(crate) struct Doctor {}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    Advice,
    Bad,
}

#[derive(Serialize)]
struct Finding {
    verdict: Verdict,
    what: String,
}

fn good(what: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Good, what: what.into() }
}

fn advice(what: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Advice, what: what.into() }
}

fn bad(what: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Bad, what: what.into() }
}

impl Doctor {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let home = options.home()?;
        if !home.join("keys").exists() {
            return Err(nuncio::Error::NoHome(home).into());
        }
        let is_served = Api::is_served(&home).await;
        let mut findings = permissions(&home);
        findings.push(socket(&home, is_served));
        findings.extend(retirement(&home));
        findings.extend(files(&home));
        findings.extend(records(options, &home, is_served).await);
        findings.extend(udp_buffers());
        report(options, &findings)
    }
}

fn report(options: &Options, findings: &[Finding]) -> Result<(), Failure> {
    for finding in findings {
        if options.json {
            output::json(finding)?;
        } else {
            let mark = match finding.verdict {
                Verdict::Good => "good  ",
                Verdict::Advice => "advice",
                Verdict::Bad => "BAD   ",
            };
            output::line(format_args!("{mark}  {}", finding.what))?;
        }
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        count => Err(Failure::Unsound(format!("{count} of {} findings are bad", findings.len()))),
    }
}

/// Nobody but the owner may read what is in a home.
fn permissions(home: &Path) -> Vec<Finding> {
    let private =
        ["", "key", "keys", "lock", RETIREMENT, SOCKET, TOKEN, SERVICES_FILE, CONNECTIONS_FILE, WEBHOOKS_FILE];
    let open: Vec<Finding> = private.iter().filter_map(|name| open_to_others(&home.join(name))).collect();
    if open.is_empty() { vec![good(format!("the home {} is its owner's alone", home.display()))] } else { open }
}

fn open_to_others(path: &Path) -> Option<Finding> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let mode = metadata.permissions().mode() & 0o777;
    let (wanted, name) = if metadata.is_dir() { (0o700, "chmod 700") } else { (0o600, "chmod 600") };
    (mode & !wanted & 0o077 != 0).then(|| bad(format!("others can use {} (mode {mode:o}): {name} it", path.display())))
}

fn socket(home: &Path, is_served: bool) -> Finding {
    let path = home.join(SOCKET);
    match (is_served, path.exists()) {
        (true, _) => good(format!("an agent runs and answers on {}", path.display())),
        (false, true) => {
            advice(format!("{} is of an agent that was killed; the next start replaces it", path.display()))
        }
        (false, false) => good("no agent runs"),
    }
}

fn retirement(home: &Path) -> Option<Finding> {
    let path = home.join(RETIREMENT);
    path.exists().then(|| {
        advice(format!("move {} to a place that is offline: it is of no use in a home that is lost", path.display()))
    })
}

/// What an owner has written, as the next start reads it: an agent that runs goes on with what stood there before.
fn files(home: &Path) -> Vec<Finding> {
    let own = Settings::read(home).and_then(|own| own.apply(home, Config::new(home)));
    let own = own.map(drop).map_err(|error| error.to_string());
    let others = check_files(home).into_iter().map(|(name, read)| (name, read.map_err(|error| error.to_string())));
    let all: Vec<_> = std::iter::once((settings::FILE, own)).chain(others).collect();
    let refused: Vec<Finding> = all
        .iter()
        .filter_map(|(_, read)| read.as_ref().err())
        .map(|error| bad(format!("the next start refuses what is written: {error}")))
        .collect();
    let native = native_services(home);
    let native = (!native.is_empty()).then(|| {
        advice(format!(
            "{} in services.toml is `native`: the program that embeds this agent offers it, and `nuncio agent` refuses the file",
            native.join(", ")
        ))
    });
    if refused.is_empty() {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let read = good(format!("the next start can read {}", names.join(", ")));
        return std::iter::once(read).chain(native).collect();
    }
    refused.into_iter().chain(native).collect()
}

async fn records(options: &Options, home: &Path, is_served: bool) -> Vec<Finding> {
    let checkup = if is_served {
        Api::at(home).post::<Checkup>("/v1/checkups", &()).await
    } else {
        check_directly(options, home)
    };
    match checkup {
        Ok(Checkup { bad: 0, rows, sealed_bytes, .. }) => {
            let counts: Vec<String> = rows.iter().map(|(name, count)| format!("{name} {count}")).collect();
            let opens = good(format!("every record opens: {} ({})", counts.join(", "), output::size(sealed_bytes)));
            let retired = rows.contains_key(RETIRED_ROWS).then(|| {
                bad("this identity is retired: its peers take no letters of it; `nuncio init` in another home makes a new one")
            });
            std::iter::once(opens).chain(retired).collect()
        }
        Ok(Checkup { bad: count, first_bad, .. }) => {
            vec![bad(format!("{count} records do not open; the first: {}", first_bad.unwrap_or_default()))]
        }
        Err(failure) => {
            vec![bad(format!("the store does not open: {failure} ({})", failure.hint()))]
        }
    }
}

/// Without an agent, which would refuse a store with a damaged record.
fn check_directly(options: &Options, home: &Path) -> Result<Checkup, Failure> {
    let store = Store::open(home, &options.unlock.kek(home)?)?;
    Ok(told(&store.check()?))
}

/// What the system lets a UDP socket hold; less than the transport asks for costs resends under load.
fn udp_buffers() -> Vec<Finding> {
    let known = ["rmem_max", "wmem_max"].into_iter().filter_map(|name| {
        let text = fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?;
        Some((name, text.trim().parse::<usize>().ok()?))
    });
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        return vec![advice("how large UDP buffers may be is not known on this system")];
    }
    let small = known.into_iter().filter(|(_, bytes)| *bytes < SOCKET_BUFFER).map(|(name, bytes)| {
        advice(format!("net.core.{name} is {bytes}: letters under load are lost and sent again; sysctl -w net.core.{name}={SOCKET_BUFFER}"))
    });
    let small: Vec<Finding> = small.collect();
    if small.is_empty() { vec![good("UDP buffers are as large as the transport asks for")] } else { small }
}
