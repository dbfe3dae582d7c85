//! Every test that docs/THREATS.md leans on exists.

use crate::none;
use crate::tree::{File, files_below};

/// Names in back quotes that look like a test's, and that no file has as a function.
fn missing(page: &str, sources: &[File]) -> Vec<String> {
    let quoted = page.split('`').skip(1).step_by(2);
    let tests = quoted.filter(|name| {
        name.contains('_')
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    });
    let exists = |name: &str| sources.iter().any(|file| file.text.contains(&format!("fn {name}(")));
    tests.filter(|name| !exists(name)).map(|name| format!("docs/THREATS.md names `{name}`, which is no test")).collect()
}

#[test]
fn threats_name_real_tests() {
    let mut sources = files_below("crates");
    sources.retain(|file| file.path.ends_with(".rs"));
    let page = files_below("docs").into_iter().find(|file| file.path.ends_with("THREATS.md")).expect("docs/THREATS.md");
    assert!(page.text.matches('`').count() > 60, "the table names its tests");
    none(missing(&page.text, &sources));
}

#[test]
fn a_test_that_is_not_there_is_seen() {
    let sources = [File { path: "a.rs".into(), text: "fn a_real_test() {}".into() }];
    assert_eq!(missing("| x | `a_real_test`, `a_lost_test` and `Peer::load` |", &sources).len(), 1);
}
