//! The quick part of `cargo xtask walls`: a node that is flooded, and a peer that does not read.

use nuncio_cli::process::Program;
use nuncio_cli::walls::{Row, Size, meet, named};

use crate::support::binary;

async fn stands(name: &str) {
    let wall = named(name).unwrap_or_else(|| panic!("there is no wall {name}"));
    let dir = tempfile::tempdir().unwrap();
    let row = meet(&Program::new(binary(), &[]), dir.path(), wall, &Size::SHORT).await.unwrap();
    eprintln!("{}\n{row}", Row::HEAD);
    assert!(row.stands(), "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_of_many_and_of_one_take_no_more_than_their_share_of_a_node_and_others_are_served() {
    stands("node-deposits-of-many").await;
    stands("node-deposits-of-one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_requests_good_and_bad_take_no_more_than_their_share_of_a_node_and_others_are_served() {
    stands("node-tokens").await;
    stands("node-tokens-of-strangers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_without_an_end_take_no_more_than_their_share_of_a_node_and_others_are_served() {
    stands("node-events").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_nothing_takes_no_more_than_its_share_of_an_agent_and_others_are_served() {
    stands("peer-reads-nothing").await;
}
