//! `nuncio node keys`

use clap::{Args, Subcommand};
use nuncio_node::{OWNER_SOCKET, Rotated};
use tokio::net::UnixStream;

use super::made_home;
use crate::cli::Options;
use crate::client::Api;
use crate::failure::Failure;
use crate::output;

/// The keys that sign tokens.
#[derive(Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The next key signs from now on, and a new one is the next; those before are known until their tokens have expired
    Rotate {
        /// Although the next key has not been published long enough: agents that have not asked since wait for it
        #[arg(long)]
        force: bool,
    },
}

impl Keys {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Failure> {
        let Command::Rotate { force } = self.command;
        let home = made_home(options)?;
        let socket = home.join(OWNER_SOCKET);
        let rotated: Rotated = if UnixStream::connect(&socket).await.is_ok() {
            Api::of_node(socket).post(&format!("/owner/keys/rotate?force={force}"), &()).await?
        } else {
            nuncio_node::rotate(&home, &options.unlock.kek(&home)?, force)?
        };
        if options.json {
            return output::json(&rotated);
        }
        output::line(format_args!("signs {}", rotated.signs))?;
        output::line(format_args!("next  {}", rotated.next))
    }
}
