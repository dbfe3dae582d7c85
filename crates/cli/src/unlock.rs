//! What opens a home: a key file, or a passphrase that comes from a prompt or a file descriptor. Never from the command line or the
//! environment, which other programs can read.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use nuncio::Unlock;
use nuncio_store::Kek;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Longest passphrase that is read.
const PASSPHRASE_LEN_MAX: u64 = 1_024;

/// How the home is unlocked; without any of these by the key file in it.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct UnlockArgs {
    /// Ask for a passphrase
    #[arg(long, global = true, help_heading = "Unlocking the home")]
    pub(crate) passphrase: bool,
    /// Read the passphrase from an open file descriptor, up to its end
    #[arg(long, global = true, value_name = "N", help_heading = "Unlocking the home")]
    pub(crate) passphrase_fd: Option<u32>,
    /// Key file in another place than the home (32 bytes, mode 0600)
    #[arg(long, global = true, value_name = "PATH", help_heading = "Unlocking the home")]
    pub(crate) key_file: Option<PathBuf>,
}

impl UnlockArgs {
    /// One way at most. (A group of clap's does not hold for global options.)
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let given = [self.passphrase, self.passphrase_fd.is_some(), self.key_file.is_some()];
        if given.into_iter().filter(|given| *given).count() > 1 {
            return Err(Failure::usage(
                "a home is unlocked in one way",
                "give one of --passphrase, --passphrase-fd and --key-file",
            ));
        }
        Ok(())
    }

    /// For a home that is there.
    pub(crate) fn open(&self) -> Result<Unlock, Failure> {
        self.take(|| prompt("Passphrase: "))
    }

    /// For a home that is made: a passphrase at a prompt is asked for twice.
    pub(crate) fn make(&self) -> Result<Unlock, Failure> {
        self.take(|| prompt_new("New passphrase: "))
    }

    fn take(&self, ask: impl FnOnce() -> Result<Zeroizing<String>, Failure>) -> Result<Unlock, Failure> {
        if self.passphrase {
            return ask().map(Unlock::Passphrase);
        }
        if let Some(fd) = self.passphrase_fd {
            return read_fd(fd).map(Unlock::Passphrase);
        }
        Ok(self.key_file.clone().map_or(Unlock::KeyFile, Unlock::KeyFileAt))
    }

    /// The key for a store that is made, its key file too. The home is there.
    pub(crate) fn new_kek(&self, home: &Path) -> Result<Kek, Failure> {
        let at = |path: &Path| if path.exists() { Kek::read_key_file(path) } else { Kek::create_key_file(path) };
        Ok(match self.make()? {
            Unlock::KeyFileAt(path) => at(&path)?,
            Unlock::Passphrase(passphrase) => kek_of(&passphrase),
            _ => at(&home.join("key"))?,
        })
    }

    /// The key for the store itself, for commands that work without an agent.
    pub(crate) fn kek(&self, home: &Path) -> Result<Kek, Failure> {
        Ok(match self.open()? {
            Unlock::KeyFileAt(path) => Kek::read_key_file(&path)?,
            Unlock::Passphrase(passphrase) => kek_of(&passphrase),
            _ => Kek::read_key_file(&home.join("key"))?,
        })
    }
}

/// A passphrase as key of a store.
pub(crate) fn kek_of(passphrase: &str) -> Kek {
    Kek::passphrase(Zeroizing::new(passphrase.as_bytes().to_vec()))
}

/// Asks twice.
pub(crate) fn prompt_new(question: &str) -> Result<Zeroizing<String>, Failure> {
    let first = prompt(question)?;
    let second = prompt("Once more: ")?;
    if *first != *second {
        return Err(Failure::usage("the two passphrases differ", "nothing was made; try again"));
    }
    Ok(first)
}

fn prompt(question: &str) -> Result<Zeroizing<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask for a passphrase at", "use --passphrase-fd N"));
    }
    let passphrase =
        rpassword::prompt_password(question).map(Zeroizing::new).map_err(Failure::io("ask at", "the terminal"))?;
    not_empty(passphrase)
}

/// Reads a passphrase from a descriptor that whoever started us has opened; one line end at its end is not part of it.
pub(crate) fn read_fd(fd: u32) -> Result<Zeroizing<String>, Failure> {
    let path = PathBuf::from(format!("/dev/fd/{fd}"));
    let mut text = Zeroizing::new(String::new());
    let file = File::open(&path).map_err(|_| {
        let hint = "have the shell open it: nuncio … --passphrase-fd 3 3<file";
        Failure::usage(format!("nothing is open at file descriptor {fd}"), hint)
    })?;
    file.take(PASSPHRASE_LEN_MAX).read_to_string(&mut text).map_err(Failure::io("read a passphrase from", &path))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    not_empty(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

fn not_empty(passphrase: Zeroizing<String>) -> Result<Zeroizing<String>, Failure> {
    if passphrase.is_empty() {
        return Err(Failure::usage(
            "the passphrase is empty",
            "a few words that nobody guesses, or no flag at all for a key file",
        ));
    }
    Ok(passphrase)
}
