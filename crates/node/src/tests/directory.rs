//! Agents are found in the directory while they sleep.

use std::collections::BTreeSet;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::batch::PrekeyBatch;
use nuncio_proto::bundle::{Bundle, OneTimeBatch, OneTimePrekey, OneTimeRef, SignedPrekeys};
use nuncio_proto::crypto;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::AgentId;
use nuncio_proto::secret::{Key, Secret};
use nuncio_proto::testing::rng;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine as _, Op};
use nuncio_transport::{Connection, Link, LinkConfig, StreamKind};
use serde_json::{Value, json};

use super::support::{Fixture, policy, write_policy};
use crate::directory::Claim;
use crate::entropy::now;
use crate::rows;

const LIFE: u64 = 600_000;

/// An agent with prekeys of its own, connected.
struct Guest {
    identity: Identity,
    connection: Connection,
    _link: Link,
}

fn identity(name: &str) -> Identity {
    let seed = if name == "anna" {
        101
    } else {
        102 + u64::from(name.bytes().fold(0_u32, |sum, byte| sum * 31 + u32::from(byte)))
    };
    Identity::generate(&mut rng(seed)).unwrap()
}

/// One who claims, as many of them as there are prekeys to be had at once.
const CLAIMERS: usize = 8;

fn claimer(number: usize) -> String {
    format!("c{}", number % CLAIMERS)
}

/// The policy of the tests, with agents of these names.
fn with(names: &[&str]) -> String {
    let client = |name: &&str| format!("[[client]]\nname = \"{name}\"\ndid = \"{}\"\n", identity(name).id());
    policy() + &names.iter().map(client).collect::<String>()
}

impl Guest {
    async fn new(at: &Fixture, name: &str) -> Self {
        let identity = identity(name);
        let link = Link::bind(LinkConfig::new("127.0.0.1:0".parse().unwrap()), identity.signing()).unwrap();
        let connection = link.dial(at.node().id(), at.node().quic_addr().unwrap()).await.unwrap();
        Self { identity, connection, _link: link }
    }

    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, Bytes) {
        let (send, recv) = self.connection.open(StreamKind::Http).await.unwrap();
        let (mut client, driver) = handshake(TokioIo::new(tokio::io::join(recv, send))).await.unwrap();
        tokio::spawn(driver);
        let request = hyper::Request::builder().method(method).uri(path).header("host", "node");
        let response =
            client.send_request(request.body(Full::new(Bytes::copy_from_slice(body))).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }

    async fn put(&self, what: &str, body: &[u8]) -> (u16, Value) {
        let (status, body) = self.ask("PUT", &format!("/directory/{what}"), body).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn left(&self) -> Value {
        let (status, body) = self.ask("GET", "/directory", &[]).await;
        assert_eq!(status, 200);
        serde_json::from_slice(&body).unwrap()
    }

    /// What is claimed of an agent, as whoever claims it reads it.
    async fn claim(&self, of: &Guest) -> Bundle {
        self.claim_of(of.identity.id()).await
    }

    async fn claim_of(&self, of: AgentId) -> Bundle {
        let (status, body) = self.ask("POST", &format!("/directory/claim/{of}"), &[]).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let bundle = Bundle::parse(&body, now()).unwrap();
        assert_eq!(bundle.agent, of);
        bundle
    }

    fn bundle(&self, valid_for: u64) -> Vec<u8> {
        let mut random = rng(103);
        let prekeys = SignedPrekeys {
            agreement: *self.identity.agreement_public(),
            id: 1,
            agreement_prekey: crypto::dh_public(&Key::random(&mut random)),
            kem_prekey: Box::new(crypto::kem_public(&Secret::<64>::random(&mut random))),
        };
        Bundle::sign(&self.identity, &prekeys, now(), now().plus(valid_for), (&[], None), false)
    }

    fn batch(&self, number: u32, valid_for: u64) -> PrekeyBatch {
        let mut random = rng(number.into());
        let mut prekey = |index| OneTimePrekey {
            at: OneTimeRef { batch: number, index },
            agreement: crypto::dh_public(&Key::random(&mut random)),
            kem: Box::new([7; crypto::KEM_PUBLIC_LEN]),
        };
        let prekeys: Vec<_> = (0..limit::ONE_TIME_BATCH).map(&mut prekey).collect();
        let leaves = prekeys.iter().map(OneTimePrekey::leaf).collect();
        PrekeyBatch::of(OneTimeBatch::sign(&self.identity, number, now().plus(valid_for), leaves), prekeys).unwrap()
    }

    async fn list(&self, number: u32) {
        let (status, said) = self.put("prekeys", &self.batch(number, LIFE).to_bytes()).await;
        assert_eq!((status, &said["batch"]), (200, &json!(number)), "{said}");
    }
}

async fn fixture() -> (Fixture, Guest, Guest) {
    let claimers: Vec<String> = (0..CLAIMERS).map(claimer).collect();
    let names: Vec<&str> = ["anna", "ben"].into_iter().chain(claimers.iter().map(String::as_str)).collect();
    let at = Fixture::with(&with(&names)).await;
    let (anna, ben) = (Guest::new(&at, "anna").await, Guest::new(&at, "ben").await);
    (at, anna, ben)
}

/// contracts/directory.md D8, D9: each once, also through restarts, the oldest batch first; then the prekeys of last resort.
#[tokio::test]
async fn each_one_time_prekey_is_given_once_also_through_a_restart() {
    let (mut at, anna, ben) = fixture().await;
    let (status, said) = anna.put("bundle", &anna.bundle(LIFE)).await;
    assert_eq!((status, &said["left"], &said["batch"]), (200, &json!(0), &Value::Null), "{said}");
    assert_eq!(ben.claim(&anna).await.one_time, None, "of last resort");
    anna.list(3).await;
    let mut given = BTreeSet::new();
    for turn in 0..limit::DIRECTORY_CLAIMS_BURST {
        if turn == 10 {
            at.stop().await;
            at.start().await;
        }
        let other = Guest::new(&at, &claimer(usize::try_from(turn).unwrap())).await;
        let one_time = other.claim(&anna).await.one_time.expect("a one-time prekey");
        assert_eq!(one_time.at, OneTimeRef { batch: 3, index: u16::try_from(turn).unwrap() });
        assert!(given.insert(one_time.at));
        assert_eq!(Guest::new(&at, "anna").await.left().await["left"], 64 - given.len());
        if turn == 9 + limit::DIRECTORY_CLAIMS_BURST / 2 {
            break;
        }
    }
}

/// contracts/directory.md D9: nobody takes them all.
#[tokio::test]
async fn who_claims_too_fast_gets_the_prekeys_of_last_resort() {
    let (at, anna, ben) = fixture().await;
    anna.put("bundle", &anna.bundle(LIFE)).await;
    anna.list(1).await;
    let mut with = 0;
    for _ in 0..limit::DIRECTORY_CLAIMS_BURST {
        with += u32::from(ben.claim(&anna).await.one_time.is_some());
    }
    assert_eq!(with, limit::DIRECTORY_CLAIMS_PER_AGENT, "one claimer takes no more, however often it asks");
    // All at once: no two are given the same.
    let mut all = Vec::new();
    for number in 0..CLAIMERS {
        all.push(Guest::new(&at, &claimer(number)).await);
    }
    let (mut claims, of) = (tokio::task::JoinSet::new(), anna.identity.id());
    for one in all.into_iter().map(std::sync::Arc::new) {
        for _ in 0..5 {
            let one = std::sync::Arc::clone(&one);
            claims.spawn(async move { one.claim_of(of).await });
        }
    }
    let given: Vec<_> = claims.join_all().await.into_iter().filter_map(|it| it.one_time).collect();
    let places: BTreeSet<_> = given.iter().map(|one| one.at).collect();
    assert_eq!(places.len(), given.len());
    with += u32::try_from(given.len()).unwrap();
    // One may have come back while this ran.
    assert!((limit::DIRECTORY_CLAIMS_BURST..=limit::DIRECTORY_CLAIMS_BURST + 1).contains(&with), "{with}");
    assert_eq!(anna.left().await["left"], 64 - with);
}

/// contracts/directory.md D4: no way back to an older one.
#[tokio::test]
async fn an_older_bundle_does_not_take_the_place_of_a_newer_one() {
    let (_at, anna, ben) = fixture().await;
    let (older, newer) = (anna.bundle(LIFE), anna.bundle(2 * LIFE));
    assert_eq!(anna.put("bundle", &newer).await.0, 200);
    assert_eq!(anna.put("bundle", &newer).await.0, 200, "once more");
    let (status, said) = anna.put("bundle", &older).await;
    assert_eq!((status, &said["error"]), (409, &json!("outdated")));
    assert_eq!(ben.claim(&anna).await.not_after, Bundle::parse(&newer, now()).unwrap().not_after);
    // Another's, one with a one-time prekey, and bytes that are none.
    let with_one = Bundle::with_one_time(&anna.bundle(3 * LIFE), &anna.batch(1, LIFE).offer(0).unwrap()).unwrap();
    for lie in [ben.bundle(3 * LIFE), with_one, b"bundle".to_vec()] {
        let (status, said) = anna.put("bundle", &lie).await;
        assert_eq!((status, &said["error"]), (400, &json!("invalid_request")));
    }
    assert_eq!(ben.claim(&anna).await.not_after, Bundle::parse(&newer, now()).unwrap().not_after);
}

/// contracts/directory.md D5: a number is listed once, whatever became of it, and there is an end.
#[tokio::test]
async fn a_batch_is_listed_once_and_there_is_room_for_so_many() {
    let (mut at, anna, ben) = fixture().await;
    let bundle = anna.bundle(LIFE);
    anna.put("bundle", &bundle).await;
    let five = anna.batch(5, LIFE).to_bytes();
    assert_eq!(anna.put("prekeys", &five).await.0, 200);
    assert_eq!(ben.claim(&anna).await.one_time.unwrap().at.index, 0);
    assert_eq!(anna.put("prekeys", &five).await.1["left"], 63, "once more: nothing comes back");
    at.stop().await;
    at.start().await;
    let (anna, ben) = (Guest::new(&at, "anna").await, Guest::new(&at, "ben").await);
    assert_eq!(anna.put("prekeys", &five).await.1["left"], 63);
    let mut other = anna.batch(5, LIFE + 1).to_bytes();
    for old in [other.clone(), anna.batch(4, LIFE).to_bytes()] {
        assert_eq!(anna.put("prekeys", &old).await.1["error"], "outdated");
    }
    *other.last_mut().unwrap() ^= 1;
    for lie in [other, ben.batch(9, LIFE).to_bytes(), anna.batch(9, 0).to_bytes(), b"batch".to_vec()] {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let (status, said) = anna.put("prekeys", &lie).await;
        assert_eq!((status, &said["error"]), (400, &json!("invalid_request")));
    }
    for number in 6..9 {
        anna.list(number).await;
    }
    let (status, said) = anna.put("prekeys", &anna.batch(9, LIFE).to_bytes()).await;
    assert_eq!((status, &said["error"]), (507, &json!("full")));
    assert_eq!(
        anna.left().await,
        json!({ "left": 255, "batch": 8, "valid_until_ms": anna.left().await["valid_until_ms"] })
    );
}

/// contracts/directory.md D10.
#[tokio::test]
async fn what_is_over_is_given_to_nobody_and_deleted() {
    let (at, anna, ben) = fixture().await;
    let ben = &ben;
    let claim = |of: String| async move { ben.ask("POST", &format!("/directory/claim/{of}"), &[]).await.0 };
    assert_eq!(claim(anna.identity.id().to_string()).await, 404);
    assert_eq!(claim("anna".to_owned()).await, 400);
    anna.put("bundle", &anna.bundle(LIFE)).await;
    anna.list(1).await;
    let service = at.node().service();
    let (directory, ledger) = (&service.directory, &service.ledger);
    let later = UnixMillis(now().0 + LIFE + time::CLOCK_SKEW + 1);
    let wanted = Claim { by: ben.identity.id(), of: anna.identity.id(), gives: true };
    assert!(directory.claim(&service.store, ledger, wanted, later).await.is_err(), "the bundle is over");
    let none = directory.claim(&service.store, ledger, Claim { gives: false, ..wanted }, now()).await.unwrap();
    assert_eq!(Bundle::parse(&none, now()).unwrap().one_time, None, "the node was found to be an older copy");
    directory.forget(ledger, |_| false, later).await;
    assert_eq!(anna.left().await["left"], 0);
    anna.list(2).await;
    directory.forget(ledger, |agent| *agent == anna.identity.id(), now()).await;
    assert_eq!(anna.left().await, json!({ "left": 0, "batch": 2, "valid_until_ms": null }));
    assert_eq!(claim(anna.identity.id().to_string()).await, 404);
    // One who is in the policy no more is not there either.
    anna.put("bundle", &anna.bundle(LIFE)).await;
    assert_eq!(claim(anna.identity.id().to_string()).await, 200);
    write_policy(at.folder.path(), &with(&["ben"]));
    at.node().reload().await.unwrap();
    assert_eq!(claim(anna.identity.id().to_string()).await, 404);
}

/// contracts/directory.md D8: what was given is on the device before the answer: a copy of the home from right behind it gives it to nobody.
#[tokio::test]
async fn what_was_given_is_given_also_where_the_node_is_killed() {
    let (mut at, anna, ben) = fixture().await;
    anna.put("bundle", &anna.bundle(LIFE)).await;
    anna.list(1).await;
    let first = ben.claim(&anna).await.one_time.unwrap().at;
    let copy = at.folder.path().join("copy");
    nuncio_store::testing::copy_dir(&at.home(), &copy).unwrap();
    at.stop().await;
    std::fs::remove_dir_all(at.home()).unwrap();
    std::fs::rename(&copy, at.home()).unwrap();
    at.start().await;
    let (anna, ben) = (Guest::new(&at, "anna").await, Guest::new(&at, "ben").await);
    assert_eq!(anna.left().await["left"], 63);
    assert!(ben.claim(&anna).await.one_time.unwrap().at > first);
}

/// A row that is damaged is given to nobody, and the next claim has another.
#[tokio::test]
async fn a_prekey_that_cannot_be_read_holds_up_no_other() {
    let (at, anna, ben) = fixture().await;
    anna.put("bundle", &anna.bundle(LIFE)).await;
    anna.list(1).await;
    let key = rows::listed(&anna.identity.id(), OneTimeRef { batch: 1, index: 0 });
    at.node().service().store.commit(&[Op::Put { key, value: vec![7] }]).unwrap();
    assert_eq!(ben.claim(&anna).await.one_time, None);
    assert_eq!(ben.claim(&anna).await.one_time.unwrap().at.index, 1);
}

/// Where nothing was handed over to be deleted, the prekey is there still.
#[tokio::test]
async fn a_claim_that_cannot_be_written_gives_nothing_away() {
    let (at, anna, ben) = fixture().await;
    anna.put("bundle", &anna.bundle(LIFE)).await;
    anna.list(1).await;
    at.node().close_store_for_test();
    let (status, _) = ben.ask("POST", &format!("/directory/claim/{}", anna.identity.id()), &[]).await;
    assert_eq!((status, anna.left().await["left"].as_u64()), (503, Some(64)));
}
