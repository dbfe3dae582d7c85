//! Two networks of this machine with a line between them, where the system allows them: what it does to a line is done by it, and not by us.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::process::Program;

/// The two ends of the line, with the addresses that they have first.
const ENDS: [(&str, &str); 2] = [("near", "10.213.8.1"), ("far", "10.213.8.2")];
/// Of a range that is nobody's: 1 ‖ 2³² of a hundred.
const ONE_PERCENT: u64 = (1 << 32) / 100;

/// Two namespaces; they go with the processes that hold them.
pub struct Places {
    _holders: [Child; 2],
    enter: [Vec<String>; 2],
}

impl Places {
    /// Makes them. Without being root, in a namespace of users in which it is allowed.
    ///
    /// # Errors
    /// Why this machine has none.
    pub async fn two() -> Result<Self, String> {
        let is_root = words_of("id", &["-u"]).await?.trim() == "0";
        let as_root: &[&str] = if is_root { &[] } else { &["-U", "--preserve-credentials"] };
        let entering = |pid: u32| {
            let words = ["nsenter"].iter().chain(as_root).map(ToString::to_string);
            words.chain(["-n", "-t", &pid.to_string()].map(str::to_owned)).collect::<Vec<_>>()
        };
        let (first, here) = hold(&[], if is_root { "-n" } else { "-Urn" }).await?;
        let near = entering(here);
        let (second, there) = hold(&near, "-n").await?;
        let places = Self { _holders: [first, second], enter: [near, entering(there)] };
        let there = there.to_string();
        let [(near, _), (far, _)] = ENDS;
        places.does(0, &["ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", &there]).await?;
        for (place, (end, address)) in ENDS.into_iter().enumerate() {
            places.does(place, &["ip", "addr", "add", &format!("{address}/24"), "dev", end]).await?;
            places.does(place, &["ip", "link", "set", "lo", "up"]).await?;
            places.does(place, &["ip", "link", "set", end, "up"]).await?;
        }
        Ok(places)
    }

    /// The address that a place has first.
    #[must_use]
    pub fn address(place: usize) -> &'static str {
        ENDS.get(place).map_or("", |(_, address)| address)
    }

    /// The program as it runs in a place.
    #[must_use]
    pub fn program(&self, place: usize, program: &Program) -> Program {
        match self.enter.get(place).and_then(|words| words.split_first()) {
            Some((lead, words)) => program.behind(lead, words),
            None => program.clone(),
        }
    }

    /// Loses so many packets of a hundred, each way, in the kernel.
    ///
    /// # Errors
    /// A kernel without the filter for it.
    pub async fn loses(&self, percent: u64) -> Result<(), String> {
        // Classic BPF: a random word, and less than the share of it is dropped (2), all else goes on (-1).
        let program = format!(
            "4,32 0 0 4294963256,53 1 0 {},6 0 0 2,6 0 0 4294967295",
            percent.saturating_mul(ONE_PERCENT).min(u64::from(u32::MAX))
        );
        for (place, (end, _)) in ENDS.into_iter().enumerate() {
            self.does(place, &["tc", "qdisc", "add", "dev", end, "clsact"]).await?;
            self.does(place, &["tc", "filter", "add", "dev", end, "egress", "bpf", "da", "bytecode", &program]).await?;
        }
        Ok(())
    }

    /// Longer packets do not fit the line from now on, and who sends one is told.
    ///
    /// # Errors
    /// What the system says.
    pub async fn narrows(&self, mtu: u16) -> Result<(), String> {
        for (place, (end, _)) in ENDS.into_iter().enumerate() {
            self.does(place, &["ip", "link", "set", "dev", end, "mtu", &mtu.to_string()]).await?;
        }
        Ok(())
    }

    /// Plugs the line in, or pulls it out.
    ///
    /// # Errors
    /// What the system says.
    pub async fn is_plugged(&self, plugged: bool) -> Result<(), String> {
        let [(near, _), _] = ENDS;
        self.does(0, &["ip", "link", "set", near, if plugged { "up" } else { "down" }]).await
    }

    /// A place has another address from now on, and the one before no more.
    ///
    /// # Errors
    /// What the system says.
    pub async fn readdress(&self, place: usize, host: u8) -> Result<(), String> {
        let Some((end, _)) = ENDS.get(place) else { return Ok(()) };
        self.does(place, &["ip", "addr", "flush", "dev", end]).await?;
        self.does(place, &["ip", "addr", "add", &format!("10.213.8.{host}/24"), "dev", end]).await
    }

    async fn does(&self, place: usize, words: &[&str]) -> Result<(), String> {
        let enter = self.enter.get(place).map(Vec::as_slice).unwrap_or_default();
        let all: Vec<_> = enter.iter().map(String::as_str).chain(words.iter().copied()).collect();
        let Some((lead, rest)) = all.split_first() else { return Ok(()) };
        words_of(lead, rest).await.map(drop)
    }
}

/// A process that holds a network of its own, and its id.
async fn hold(enter: &[String], flags: &str) -> Result<(Child, u32), String> {
    let lead = enter.iter().map(String::as_str).chain(["unshare", flags, "sh", "-c", "echo held; exec sleep infinity"]);
    let all: Vec<_> = lead.collect();
    let Some((lead, words)) = all.split_first() else { return Err(String::new()) };
    let mut command = Command::new(lead);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("{lead}: {error}"))?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said).await.map_err(|error| error.to_string())?;
    }
    match child.id() {
        Some(id) if said.trim() == "held" => Ok((child, id)),
        _ => {
            let mut why = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                let _silent = stderr.read_to_string(&mut why).await;
            }
            Err(format!("no namespace can be made: {}", why.trim()))
        }
    }
}

async fn words_of(program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {}: {}", words.join(" "), said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
