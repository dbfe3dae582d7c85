//! kill -9 at random moments, through every layer. `NUNCIO_KILLS` makes it longer; `cargo xtask kills` is the campaign.

use std::time::Duration;

use nuncio_cli::kills::{Plan, WRITE_PAUSE, campaign, make_homes, run};
use nuncio_cli::process::Program;

use nuncio_node::Node;
use nuncio_proto::secret::Key;
use nuncio_store::Kek;

use crate::support::binary;

#[tokio::test(flavor = "multi_thread")]
async fn no_letter_is_lost_or_doubled_by_kills_at_random_moments() {
    let kills = std::env::var("NUNCIO_KILLS").map_or(20, |text| text.parse().expect("NUNCIO_KILLS is a number"));
    let dir = tempfile::tempdir().unwrap();
    let tally = run(
        &Program::new(binary(), &[]),
        dir.path(),
        Plan { kills, seed: 0x6e75_6e63_696f, write_pause: WRITE_PAUSE, killed: |_| {} },
    )
    .await
    .unwrap();
    println!("{tally}");
    assert!(tally.is_clean(), "{tally}");
    assert_eq!(tally.kills, kills);
    assert!(tally.accepted > u64::from(kills) && tally.arrived >= tally.accepted, "{tally}");
    assert!(tally.seals >= 2 * tally.arrived, "a header and a body for each letter are written down: {tally}");
}

/// Nobody can be dialled: every letter waits at a node, and whoever fetches is killed at any moment between fetching and saying so.
#[tokio::test(flavor = "multi_thread")]
async fn kills_between_mailboxes_lose_and_double_nothing() {
    let (dir, program) = (tempfile::tempdir().unwrap(), Program::new(binary(), &[]));
    let homes = make_homes(&program, dir.path()).await.unwrap();
    let clients: String = homes
        .iter()
        .zip(["anna", "ben"])
        .map(|((_, id), name)| {
            format!(
                "[[client]]\nname = \"{name}\"\ndid = \"{id}\"\n[[client.grant]]\nsubject_types = [\"self_signed\"]\n\
                 subjects = [\"user:*\"]\nscope = \"talk\"\nreceivers = [\"*\"]\n"
            )
        })
        .collect();
    let (node, policy, kek) =
        (dir.path().join("node"), dir.path().join("policy.toml"), Kek::from_key(Key::new([7; 32])));
    let service = "schema = \"nuncio/policy/1\"\noperators = [\"anna\"]\n[service]\ntrust_domain = \"acme.example\"\n\
                   issuer = \"https://txts.acme.example\"\ntransaction_life_s = 3600\nhops_max = 6\nalgorithm = \"EdDSA\"\n";
    std::fs::write(&policy, format!("{service}{clients}")).unwrap();
    nuncio_node::init(&node, &kek).unwrap();
    let mut config = nuncio_node::Config::new(node, kek, policy);
    config.quic = "127.0.0.1:0".parse().ok();
    let node = Node::start(config).await.unwrap();
    let line = format!("nuncio:{}?at={}", node.id(), node.quic_addr().unwrap());
    for (home, _) in &homes {
        let settings = format!(
            "letters_without_token = \"deliver\"\nmailbox = true\n[trust]\ndomain = \"acme.example\"\nnode = \"{line}\"\n"
        );
        std::fs::write(home.join("nuncio.toml"), settings).unwrap();
    }
    // Few enough for a deposit key's burst.
    let plan = Plan { kills: 10, seed: 0x6d61_696c, write_pause: Duration::from_millis(80), killed: |_| {} };
    let tally = campaign(&program, dir.path(), plan, None).await.unwrap();
    println!("{tally}");
    assert!(tally.is_clean(), "{tally}");
    assert!(tally.arrived >= tally.accepted && tally.accepted > 20, "{tally}");
    node.stop().await.unwrap();
}
