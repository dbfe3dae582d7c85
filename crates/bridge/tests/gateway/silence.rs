//! What nobody finds again: people's tokens and the provider's key, in logs, in rows, in files.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::provider::Provider;
use super::scene::{Scene, login};

const KEY: &str = "sk-of-the-owner-alone";

/// All that is logged in this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn files(dir: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path(), found),
            kind if kind.is_file() && entry.file_name() != "provider.key" => {
                found.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap()));
            }
            _ => {}
        }
    }
}

fn has(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|part| part == word.as_bytes())
}

/// contracts/gateway.md W4, W10.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_the_key_are_in_no_log_no_row_and_no_file() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE);
    tracing::subscriber::set_global_default(subscriber.with_writer(move || writer.clone()).finish()).unwrap();
    let provider = Provider::new(401, "application/json", &json!({ "error": KEY }).to_string()).await;
    let scene = Scene::new("").await;
    super::scene::private(&scene.home().join("provider.key"), KEY);
    let budget = "[budget.requests]\nmode = \"warn\"\nlimit = 1\nper = \"day\"\n";
    let chat = format!(
        "[chat]\nurl = \"http://{}/v1\"\nkey_file = \"provider.key\"\nscope = \"chat.complete\"\nmodels = [\"small\"]\n",
        provider.at
    );
    let route = "[agents.planner]\nletters = \"travel.plan\"\ntimeout_s = 5\n";
    let scene = scene.again(&format!("{budget}{route}{chat}")).await;
    let (good, bad) = (login(&json!({})), login(&json!({ "scope": "profile" })));
    let mut inbox = scene.planner.inbox().await.unwrap();
    let (path, letter) = ("/v1/agents/planner/letters", json!({ "text": "to Rome" }));
    let (answered, came) = tokio::join!(scene.ask(path, &good, &letter), scene.answer(&mut inbox, "booked"));
    assert_eq!(answered.0, 200);
    assert_eq!(scene.ask(path, &bad, &letter).await.0, 403);
    assert_eq!(scene.ask("/v1/chat/completions", &good, &json!({ "model": "small" })).await.0, 502);
    provider.says(200, "application/json", "{}");
    assert_eq!(scene.ask("/v1/chat/completions", &good, &json!({ "model": "small" })).await.0, 200);

    let granted = came.grant.unwrap().token().to_owned();
    let rows = scene.agent.kept().await.unwrap();
    assert!(!rows.is_empty(), "it counts");
    let mut all: Vec<_> = rows.into_iter().map(|(name, row)| ("row".to_owned(), [name, row].concat())).collect();
    files(scene.dir.path(), &mut all);
    let logged = log.0.lock().unwrap().clone();
    assert!(has(&logged, "a person's letter") && has(&logged, "is not exchanged"), "it logs");
    all.push(("log".to_owned(), logged));
    for (secret, whose) in [(&good, "anna's"), (&bad, "a refused one"), (&granted, "the letter's")] {
        let signature = secret.rsplit_once('.').unwrap().1;
        let found: Vec<_> = all.iter().filter(|(_, text)| has(text, signature)).map(|(name, _)| name).collect();
        assert!(found.is_empty(), "{whose} is in {found:?}");
    }
    let found: Vec<_> = all.iter().filter(|(_, text)| has(text, KEY)).map(|(name, _)| name).collect();
    assert!(found.is_empty(), "the key is in {found:?}");
    scene.stop().await;
}
