//! The README shows what the doctest runs.

#[test]
fn the_embedding_example_is_the_doctest_of_the_crate() {
    let readme = include_str!("../../../../README.md");
    let shown = readme.split_once("```rust\n").unwrap().1.split_once("```").unwrap().0;
    let source = include_str!("../../../nuncio/src/lib.rs");
    let doctest = source.split_once("//! ```\n").unwrap().1.split_once("//! ```\n").unwrap().0;
    let run: Vec<&str> = doctest
        .lines()
        .map(|line| line.trim_start_matches("//!").strip_prefix(' ').unwrap_or(""))
        .filter(|line| !line.starts_with("# "))
        .collect();
    assert_eq!(shown.lines().collect::<Vec<_>>(), run);
    assert!(readme.lines().count() <= 120, "the README is too long");
}
