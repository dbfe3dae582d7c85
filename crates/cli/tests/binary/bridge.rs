//! An MCP server of one agent's machine, a client of another's, both unmodified. `NUNCIO_CALLS` makes the kills last longer, or shorter.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Daemon, Homes, PATIENCE, command, fails, json as json_of, not_run, ok};

mod knocks;
mod names;
mod permits;

/// Anna offers `files`, ben has it connected; nobody may anything.
struct Scene {
    homes: Homes,
    anna: Daemon,
    ben: Daemon,
    log: PathBuf,
    url: String,
}

pub(crate) fn has_python(test: &str) -> bool {
    let here = Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !here {
        not_run(&format!("bridge::{test}"), "python3 is missing");
    }
    here
}

fn server() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/binary/mcp_server.py")
}

impl Scene {
    fn new() -> Self {
        let homes = Homes::new();
        let (anna, ben) = (Daemon::start(&homes.init("anna"), &[]), Daemon::start(&homes.init("ben"), &[]));
        let log = homes.path("log");
        let exposed = json_of(
            &anna.home,
            &["expose", "mcp", "files", "--", "python3", server().to_str().unwrap(), log.to_str().unwrap()],
        );
        assert_eq!(exposed["server"], "counter 7");
        assert_eq!(exposed["service"]["read"], json!(["look"]), "the server's own word is spelled out: {exposed}");
        assert_eq!(exposed["service"]["peers"], json!({}), "nobody may use it yet");
        anna.add(&ben, "ben");
        let line = exposed["invitation"].as_str().unwrap();
        let connected = json_of(&ben.home, &["connect", line, "--peer-name", "anna"]);
        assert_eq!(connected["command"], "nuncio");
        let args: Vec<&str> = connected["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
        assert_eq!(args, ["--home", ben.home.to_str().unwrap(), "mcp", "anna/files"]);
        let url = connected["url"].as_str().unwrap().to_owned();
        Self { homes, anna, ben, log, url }
    }

    fn allow(&self, scopes: &[&str]) {
        ok(&self.anna.home, &[&["allow", "files", "ben"], scopes].concat());
    }

    fn counted(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}

fn call(id: u64, tool: &str, arguments: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": tool, "arguments": arguments } })
}

fn hello(id: u64) -> Value {
    let params =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    json!({ "jsonrpc": "2.0", "id": id, "method": "initialize", "params": params })
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

/// A client of MCP that has started `nuncio mcp`.
struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Client {
    fn start(home: &Path, service: &str) -> Self {
        let mut command = command(home);
        command.args(["mcp", service]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Nothing but messages may stand there.
                let _ = sender.send(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}")));
            }
        });
        let mut client = Self { stdin: child.stdin.take(), child, lines };
        assert_eq!(client.ask(&hello(0))["result"]["serverInfo"]["name"], "counter");
        client.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        client
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    fn next(&self) -> Value {
        self.lines.recv_timeout(PATIENCE).expect("no answer comes")
    }

    fn ask(&mut self, message: &Value) -> Value {
        self.say(message);
        let answer = self.next();
        assert_eq!(answer["id"], message["id"]);
        answer
    }

    fn end(mut self) {
        drop(self.stdin.take());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert!(self.lines.recv().is_err(), "something came behind the last answer");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A POST of Streamable HTTP: its status, its session, and the last message of its answer.
fn post(url: &str, more: &[(&str, &str)], message: &Value) -> (u16, String, Value) {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = more.iter().find(|(name, _)| *name == "host").map_or(host, |(_, value)| value);
    let fields: String =
        more.iter().filter(|(name, _)| *name != "host").map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    let body = message.to_string();
    let head = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\n{fields}connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let session = answer.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap_or_default().to_owned();
    let mut messages = answer.lines().filter_map(|line| serde_json::from_str(line.trim_start_matches("data: ")).ok());
    (status, session, messages.rfind(Value::is_object).unwrap_or_default())
}

#[test]
fn a_client_uses_what_it_may_over_its_own_pipes_and_over_a_url() {
    if !has_python("a_client_uses_what_it_may_over_its_own_pipes_and_over_a_url") {
        return;
    }
    let mut scene = Scene::new();
    scene.allow(&["tools.read"]);
    let mut client = Client::start(&scene.ben.home, "anna/files");
    let listed = client.ask(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }));
    assert_eq!(listed["result"]["tools"][1]["name"], "count");
    let looked = client.ask(&call(2, "look", &json!({})));
    let denied = client.ask(&call(3, "count", &json!({ "n": 1 })));
    assert_eq!(
        (&denied["error"]["code"], &denied["error"]["data"]["nuncio"]["needs"]),
        (&json!(-32040), &json!("tools.write"))
    );
    // What changes is who may: the service goes on, with the session that it has.
    scene.allow(&["tools.read", "tools.write:count"]);
    assert_eq!(text(&client.ask(&call(4, "count", &json!({ "n": 4 })))), "4");
    assert_eq!(client.ask(&call(5, "look", &json!({})))["result"], looked["result"]);

    let (status, session, hello) = post(&scene.url, &[], &hello(0));
    assert_eq!((status, &hello["result"]["serverInfo"]["name"]), (200, &json!("counter")));
    let named = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25")];
    assert_eq!(text(&post(&scene.url, &named, &call(1, "count", &json!({ "n": 5 }))).2), "5");
    assert_eq!(scene.counted(), [4, 5]);
    assert_eq!(post(&format!("{}0", scene.url), &named, &call(2, "look", &json!({}))).0, 404);
    assert_eq!(post(&scene.url, &[("host", "evil.example")], &call(2, "look", &json!({}))).0, 403);

    // The agent is another; address, secret and session are what they were.
    let home = scene.ben.home.clone();
    scene.ben.signal("KILL");
    scene.ben.ended();
    scene.ben = Daemon::start(&home, &[]);
    assert_eq!(text(&post(&scene.url, &named, &call(3, "count", &json!({ "n": 6 }))).2), "6");
    assert_eq!(text(&client.ask(&call(6, "count", &json!({ "n": 7 })))), "7");
    assert_eq!(scene.counted(), [4, 5, 6, 7]);

    ok(&scene.anna.home, &["allow", "files", "ben", "--nothing"]);
    assert_eq!(client.ask(&call(7, "look", &json!({})))["error"]["code"], -32040);
    ok(&scene.anna.home, &["withdraw", "files"]);
    ok(&home, &["disconnect", "files"]);
    assert_eq!(post(&scene.url, &named, &call(4, "look", &json!({}))).0, 404);
    assert!(fails(&home, &["disconnect", "files"], 2).contains("nuncio connections"));
    client.end();
}

#[test]
fn nothing_but_messages_stands_on_the_output_and_what_is_wrong_is_said() {
    if !has_python("nothing_but_messages_stands_on_the_output_and_what_is_wrong_is_said") {
        return;
    }
    let homes = Homes::new();
    let home = homes.init("anna");
    // Without an agent: the file is written all the same, and followed at its start.
    let nowhere = homes.path("nowhere");
    for words in [&["services"][..], &["allow", "files", "ben", "tools.read"], &["withdraw", "files"]] {
        assert!(fails(&nowhere, words, 1).contains("is no home"), "{words:?}");
    }
    let behind = fails(&home, &["expose", "mcp", "files", "python3", server().to_str().unwrap(), "--nobody"], 2);
    assert!(behind.contains("--nobody stands behind the program"), "{behind}");
    let behind = fails(&home, &["expose", "mcp", "files", "http://127.0.0.1:9/", "--let-in=tools.read"], 2);
    assert!(behind.contains("--let-in=tools.read stands behind"), "{behind}");
    let said = fails(&home, &["expose", "mcp", "files", "--", "sh", "-c", "echo no licence >&2; exit 3"], 1);
    assert!(said.contains("files: it does not run") && said.contains("no licence"), "{said}");
    assert!(!home.join("services.toml").exists());
    let told = json_of(
        &home,
        &[
            "expose",
            "mcp",
            "files",
            "--read",
            "count",
            "--allow",
            "ben=tools.read",
            "--ahead",
            "--",
            "python3",
            server().to_str().unwrap(),
            "log",
        ],
    );
    assert_eq!((&told["agent_runs"], &told["service"]["read"]), (&json!(false), &json!(["count"])));
    assert_eq!(json_of(&home, &["services"])["services"][0]["peers"], json!({ "ben": ["tools.read"] }));
    assert!(fails(&home, &["allow", "file", "ben", "tools.read"], 2).contains("nuncio services"));
    assert!(fails(&home, &["allow", "files", "ben", "tools.reed"], 2).contains("tools.read:NAME"));
    let server = server();
    let wrong = ["expose", "mcp", "other", "--allow", "ben=tools.reed", "--", "python3", server.to_str().unwrap()];
    assert!(fails(&home, &wrong, 2).contains("tools.read:NAME"));
    assert!(!std::fs::read_to_string(home.join("services.toml")).unwrap().contains("other"), "nothing is written");
    assert!(fails(&home, &["connect", "nobody/files"], 2).contains("nobody"));
    assert!(fails(&home, &["connect", "files"], 2).contains("PEER/SERVICE"));
    // No agent, and then one that does not know the peer.
    let agent = Daemon::start(&home, &[]);
    let said = fails(&home, &["mcp", "nobody/files"], 2);
    assert!(said.contains("nobody"), "{said}");
    // A terminal that is closed ends no agent, and it ends as always.
    for _ in 0..3 {
        agent.signal("HUP");
        std::thread::sleep(Duration::from_millis(100));
        ok(&home, &["id"]);
    }
    agent.stop();

    let file = home.join("services.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("read =", "reed =")).unwrap();
    let said = fails(&home, &["agent", "--listen", "127.0.0.1:0"], 1);
    assert!(said.contains("services.toml, line ") && said.contains("reed") && said.contains("hint: mend"), "{said}");
}

#[test]
fn what_is_tried_ends_with_the_command_that_tries_it() {
    let homes = Homes::new();
    let (home, noted) = (homes.init("anna"), homes.path("pid"));
    let script = format!("echo $$ > '{}'; exec sleep 300", noted.display());
    let mut expose = command(&home);
    expose.args(["expose", "mcp", "slow", "--patience", "60s", "--", "sh", "-c", &script]);
    let mut expose = expose.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    let process = loop {
        match std::fs::read_to_string(&noted).unwrap_or_default().trim() {
            "" => assert!(Instant::now() < until, "it is not started"),
            pid => break pid.to_owned(),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let id = expose.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(expose.wait().unwrap().code(), Some(1));
    let lives = || std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while lives() {
        assert!(Instant::now() < until, "it goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!home.join("services.toml").exists());
}

#[test]
fn a_port_that_another_has_keeps_nothing_else_from_going_on() {
    if !has_python("a_port_that_another_has_keeps_nothing_else_from_going_on") {
        return;
    }
    let mut scene = Scene::new();
    scene.allow(&["tools.read"]);
    let (home, place) = (scene.ben.home.clone(), scene.url["http://".len()..].split('/').next().unwrap().to_owned());
    scene.ben.signal("TERM");
    scene.ben.ended();
    let other = std::net::TcpListener::bind(&place).unwrap();
    scene.ben = Daemon::start(&home, &[]);
    let all = json_of(&home, &["connections"]);
    assert!(all["problem"].as_str().unwrap().contains(&place), "{all}");
    let mut client = Client::start(&home, "anna/files");
    client.ask(&call(1, "look", &json!({})));
    drop(other);
    let until = std::time::Instant::now() + PATIENCE;
    while json_of(&home, &["connections"])["problem"].is_string() {
        assert!(std::time::Instant::now() < until, "the port is not taken again");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(post(&scene.url, &[], &hello(0)).0, 200);
    client.end();
}

/// What became of a call.
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    unknown: u64,
    failed: u64,
    kills: u64,
}

// contracts/call.md X10 to X13.
#[test]
fn a_call_is_done_once_or_its_outcome_is_said_to_be_unknown_through_kills_of_either_agent() {
    if !has_python("a_call_is_done_once_or_its_outcome_is_said_to_be_unknown_through_kills_of_either_agent") {
        return;
    }
    let calls = std::env::var("NUNCIO_CALLS").map_or(2_000, |text| text.parse().expect("NUNCIO_CALLS is a number"));
    let mut scene = Scene::new();
    scene.allow(&["tools.write:count"]);
    let mut client = Client::start(&scene.ben.home, "anna/files");
    let (mut dice, mut tally, mut open) = (Dice(0x6272_6964_6765), Tally::default(), HashMap::new());
    let mut outcomes = BTreeMap::new();
    for n in 1..=calls {
        let (before, after) = (dice.roll(20), dice.roll(20));
        client.say(&call(n, "count", &json!({ "n": n, "before_ms": before, "after_ms": after })));
        open.insert(n, ());
        if dice.roll(6) == 0 {
            std::thread::sleep(Duration::from_millis(dice.roll(60)));
            let victim = if dice.roll(2) == 0 { &mut scene.anna } else { &mut scene.ben };
            // Now and then it is asked to stop, and drains.
            end(victim, if dice.roll(4) == 0 { "TERM" } else { "KILL" });
            tally.kills += 1;
        }
        while open.len() >= 6 {
            settle(&client.next(), &mut open, &mut outcomes, &mut tally);
        }
    }
    while !open.is_empty() {
        settle(&client.next(), &mut open, &mut outcomes, &mut tally);
    }
    client.end();
    let mut done = BTreeMap::new();
    for n in scene.counted() {
        *done.entry(n).or_insert(0_u64) += 1;
    }
    println!("{calls} calls, {tally:?}, {} done", done.len());
    assert!(done.values().all(|times| *times == 1), "done twice: {done:?}");
    for (n, outcome) in &outcomes {
        match outcome.as_str() {
            "answered" => assert!(done.contains_key(n), "{n} was answered and not done"),
            "failed" => assert!(!done.contains_key(n), "{n} is said not to be done, and was"),
            _ => {}
        }
    }
    assert_eq!(outcomes.len() as u64, calls);
    assert!(tally.answered > calls / 2 && tally.kills > 0, "{tally:?}");
    drop(scene.homes);
}

pub(crate) fn end(agent: &mut Daemon, signal: &str) {
    let (home, address) = (agent.home.clone(), agent.listening().to_owned());
    agent.signal(signal);
    agent.ended();
    *agent = Daemon::listen(&home, &address, &[]);
}

fn settle(answer: &Value, open: &mut HashMap<u64, ()>, outcomes: &mut BTreeMap<u64, String>, tally: &mut Tally) {
    let n = answer["id"].as_u64().unwrap_or_else(|| panic!("{answer}"));
    assert!(open.remove(&n).is_some(), "{n} was answered twice: {answer}");
    let outcome = match answer["error"]["code"].as_i64() {
        None => {
            assert_eq!(text(answer), n.to_string());
            tally.answered += 1;
            "answered"
        }
        Some(-32041 | -32043) => {
            tally.unknown += 1;
            "unknown"
        }
        Some(-32042 | -32045) => {
            tally.failed += 1;
            "failed"
        }
        Some(_) => panic!("{answer}"),
    };
    outcomes.insert(n, outcome.to_owned());
}

/// A repeatable sequence (xorshift64); the moments need no better one.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}
