//! `nuncio node page`

use clap::Args;
use nuncio_node::OWNER_SOCKET;
use serde::{Deserialize, Serialize};

use super::made_home;
use crate::cli::Options;
use crate::client::Api;
use crate::failure::Failure;
use crate::output;

/// Prints a link that shows the running node in a browser: transactions, agents, denials, the audit log, keys, health.
///
/// The link signs one browser in, once, within ten minutes; whoever has it reads the log, so hand it to nobody. The browser stays signed in for twelve hours, or
/// until it signs out or the node stops. The page loads nothing from anywhere else, and changes nothing.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio node page\n  nuncio --home n node page\n  ssh -L 7430:127.0.0.1:7430 node.acme.example nuncio node page    from another machine: the page is on loopback"
)]
pub(crate) struct Page {}

/// What the node answers.
#[derive(Serialize, Deserialize)]
struct Link {
    link: String,
    life_s: u64,
}

impl Page {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Failure> {
        let answer: Link = Api::of_node(made_home(options)?.join(OWNER_SOCKET)).post("/owner/page", &()).await?;
        if options.json {
            return output::json(&answer);
        }
        output::line(&answer.link)?;
        output::note(format_args!("open it within {} minutes, in one browser: it serves once", answer.life_s / 60));
        Ok(())
    }
}
