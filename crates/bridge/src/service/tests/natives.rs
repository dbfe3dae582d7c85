use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::super::{NotHanded, Said, Service};
use super::scene::{config, hand, json, of, quick};
use crate::config::Runs;
use crate::native::Begin;

/// The embedding program's mistake in one session is not the end of all that come after it.
#[tokio::test]
async fn a_session_whose_beginning_panics_has_not_begun_and_the_next_begins() {
    let begun = AtomicUsize::new(0);
    let begin: Begin = Arc::new(move |_, stream| {
        assert!(begun.fetch_add(1, SeqCst) > 0, "the first one");
        tokio::spawn(async move {
            let (input, mut output) = tokio::io::split(stream);
            let mut lines = BufReader::new(input).lines();
            lines.next_line().await.unwrap();
            output.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n").await.unwrap();
            while let Ok(Some(_)) = lines.next_line().await {}
        });
    });
    let (home, (sender, mut said)) = (tempfile::tempdir().unwrap(), mpsc::channel(4));
    let name = "tools".parse().unwrap();
    let config = config(Runs::Native);
    let service = Service::bounded(name, &config, home.path(), |_| None, sender, Some(begin), quick()).unwrap();
    let (of, ping) = (of(0, Some(1)), r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    let first = hand(&service, 1, of, ping).await;
    assert!(matches!(first, Err(NotHanded::NotStarted(_))), "{first:?}");
    let handed = async {
        while hand(&service, 2, of, ping).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), handed).await.expect("it takes nothing any more");
    match timeout(Duration::from_secs(30), said.recv()).await.unwrap().unwrap() {
        Said::Answer { key: 2, message, .. } => assert!(json(&message)["result"].is_object()),
        other => panic!("{other:?}"),
    }
    service.stop().await;
}
