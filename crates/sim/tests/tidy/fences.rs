//! Inside the core, one file names the primitives and one names the codec.

use super::none;
use super::tree::{File, sources};

/// A crate, as source text names it, and the one place below `crates/proto/src/` that may.
const FENCES: &[(&str, &str)] = &[
    ("x25519_dalek", "crypto"),
    ("ed25519_dalek", "crypto"),
    ("chacha20poly1305", "crypto"),
    ("hkdf", "crypto"),
    ("hmac", "crypto"),
    ("sha2", "crypto"),
    ("libcrux_ml_kem", "crypto"),
    ("libcrux_ml_dsa", "crypto"),
    ("aws_lc_rs", "crypto"),
    ("serde_cbor", "codec"),
];

const PROTO: &str = "crates/proto/src/";

#[test]
fn primitives_and_codec_are_named_in_one_file_each() {
    let sources = sources();
    assert!(sources.iter().any(|file| file.path.starts_with(PROTO)));
    none(sources.iter().flat_map(outside).collect());
}

fn outside(file: &File) -> Vec<String> {
    let Some(inside) = file.path.strip_prefix(PROTO) else { return Vec::new() };
    let place = inside.split(['/', '.']).next().unwrap_or(inside);
    let named = FENCES.iter().filter(|(name, home)| *home != place && names(&file.text, name));
    named.map(|(name, home)| format!("{} names {name}: only {PROTO}{home}.rs may", file.path)).collect()
}

/// True when the text uses the crate: as the start of a path, or whole in a `use`. Comments may talk about it.
fn names(text: &str, krate: &str) -> bool {
    let code = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    code.into_iter().any(|line| {
        line.match_indices(krate).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + krate.len()..]);
            starts_a_path(before) && (after.starts_with("::") || is_import(before, after))
        })
    })
}

/// `crypto::hmac` and `my_hmac` are names of our own.
fn starts_a_path(before: &str) -> bool {
    let before = before.strip_suffix("::").map_or(before, |rest| if ends_in_name(rest) { "x" } else { rest });
    !ends_in_name(before)
}

fn ends_in_name(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '>')
}

fn is_import(before: &str, after: &str) -> bool {
    let imports =
        before.trim_start().trim_start_matches("pub ").starts_with("use ") || before.contains("extern crate ");
    imports && after.trim_start().starts_with([';', ',', '}', 'a'])
}

mod samples {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn every_way_to_name_a_crate_is_found() {
        for text in ["use sha2::Sha256;", "    let x = ::sha2::Sha256::new();", "use {sha2, x};", "use sha2 as hash;"] {
            assert_eq!(outside(&file("crates/proto/src/ratchet.rs", text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn names_of_our_own_and_comments_are_not_taken_for_crates() {
        for text in [
            "crypto::hmac(key)",
            "let sha2 = 1;",
            "// sha2::Sha256",
            "fn hkdf(",
            "crate::crypto::hmac::Tag",
            "my_sha2::x",
        ] {
            assert_eq!(outside(&file("crates/proto/src/ratchet.rs", text)).len(), 0, "{text}");
        }
    }

    #[test]
    fn each_crate_has_its_own_home() {
        assert_eq!(outside(&file("crates/proto/src/crypto.rs", "use sha2::Sha256;")).len(), 0);
        assert_eq!(outside(&file("crates/proto/src/crypto/kem.rs", "use sha2::Sha256;")).len(), 0);
        assert_eq!(outside(&file("crates/proto/src/crypto.rs", "use serde_cbor::Value;")).len(), 1);
        assert_eq!(outside(&file("crates/proto/src/codec.rs", "use serde_cbor::Value;")).len(), 0);
        assert_eq!(outside(&file("crates/proto/src/cryptography.rs", "use sha2::Sha256;")).len(), 1);
    }
}
