//! `nuncio begin`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::Options;
use crate::failure::Failure;
use crate::output;
use crate::wire::{NewTransaction, SubjectType, Transaction};

/// What to write where something is missing.
const EXAMPLE: &str = "nuncio begin --principal user:anna --scope travel.book; or, for a token in a file, --subject FILE in place of --principal";

/// Longest token that is read.
const TOKEN_LEN_MAX: u64 = 16 << 10;

/// Begins a transaction: prints its token, under which letters are sent while it lives. It is of use to this agent alone.
#[derive(Args)]
#[command(
    override_usage = "nuncio begin [OPTIONS] --scope <SCOPE> <--principal <NAME>|--subject <FILE>>",
    after_help = "Examples:\n  nuncio begin --principal user:anna --scope 'travel.book travel.pay' > trip.token\n  nuncio begin --subject login.jwt --subject-type access_token --scope travel.book --details '{\"trip\":\"4711\"}'\n  nuncio send planner --text 'to Rome' --under trip.token\n\nThe home's nuncio.toml names the trust domain and the node of its token service."
)]
pub(crate) struct Begin {
    /// This agent's own word for whom it acts
    #[arg(long, value_name = "NAME", conflicts_with_all = ["subject", "subject_type"])]
    principal: Option<String>,
    /// A file with the token that says for whom; `-` is standard input
    #[arg(long, value_name = "FILE")]
    subject: Option<PathBuf>,
    /// What that token is
    #[arg(long, value_name = "TYPE", default_value = "access_token")]
    subject_type: SubjectType,
    /// What the transaction may do: a list of scopes with one space between two
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// A JSON object that stays as it is through the whole transaction
    #[arg(long, value_name = "JSON", value_parser = object)]
    details: Option<serde_json::Value>,
}

impl Begin {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let new = self.read()?;
        let begun: Transaction = options.with(async |api| api.post("/v1/transactions", &new).await).await?;
        if options.json {
            return output::json(&begun);
        }
        output::line(&begun.token)?;
        output::note(format_args!(
            "transaction {} for {}: {}; letters can be sent under it until {} at least, longer while the agent renews it",
            begun.transaction,
            output::harmless_line(&begun.principal),
            output::harmless_line(&begun.scope),
            output::time(begun.expires_ms)
        ));
        Ok(())
    }

    /// The transaction as the API takes it.
    fn read(&self) -> Result<NewTransaction, Failure> {
        let (subject_type, subject, scope) = match (&self.principal, &self.subject, self.scope.clone()) {
            (None, None, _) => {
                return Err(Failure::usage("it is not said for whom: --principal or --subject", EXAMPLE));
            }
            (_, _, None) => return Err(Failure::usage("it is not said what it may do: --scope", EXAMPLE)),
            (Some(principal), ..) if principal.trim().is_empty() => {
                return Err(Failure::usage("the principal is empty: --principal says for whom", EXAMPLE));
            }
            (Some(principal), _, Some(scope)) => (SubjectType::SelfSigned, principal.clone(), scope),
            (None, Some(path), Some(scope)) => (self.subject_type, read_token(path)?, scope),
        };
        Ok(NewTransaction { subject_type, subject, scope, details: self.details.clone() })
    }
}

/// A token from a file, never from the command line, which others can see.
pub(crate) fn read_token(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(TOKEN_LEN_MAX).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(TOKEN_LEN_MAX).read_to_end(&mut bytes))
    };
    read.map_err(Failure::io("read", path))?;
    // What is no text is no token: whoever looks at it says so.
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn object(text: &str) -> Result<serde_json::Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ serde_json::Value::Object(_)) => Ok(value),
        Ok(_) => Err("details are one JSON object, such as {\"trip\":\"4711\"}".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
