//! The one-file examples of other languages, over the local API alone.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Homes, not_run, ok};

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
    if Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return not_run(test, &format!("{program} is missing"));
    }
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    // A letter that answers nothing: it is there first and stays.
    ok(&ben.home, &["send", "anna", "--text", "by the way", "--wait"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(file);
    let mut command = Command::new(program);
    command.arg(script).arg(anna.home.join("api.sock")).args(["ben", "what time is it?"]);
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
