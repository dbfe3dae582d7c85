//! `nuncio gateway`: a node, an issuer of logins, a provider, and people; the gateway is killed in the middle.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

use nuncio_proto::crypto::SigningKey;
use nuncio_proto::token;
use serde_json::{Value, json};

use crate::node::{Running, made};
use crate::support::{Daemon, Homes, command, fails, http, json as printed, ok};

fn key() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

fn login() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let members = json!({
        "iss": "https://login.example", "aud": "acme", "sub": "anna", "client_id": "app", "jti": now.to_string(), "iat": now, "exp": now + 600,
        "scope": "chat.complete",
    });
    token::sign(&key(), "at+jwt", &members.to_string())
}

/// A node whose policy names the gateway's agent and the issuer.
fn domain(homes: &Homes) -> (Running, PathBuf) {
    let home = made(homes);
    let node = Running::start(env!("CARGO_BIN_EXE_nuncio"), &["node"], &home);
    let gate = homes.path("gate");
    ok(&gate, &["init", "--trust-domain", "acme.example", "--node", node.ready["invitation"].as_str().unwrap()]);
    let did = printed(&gate, &["id"])["agent"].as_str().unwrap().to_owned();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": data_encoding::BASE64URL_NOPAD.encode(&key().public()) });
    std::fs::write(home.join("login.json"), json!({ "keys": [jwk] }).to_string()).unwrap();
    let mut policy = std::fs::read_to_string(home.join("policy.toml")).unwrap();
    policy.push_str(&format!(
        "[[issuer]]\nissuer = \"https://login.example\"\njwks_file = \"login.json\"\naudience = [\"acme\"]\ntypes = [\"access_token\"]\nsubject_prefix = \"user:\"\n\
         [[client]]\nname = \"gate\"\ndid = \"{did}\"\n[[client.grant]]\nsubject_types = [\"access_token\"]\nsubjects = [\"user:*\"]\nscope = \"chat.complete\"\n"
    ));
    std::fs::write(home.join("policy.toml"), policy).unwrap();
    ok(&home, &["node", "reload"]);
    (node, gate)
}

fn gateway(home: &Path) -> Daemon {
    let mut command = command(home);
    command.args(["--json", "gateway", "--stop-with-stdin", "--listen", "127.0.0.1:0"]).env("NUNCIO_LOG", "warn");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value =
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("a gateway that said {line:?}: {error}"));
    Daemon { home: home.to_owned(), ready, child }
}

fn complete(gateway: &Daemon, body: &Value) -> (u16, String) {
    let at = gateway.ready["gateway"].as_str().unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\nauthorization: Bearer {}",
        login()
    );
    http(at, &head, &body.to_string())
}

/// contracts/gateway.md W15.
#[test]
fn a_gateway_that_is_killed_in_the_middle_has_used_what_was_reserved() {
    let homes = Homes::new();
    let (_node, gate) = domain(&homes);
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let key_file = gate.join("provider.key");
    std::fs::write(&key_file, "sk-owner\n").unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = format!(
        "listen = \"127.0.0.1:0\"\n[chat]\nurl = \"http://{}/v1\"\nkey_file = \"provider.key\"\nscope = \"chat.complete\"\nmodels = [\"small\"]\n\
         [budget.tokens]\nmode = \"hard\"\nlimit = 150\nper = \"day\"\n",
        provider.local_addr().unwrap()
    );
    std::fs::write(gate.join("gateway.toml"), &file).unwrap();
    let body = json!({ "model": "small", "max_tokens": 100 });

    let mut first = gateway(&gate);
    let (reached, at_provider) = mpsc::channel();
    let serving = std::thread::spawn(move || {
        for answers in [false, true] {
            let (mut stream, _) = provider.accept().unwrap();
            let mut seen = [0; 4096];
            let len = stream.read(&mut seen).unwrap();
            reached.send(String::from_utf8_lossy(&seen[..len]).into_owned()).unwrap();
            if answers {
                let answer = r#"{"usage":{"total_tokens":5}}"#;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).unwrap();
            } else {
                // Until the gateway is killed.
                let _ = stream.read(&mut seen);
            }
        }
    });
    let at = first.ready["gateway"].as_str().unwrap().to_owned();
    let asking = std::thread::spawn({
        let body = body.clone();
        move || {
            let mut stream = std::net::TcpStream::connect(at).unwrap();
            let (token, body) = (login(), body.to_string());
            let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {token}");
            write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        }
    });
    let seen = at_provider.recv_timeout(crate::support::PATIENCE).unwrap();
    assert!(seen.contains("sk-owner") && !seen.contains(&login()[..40]), "{seen}");
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    assert_eq!(asking.join().unwrap(), "", "it was killed before it answered");

    let second = gateway(&gate);
    let (status, told) = complete(&second, &body);
    assert_eq!(status, 429, "what was under way has used what was reserved: {told}");
    let (status, told) = complete(&second, &json!({ "model": "small", "max_tokens": 20 }));
    assert_eq!(status, 200, "{told}");
    serving.join().unwrap();
    second.stop();
}

fn task(gateway: &Daemon, method: &str, params: &Value) -> Value {
    let at = gateway.ready["gateway"].as_str().unwrap();
    let head = format!(
        "POST /v1/a2a/ask HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\na2a-version: 1.0\r\nauthorization: Bearer {}",
        login()
    );
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let (status, told) = http(at, &head, &body.to_string());
    assert_eq!(status, 200, "{told}");
    serde_json::from_str::<Value>(&told).unwrap()["result"].take()
}

fn question(at_once: bool) -> Value {
    let message = json!({ "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "why?" }] });
    json!({ "message": message, "configuration": { "returnImmediately": at_once } })
}

/// contracts/gateway.md W34.
#[test]
fn a_task_that_worked_when_the_gateway_was_killed_has_failed_and_is_not_done_again() {
    let homes = Homes::new();
    let (_node, gate) = domain(&homes);
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let key_file = gate.join("provider.key");
    std::fs::write(&key_file, "sk-owner\n").unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = format!(
        "listen = \"127.0.0.1:0\"\n[chat]\nurl = \"http://{}/v1\"\nkey_file = \"provider.key\"\nscope = \"chat.complete\"\nmodels = [\"small\"]\n\
         [tasks.ask]\nscope = \"chat.complete\"\nmodel = \"small\"\n",
        provider.local_addr().unwrap()
    );
    std::fs::write(gate.join("gateway.toml"), &file).unwrap();
    let (reached, at_provider) = mpsc::channel();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for no in 0.. {
            let (mut stream, _) = provider.accept().unwrap();
            let mut seen = [0; 4096];
            assert!(stream.read(&mut seen).unwrap() > 0);
            if no == 0 {
                let answer = r#"{"choices":[{"message":{"content":"it scatters"}}],"usage":{"total_tokens":5}}"#;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).unwrap();
            } else {
                held.push(stream);
            }
            // Until the test is over.
            let _ = reached.send(no);
        }
    });
    let mut first = gateway(&gate);
    let done = task(&first, "SendMessage", &question(false))["task"].take();
    assert_eq!(done["artifacts"][0]["parts"][0]["text"], "it scatters");
    let works = task(&first, "SendMessage", &question(true))["task"]["id"].take();
    while at_provider.recv_timeout(crate::support::PATIENCE).unwrap() == 0 {}
    first.child.kill().unwrap();
    first.child.wait().unwrap();

    let second = gateway(&gate);
    assert_eq!(task(&second, "GetTask", &json!({ "id": done["id"] })), done);
    let failed = task(&second, "GetTask", &json!({ "id": works }));
    assert_eq!(failed["status"]["state"], "TASK_STATE_FAILED");
    let words = failed["status"]["message"]["parts"][0]["text"].as_str().unwrap();
    assert!(words.contains("not known"), "{words}");
    assert_eq!(task(&second, "ListTasks", &json!({}))["totalSize"], 2);
    assert!(at_provider.recv_timeout(std::time::Duration::from_secs(1)).is_err(), "it is not done again");
    second.stop();
}

#[test]
fn a_gateway_starts_whole_or_not_at_all() {
    let homes = Homes::new();
    let home = homes.init("alone");
    let start = ["gateway", "--listen", "127.0.0.1:0"];
    assert!(fails(&home, &start, 1).contains("gateway.toml"), "there is none");
    for (text, says) in [
        ("listens = \"127.0.0.1:0\"", "listens"),
        ("listen = \"0.0.0.0:0\"", "[tls]"),
        ("[chat]\nkey = \"sk-1\"", "key"),
        ("[tasks.ask]\nscope = \"a\"", "tasks.ask"),
        ("", "trust domain"),
    ] {
        std::fs::write(home.join("gateway.toml"), text).unwrap();
        let said = fails(&home, &start, 1);
        assert!(said.contains(says) && said.contains("hint: ") && !said.contains("sk-1"), "{text}: {said}");
    }
}
