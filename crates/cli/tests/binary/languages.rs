//! The one-file examples of other languages, over the local API alone.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Homes, not_run, ok};

#[test]
fn the_examples_say_in_a_line_why_they_cannot() {
    for (program, file) in [("python3", "local_api.py"), ("node", "local_api.mjs")] {
        if is_missing(program) {
            not_run("languages::the_examples_say_in_a_line_why_they_cannot", &format!("{program} is missing"));
            continue;
        }
        let usage = Command::new(program).arg(example(file)).output().unwrap();
        let said = String::from_utf8_lossy(&usage.stderr).into_owned();
        assert!(usage.status.code() == Some(2) && said.contains("api.sock PEER TEXT"), "{file}: {said}");
        let homes = Homes::new();
        let (anna, _ben) = homes.pair();
        let deaf = homes.path("deaf.sock");
        drop(std::os::unix::net::UnixListener::bind(&deaf).unwrap());
        let answers = answers_once(&homes.path("odd.sock"), "HTTP/1.1 500 Oh\r\ncontent-length: 3\r\n\r\nno!");
        for (socket, to, why) in [
            (&homes.path("none.sock"), "ben", "no agent"),
            (&deaf, "ben", "no agent"),
            (&anna.home.join("api.sock"), "carl", "no_such_peer"),
            (&answers, "ben", "500"),
        ] {
            let output = Command::new(program).arg(example(file)).arg(socket).args([to, "hello?"]).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{file}: {said}");
            assert!(said.contains(why), "{file}: {said}");
        }
    }
}

/// A socket where the first request gets this answer.
fn answers_once(socket: &Path, answer: &'static str) -> PathBuf {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        // Closed with a request in it, it would be reset. The program may go first.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    socket.to_owned()
}

fn is_missing(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
}

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(file)
}

#[test]
fn python_needs_only_its_standard_library() {
    speak("languages::python_needs_only_its_standard_library", "python3", "local_api.py");
}

#[test]
fn node_needs_only_its_own_modules() {
    speak("languages::node_needs_only_its_own_modules", "node", "local_api.mjs");
}

/// The program writes to ben, ben answers, the program prints the answer and removes it.
fn speak(test: &str, program: &str, file: &str) {
    if is_missing(program) {
        return not_run(test, &format!("{program} is missing"));
    }
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    // A letter that answers nothing: it is there first and stays.
    ok(&ben.home, &["send", "anna", "--text", "by the way", "--wait"]);
    let mut command = Command::new(program);
    command.arg(example(file)).arg(anna.home.join("api.sock")).args(["ben", "what time is it?"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "delivered: what time is it?");

    let question: Value = serde_json::from_str(&ok(&ben.home, &["inbox", "--json"])).unwrap();
    assert_eq!(question["text"], "what time is it?");
    ok(&ben.home, &["send", "anna", "--text", "tea time", "--reply-to", question["id"].as_str().unwrap()]);
    assert_eq!(lines.next().unwrap().unwrap(), "ben answers: tea time");
    assert!(child.wait().unwrap().success());
    let left = ok(&anna.home, &["inbox", "--json"]);
    assert!(left.lines().count() == 1 && left.contains("by the way"), "{left}");
}
