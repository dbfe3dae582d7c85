//! `nuncio restore`

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use nuncio_store::{Engine as _, Op, Store, StoreError};

use super::backup::copy_private;
use crate::cli::Options;
use crate::failure::Failure;
use crate::output;

/// The file that makes a directory a home.
const KEYS: &str = "keys";

/// Makes a home from a backup, into a place where none is.
#[derive(Args)]
#[command(
    after_help = "Example:\n  nuncio --home new restore /mnt/backup/nuncio-monday --key-file saved.key\n\nWhat a restored copy means:\n  - It is the same identity. Never run two copies: peers take turns ending each other's sessions.\n  - It has forgotten what happened since the backup. Its peers notice, end the old sessions and begin new\n    ones; nothing is decrypted with keys that were used before, and no letter is lost silently.\n  - Letters that it had sent and not seen acknowledged are sent again; peers drop what they have already.\n  - Letters that were removed from the inbox since the backup are there again."
)]
pub(crate) struct Restore {
    /// The directory that `nuncio backup` made
    from: PathBuf,
}

impl Restore {
    pub(crate) fn run(&self, options: &Options) -> Result<(), Failure> {
        let home = options.home()?;
        if !self.from.join(KEYS).exists() {
            return Err(Failure::usage(
                format!("{} is no backup", self.from.display()),
                "give the directory that `nuncio backup` made",
            ));
        }
        let unlock = &options.unlock;
        if !unlock.passphrase && unlock.passphrase_fd.is_none() && unlock.key_file.is_none() {
            let hint = "a backup opens with what opened its home: --key-file PATH (the home's file `key`), --passphrase or --passphrase-fd N";
            return Err(Failure::usage("there is no key file in a backup", hint));
        }
        if home.exists() && fs::read_dir(&home).map_err(Failure::io("read", &home))?.next().is_some() {
            return Err(StoreError::Exists(home).into());
        }
        let kek = unlock.kek(&home)?;
        copy_home(&self.from, &home).map_err(Failure::io("copy into", &home))?;
        // Of a copy nobody knows which events came after it: the agent begins to count anew (contracts/audit.md section 3).
        let forget = [Op::Delete { key: vec![nuncio_proto::rows::CHAIN] }];
        let checked = Store::open(&home, &kek).and_then(|store| {
            let checkup = store.check()?;
            store.commit(&forget)?;
            Ok(checkup)
        });
        let bad = match checked {
            Ok(checkup) => checkup.first_bad,
            Err(error) => Some(error),
        };
        if let Some(error) = bad {
            // A home that does not open is worse than none. The backup is as it was.
            fs::remove_dir_all(&home).map_err(Failure::io("remove", &home))?;
            return Err(error.into());
        }
        if options.json {
            return output::json(&serde_json::json!({ "home": home }));
        }
        output::line(home.display())?;
        output::note(
            "every record opened. Never run the old home again: both are one identity (nuncio restore --help)",
        );
        if let Some(path) = &unlock.key_file {
            let key = home.join("key");
            output::note(format_args!(
                "give --key-file {} each time, or copy it to {} (mode 0600)",
                path.display(),
                key.display()
            ));
        }
        Ok(())
    }
}

/// Copies a backup into a home. Its keys come last and at once: until then there is no home that opens, and no part of one.
fn copy_home(from: &Path, home: &Path) -> io::Result<()> {
    copy_dir(from, home, Some(KEYS))?;
    let unfinished = home.join("keys.new");
    copy_private(&from.join(KEYS), &unfinished)?;
    fs::rename(&unfinished, home.join(KEYS))?;
    File::open(home)?.sync_all()
}

/// Copies a directory, for its owner alone, to the device.
fn copy_dir(from: &Path, to: &Path, leave_out: Option<&str>) -> io::Result<()> {
    if !to.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if leave_out.is_some_and(|name| entry.file_name() == name) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_dir(&source, &target, None)?;
        } else {
            copy_private(&source, &target)?;
        }
    }
    File::open(to)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_cut_short_is_no_home() {
        let dir = tempfile::tempdir().unwrap();
        let (from, home) = (dir.path().join("backup"), dir.path().join("home"));
        fs::create_dir_all(from.join("large/in")).unwrap();
        fs::write(from.join(KEYS), "keys").unwrap();
        // It cannot be copied.
        std::os::unix::fs::symlink(dir.path().join("nowhere"), from.join("large/in/payload")).unwrap();
        copy_home(&from, &home).unwrap_err();
        assert!(home.join("large/in").is_dir() && !home.join(KEYS).exists());
        fs::remove_file(from.join("large/in/payload")).unwrap();
        fs::remove_dir_all(&home).unwrap();
        copy_home(&from, &home).unwrap();
        assert_eq!(fs::read(home.join(KEYS)).unwrap(), b"keys");
    }
}
