//! What is absent from the tree stays absent: arrows that would point up, names outside their fence, files too large.
//!
//! Each rule is a function from text to violations, tried on a small bad sample beside it, and then on the tree.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/fences.rs"]
mod fences;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/threats.rs"]
mod threats;
#[path = "tidy/tree.rs"]
mod tree;

/// Fails with every violation at once.
#[track_caller]
fn none(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}
