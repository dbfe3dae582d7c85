//! Files are small, named for what they hold, and the same on every machine.

use super::none;
use super::tree::{File, files_below, sources};

const LINES_MAX: usize = 600;
/// Written in two parts, so that this file passes its own test.
const MACHINE_PATHS: &[&str] =
    &[concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

#[test]
fn no_source_file_is_too_long() {
    none(sources().iter().filter_map(too_long).collect());
}

#[test]
fn no_file_is_called_mod_rs() {
    none(files_below("").iter().filter_map(unnamed).collect());
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let files = files_below("");
    assert!(files.iter().any(|file| file.path == "Cargo.toml"));
    none(files.iter().flat_map(machine_paths).collect());
}

fn too_long(file: &File) -> Option<String> {
    let lines = file.text.lines().count();
    (lines > LINES_MAX).then(|| format!("{} has {lines} lines: at most {LINES_MAX}", file.path))
}

fn unnamed(file: &File) -> Option<String> {
    let name = file.path.rsplit('/').next();
    (name == Some("mod.rs")).then(|| format!("{}: name the file after its module", file.path))
}

fn machine_paths(file: &File) -> Vec<String> {
    let numbered = file.text.lines().zip(1..);
    let bad = numbered.filter(|(line, _)| MACHINE_PATHS.iter().any(|path| is_absolute(line, path)));
    bad.map(|(line, number)| format!("{}:{number}: a path of one machine: {}", file.path, line.trim())).collect()
}

/// True when the path starts at the file system's root, and is not the middle of an address or of a relative path.
fn is_absolute(line: &str, path: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '~' | '}' | '>');
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(inside))
}

mod samples {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_long_file_is_found() {
        assert!(too_long(&file("a.rs", &"\n".repeat(LINES_MAX + 1))).is_some());
        assert!(too_long(&file("a.rs", &"\n".repeat(LINES_MAX))).is_none());
    }

    #[test]
    fn a_mod_rs_is_found() {
        assert!(unnamed(&file("crates/x/src/y/mod.rs", "")).is_some());
        assert!(unnamed(&file("crates/x/src/y/amod.rs", "")).is_none());
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        for path in MACHINE_PATHS {
            assert_eq!(
                machine_paths(&file("a", &format!("see\n\"{path}x\""))),
                [format!("a:2: a path of one machine: \"{path}x\"")]
            );
            assert!(machine_paths(&file("a", &format!("https://example.org{path}x"))).is_empty());
        }
    }
}
