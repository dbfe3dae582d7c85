//! An agent of A2A beside one agent, a client of it beside another, and both agents killed. `NUNCIO_CALLS` makes it last longer.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bridge::{Dice, end, has_python};
use crate::support::{Daemon, Homes, PATIENCE, json as json_of, ok};

/// What its client knows of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    Answered,
    /// It is said not to have been done.
    Failed,
    /// It is said that nobody knows.
    Unknown,
    /// The connection broke, or there was none.
    Broken,
}

/// Killed with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(log: &Path) -> (Agent, String) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/binary/a2a_agent.py");
    let mut child = Command::new("python3").arg(program).arg(log).stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    (Agent(child), url.trim().to_owned())
}

fn ask(url: &str, n: u64, text: &str) -> Known {
    let params = json!({ "message": { "messageId": n.to_string(), "role": "ROLE_USER", "parts": [{ "text": text }] } });
    let body = json!({ "jsonrpc": "2.0", "id": n, "method": "SendMessage", "params": params }).to_string();
    let Ok(answer) = exchange(url, &body) else { return Known::Broken };
    let message = answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str::<Value>(body).ok());
    let Some(message) = message else { return Known::Broken };
    if message["id"] != n {
        assert!(message["error"].is_object() && message["id"].is_null(), "{message}");
    }
    match message["error"]["code"].as_i64() {
        None => {
            assert_eq!(message["result"]["message"]["parts"][0]["text"], n.to_string());
            Known::Answered
        }
        Some(-32041 | -32043) => Known::Unknown,
        Some(-32042 | -32045) => Known::Failed,
        Some(_) => panic!("{message}"),
    }
}

fn exchange(url: &str, body: &str) -> std::io::Result<String> {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST /{path}/a2a/rpc HTTP/1.1\r\nhost: {host}\r\na2a-version: 1.0\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

// contracts/call.md X10 to X13, section 8.
#[test]
fn a_message_to_an_agent_is_done_once_at_most_through_kills_of_either_agent() {
    if !has_python("a_message_to_an_agent_is_done_once_at_most_through_kills_of_either_agent") {
        return;
    }
    let calls = std::env::var("NUNCIO_CALLS").map_or(2_000, |text| text.parse().expect("NUNCIO_CALLS is a number"));
    let homes = Homes::new();
    let log = homes.path("log");
    let (agent, far) = start(&log);
    let (mut anna, mut ben) = homes.pair();
    json_of(&anna.home, &["expose", "a2a", "counter", &far, "--allow", "ben=tools.write"]);
    let url = json_of(&ben.home, &["connect", "anna/counter"])["url"].as_str().unwrap().to_owned();
    let (next, outcomes, dice) = (AtomicU64::new(1), Mutex::new(BTreeMap::new()), Mutex::new(Dice(0x6132_6121)));
    let mut kills = 0;
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, SeqCst);
                    if n > calls {
                        return;
                    }
                    let (before, after) = {
                        let mut dice = dice.lock().unwrap();
                        (dice.roll(60), dice.roll(60))
                    };
                    let known = ask(&url, n, &format!("{n} {before} {after}"));
                    outcomes.lock().unwrap().insert(n, known);
                    if known == Known::Broken {
                        back(&url);
                    }
                }
            });
        }
        while next.load(SeqCst) <= calls {
            let (pause, whom, how) = {
                let mut dice = dice.lock().unwrap();
                (dice.roll(250), dice.roll(2), dice.roll(4))
            };
            std::thread::sleep(Duration::from_millis(pause));
            let victim: &mut Daemon = if whom == 0 { &mut anna } else { &mut ben };
            end(victim, if how == 0 { "TERM" } else { "KILL" });
            kills += 1;
        }
    });
    // What was under way when its client's connection broke may still be done.
    quiet(&ben);
    drop(agent);
    let mut done = BTreeMap::new();
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        *done.entry(line.parse::<u64>().unwrap()).or_insert(0_u64) += 1;
    }
    let outcomes = outcomes.into_inner().unwrap();
    let count = |known| outcomes.values().filter(|one| **one == known).count();
    let told = [Known::Answered, Known::Failed, Known::Unknown, Known::Broken].map(|known| (known, count(known)));
    println!("{calls} calls, {kills} kills, {told:?}, {} done", done.len());
    assert!(done.values().all(|times| *times == 1), "done twice: {done:?}");
    for (n, known) in &outcomes {
        match known {
            Known::Answered => assert!(done.contains_key(n), "{n} was answered and not done"),
            Known::Failed => assert!(!done.contains_key(n), "{n} is said not to be done, and was"),
            Known::Unknown | Known::Broken => {}
        }
    }
    assert_eq!(outcomes.len() as u64, calls);
    assert!(count(Known::Answered) > 0 && kills > 0, "{told:?}");
    ok(&anna.home, &["services"]);
}

/// Waits until the client's agent is there again.
fn back(url: &str) {
    let host = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(host).is_err() {
        assert!(Instant::now() < until, "the agent does not come again");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until nothing is on its way.
fn quiet(ben: &Daemon) {
    let until = Instant::now() + PATIENCE;
    while json_of(&ben.home, &["status"])["outbox"] != 0 {
        assert!(Instant::now() < until, "letters are still on their way");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_millis(500));
}
