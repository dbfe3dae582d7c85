//! kill -9 at random moments, through every layer. `NUNCIO_KILLS` makes it longer; `cargo xtask kills` is the campaign.

use nuncio_cli::kills::{Plan, run};
use nuncio_cli::process::Program;

use crate::support::binary;

#[tokio::test(flavor = "multi_thread")]
async fn no_letter_is_lost_or_doubled_by_kills_at_random_moments() {
    let kills = std::env::var("NUNCIO_KILLS").map_or(20, |text| text.parse().expect("NUNCIO_KILLS is a number"));
    let dir = tempfile::tempdir().unwrap();
    let tally = run(&Program::new(binary(), &[]), dir.path(), Plan { kills, seed: 0x6e75_6e63_696f, killed: |_| {} })
        .await
        .unwrap();
    println!("{tally}");
    assert!(tally.is_clean(), "{tally}");
    assert_eq!(tally.kills, kills);
    assert!(tally.accepted > u64::from(kills) && tally.arrived >= tally.accepted, "{tally}");
    assert!(tally.seals >= 2 * tally.arrived, "a header and a body for each letter are written down: {tally}");
}
