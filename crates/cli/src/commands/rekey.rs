//! `nuncio rekey`

use std::path::{Path, PathBuf};

use clap::Args;
use nuncio_store::{Kek, Store};

use crate::cli::Options;
use crate::failure::Failure;
use crate::unlock::{kek_of, prompt_new, read_fd};
use crate::{output, unlock};

/// Changes what opens the home: a new passphrase or key file takes the place of the old one, or stands beside it. Without --keep-old every record is sealed anew.
///
/// The agent has to be stopped for it. Backups made before open with what opened the home then.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio rekey --new-passphrase                       from the key file to a passphrase\n  nuncio rekey --passphrase --new-key-file ~/n.key    and back\n  nuncio rekey --new-passphrase --keep-old            either opens it"
)]
pub(crate) struct Rekey {
    #[command(flatten)]
    new: New,
    /// Leave the old passphrase or key file valid too
    #[arg(long)]
    keep_old: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct New {
    /// Ask for the new passphrase, twice
    #[arg(long)]
    new_passphrase: bool,
    /// Read the new passphrase from an open file descriptor, up to its end
    #[arg(long, value_name = "N")]
    new_passphrase_fd: Option<u32>,
    /// The new key file; made with mode 0600 if it is not there
    #[arg(long, value_name = "PATH")]
    new_key_file: Option<PathBuf>,
}

impl Rekey {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let home = options.home()?;
        let old = options.unlock.kek(&home)?;
        // Opened before the new key is asked for or made: a home that cannot be opened gets none.
        let store = Store::open(&home, &old)?;
        store.rekey(&self.new.kek()?, !self.keep_old)?;
        if !self.keep_old {
            // Whoever has the old key and a copy of `keys` has the epoch's key; what is written from here on is under another.
            store.turn_epoch()?;
        }
        output::note(if self.keep_old { "both open the home now" } else { "the new one alone opens the home now" });
        if !self.keep_old && is_key_file(&options.unlock, &home) {
            output::note("the old key file opens nothing any more but backups: delete it with the last of them");
        }
        Ok(())
    }
}

impl New {
    fn kek(&self) -> Result<Kek, Failure> {
        if let Some(fd) = self.new_passphrase_fd {
            return read_fd(fd).map(|passphrase| kek_of(&passphrase));
        }
        match &self.new_key_file {
            Some(path) if path.exists() => Ok(Kek::read_key_file(path)?),
            Some(path) => Ok(Kek::create_key_file(path)?),
            None => prompt_new("New passphrase: ").map(|passphrase| kek_of(&passphrase)),
        }
    }
}

fn is_key_file(unlock: &unlock::UnlockArgs, home: &Path) -> bool {
    !unlock.passphrase
        && unlock.passphrase_fd.is_none()
        && unlock.key_file.clone().unwrap_or_else(|| home.join("key")).exists()
}
