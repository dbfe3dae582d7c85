//! `nuncio sessions`

use clap::Args;

use crate::cli::Options;
use crate::failure::Failure;
use crate::output;
use crate::wire::Sessions as List;

/// Lists the ratchet sessions. One of each peer is current: letters are sealed in it.
#[derive(Args)]
pub(crate) struct Sessions {}

impl Sessions {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let list = options.with(async |api| api.get::<List>("/v1/sessions").await).await?;
        if options.json {
            return output::json(&list);
        }
        let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
        let rows: Vec<Vec<String>> = list
            .sessions
            .into_iter()
            .map(|session| {
                let short = session.id.chars().take(16).collect();
                vec![
                    short,
                    session.with,
                    yes(session.current),
                    yes(session.confirmed),
                    session.sealed.to_string(),
                    session.received.to_string(),
                    session.under_way.to_string(),
                    session.gap.map_or_else(
                        || "-".to_owned(),
                        |gap| format!("{} since {}", gap.seq, output::time(gap.since_ms)),
                    ),
                ]
            })
            .collect();
        output::table(&["SESSION", "WITH", "CURRENT", "CONFIRMED", "SEALED", "RECEIVED", "UNDER WAY", "MISSING"], &rows)
    }
}
