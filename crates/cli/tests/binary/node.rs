//! `nuncio node` and `nuncio-node`: made, run, told, stopped.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Homes, PATIENCE, fails, http, json, ok};

/// A node that runs; killed with its test.
pub(crate) struct Running {
    child: Child,
    pub(crate) ready: Value,
}

impl Running {
    pub(crate) fn start(program: &str, words: &[&str], home: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(words).arg("--home").arg(home).args(["--json", "run", "--stop-with-stdin"]);
        command.args(["--listen", "127.0.0.1:0", "--quic", "127.0.0.1:0"]).env_remove("NUNCIO_HOME");
        let mut child = command.env("NUNCIO_LOG", "off").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("a node that said {line:?}: {error}"));
        Self { child, ready }
    }

    fn get(&self, path: &str) -> (u16, String) {
        http(self.ready["tcp"].as_str().unwrap(), &format!("GET {path} HTTP/1.1\r\nhost: node"), "")
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(status.success());
    }

    fn ended(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "the node does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn made(homes: &Homes) -> std::path::PathBuf {
    let home = homes.path("node");
    ok(&home, &["node", "init", "--domain", "acme.example", "--issuer", "http://127.0.0.1:7430"]);
    home
}

#[test]
fn a_node_is_made_runs_turns_its_keys_and_stops() {
    let homes = Homes::new();
    let home = made(&homes);
    let again = ["node", "init", "--domain", "acme.example", "--issuer", "http://127.0.0.1:7430"];
    assert!(fails(&home, &again, 1).contains("--home"), "it is made once");
    ok(&home, &["node", "check"]);
    assert!(fails(&home, &["node", "keys", "rotate"], 1).contains("no keys yet"));

    for (program, words, signal) in
        [(env!("CARGO_BIN_EXE_nuncio"), &["node"][..], "TERM"), (env!("CARGO_BIN_EXE_nuncio-node"), &[], "INT")]
    {
        let mut node = Running::start(program, words, &home);
        assert_eq!(node.get("/health/ready").0, 200);
        let before: Value = serde_json::from_str(&node.get("/jwks").1).unwrap();
        assert!(fails(&home, &["node", "keys", "rotate"], 1).contains("force"));
        let rotated = json(&home, &["node", "keys", "rotate", "--force"]);
        assert!(before["keys"].as_array().unwrap().iter().any(|key| key["kid"] == rotated["signs"]));
        ok(&home, &["node", "revoke", "01a21892-77f0-77d1-a1be-1ff4b8bf8ce3"]);
        fails(&home, &["node", "revoke", "whatever"], 2);
        node.signal(signal);
        assert_eq!(node.ended(), Some(0));
        assert!(!home.join("node.sock").exists());
    }
    ok(&home, &["node", "keys", "rotate", "--force"]);
}

#[test]
fn a_node_is_made_whole_or_not_at_all() {
    let homes = Homes::new();
    let home = homes.path("node");
    let (domain, issuer) = (["--domain", "acme.example"], ["--issuer", "http://127.0.0.1:7430"]);
    for (given, missing) in
        [(&[][..], &["--domain", "--issuer"][..]), (&domain, &["--issuer"]), (&issuer, &["--domain"])]
    {
        let said = fails(&home, &[&["node", "init"], given].concat(), 2);
        let (named, _) = said.split_once("Usage").unwrap();
        assert!(missing.iter().all(|flag| named.contains(flag)), "{said}");
        let mut alone = Command::new(env!("CARGO_BIN_EXE_nuncio-node"));
        let alone = alone.arg("--home").arg(&home).arg("init").args(given).output().unwrap();
        assert_eq!(alone.status.code(), Some(2), "{given:?}");
        assert!(!home.exists(), "{given:?} made something");
    }
    for (domain, issuer) in [
        ("acme.example", "not-a-url"),
        ("acme.example", "http://acme.example"),
        ("acme.example", "https://acme.example/path"),
        ("acme.example", "https://acme.example\n"),
        ("acme.example", "https://acme.example\\x"),
        ("bad domain", "https://acme.example"),
        ("bad\"domain", "https://acme.example"),
    ] {
        let said = fails(&home, &["node", "init", "--domain", domain, "--issuer", issuer], 2);
        assert!(said.contains("could not run") && said.contains("--issuer https://"), "{said}");
        assert!(!home.exists(), "{domain} {issuer} made something");
    }
    // A policy that lies there is somebody's work: it is left, and nothing is made beside it.
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("policy.toml"), "mine").unwrap();
    let said = fails(&home, &[&["node", "init"][..], &domain, &issuer].concat(), 1);
    assert!(said.contains("policy.toml") && !home.join("keys").exists(), "{said}");
    assert_eq!(std::fs::read(home.join("policy.toml")).unwrap(), b"mine");
}

/// The lines that a node prints for people when it is ready; it ends with its standard input.
fn printed(home: &Path, more: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nuncio-node"));
    command.arg("--home").arg(home).args(["run", "--listen", "127.0.0.1:0", "--stop-with-stdin"]).args(more);
    let output = command.env_remove("NUNCIO_HOME").env("NUNCIO_LOG", "off").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_node_prints_the_line_that_agents_name_it_by() {
    let homes = Homes::new();
    let home = made(&homes);
    let lines = printed(&home, &["--quic", "127.0.0.1:0"]);
    let [serves, line] = lines.as_slice() else { panic!("{lines:?}") };
    let address = serves.split(" QUIC ").nth(1).unwrap();
    assert!(line.starts_with("nuncio:did:key:") && line.ends_with(&format!("?at={address}")), "{lines:?}");
    let agent = homes.path("agent");
    ok(&agent, &["init", "--trust-domain", "acme.example", "--node", line]);
    assert!(std::fs::read_to_string(agent.join("nuncio.toml")).unwrap().contains(&format!("\nnode = \"{line}\"\n")));
    ok(&agent, &["id"]);

    let advertised = printed(&home, &["--quic", "0.0.0.0:0", "--advertise", "node.acme.example:7431"]);
    assert!(advertised[1].ends_with("?at=node.acme.example:7431"), "{advertised:?}");
    // All addresses are none that somebody else could dial.
    assert!(!printed(&home, &["--quic", "0.0.0.0:0"])[1].contains('?'));
    assert_eq!(printed(&home, &[]).len(), 1, "no agent asks over TCP");
    let node = Running::start(env!("CARGO_BIN_EXE_nuncio-node"), &[], &home);
    assert!(node.ready["invitation"].as_str().unwrap().ends_with(node.ready["quic"].as_str().unwrap()));
}

#[test]
fn a_link_to_the_page_is_printed_and_signs_in_once() {
    let homes = Homes::new();
    let home = made(&homes);
    let node = Running::start(env!("CARGO_BIN_EXE_nuncio-node"), &[], &home);
    let tcp = node.ready["tcp"].as_str().unwrap();
    let link = ok(&home, &["node", "page"]);
    let (place, secret) = link.trim().split_once('#').unwrap();
    assert_eq!(place, format!("http://{tcp}/sign-in"));
    let sign_in = || http(tcp, "POST /sign-in HTTP/1.1\r\nhost: node", secret).0;
    assert_eq!((sign_in(), sign_in()), (204, 403));
    assert_eq!(json(&home, &["node", "page"])["life_s"], 600);
    drop(node);
    assert!(fails(&home, &["node", "page"], 1).contains("nuncio node run"));
}

#[test]
fn a_policy_is_read_again_on_sighup_and_a_bad_one_is_not_taken() {
    let homes = Homes::new();
    let home = made(&homes);
    let policy = home.join("policy.toml");
    let good = std::fs::read_to_string(&policy).unwrap();
    let node = Running::start(env!("CARGO_BIN_EXE_nuncio-node"), &[], &home);
    std::fs::write(&policy, "nonsense").unwrap();
    assert!(fails(&home, &["node", "reload"], 1).contains("policy.toml"));
    assert!(fails(&home, &["node", "check"], 1).contains("policy.toml"));
    node.signal("HUP");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(node.get("/health/ready").0, 200, "SIGHUP ends nothing");
    std::fs::write(&policy, good).unwrap();
    ok(&home, &["node", "reload"]);
}

/// What is to be done about a node is never said of an agent.
#[test]
fn what_fails_at_a_node_has_a_hint_that_is_true_there() {
    let homes = Homes::new();
    let (home, agent) = (made(&homes), homes.init("agent"));
    let again = ["node", "init", "--domain", "acme.example", "--issuer", "http://127.0.0.1:7430"];
    let run = ["node", "run", "--listen", "127.0.0.1:0"];
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let none = homes.path("none");
    let hint = |home: &Path, args: &[&str], code| {
        let said = fails(home, args, code);
        assert!(
            !["the agent", "agent's", "doctor", "nuncio init", "nuncio id", "nuncio agent", "api.sock"]
                .iter()
                .any(|word| said.contains(word)),
            "{args:?}: {said}"
        );
        said.split_once("hint: ").unwrap_or_else(|| panic!("{args:?}: {said}")).1.to_owned()
    };
    for args in [&run[..], &["node", "keys", "rotate"]] {
        assert!(hint(&none, args, 1).contains("nuncio node init"));
        assert!(hint(&agent, args, 1).contains("nuncio node init"));
    }
    for args in [&["node", "reload"][..], &["node", "revoke", "01a21892-77f0-77d1-a1be-1ff4b8bf8ce3"]] {
        assert!(hint(&home, args, 1).contains("nuncio node run"));
    }
    assert!(hint(&home, &again, 1).contains("--home"));
    assert!(hint(&home, &["node", "keys", "rotate"], 1).contains("nuncio node run"), "it has never run");
    assert!(hint(&home, &["node", "run", "--no-tcp", "--quic", &taken], 1).contains("--quic"));
    let _running = Running::start(env!("CARGO_BIN_EXE_nuncio-node"), &[], &home);
    assert!(hint(&home, &run, 1).contains("stop"));
    hint(&home, &["node", "keys", "rotate"], 1);
    std::fs::write(home.join("policy.toml"), "nonsense").unwrap();
    assert!(!hint(&home, &["node", "reload"], 1).contains("log"), "all is said");
    hint(&home, &["node", "check"], 1);
}

#[test]
fn what_cannot_be_served_is_said_before_anything_runs() {
    let homes = Homes::new();
    let home = made(&homes);
    let said = fails(&home, &["node", "run", "--listen", "0.0.0.0:0"], 2);
    assert!(said.contains("certificate"), "{said}");
    assert!(fails(&home, &["node", "run", "--no-tcp"], 2).contains("serves nobody"));
    assert!(fails(&homes.init("agent"), &["node", "run", "--listen", "127.0.0.1:0"], 1).contains("no home of a node"));
    // And a node's home is none of an agent.
    for args in [&["status"][..], &["id"], &["agent", "--listen", "127.0.0.1:0"]] {
        let said = fails(&home, args, 1);
        assert!(said.contains("home of a node") && !said.contains("remove"), "{said}");
    }
}
