//! The quick part of `cargo xtask chaos`: bad lines, a node that is killed, a clock that is put back, and two networks.

use nuncio_cli::chaos::conditions::named;
use nuncio_cli::chaos::{Outcome, Row, run};
use nuncio_cli::process::Program;

use crate::support::{binary, not_run};

/// Letters each way.
const LETTERS: u64 = 100;

/// The row of a condition, where this machine has it.
async fn met(name: &str) -> Option<Row> {
    let condition = named(name).unwrap_or_else(|| panic!("there is no condition {name}"));
    let dir = tempfile::tempdir().unwrap();
    match run(&Program::new(binary(), &[]), dir.path(), condition, LETTERS, 1).await.unwrap() {
        Outcome::Ran(row) => {
            eprintln!("{}\n{row}", Row::HEAD);
            assert!(row.is_clean(), "{row}");
            Some(row)
        }
        Outcome::NotRun(reason) => {
            not_run(&format!("chaos {name}"), &reason);
            None
        }
        other => panic!("{other:?}"),
    }
}

async fn all_come(name: &str) {
    if let Some(row) = met(name).await {
        assert_eq!((row.letters, row.delivered), (2 * LETTERS, 2 * LETTERS), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_come_once_and_in_order_over_lines_that_lose_delay_double_and_readdress() {
    tokio::join!(all_come("loss-20"), all_come("storm-rebinding"), all_come("partition-5s"));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_come_once_and_in_order_where_the_kernel_loses_and_an_address_changes() {
    all_come("kernel-loss-20").await;
    all_come("move-one").await;
}

/// What the writer is told while the node is away is no letter that was accepted.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_under_load_loses_and_doubles_no_letter() {
    if let Some(row) = met("node-killed-x3").await {
        assert!(row.delivered == row.letters && row.letters > LETTERS / 2, "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_somebody_puts_forward_or_back_loses_no_letter_untold() {
    let rows = tokio::join!(met("clock-ahead-1h"), met("clock-back-1h"), met("clocks-both-ahead-and-back"));
    for row in <[_; 3]>::from(rows).into_iter().flatten() {
        let refused: u64 = row.refused.values().sum();
        assert!(row.letters + refused == 2 * LETTERS && refused <= 2 && row.delivered > LETTERS, "{row}");
        assert!(row.refused.keys().all(|why| why == "letter was made in the future"), "{row}");
    }
}
