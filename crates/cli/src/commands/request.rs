//! `nuncio request`

use std::time::Duration;

use clap::Args;

use super::inbox;
use super::send::LetterArgs;
use crate::cli::Options;
use crate::failure::Failure;
use crate::wire::InboxLetter;
use crate::{output, span};

/// Sends a letter, waits for the one that answers it, and prints that.
#[derive(Args)]
#[command(
    override_usage = "nuncio request [OPTIONS] <PEER> <FILE|-|--text <TEXT>>",
    after_help = "Examples:\n  nuncio request anna --text 'what time is it?'\n  nuncio request anna question.json --type application/json --timeout 2m --json\n\nThe other side answers with: nuncio send NAME --reply-to ID --text '…'"
)]
pub(crate) struct Request {
    #[command(flatten)]
    letter: LetterArgs,
    /// How long to wait for the answer, at most 10m
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span::up_to_ten_minutes)]
    timeout: Duration,
}

impl Request {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let (letter, _) = self.letter.read()?;
        let path = format!("/v1/requests?timeout_ms={}", span::ms(self.timeout));
        let answer = options.with(async |api| api.post::<InboxLetter>(&path, &letter).await).await?;
        if options.json {
            return output::json(&answer);
        }
        inbox::content(&answer)
    }
}
