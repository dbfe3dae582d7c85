//! The binary, homes and agents of a test. Every agent is killed with its test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nuncio_cli::client::Api;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_nuncio")
}

/// A directory of homes, removed with the test.
pub(crate) struct Homes(TempDir);

impl Homes {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A home with a key file.
    pub(crate) fn init(&self, name: &str) -> PathBuf {
        let home = self.path(name);
        ok(&home, &["init", "--letters-without-token", "deliver"]);
        home
    }

    /// Two homes, an agent on each, each a peer of the other.
    pub(crate) fn pair(&self) -> (Daemon, Daemon) {
        let (anna, ben) = (Daemon::start(&self.init("anna"), &[]), Daemon::start(&self.init("ben"), &[]));
        anna.add(&ben, "ben");
        ben.add(&anna, "anna");
        (anna, ben)
    }
}

pub(crate) fn nuncio(home: &Path, args: &[&str]) -> Output {
    command(home).args(args).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn command(home: &Path) -> Command {
    let mut command = Command::new(binary());
    command.arg("--home").arg(home).env_remove("NUNCIO_HOME").env_remove("NUNCIO_LOG");
    command
}

/// Runs a command that has to succeed; its standard output.
pub(crate) fn ok(home: &Path, args: &[&str]) -> String {
    let output = nuncio(home, args);
    assert!(output.status.success(), "nuncio {args:?}: {:?}\n{}", output.status.code(), stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The JSON that a command prints.
pub(crate) fn json(home: &Path, args: &[&str]) -> Value {
    let printed = ok(home, &[&["--json"], args].concat());
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("nuncio {args:?} printed {printed:?}: {error}"))
}

/// Runs a command that has to fail in this way; its standard error.
pub(crate) fn fails(home: &Path, args: &[&str], code: i32) -> String {
    let output = nuncio(home, args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "nuncio {args:?}: {text}");
    text
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running `nuncio agent`.
pub(crate) struct Daemon {
    pub(crate) home: PathBuf,
    /// What it said when it was ready.
    pub(crate) ready: Value,
    pub(crate) child: Child,
}

impl Daemon {
    pub(crate) fn start(home: &Path, more: &[&str]) -> Self {
        Self::listen(home, "127.0.0.1:0", more)
    }

    pub(crate) fn listen(home: &Path, address: &str, more: &[&str]) -> Self {
        Self::listen_logging(home, address, more, "warn", Stdio::inherit())
    }

    pub(crate) fn listen_logging(home: &Path, address: &str, more: &[&str], level: &str, logs: Stdio) -> Self {
        let mut command = command(home);
        command
            .args(["--json", "agent", "--stop-with-stdin", "--listen", address])
            .args(more)
            .env("NUNCIO_LOG", level)
            .stderr(logs);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("an agent that said {line:?}: {error}"));
        Self { home: home.to_owned(), ready, child }
    }

    pub(crate) fn did(&self) -> &str {
        self.ready["agent"].as_str().unwrap()
    }

    pub(crate) fn invitation(&self) -> &str {
        self.ready["invitation"].as_str().unwrap()
    }

    pub(crate) fn listening(&self) -> &str {
        self.ready["listening"].as_str().unwrap()
    }

    pub(crate) fn api(&self) -> Api {
        Api::at(&self.home)
    }

    pub(crate) fn add(&self, other: &Self, name: &str) {
        ok(&self.home, &["peers", "add", "--name", name, other.invitation()]);
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended by itself; its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "the agent does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        assert_eq!(self.ended(), Some(0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request as it is written, and reads the answer's status and body to the end of the connection.
pub(crate) fn http(address: &str, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("{head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap();
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// A test that cannot run here says so; it never passes silently.
pub(crate) fn not_run(test: &str, reason: &str) {
    if let Some(path) = std::env::var_os("NUNCIO_NOT_RUN_FILE") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{test}: {reason}").unwrap();
    } else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{test}: {reason}");
        eprintln!("NOT RUN: {test}: {reason}");
    }
}
