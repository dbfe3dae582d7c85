//! How many webhooks there are, how long they may be, and what of them is posted.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::line::{Heard, Say};
use nuncio_proto::ids::CallSessionId;
use tokio::sync::mpsc;

fn hook(connection: &str, no: usize) -> Hook {
    Hook {
        connection: connection.to_owned(),
        session: format!("{no:032x}"),
        url: "http://127.0.0.1:9/hook".to_owned(),
        token: None,
        authorization: None,
    }
}

/// A line on which nothing is said or comes.
#[derive(Clone)]
struct Quiet;

impl Line for Quiet {
    async fn say(&self, _: Say) -> Result<(), LineError> {
        Ok(())
    }

    async fn listen(&self, _: Option<CallSessionId>, _: Option<u64>) -> Result<mpsc::Receiver<Heard>, LineError> {
        Err(LineError::Stopped)
    }

    async fn taken(&self, _: u64) -> Result<(), LineError> {
        Ok(())
    }
}

fn own(home: &Path, connection: &str) -> Own {
    Hooks::load(home).unwrap().of(connection, &BTreeMap::new(), CancellationToken::new())
}

#[test]
fn a_client_s_webhooks_make_room_among_its_connection_s_and_leave_the_others_alone() {
    let mut all: Vec<Hook> = (0..10).map(|no| hook("other", no)).collect();
    let mut gone = Vec::new();
    for no in 0..100 {
        gone.extend(with_room(&mut all, vec![hook("mine", no)], "mine"));
    }
    assert_eq!(all.iter().filter(|hook| hook.connection == "other").count(), 10);
    let mine: Vec<&Hook> = all.iter().filter(|hook| hook.connection == "mine").collect();
    assert!(mine.len() == OWN_MAX && *mine[0] == hook("mine", 100 - OWN_MAX), "the newest stay");
    assert_eq!(gone.len(), 100 - OWN_MAX);
    // Of all there are so many; then the oldest go.
    for connection in 0..20 {
        let name = connection.to_string();
        with_room(&mut all, (0..OWN_MAX).map(|no| hook(&name, no)).collect(), &name);
    }
    assert_eq!(all.len(), HOOKS_MAX);
    assert!(all.iter().all(|hook| hook.connection != "other"));
}

#[tokio::test]
async fn a_home_s_webhooks_are_always_in_a_file_that_is_read_again() {
    let home = tempfile::tempdir().unwrap();
    let mine = own(home.path(), "mine");
    let longest = |no| {
        let mut hook = hook("mine", no);
        hook.token = Some("t".repeat(HOOK_LEN_MAX - hook.len()));
        hook
    };
    let mut longer = longest(0);
    longer.token.as_mut().unwrap().push('t');
    assert!(matches!(mine.keep(&Quiet, vec![longer]).await, Err(LineError::Denied(_))));
    assert!(Hooks::load(home.path()).unwrap().all().is_empty());
    for connection in 0..HOOKS_MAX / OWN_MAX {
        let mine = Own { connection: connection.to_string(), ..mine.clone() };
        let all = (0..OWN_MAX).map(|no| Hook { connection: mine.connection.clone(), ..longest(no) });
        mine.keep(&Quiet, all.collect()).await.unwrap();
    }
    assert_eq!(Hooks::load(home.path()).unwrap().all().len(), HOOKS_MAX);
}

#[test]
fn what_is_kept_goes_with_its_connection() {
    let home = tempfile::tempdir().unwrap();
    put(home.path(), FILE, &serde_json::to_string(&[hook("a", 0), hook("b", 1)]).unwrap()).unwrap();
    forget(home.path(), |connection| connection == "a").unwrap();
    assert!(*Hooks::load(home.path()).unwrap().all() == [hook("b", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_honest_agent_says_is_not_posted() {
    let posted = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::clone(&posted);
    let app = axum::Router::new().fallback(move || async move {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let app = app.layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let home = tempfile::tempdir().unwrap();
    let (mine, hook) = (own(home.path(), "mine"), Hook { url, ..hook("mine", 0) });
    let of_len = |len: u64| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"1").unwrap();
        file.as_file().set_len(len).unwrap();
        Message { body: Body::File(Arc::new(file.into_temp_path())), ..Message::json("") }
    };
    let mut telling = Telling::new(&Quiet, mpsc::channel(1).1);
    mine.tell(&hook, &of_len(limit::CALL_REQUEST_MAX + 1), &mut telling).await;
    assert_eq!(posted.load(Ordering::SeqCst), 0);
    mine.tell(&hook, &of_len(1 << 16), &mut telling).await;
    assert_eq!(posted.load(Ordering::SeqCst), 1);
}
