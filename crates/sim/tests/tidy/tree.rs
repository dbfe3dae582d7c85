//! The repository as text.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One file of the repository, by its path from the root.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// What builds, tools and editors leave beside the sources.
const NOT_OURS: &[&str] = &[".git", ".venv", ".idea", ".vscode", "target", "artifacts", "node_modules", "__pycache__"];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// Every text file below a folder of the repository; binary ones have no names to look for.
pub(crate) fn files_below(folder: &str) -> Vec<File> {
    let mut paths = Vec::new();
    walk(&root().join(folder), &mut paths);
    let read = |path: PathBuf| {
        let text = String::from_utf8(fs::read(&path).unwrap()).ok()?;
        Some(File { path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text })
    };
    paths.into_iter().filter_map(read).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            walk(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

/// The Rust sources of all crates.
pub(crate) fn sources() -> Vec<File> {
    let mut files = files_below("crates");
    files.retain(|file| file.path.contains("/src/") && file.path.ends_with(".rs"));
    assert!(!files.is_empty());
    files
}

/// The workspace's own packages.
pub(crate) fn members() -> Vec<String> {
    let listing = cargo(&["tree", "--workspace", "--depth", "0", "--prefix", "none"]);
    names(&listing)
}

/// The packages that `package` depends on, for every target and feature: directly, or through others too.
pub(crate) fn dependencies(package: &str, edges: &str, depth: Option<u8>) -> Vec<String> {
    let depth = depth.map_or("all".to_owned(), |depth| depth.to_string());
    let mut args = vec!["tree", "--package", package, "--edges", edges, "--prefix", "none", "--all-features"];
    if depth != "all" {
        args.extend(["--target", "all", "--depth", &depth]);
    }
    let mut names = names(&cargo(&args));
    names.retain(|name| name != package);
    names
}

/// The first word of each line, once.
fn names(listing: &str) -> Vec<String> {
    let mut names: Vec<String> =
        listing.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new("cargo").args(args).arg("--locked").current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
