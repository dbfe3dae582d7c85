//! Policies that are taken, and everything that is not.

use std::path::Path;

use super::*;

const SERVICE: &str = r#"
schema = "nuncio/policy/1"
[service]
trust_domain = "acme.example"
issuer = "https://txts.acme.example"
transaction_life_s = 3600
"#;

const DID: &str = "did:key:z6MkjpRWcN4yikEGonoqv35FkfjULF4MPbFqNFp6TiNqxHZN";

fn read(text: &str) -> Result<Policy, Why> {
    parse(text, Path::new("."))
}

fn client(rest: &str) -> String {
    format!("{SERVICE}\n[[client]]\nname = \"planner\"\ndid = \"{DID}\"\n{rest}")
}

const GRANT: &str = "[[client.grant]]\nsubject_types = [\"txn_token\"]\nsubjects = [\"*\"]\nscope = \"a b\"\n";

#[test]
fn a_small_policy_is_read_and_says_nothing_more_than_it_does() {
    let policy = read(&client(GRANT)).unwrap();
    let planner = policy.client("planner").unwrap();
    assert_eq!(policy.client_of(&DID.parse().unwrap()).unwrap().name, "planner");
    assert!(!policy.is_operator(planner));
    assert_eq!((policy.service.token_life_s, policy.service.hops_max), (120, 16));
    assert_eq!(policy.service.algorithm, Algorithm::EdDsa);
    let nothing = read(SERVICE).unwrap();
    assert!(nothing.client("planner").is_none() && nothing.issuers.is_empty());
}

#[test]
fn whatever_does_not_fit_the_schema_or_contradicts_itself_is_refused_whole() {
    let issuer = |rest: &str| {
        format!("{SERVICE}\n[[issuer]]\nissuer = \"https://login\"\naudience = [\"a\"]\ntypes = [\"jwt\"]\n{rest}")
    };
    let url = "jwks_url = \"https://login/jwks\"\n";
    for (bad, why) in [
        (String::new(), "empty"),
        ("schema = 1".to_owned(), "no service"),
        (SERVICE.replace("policy/1", "policy/2"), "another schema"),
        (SERVICE.replace("3600", "86401"), "a transaction that is too long"),
        (SERVICE.replace("https://txts.acme.example", "http://txts.acme.example"), "http beyond loopback"),
        (SERVICE.replace("txts.acme.example", "txts.acme.example/path"), "a path in the issuer"),
        (format!("{SERVICE}\ntoken_life_s = 301"), "a life that is too long"),
        (format!("{SERVICE}\nalgorithm = \"none\""), "no algorithm"),
        (format!("{SERVICE}\nsurprise = 1"), "an unknown word"),
        (client("surprise = 1"), "an unknown word of a client"),
        (client("grants = []"), "a misspelt word"),
        (client(&GRANT.replace("\"*\"", "")), "a grant for nobody"),
        (client(&GRANT.replace("a b", "a  b")), "a scope that is none"),
        (client(&GRANT.replace("txn_token", "refresh_token")), "refresh tokens"),
        (client(&format!("{GRANT}receivers = [\"nobody\"]")), "an unknown receiver"),
        (client(&format!("{GRANT}details = {{ a = \"keep\" }}")), "nothing that becomes of a member"),
        (client(&format!("[[client]]\nname = \"planner\"\ndid = \"{DID}\"")), "twice"),
        (client(&format!("[[client]]\nname = \"other\"\ndid = \"{DID}\"")), "one did of two"),
        (client("[[client]]\nname = \"other\""), "a client that cannot authenticate"),
        (client("jwks = { keys = [] }"), "a key set without keys"),
        (client("jwks_file = \"nowhere.json\""), "a file that is not there"),
        (client("").replace("planner", "plan,ner"), "a comma in a name"),
        (client("").replace(DID, "did:key:z6Mk"), "no did"),
        (format!("operators = [\"nobody\"]\n{SERVICE}"), "an operator who is no client"),
        (issuer(""), "an issuer without keys"),
        (issuer("jwks_url = \"http://login/jwks\""), "keys over http"),
        (issuer("jwks_url = \"file:///etc/jwks\""), "keys by another scheme"),
        (issuer(&format!("{url}scope = \" a\"")), "no scope of an issuer"),
        (format!("{SERVICE}\n[decisions]\nurl = \"http://pdp.example\""), "decisions over http"),
    ] {
        assert!(read(&bad).is_err(), "{why}");
    }
    assert!(read(&issuer(url)).is_ok());
    assert!(read(&format!("operators = [\"planner\"]\n{}", client(""))).is_ok());
}

/// contracts/txts.md N11: else the one with the shorter prefix could sign a subject of the other's.
#[test]
fn no_issuer_can_name_a_subject_of_another() {
    let issuers = |prefixes: &[&str]| {
        let issuer = |(number, prefix)| {
            format!(
                "[[issuer]]\nissuer = \"https://{number}\"\naudience = [\"a\"]\ntypes = [\"jwt\"]\n\
                 jwks_url = \"https://{number}/jwks\"\nsubject_prefix = \"{prefix}\"\n"
            )
        };
        read(&format!("{SERVICE}\n{}", prefixes.iter().enumerate().map(issuer).collect::<String>()))
    };
    for good in [vec![""], vec!["user:"], vec!["user:", "app:"], vec!["user:a:", "user:b:"]] {
        assert!(issuers(&good).is_ok(), "{good:?}");
    }
    for bad in [vec!["", ""], vec!["user:", "user:"], vec!["", "user:"], vec!["user:x", "app:", "user:"]] {
        assert!(issuers(&bad).unwrap_err().contains("could be the other's"), "{bad:?}");
    }
}

/// What people copy can be used.
#[test]
fn the_policy_in_the_manual_is_one() {
    let manual = include_str!("../../../../../docs/OPERATING.md");
    let example = manual.split("```toml\n").find(|block| block.starts_with("schema = ")).unwrap();
    let policy = read(example.split_once("```").unwrap().0).unwrap();
    assert!(policy.is_operator(policy.client("ops").unwrap()));
    assert!(!policy.is_operator(policy.client("gateway").unwrap()));
}

#[test]
fn http_is_for_loopback_alone() {
    for good in ["https://a.example/x", "http://127.0.0.1:80/x", "http://localhost", "http://[::1]:9/"] {
        assert!(check_url(good).is_ok(), "{good}");
    }
    for bad in [
        "http://a.example",
        "http://127.0.0.1.evil/",
        "http://localhost.evil",
        "http://127.0.0.1@evil/",
        "http://10.0.0.1",
        "file:///etc/jwks",
        "https://",
    ] {
        assert!(check_url(bad).is_err(), "{bad}");
    }
}

/// A URL is logged when what it names cannot be had.
#[test]
fn no_url_holds_a_secret_and_none_is_shown_for_it() {
    for bad in ["https://anna:secret@a.example/x", "https://secret@a.example", "http://:secret@localhost/"] {
        let why = check_url(bad).unwrap_err();
        assert!(!why.contains("secret"), "{why}");
        let decisions = format!("{SERVICE}\n[decisions]\nurl = \"{bad}\"");
        assert!(!read(&decisions).unwrap_err().contains("secret"));
    }
}

/// contracts/log.md G26.
#[test]
fn calendars_are_named_once_and_over_tls() {
    let anchors = |calendars: &[&str], every: &str| {
        let named = |calendar: &&str| format!("[[anchor]]\ncalendar = \"{calendar}\"\n");
        read(&format!("{every}{SERVICE}\n{}", calendars.iter().map(named).collect::<String>()))
            .map(|policy| (policy.anchors.calendars.clone(), policy.anchors.every.as_secs()))
    };
    let one = "https://one.example";
    assert_eq!(anchors(&[], ""), Ok((vec![], 3_600)));
    assert_eq!(anchors(&["https://one.example/"], "anchor_every_minutes = 5\n"), Ok((vec![one.to_owned()], 300)));
    assert!(anchors(&["http://127.0.0.1:9/a"], "").is_ok());
    for bad in [
        &["http://one.example"][..],
        &["https://one.example/?a"],
        &["https://anna@one.example"],
        &["ftp://one.example"],
        &[one, "https://one.example/"],
    ] {
        assert!(anchors(bad, "").is_err(), "{bad:?}");
    }
    let many: Vec<String> = (0..17).map(|number| format!("https://{number}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(anchors(&many[..16], "").is_ok() && anchors(&many, "").is_err());
    for every in [0, 10_081] {
        assert!(anchors(&[one], &format!("anchor_every_minutes = {every}\n")).is_err());
    }
}
