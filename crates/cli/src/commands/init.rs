//! `nuncio init`

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use clap::Args;
use nuncio::{AgentId, Config, Error, Invitation, Unlock};
use serde::Serialize;

use crate::cli::Options;
use crate::failure::Failure;
use crate::output;
use crate::settings::{self, New, WithoutToken};

/// Name of the file with the statement that retires the identity.
pub(crate) const RETIREMENT: &str = "retirement";

/// Makes an identity and seals its home: with a key file in it (mode 0600), or with what the unlocking options say.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio init                        a key file in the home opens it\n  nuncio --home a init --passphrase  a passphrase opens it, asked for twice\n  nuncio init --key-file /mnt/stick/nuncio.key\n  nuncio init --letters-without-token deliver            no trust domain: whoever was added may write"
)]
pub(crate) struct Init {
    /// Letters that carry no transaction token
    #[arg(long, value_name = "WHAT", default_value = "refuse")]
    letters_without_token: WithoutToken,
    /// The trust domain whose tokens are taken and asked for
    #[arg(long, value_name = "NAME", requires = "node")]
    trust_domain: Option<String>,
    /// The node of its token service, as `nuncio node` prints it
    #[arg(long, value_name = "INVITATION", requires = "trust_domain")]
    node: Option<Invitation>,
}

#[derive(Serialize)]
struct Made<'a> {
    agent: String,
    home: &'a Path,
    retirement: &'a Path,
}

impl Init {
    pub(crate) fn run(&self, options: &Options) -> Result<(), Failure> {
        let home = options.home()?;
        // Looked at first, so that nobody types a new passphrase for nothing; the store refuses by itself too.
        if home.join("keys").exists() {
            return Err(Failure::Store(nuncio_store::StoreError::Exists(home)));
        }
        if self.node.as_ref().is_some_and(|node| node.endpoints.is_empty()) {
            let hint = "give the line that `nuncio node run --quic …` prints, with ?at=HOST:PORT";
            return Err(Failure::usage("the node's line has no address, so it could not be asked for anything", hint));
        }
        if self.trust_domain.as_deref().is_some_and(|domain| !nuncio_node::is_domain(domain)) {
            let hint = "give the name that its node was made with (nuncio node init --domain)";
            return Err(Failure::usage("that is no name of a trust domain: no space, no quote", hint));
        }
        let unlock = options.unlock.make()?;
        let settings = New {
            letters_without_token: self.letters_without_token,
            trust: self.trust_domain.as_deref().zip(self.node.as_ref()),
        };
        let (retirement, file) = (home.join(RETIREMENT), home.join(settings::FILE));
        let agent = nuncio::init_with(&Config::new(&home).unlock(unlock.clone()), |statement| {
            let write = |path: &Path, bytes| {
                write_private(path, bytes).map_err(|source| Error::File { path: path.to_owned(), source })
            };
            write(&retirement, statement)?;
            write(&file, settings.text().as_bytes())
        })?;
        if options.json {
            return output::json(&Made { agent: agent.to_string(), home: &home, retirement: &retirement });
        }
        tell(agent, &home, &unlock, &retirement, self.letters_without_token)
    }
}

fn tell(agent: AgentId, home: &Path, unlock: &Unlock, retirement: &Path, without: WithoutToken) -> Result<(), Failure> {
    output::line(agent)?;
    output::note(format_args!("made the home {}", home.display()));
    output::note(match unlock {
        Unlock::KeyFile => {
            format!("its key file {} opens it: without that file nobody can", home.join("key").display())
        }
        Unlock::KeyFileAt(path) => format!("the key file {} opens it: without that file nobody can", path.display()),
        _ => "the passphrase opens it: nobody can recover it".to_owned(),
    });
    output::note(format_args!(
        "move {} to a place that is offline: it ends this identity when it is lost or stolen",
        retirement.display()
    ));
    if without == WithoutToken::Refuse {
        output::note(format_args!(
            "letters without a transaction token are refused until {} says otherwise (--letters-without-token deliver)",
            home.join(settings::FILE).display()
        ));
    }
    output::note(format_args!(
        "next: nuncio --home {} agent --listen 0.0.0.0:4433 --advertise HOST:4433",
        home.display()
    ));
    Ok(())
}

/// What lies there, of an `init` that was cut short or of whatever else, is set aside.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if path.exists() {
        let mut aside = path.with_extension("former");
        while aside.exists() {
            aside.as_mut_os_string().push("-1");
        }
        fs::rename(path, aside)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), |home| fs::File::open(home).and_then(|home| home.sync_all()))
}
