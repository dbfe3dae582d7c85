//! Channels through many runs: one membership, every letter due heard once, in its order, by members alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use nuncio_sim::net::Weather;
use nuncio_sim::plan::{Company, Faults, Plan, Tokens};
use nuncio_sim::trace::Trace;
use nuncio_sim::world::{self, Report};

#[track_caller]
fn run(plan: &Plan) -> Report {
    world::run(plan, &mut Trace::off()).unwrap_or_else(|violation| panic!("{violation}: {plan:?}"))
}

#[test]
fn thirty_channels_lose_and_double_nothing() {
    let (mut crashes, mut entries, mut due) = (0, 0, 0);
    for seed in 20..50 {
        let report = world::run(&Plan::of_channel(seed, 60), &mut Trace::off()).unwrap_or_else(|violation| {
            panic!(
                "seed {seed}: {violation}\n  cargo run --release -p nuncio-sim --example campaign -- --channels --seeds {seed}..{} --letters 60 --trace",
                seed + 1
            )
        });
        crashes += report.crashes;
        entries += report.entries;
        due += report.due;
    }
    assert!(crashes > 5 && entries > 200 && due > 4_000, "{crashes} crashes, {entries} entries, {due} letters due");
}

#[test]
fn a_channel_is_a_function_of_its_plan() {
    let plan = Plan::of_channel(5, 20);
    let (mut one, mut two) = (Trace::on(), Trace::on());
    assert_eq!(world::run(&plan, &mut one), world::run(&plan, &mut two));
    assert_eq!(one.lines(), two.lines());
    assert!(one.lines().len() > 100);
}

#[test]
fn in_calm_weather_every_member_hears_everything() {
    for members in [3, 8, 9, 32] {
        let weather = Weather { delay_ms: 20, ..Weather::default() };
        let company = Company { members, change: 0, answer: 300, away: 0, split: 0, long: false };
        let (faults, tokens, company) = (Faults::default(), Tokens::default(), Some(company));
        let plan =
            Plan { seed: 1, agents: members, letters: 10, gap_ms: 5_000, burst: 1, weather, faults, tokens, company };
        let report = run(&plan);
        assert_eq!((report.failed, report.crashes), (0, 0));
        assert_eq!(report.arrived, report.due, "{report:?}");
        assert!(report.entries >= 3, "{report:?}");
    }
}

/// Letters hours apart, and members that are away for days: each has many chains of the others at once when it is back.
#[test]
fn who_is_away_for_days_catches_up() {
    let mut chains = 0;
    for seed in 0..4 {
        let weather = Weather { delay_ms: 20, loss: 50, ..Weather::default() };
        let company = Company { members: 10, change: 200, answer: 300, away: 150, split: 0, long: true };
        let (faults, tokens, company) = (Faults { crash: 50, ..Faults::default() }, Tokens::default(), Some(company));
        let plan =
            Plan { seed, agents: 11, letters: 60, gap_ms: 3_600_000, burst: 1, weather, faults, tokens, company };
        chains = chains.max(run(&plan).chains);
    }
    assert!(chains > 8, "{chains} chains at the most");
}
