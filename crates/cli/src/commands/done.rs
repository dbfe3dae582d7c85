//! `nuncio done`

use clap::Args;

use crate::cli::Options;
use crate::failure::Failure;

/// Removes letters from the inbox, for good: what they held can be read no more once the epoch has turned.
#[derive(Args)]
#[command(after_help = "Example:\n  nuncio done 0 1 2")]
pub(crate) struct Done {
    /// The letters' numbers, as `nuncio inbox` shows them
    #[arg(value_name = "NO", required = true)]
    numbers: Vec<u64>,
}

impl Done {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        options
            .with(async |api| {
                // One that is not there keeps none of the others.
                let mut failed = Ok(());
                for no in &self.numbers {
                    let done = api.tell(&format!("/v1/inbox/{no}/done")).await;
                    failed = failed.and(done);
                }
                failed
            })
            .await
    }
}
