//! `nuncio backup`

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use nuncio::Error;
use nuncio_bridge::{CONNECTIONS_FILE, GATEWAY_FILE, SERVICES_FILE, WEBHOOKS_FILE};
use nuncio_store::{Store, StoreError};

use crate::cli::Options;
use crate::failure::Failure;
use crate::output;
use crate::settings;
use crate::wire::NewBackup;

/// Large payloads lie here in a home: sealed already, under keys that the store's rows hold.
const PAYLOADS: &str = "large";

/// Copies the store as of one moment, also while the agent runs: sealed as it is, without the key file.
#[derive(Args)]
#[command(
    after_help = "Example:\n  nuncio backup /mnt/backup/nuncio-monday\n\nKeep the key file or passphrase apart from it: the copy opens with what opens the home today.\nWhat a restored copy means: nuncio restore --help"
)]
pub(crate) struct Backup {
    /// A directory that is not there yet
    to: PathBuf,
}

impl Backup {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let to = std::path::absolute(&self.to).map_err(Failure::io("name", &self.to))?;
        let backup = options.with(async |api| api.post::<NewBackup>("/v1/backups", &NewBackup { to }).await).await?;
        if options.json {
            return output::json(&backup);
        }
        output::line(backup.to.display())?;
        output::note("it opens with what opens the home today; the key file is not in it");
        say_what_is_left_out(&options.home()?);
        Ok(())
    }
}

/// What a home has beside: secrets, which a backup holds sealed or not at all.
fn say_what_is_left_out(home: &Path) {
    let said = [
        (
            CONNECTIONS_FILE,
            "not in it, for the secrets of its addresses: after a restore `nuncio connect` makes new ones",
        ),
        (WEBHOOKS_FILE, "not in it, for its secrets: clients name their addresses again"),
        (SERVICES_FILE, "in it; files that it names, such as an env_file, are not"),
        (GATEWAY_FILE, "in it; files that it names, such as the provider's key, are not"),
    ];
    for (name, what) in said.into_iter().filter(|(name, _)| home.join(name).exists()) {
        output::note(format_args!("{name}: {what}"));
    }
}

/// Copies a store that is open, with its large payloads and what its agent was told in words.
pub(crate) fn copy(store: &Store, to: &Path) -> Result<(), Error> {
    let failed = |source| Error::File { path: to.to_owned(), source };
    make_new(to)?;
    let (from, into) = (store.home().join(PAYLOADS), to.join(PAYLOADS));
    // Before the rows, and again after them: a payload whose row is copied is there, whether it is being deleted or has just come.
    copy_payloads(&from, &into).map_err(failed)?;
    store.backup(to)?;
    copy_payloads(&from, &into).map_err(failed)?;
    // Without it a restored agent would refuse for good what its peers may send.
    // Nor would it know for what its permits were given.
    for file in [settings::FILE, SERVICES_FILE, GATEWAY_FILE] {
        gone_is_none(copy_private(&store.home().join(file), &to.join(file))).map_err(failed)?;
    }
    fs::File::open(to).and_then(|to| to.sync_all()).map_err(failed)
}

/// Makes a directory for its owner alone. One that is there is refused, however late somebody else made it.
fn make_new(dir: &Path) -> Result<(), Error> {
    let failed = |source| Error::File { path: dir.to_owned(), source };
    if let Some(parent) = dir.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    }
    DirBuilder::new().mode(0o700).create(dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => StoreError::Exists(dir.to_owned()).into(),
        _ => failed(error),
    })
}

/// Copies whole payloads that are not there yet. Those under way are fetched again.
fn copy_payloads(from: &Path, to: &Path) -> io::Result<()> {
    for side in ["in", "out"] {
        let Some(entries) = gone_is_none(fs::read_dir(from.join(side)))? else { continue };
        DirBuilder::new().recursive(true).mode(0o700).create(to.join(side))?;
        for entry in entries {
            let entry = entry?;
            let target = to.join(side).join(entry.file_name());
            if entry.path().extension().is_none() && !target.exists() {
                gone_is_none(copy_private(&entry.path(), &target))?;
            }
        }
    }
    Ok(())
}

/// Copies a file, readable by its owner alone, to the device.
pub(crate) fn copy_private(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = fs::File::open(from)?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut source, &mut target)?;
    target.sync_all()
}

/// What was deleted meanwhile is not missed.
fn gone_is_none<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_somebody_else_made_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("deep/backup");
        make_new(&to).unwrap();
        assert!(matches!(make_new(&to), Err(Error::Store(StoreError::Exists(path))) if path == to));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert!(matches!(make_new(&link), Err(Error::Store(StoreError::Exists(path))) if path == link));
    }
}
