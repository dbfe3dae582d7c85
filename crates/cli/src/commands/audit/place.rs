//! Which log, and whose key is trusted for it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use nuncio_contracts::registry::limit;
use nuncio_node::log::{Files, Wrong};
use nuncio_node::{LOG_FOLDER, LOG_KEY};
use nuncio_proto::tlog::{KeyKind, NoteKey, Policy};

use crate::cli::Options;
use crate::failure::Failure;
use crate::settings::Settings;

/// Where the log is.
#[derive(Args)]
pub(crate) struct Place {
    /// The log: a folder or a URL [default: the node's own, in the home]
    #[arg(long, value_name = "FOLDER|URL")]
    log: Option<String>,
    /// The key that signs it: NAME+ID+KEY, or a file that holds that line [default: the node's own, or that of the agent's trust domain]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The key of a witness whose line has to be under the head. May be given again
    #[arg(long, value_name = "KEY", value_parser = witness_key)]
    witness: Vec<NoteKey>,
    /// What has to be under the head, as a C2SP tlog-policy: which logs are believed, and which of their witnesses are enough
    #[arg(long, value_name = "FILE", conflicts_with = "witness")]
    policy: Option<PathBuf>,
}

/// Where a log is, and who is believed about it.
pub(super) struct Found {
    files: Files,
    /// `None` where the policy knows the log.
    key: Option<NoteKey>,
    policy: Policy,
}

/// A log to be read.
pub(super) struct Log {
    pub(super) files: Files,
    pub(super) key: NoteKey,
    /// Who has to have cosigned its head.
    pub(super) policy: Policy,
}

impl Found {
    /// The log, with the key that signs it. Not to be asked by one of the tasks that serve: a log may be on the web.
    pub(super) fn log(self) -> Result<Log, Failure> {
        let Self { files, key, policy } = self;
        let key = match key {
            Some(key) => key,
            None => policy.log_of(&files.note()?).map_err(Wrong::from)?.clone(),
        };
        Ok(Log { files, key, policy })
    }
}

impl Place {
    pub(super) fn find(&self, options: &Options) -> Result<Found, Failure> {
        // A node's own home, wherever it was made.
        let homes = [options.node_home()?, options.home()?];
        let node = homes.iter().find(|home| home.join(LOG_KEY).exists());
        let policy = match &self.policy {
            Some(path) => read_policy(path)?,
            None => Policy::all_of(self.witness.clone()),
        };
        let key = match (&self.key, node) {
            (Some(key), _) => Some(read_key(key)?),
            (None, _) if !policy.logs().is_empty() => None,
            (None, Some(home)) => Some(read_key(&home.join(LOG_KEY).to_string_lossy())?),
            (None, None) => Some(of_domain(&options.home()?)?),
        };
        if key.as_ref().is_some_and(|key| !policy.logs().is_empty() && !policy.logs().contains(key)) {
            return Err(Failure::usage(
                "the policy does not believe the log of this --key",
                "leave one of the two out",
            ));
        }
        let files = match (&self.log, node) {
            (Some(place), _) if place.contains("://") => {
                Files::web(place).map_err(|why| Failure::usage(format!("{place}: {why}"), "https://HOST/PATH/"))?
            }
            (Some(folder), _) => Files::folder(&log_in(Path::new(folder))),
            (None, Some(home)) => Files::folder(&home.join(LOG_FOLDER)),
            (None, None) => {
                return Err(Failure::usage(
                    "there is no node's home here: say where the log is",
                    "nuncio audit --log FOLDER|URL …; beside the node: nuncio --home NODE-HOME audit …",
                ));
            }
        };
        Ok(Found { files, key, policy })
    }
}

/// Of a node's home, the log that is in it.
fn log_in(folder: &Path) -> PathBuf {
    if folder.join(LOG_KEY).exists() { folder.join(LOG_FOLDER) } else { folder.to_owned() }
}

fn witness_key(text: &str) -> Result<NoteKey, String> {
    NoteKey::parse(text)
        .filter(|key| key.kind().cosigns())
        .ok_or_else(|| "write NAME+ID+KEY, as the witness prints it".to_owned())
}

fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let mut policy = Vec::new();
    let len = u64::try_from(limit::TLOG_POLICY_LEN_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let file = File::open(path).and_then(|file| file.take(len).read_to_end(&mut policy));
    file.map_err(Failure::io("read", path))?;
    Policy::parse(&policy).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()), "c2sp.org/tlog-policy says what stands in such a file")
    })
}

/// A key as it is written, or a file with it.
fn read_key(text: &str) -> Result<NoteKey, Failure> {
    if let Some(key) = NoteKey::parse(text) {
        return Ok(key);
    }
    let path = PathBuf::from(text);
    let line = std::fs::read_to_string(&path).map_err(|_| no_key(text))?;
    NoteKey::parse(line.trim()).ok_or_else(|| no_key(text))
}

fn no_key(text: &str) -> Failure {
    Failure::usage(
        format!("{text}: neither a log's key nor a file with one"),
        "the file log.pub in the node's home holds it: NAME+ID+KEY",
    )
}

/// The key of the log of an agent's trust domain (contracts/audit.md section 5).
fn of_domain(home: &Path) -> Result<NoteKey, Failure> {
    let missing = || {
        Failure::usage(
            "it is not said whose key signs the log",
            "--key with the line in the node's log.pub, or --home of an agent whose nuncio.toml names the trust domain",
        )
    };
    let (domain, node) = Settings::read(home)?.domain(home)?.ok_or_else(missing)?;
    NoteKey::new(&format!("{domain}/log"), KeyKind::Ed25519, *node.as_bytes()).ok_or_else(missing)
}
