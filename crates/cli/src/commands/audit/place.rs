//! Which log, and whose key is trusted for it.

use std::path::{Path, PathBuf};

use clap::Args;
use nuncio_node::log::Files;
use nuncio_node::{LOG_FOLDER, LOG_KEY};
use nuncio_proto::tlog::{KeyKind, NoteKey};

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
}

/// A log to be read.
pub(super) struct Log {
    pub(super) files: Files,
    pub(super) key: NoteKey,
    /// Who has to have cosigned its head.
    pub(super) witnesses: Vec<NoteKey>,
}

impl Place {
    pub(super) fn open(&self, options: &Options) -> Result<Log, Failure> {
        // A node's own home, wherever it was made.
        let homes = [options.node_home()?, options.home()?];
        let node = homes.iter().find(|home| home.join(LOG_KEY).exists());
        let key = match (&self.key, node) {
            (Some(key), _) => read_key(key)?,
            (None, Some(home)) => read_key(&home.join(LOG_KEY).to_string_lossy())?,
            (None, None) => of_domain(&options.home()?)?,
        };
        let files = match (&self.log, node) {
            (Some(place), _) if place.contains("://") => {
                Files::web(place).map_err(|why| Failure::usage(format!("{place}: {why}"), "https://HOST/PATH/"))?
            }
            (Some(folder), _) => Files::folder(Path::new(folder)),
            (None, Some(home)) => Files::folder(&home.join(LOG_FOLDER)),
            (None, None) => {
                return Err(Failure::usage(
                    "there is no node's home here: say where the log is",
                    "nuncio audit --log FOLDER|URL …; beside the node: nuncio --home NODE-HOME audit …",
                ));
            }
        };
        Ok(Log { files, key, witnesses: self.witness.clone() })
    }
}

fn witness_key(text: &str) -> Result<NoteKey, String> {
    NoteKey::parse(text)
        .filter(|key| key.kind() == KeyKind::CosignatureV1)
        .ok_or_else(|| "write NAME+ID+KEY, as the witness prints it".to_owned())
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
