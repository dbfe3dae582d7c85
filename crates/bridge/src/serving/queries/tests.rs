//! A query beside the letters of its session.

use nuncio::Config;
use nuncio_proto::ids::CallSessionId;
use tokio::sync::mpsc;

use super::*;
use crate::config::expose;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

// contracts/query.md Q3.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_about_to_be_handed_over_lets_a_letter_of_its_session_pass() {
    let home = tempfile::tempdir().unwrap();
    let service: ServiceName = "files".parse().unwrap();
    expose(home.path(), &service, &["true".to_owned()]).unwrap();
    let config = Config::new(home.path().join("agent")).listen(([127, 0, 0, 1], 0).into()).serve_calls();
    let agent = Agent::open(config).await.unwrap();
    let serving = Serving::start(agent.clone(), home.path(), crate::native::Natives::default()).unwrap();
    let of = Of { from: agent.id(), session: Some(CallSessionId::from_bytes([7; 16])) };
    let id = Envelope::of(&Message::json(CALL)).unwrap().id.unwrap();
    let asked = || {
        let (told, answer) = oneshot::channel();
        let handing = Arc::<tokio::sync::Mutex<()>>::default();
        let offered = serving.offered(&service).unwrap();
        let asked =
            Asked { of, id: id.clone(), offered, service: service.clone(), handing: Arc::clone(&handing), told };
        (asked, handing, answer)
    };

    // A letter came while its right was asked about.
    let lane = (service.clone(), of);
    lock(&serving.lanes).insert(lane.clone(), mpsc::unbounded_channel().0);
    assert!(!serving.begin_query(1, asked().0) && !serving.queries.has(1));
    lock(&serving.lanes).remove(&lane);
    let (one, handing, answer) = asked();
    assert!(serving.begin_query(1, one) && serving.queries.has(1));

    // A letter of its id comes while it is handed over: it waits for that, and the query ends.
    let handed = handing.lock_owned().await;
    let letter = tokio::spawn({
        let (serving, service, id) = (Arc::clone(&serving), service.clone(), id.clone());
        async move { serving.queries.end(&service, &of, &id).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!letter.is_finished(), "the letter would be refused: its id is open");
    drop(handed);
    timeout(Duration::from_secs(10), letter).await.unwrap().unwrap();
    assert!(!serving.queries.has(1));
    assert!(answer.await.unwrap().is_none());
    agent.shutdown().await.unwrap();
}
