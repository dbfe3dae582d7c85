//! The example bytes in the specifications are the vectors'.
//!
//! A fenced block `` ```hex <vector> <pointer> `` holds hexadecimal digits; behind `;` stands a remark, and a line `…` leaves something out.

use std::fs;

use serde_json::json;

use crate::Vector;
use crate::make_vectors::folder;

#[test]
fn examples_in_the_specifications_are_the_vectors() {
    let contracts = folder().join("..");
    let mut checked = 0;
    for entry in fs::read_dir(&contracts).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).unwrap();
            checked += blocks(&text).into_iter().filter(|block| holds(block)).count();
        }
    }
    assert!(checked >= 7, "each specification begins with an example: {checked}");
}

struct Block<'a> {
    vector: &'a str,
    pointer: &'a str,
    lines: Vec<&'a str>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found: Vec<Block<'_>> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(at) = line.strip_prefix("```hex ") {
            let (vector, pointer) = at.split_once(' ').expect("a vector and a pointer");
            found.push(Block { vector, pointer, lines: Vec::new() });
            inside = true;
        } else if line.starts_with("```") {
            inside = false;
        } else if inside {
            found.last_mut().unwrap().lines.push(line);
        }
    }
    found
}

fn holds(block: &Block<'_>) -> bool {
    let vector = Vector::read(&fs::read_to_string(folder().join(block.vector)).expect(block.vector));
    let whole = json!({ "input": vector.input, "expect": vector.expect });
    let mut rest = whole.pointer(block.pointer).and_then(|value| value.as_str()).expect(block.pointer);
    let mut anywhere = false;
    for line in &block.lines {
        let digits: String = line.split(';').next().unwrap().split_whitespace().collect();
        if digits == "…" {
            anywhere = true;
            continue;
        }
        let at = if anywhere { rest.find(&digits) } else { rest.starts_with(&digits).then_some(0) };
        let at = at.unwrap_or_else(|| panic!("{} {}: {digits} is not there", block.vector, block.pointer));
        rest = &rest[at + digits.len()..];
        anywhere = false;
    }
    assert!(rest.is_empty() || anywhere, "{} {}: {} characters more", block.vector, block.pointer, rest.len());
    true
}
