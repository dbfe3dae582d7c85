//! Many runs, a few seconds each: whatever a seed brings, no promise is broken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use nuncio_sim::net::Weather;
use nuncio_sim::plan::{Faults, Plan, Tokens};
use nuncio_sim::trace::Trace;
use nuncio_sim::world::{self, Report};
use proptest::prelude::*;

#[track_caller]
fn run(plan: &Plan) -> Report {
    world::run(plan, &mut Trace::off()).unwrap_or_else(|violation| panic!("{violation}: {plan:?}"))
}

#[test]
fn three_hundred_seeds_break_no_promise() {
    let mut crashes = 0;
    for seed in 0..300 {
        let report = world::run(&Plan::of_seed(seed, 200), &mut Trace::off()).unwrap_or_else(|violation| {
            panic!(
                "seed {seed}: {violation}\n  cargo run --release -p nuncio-sim --example campaign -- --seeds {seed}..{} --letters 200 --trace",
                seed + 1
            )
        });
        crashes += report.crashes;
    }
    assert!(crashes > 300, "crashes are part of it: {crashes}");
}

#[test]
fn a_run_is_a_function_of_its_plan() {
    let plan = Plan::of_seed(11, 100);
    let (mut one, mut two) = (Trace::on(), Trace::on());
    assert_eq!(world::run(&plan, &mut one), world::run(&plan, &mut two));
    assert_eq!(one.lines(), two.lines());
    assert!(one.lines().len() > 100);
}

#[test]
fn in_calm_weather_nothing_fails_and_nobody_begins_twice() {
    for seed in 0..10 {
        let report = run(&Plan::calm(seed, 2, 100));
        assert_eq!((report.failed, report.crashes), (0, 0));
        assert_eq!(report.arrived, report.written);
        // One start, or two at the same time, each counted by both ends; one re-key on the last day.
        assert!(report.handshakes <= 6, "{report:?}");
    }
}

#[test]
fn loss_alone_replaces_no_session() {
    for seed in 0..10 {
        let weather = Weather { loss: 300, duplicate: 200, reorder: 200, ghost: 0, delay_ms: 300 };
        let report = run(&Plan { weather, ..Plan::calm(seed, 2, 200) });
        assert_eq!(report.arrived, report.written);
        assert!(report.handshakes <= 8, "{report:?}");
    }
}

#[test]
fn six_agents_start_at_once_and_talk_all_to_all() {
    for seed in 0..5 {
        let weather = Weather { loss: 200, duplicate: 100, reorder: 300, ghost: 0, delay_ms: 500 };
        let report = run(&Plan { weather, gap_ms: 1, burst: 1, ..Plan::calm(seed, 6, 300) });
        assert_eq!(report.arrived, report.written);
    }
}

#[test]
fn one_side_stops_again_and_again() {
    for seed in 0..5 {
        let weather = Weather { loss: 200, duplicate: 100, reorder: 100, ghost: 0, delay_ms: 50 };
        let faults = Faults { crash: 500, only_first: true, ..Faults::default() };
        let report = run(&Plan { weather, faults, gap_ms: 2_000, ..Plan::calm(seed, 2, 1_000) });
        assert!(report.crashes > 20, "{report:?}");
        assert_eq!((report.failed, report.arrived), (0, report.written));
    }
}

#[test]
fn a_flood_out_of_order_is_put_in_order() {
    for seed in 0..3 {
        let weather = Weather { loss: 100, duplicate: 500, reorder: 500, ghost: 100, delay_ms: 6_000 };
        let report = run(&Plan { weather, gap_ms: 1, burst: 300, ..Plan::calm(seed, 2, 600) });
        assert_eq!(report.arrived, report.written);
    }
}

#[test]
fn letters_beyond_the_window_wait_their_turn() {
    let weather = Weather { loss: 200, duplicate: 100, reorder: 100, ghost: 0, delay_ms: 200 };
    let report = run(&Plan { weather, gap_ms: 1, burst: 6_000, ..Plan::calm(1, 2, 3_000) });
    assert_eq!(report.arrived, report.written);
}

#[test]
fn a_window_full_of_expired_letters_is_crossed() {
    let weather = Weather { loss: 990, duplicate: 0, reorder: 0, ghost: 0, delay_ms: 20 };
    let faults = Faults { deadline: 990, silence: 30, cancel: 50, ..Faults::default() };
    for seed in 0..3 {
        let report = run(&Plan { weather, faults, gap_ms: 20, burst: 400, ..Plan::calm(seed, 2, 4_000) });
        assert!(report.failed > 1_000, "{report:?}");
    }
}

/// Every letter carries a token, most of them the same, and nothing goes wrong with the tokens themselves.
const SHARED: Tokens =
    Tokens { carry: 1_000, shared: 950, stolen: 0, wants: true, keyless: 0, revoke: 0, renew: 1_000, ahead: 0 };

#[test]
fn in_calm_weather_every_letter_arrives_with_its_token() {
    for seed in 0..10 {
        let report = run(&Plan { tokens: SHARED, ..Plan::calm(seed, 3, 200) });
        assert_eq!((report.failed, report.token_again, report.renewed), (0, 0, 0));
        assert_eq!((report.arrived, report.with_token), (report.written, report.written));
    }
}

#[test]
fn agents_that_forget_all_tokens_wait_for_each_others() {
    let weather = Weather { loss: 100, duplicate: 100, reorder: 100, ghost: 0, delay_ms: 300 };
    let faults = Faults { crash: 300, ..Faults::default() };
    let mut crashes = 0;
    for seed in 0..10 {
        let plan = Plan { weather, faults, gap_ms: 2_000, burst: 10, tokens: SHARED, ..Plan::calm(seed, 2, 400) };
        let report = run(&plan);
        crashes += report.crashes;
        // What was written in the moment of a stop was never accepted.
        assert_eq!(report.failed, 0, "{report:?}");
    }
    assert!(crashes > 100, "{crashes}");
}

#[test]
fn a_token_that_expires_under_way_is_renewed_and_no_letter_is_lost() {
    let weather = Weather { loss: 200, duplicate: 100, reorder: 100, ghost: 0, delay_ms: 3_000 };
    let faults = Faults { partition: 60, ..Faults::default() };
    let mut again = 0;
    for seed in 0..10 {
        let plan = Plan { weather, faults, gap_ms: 5_000, burst: 20, tokens: SHARED, ..Plan::calm(seed, 2, 400) };
        let report = run(&plan);
        again += report.token_again;
        assert!(report.failed * 20 < report.written, "{report:?}");
    }
    assert!(again > 50, "{again}");
}

#[test]
fn a_window_full_of_letters_waits_for_keys() {
    let weather = Weather { loss: 200, duplicate: 100, reorder: 100, ghost: 0, delay_ms: 200 };
    let faults = Faults { crash: 1, cancel: 5, ..Faults::default() };
    let tokens = Tokens { shared: 500, keyless: 20, revoke: 1, ahead: 5, renew: 900, ..SHARED };
    for seed in 0..2 {
        run(&Plan { weather, faults, gap_ms: 200, burst: 1_500, tokens, ..Plan::calm(seed, 2, 1_500) });
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let weather = (0_u32..400, 0_u32..300, 0_u32..300, 0_u32..30, 1_u64..3_000);
    let weather = weather.prop_map(|(loss, duplicate, reorder, ghost, delay_ms)| Weather {
        loss,
        duplicate,
        reorder,
        ghost,
        delay_ms,
    });
    let often = (0_u32..100, any::<bool>(), 0_u32..300, 0_u32..100, 0_u32..50, 0_u32..500);
    let rare = (0_u32..20, 0_u32..10, 0_u32..60, 0_u32..30, 0_u32..10, 0_u32..20);
    let faults = (often, rare).prop_map(|((crash, only_first, deadline, cancel, forge, done), rare)| {
        let (partition, clock_step, restore, lost_sessions, forget_contact, silence) = rare;
        Faults {
            crash,
            only_first,
            partition,
            clock_step,
            restore,
            lost_sessions,
            forget_contact,
            silence,
            deadline,
            cancel,
            forge,
            done,
        }
    });
    let tokens = (0_u32..1_001, 0_u32..1_001, 0_u32..50, any::<bool>(), 0_u32..60, 0_u32..40, 0_u32..1_001, 0_u32..200);
    let tokens = tokens.prop_map(|(carry, shared, stolen, wants, keyless, revoke, renew, ahead)| Tokens {
        carry,
        shared,
        stolen,
        wants,
        keyless,
        revoke,
        renew,
        ahead,
    });
    (any::<u64>(), 2_usize..5, 1_u64..80, 1_u64..3_000, 1_u64..40, weather, faults, tokens).prop_map(
        |(seed, agents, letters, gap_ms, burst, weather, faults, tokens)| Plan {
            seed,
            agents,
            letters,
            gap_ms,
            burst,
            weather,
            faults,
            tokens,
            company: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_breaks_no_promise(plan in plans()) {
        let result = world::run(&plan, &mut Trace::off());
        prop_assert!(result.is_ok(), "{}", result.unwrap_err());
    }
}
