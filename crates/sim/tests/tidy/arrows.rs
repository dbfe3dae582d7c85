//! Arrows only point down.

use super::none;
use super::tree::{dependencies, members};

/// What each of our packages may depend on, of our packages. A package that is not here has no place yet.
const ARROWS: &[(&str, &[&str])] = &[
    ("nuncio-contracts", &[]),
    ("nuncio-proto", &["nuncio-contracts"]),
    ("nuncio-store", &["nuncio-contracts", "nuncio-proto"]),
    ("nuncio-transport", &["nuncio-contracts", "nuncio-proto"]),
    ("nuncio", &["nuncio-contracts", "nuncio-proto", "nuncio-store", "nuncio-transport"]),
    ("nuncio-node", &["nuncio-contracts", "nuncio-proto", "nuncio-store", "nuncio-transport"]),
    ("nuncio-bridge", &["nuncio-contracts", "nuncio-proto", "nuncio-transport", "nuncio"]),
    (
        "nuncio-cli",
        &[
            "nuncio-contracts",
            "nuncio-proto",
            "nuncio-store",
            "nuncio-transport",
            "nuncio",
            "nuncio-node",
            "nuncio-bridge",
        ],
    ),
    // For development only: nothing above may be built from these.
    (
        "nuncio-bench",
        &[
            "nuncio-contracts",
            "nuncio-proto",
            "nuncio-store",
            "nuncio-transport",
            "nuncio",
            "nuncio-node",
            "nuncio-bridge",
            "nuncio-cli",
        ],
    ),
    ("nuncio-sim", &["nuncio-contracts", "nuncio-proto", "nuncio-store", "nuncio-node"]),
    (
        "nuncio-examples",
        &["nuncio-proto", "nuncio-store", "nuncio-transport", "nuncio", "nuncio-bridge", "nuncio-node"],
    ),
    ("xtask", &[]),
];

/// Packages of others that only one of ours may name.
const FENCED: &[(&str, &str)] = &[
    ("sled", "nuncio-store"),
    ("serde_cbor", "nuncio-proto"),
    ("x25519-dalek", "nuncio-proto"),
    ("ed25519-dalek", "nuncio-proto"),
    ("chacha20poly1305", "nuncio-proto"),
    ("hkdf", "nuncio-proto"),
    ("hmac", "nuncio-proto"),
    ("sha2", "nuncio-proto"),
    ("libcrux-ml-kem", "nuncio-proto"),
    ("libcrux-ml-dsa", "nuncio-proto"),
    ("quinn", "nuncio-transport"),
];

/// Packages that would give the core a clock, a disk, a socket or the operating system's randomness.
const BARRED_FROM_PROTO: &[&str] = &["tokio", "sled", "quinn", "getrandom"];
/// Not in its manifest either; a proof library below libcrux names rand's traits.
const NOT_NAMED_BY_PROTO: &[&str] = &["tokio", "sled", "quinn", "getrandom", "rand"];
/// Packages that would make the embeddable crate heavy.
const BARRED_FROM_NUNCIO: &[&str] = &["axum", "clap", "reqwest", "config"];

#[test]
fn arrows_only_point_down() {
    let members = members();
    assert!(members.iter().any(|name| name == "nuncio-proto"), "cargo tree lists {members:?}");
    none(members.iter().flat_map(|package| upward(package, &direct(package), &members)).collect());
}

#[test]
fn fenced_packages_are_named_by_one_of_ours() {
    none(members().iter().flat_map(|package| outside_fence(package, &direct(package))).collect());
}

#[test]
fn the_core_has_no_clock_disk_socket_or_system_randomness() {
    none(barred("nuncio-proto", &direct("nuncio-proto"), NOT_NAMED_BY_PROTO));
    none(barred("nuncio-proto", &dependencies("nuncio-proto", "normal", None), BARRED_FROM_PROTO));
}

#[test]
fn the_embeddable_crate_stays_light() {
    none(barred("nuncio", &dependencies("nuncio", "normal", None), BARRED_FROM_NUNCIO));
}

fn direct(package: &str) -> Vec<String> {
    dependencies(package, "normal,build", Some(1))
}

fn upward(package: &str, dependencies: &[String], members: &[String]) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package) else {
        return vec![format!("{package} has no place among the arrows of crates/sim/tests/tidy/arrows.rs")];
    };
    let ours = dependencies.iter().filter(|name| members.contains(name));
    ours.filter(|name| !allowed.contains(&name.as_str())).map(|name| format!("{package} may not use {name}")).collect()
}

fn outside_fence(package: &str, dependencies: &[String]) -> Vec<String> {
    let fenced = FENCED.iter().filter(|(name, owner)| *owner != package && dependencies.iter().any(|d| d == name));
    fenced.map(|(name, owner)| format!("{package} may not name {name}: only {owner} does")).collect()
}

fn barred(package: &str, dependencies: &[String], barred: &[&str]) -> Vec<String> {
    let found = dependencies.iter().filter(|name| barred.contains(&name.as_str()));
    found.map(|name| format!("{package} may not be built with {name}")).collect()
}

mod samples {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_arrow_up_is_found() {
        let members = list(&["nuncio-proto", "nuncio-store"]);
        assert_eq!(upward("nuncio-proto", &list(&["nuncio-store", "serde"]), &members).len(), 1);
        assert_eq!(upward("nuncio-store", &list(&["nuncio-proto", "serde"]), &members).len(), 0);
        assert_eq!(upward("nuncio-new", &[], &members).len(), 1);
    }

    #[test]
    fn a_name_outside_its_fence_is_found() {
        assert_eq!(outside_fence("nuncio", &list(&["sled", "sha2", "tokio"])).len(), 2);
        assert_eq!(outside_fence("nuncio-store", &list(&["sled"])).len(), 0);
    }

    #[test]
    fn a_barred_package_is_found() {
        assert_eq!(barred("nuncio", &list(&["axum", "axum-core"]), BARRED_FROM_NUNCIO).len(), 1);
    }

    #[test]
    fn cargo_lists_what_is_there() {
        assert!(direct("nuncio-store").contains(&"sled".to_owned()));
        let below = dependencies("nuncio-store", "normal", None);
        assert!(below.contains(&"crossbeam-epoch".to_owned()), "an indirect dependency of sled: {below:?}");
    }
}
