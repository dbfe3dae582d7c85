//! `nuncio node init`

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use clap::Args;
use serde::Serialize;

use crate::cli::Options;
use crate::failure::Failure;
use crate::output;

/// Name of the policy file in the home.
pub(super) const POLICY: &str = "policy.toml";

/// Makes a node's identity and seals its home: with a key file in it (mode 0600), or with what the unlocking options say.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio node init --domain acme.example --issuer https://txts.acme.example\n  nuncio --home n node init --domain acme.example --issuer http://127.0.0.1:7430 --passphrase"
)]
pub(crate) struct Init {
    /// Its trust domain; the policy that is written for it allows nothing yet
    #[arg(long, value_name = "NAME")]
    domain: String,
    /// Where its endpoints are: a URL without a path
    #[arg(long, value_name = "URL")]
    issuer: String,
}

#[derive(Serialize)]
struct Made<'a> {
    node: String,
    home: &'a Path,
}

impl Init {
    pub(crate) fn run(self, options: &Options) -> Result<(), Failure> {
        let home = options.node_home()?;
        // Looked at first, so that nobody types a new passphrase for nothing; the store refuses by itself too.
        if home.join("keys").exists() {
            return Err(Failure::Store(nuncio_store::StoreError::Exists(home)));
        }
        // A policy is somebody's work: one that is there is left, and no home made that has another.
        let policy = home.join(POLICY);
        if policy.exists() {
            return Err(Failure::io("make", &policy)(std::io::ErrorKind::AlreadyExists.into()));
        }
        let text = policy_text(&self.domain, &self.issuer);
        nuncio_node::check_text(&text, &home).map_err(|why| {
            let hint = "such as --domain acme.example --issuer https://txts.acme.example (http on loopback alone)";
            Failure::usage(format!("a node with this --domain and --issuer could not run: {why}"), hint)
        })?;
        DirBuilder::new().recursive(true).mode(0o700).create(&home).map_err(Failure::io("make", &home))?;
        let node = nuncio_node::init(&home, &options.unlock.new_kek(&home)?)?;
        write_policy(&policy, &text).map_err(Failure::io("write", &policy))?;
        if options.json {
            return output::json(&Made { node: node.to_string(), home: &home });
        }
        output::line(node)?;
        output::note(format_args!("made the home {}", home.display()));
        output::note(format_args!("next: say in {} who may do what, then nuncio node run", policy.display()));
        Ok(())
    }
}

fn policy_text(domain: &str, issuer: &str) -> String {
    // Strings of TOML are written as those of JSON.
    let text = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "schema = \"nuncio/policy/1\"\n\n[service]\ntrust_domain = {}\nissuer = {}\ntransaction_life_s = 3600\n",
        text(domain),
        text(issuer)
    )
}

fn write_policy(path: &Path, policy: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(policy.as_bytes())?;
    file.sync_all()
}
