//! `nuncio done`

use clap::Args;

use crate::cli::Options;
use crate::failure::Failure;
use crate::output;

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
                let (mut failed, mut removed) = (Ok(()), 0);
                for no in &self.numbers {
                    let done = api.tell(&format!("/v1/inbox/{no}/done")).await;
                    removed += u32::from(done.is_ok());
                    failed = failed.and(done);
                }
                if failed.is_err() && removed > 0 {
                    output::note(format_args!("{removed} of {} were removed", self.numbers.len()));
                }
                failed
            })
            .await
    }
}
