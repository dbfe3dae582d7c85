//! What a verifier wants of a checkpoint (contracts/log.md section 7).

use nuncio_contracts::registry::limit;
use nuncio_proto::tlog::{KeyKind, Note, NoteKey, cosign};
use serde_json::{Value, json};

use super::cosignature::{ml_dsa_key, ml_dsa_line};
use super::kit::{Case, hex};
use super::log::{LOG, head, log_key, no, signed, signer, yes};

const AREA: &str = "tlog-policy";
const AT_S: u64 = 1_790_000_000;

pub(crate) fn cases() -> Vec<Case> {
    [files(), lines(), names(), bounds(), quorums(), heads()].into_iter().flatten().collect()
}

fn seed(number: usize) -> String {
    format!("policy witness {number} seed")
}

/// The witness of a number.
fn witness(number: usize) -> NoteKey {
    let name = format!("witness.example/w{number}");
    NoteKey::new(&name, KeyKind::CosignatureV1, signer(&seed(number)).public()).unwrap()
}

/// `witness Xn KEY` for each.
fn witnesses(numbers: impl IntoIterator<Item = usize>) -> String {
    numbers.into_iter().map(|number| called(&format!("X{number}"), number)).collect()
}

fn called(name: &str, number: usize) -> String {
    format!("witness {name} {}\n", witness(number))
}

fn log_line() -> String {
    format!("log {}\n", log_key())
}

/// C2SP's own example: two of three, and one of three.
fn example() -> String {
    let (x, y) = (witnesses(1..=3), (4..=6).map(|number| called(&format!("Y{number}"), number)).collect::<String>());
    let groups =
        "group X-witnesses 2 X1 X2 X3\n\ngroup Y-witnesses any Y4 Y5 Y6\n\ngroup X-and-Y all X-witnesses Y-witnesses\n";
    format!("{}\n{x}\n{y}{groups}quorum X-and-Y\n", log_line())
}

fn parsed(policy: &str) -> Value {
    json!({ "what": "policy", "policy": policy })
}

/// What a policy of these names is read as.
fn of(logs: &[&str], names: impl IntoIterator<Item = String>) -> Value {
    json!({ "logs": logs, "witnesses": names.into_iter().map(hex).collect::<Vec<_>>() })
}

fn files() -> Vec<Case> {
    let is = |name: &str, comment: &str, policy: &str, expect: Value| yes(AREA, name, comment, parsed(policy), expect);
    let (one, two) = (witnesses([1]), witnesses([1, 2]));
    let spaced =
        format!("\t# of Nuncio's\n \t\n#\n  log\t {}   https://nuncio.example/log/ \n{one}\tquorum  X1\t\n", log_key());
    let urls = two.replace('\n', " https://witness.example/ \n");
    let latin = [
        called("W", 1).as_bytes(),
        b"# caf\xe9\nwitness caf\xe9 ",
        witness(2).to_string().as_bytes(),
        b"\nquorum caf\xe9\n",
    ]
    .concat();
    let bytes = json!({ "what": "bytes", "bytes": hex(latin) });
    let read = json!({ "logs": [], "witnesses": [hex("W"), hex(b"caf\xe9")] });
    let ml_dsa = format!("witness new {}\nquorum new\n", ml_dsa_key());
    let ml_dsa_log = NoteKey::new(LOG, KeyKind::MlDsa44, ml_dsa_key().public()).unwrap();
    vec![
        is("example", "C2SP's own", &example(), of(&[LOG], ["X1", "X2", "X3", "Y4", "Y5", "Y6"].map(String::from))),
        is("none", "no log and no witness", "quorum none\n", of(&[], [])),
        is("none-of-one", "no witness is asked for", &format!("{one}quorum none\n"), of(&[], ["X1".into()])),
        is("spaces", "spaces, tabs, comments and a URL", &spaced, of(&[LOG], ["X1".into()])),
        is("urls", "URLs of witnesses", &format!("{urls}quorum X2\n"), of(&[], ["X1".into(), "X2".into()])),
        is(
            "quorum-first",
            "what is behind the quorum",
            &format!("{one}quorum X1\n{}", witnesses([2])),
            of(&[], ["X1".into(), "X2".into()]),
        ),
        is(
            "keyword-names",
            "names that are words",
            &format!("{}group all all quorum\nquorum all\n", called("quorum", 1)),
            of(&[], ["quorum".into()]),
        ),
        is("ml-dsa", "a witness that signs with ML-DSA-44", &ml_dsa, of(&[], ["new".into()])),
        is("ml-dsa-log", "a log that does", &format!("log {ml_dsa_log}\nquorum none\n"), of(&[LOG], [])),
        yes(AREA, "bytes", "names are bytes, whatever they are", bytes, read),
    ]
}

fn lines() -> Vec<Case> {
    let bad = |name: &str, comment: &str, policy: &str| no(AREA, name, comment, parsed(policy), "malformed");
    let with = |line: &str| format!("{}{line}\nquorum none\n", witnesses([1, 2]));
    vec![
        bad("empty", "no quorum", ""),
        bad("no-quorum", "no quorum", &example().replace("quorum X-and-Y\n", "")),
        bad("cut", "the last newline is missing", example().trim_end()),
        bad("return", "lines end in a newline alone", &example().replace('\n', "\r\n")),
        bad("control", "a control character, even in a comment", &with("# a\u{1}")),
        bad("delete", "0x7F", &with("# a\u{7f}")),
        bad("unknown-keyword", "no such line", &with("monitor X3")),
        bad("keyword-case", "words are in small letters", &with("Quorum none")),
        bad("log-bare", "a log without a key", &with("log")),
        bad("log-three", "one URL", &with(&format!("log {} https://a.example/ b", log_key()))),
        bad("witness-no-key", "a witness without a key", &with("witness X3")),
        bad("witness-four", "one URL", &with(&format!("witness X3 {} https://a.example/ b", witness(3)))),
        bad("group-bare", "a group without members", &with("group G any")),
        bad("group-word", "no number", &with("group G most X1 X2")),
        bad("group-zero", "a zero in front", &with("group G 01 X1 X2")),
        bad("group-sign", "a sign", &with("group G +1 X1 X2")),
        bad("group-negative", "a sign", &with("group G -1 X1 X2")),
        bad("quorum-bare", "a quorum without a name", &with("quorum")),
        bad("quorum-two", "a quorum of two names", &with("quorum X1 X2")),
        bad("comment-behind", "a comment behind a quorum", &witnesses([1]).replace('\n', "\nquorum X1 # all\n")),
    ]
}

fn names() -> Vec<Case> {
    let not = |name: &str, comment: &str, policy: String, error: &str| no(AREA, name, comment, parsed(&policy), error);
    let with = |line: &str| format!("{}{}{line}\nquorum none\n", log_line(), witnesses([1, 2, 3]));
    let log_as_witness = NoteKey::new(LOG, KeyKind::CosignatureV1, signer(&seed(4)).public()).unwrap();
    let renamed = NoteKey::new("other.example/log", KeyKind::Ed25519, log_key().public()).unwrap();
    let again = NoteKey::new("witness.example/again", KeyKind::CosignatureV1, witness(1).public()).unwrap();
    vec![
        not("key-of-witness", "a witness's key for a log", with(&format!("log {log_as_witness}")), "bad-key"),
        not("key-of-log", "a log's key for a witness", with(&format!("witness X4 {}", log_key())), "bad-key"),
        not("key-none", "no key", with("witness X4 witness.example/w4+00000000+AAAA"), "bad-key"),
        not("log-twice", "a log's key under another name", with(&format!("log {renamed}")), "duplicate"),
        not("witness-twice", "a witness's key under another name", with(&format!("witness X4 {again}")), "duplicate"),
        not("name-twice", "two witnesses of one name", with(&format!("witness X1 {}", witness(4))), "duplicate"),
        not("name-of-group", "a witness and a group of one name", with("group X1 any X2"), "duplicate"),
        not("name-none", "a witness called none", with(&format!("witness none {}", witness(4))), "duplicate"),
        not("group-none", "a group called none", with("group none any X1"), "duplicate"),
        not("member-twice", "a member twice in a group", with("group G 2 X1 X1"), "duplicate"),
        not("member-of-two", "a member of two groups", with("group G any X1 X2\ngroup H any X2 X3"), "duplicate"),
        not("quorum-twice", "two quorums", with("quorum X1"), "duplicate"),
        not("member-unknown", "a member that is not defined", with("group G any X1 X9"), "unknown-name"),
        not("member-none", "none is no member", with("group G any X1 none"), "unknown-name"),
        not(
            "member-later",
            "a member that is defined below",
            with(&format!("group G any X1 X4\nwitness X4 {}", witness(4))),
            "unknown-name",
        ),
        not("member-itself", "a group in itself", with("group G any G"), "unknown-name"),
        not("member-case", "capitals count", with("group G any x1"), "unknown-name"),
        not("quorum-unknown", "a quorum that is not defined", format!("{}quorum X2\n", witnesses([1])), "unknown-name"),
        not("quorum-later", "a quorum that is defined below", format!("quorum X1\n{}", witnesses([1])), "unknown-name"),
        not(
            "quorum-kelvin",
            "a sign that looks like another",
            format!("{}quorum \u{212a}\n", called("K", 1)),
            "unknown-name",
        ),
        not("threshold-0", "none of two", with("group G 0 X1 X2"), "threshold"),
        not("threshold-3", "three of two", with("group G 3 X1 X2"), "threshold"),
        not("threshold-huge", "more than a number holds", with("group G 99999999999999999999999 X1 X2"), "threshold"),
    ]
}

/// Groups of one, each in the next.
fn nested(depth: usize) -> String {
    let groups: String = (1..depth).map(|at| format!("group G{at} any G{}\n", at - 1)).collect();
    format!("{}group G0 any X1\n{groups}quorum G{}\n", witnesses([1]), depth - 1)
}

fn bounds() -> Vec<Case> {
    const MAX: usize = limit::TLOG_POLICY_ITEMS_MAX;
    let long = format!("#{}\nquorum none\n", "a".repeat(limit::TLOG_POLICY_LEN_MAX));
    let logs = |count: usize| {
        let log = |at| {
            NoteKey::new(&format!("log{at}.example"), KeyKind::Ed25519, signer(&format!("policy log {at}")).public())
        };
        let lines: String = (0..count).map(|at| format!("log {}\n", log(at).unwrap())).collect();
        format!("{lines}quorum none\n")
    };
    let many = |count: usize| format!("{}quorum none\n", witnesses(1..=count));
    let names: Vec<String> = (0..MAX).map(|at| format!("log{at}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let not = |name: &str, comment: &str, policy: &str| no(AREA, name, comment, parsed(policy), "too-long");
    vec![
        yes(AREA, "logs-most", "as many logs as there may be", parsed(&logs(MAX)), of(&names, [])),
        yes(
            AREA,
            "witnesses-most",
            "as many witnesses",
            parsed(&many(MAX)),
            of(&[], (1..=MAX).map(|at| format!("X{at}"))),
        ),
        yes(AREA, "groups-most", "as many groups, one in the other", parsed(&nested(MAX)), of(&[], ["X1".into()])),
        not("logs-too-many", "a log more", &logs(MAX + 1)),
        not("witnesses-too-many", "a witness more", &many(MAX + 1)),
        not("groups-too-many", "a group more", &nested(MAX + 1)),
        not("too-long", "longer than tlog_policy_len_max", &long),
    ]
}

/// A head, signed by its log and by these witnesses.
fn cosigned(by: &[usize]) -> Note {
    by.iter().fold(signed(&head().text()), |mut note, number| {
        note.add(cosign(&head().text(), AT_S + *number as u64, &witness(*number), &signer(&seed(*number))));
        note
    })
}

fn shown(policy: &str, note: &Note) -> Value {
    json!({ "what": "checkpoint", "policy": policy, "note": note.to_string() })
}

/// What comes of the head under a policy.
fn believed(by: &[(&str, u64)], missing: &[&str]) -> Value {
    let by: Vec<Value> = by.iter().map(|(name, at_s)| json!([hex(name), at_s.to_string()])).collect();
    let missing: Vec<Value> = missing.iter().map(hex).collect();
    json!({ "origin": LOG, "size": "7", "root": hex(head().root), "by": by, "missing": missing })
}

fn quorums() -> Vec<Case> {
    let is = |name: &str, comment: &str, policy: &str, by: &[usize], expect: Value| {
        yes(AREA, &format!("cosigned-{name}"), comment, shown(policy, &cosigned(by)), expect)
    };
    let not = |name: &str, comment: &str, policy: &str, by: &[usize]| {
        no(AREA, &format!("cosigned-{name}"), comment, shown(policy, &cosigned(by)), "quorum")
    };
    let three = |rule: &str| format!("{}{}group G {rule} X1 X2 X3\nquorum G\n", log_line(), witnesses(1..=3));
    let one = format!("{}{}quorum X1\n", log_line(), witnesses(1..=2));
    let none = format!("{}{}quorum none\n", log_line(), witnesses(1..=2));
    let (x, at) =
        (|number: usize| ["", "X1", "X2", "X3", "Y4", "Y5", "Y6"][number], |number: usize| AT_S + number as u64);
    let by = |numbers: &[usize]| numbers.iter().map(|number| (x(*number), at(*number))).collect::<Vec<_>>();
    vec![
        is("none-asked", "no witness is asked for", &none, &[], believed(&[], &[])),
        is("none-asked-one-there", "and one is there", &none, &[2], believed(&by(&[2]), &[])),
        is("one", "the one that is asked for", &one, &[1], believed(&by(&[1]), &[])),
        not("another", "another than is asked for", &one, &[2]),
        not("nobody", "nobody", &one, &[]),
        is("any", "one of three", &three("any"), &[3], believed(&by(&[3]), &["X1", "X2"])),
        not("any-nobody", "none of three", &three("any"), &[]),
        is("two", "two of three", &three("2"), &[1, 3], believed(&by(&[1, 3]), &["X2"])),
        not("two-one", "one where two are asked for", &three("2"), &[2]),
        is("all", "all of three", &three("all"), &[3, 1, 2], believed(&by(&[1, 2, 3]), &[])),
        not("all-two", "two where all are asked for", &three("all"), &[1, 2]),
        is(
            "example",
            "two of three, and one of three",
            &example(),
            &[1, 2, 6],
            believed(&by(&[1, 2, 6]), &["X3", "Y4", "Y5"]),
        ),
        not("example-x", "all of one group, and none of the other", &example(), &[1, 2, 3]),
        not("example-y", "one of three, and all of the other", &example(), &[1, 4, 5, 6]),
        is("nested", "through sixty-four groups", &(log_line() + &nested(64)), &[1], believed(&by(&[1]), &[])),
        not("nested-nobody", "nobody at their end", &(log_line() + &nested(64)), &[]),
        is("twice", "one that cosigned twice counts once", &one, &[1, 1], believed(&by(&[1]), &[])),
        not("twice-of-two", "and is not two", &three("2"), &[1, 1]),
    ]
}

fn heads() -> Vec<Case> {
    let not = |name: &str, comment: &str, policy: &str, note: &Note, error: &str| {
        no(AREA, &format!("head-{name}"), comment, shown(policy, note), error)
    };
    let two = format!("{}{}group G any X1 X2\nquorum G\n", log_line(), witnesses(1..=2));
    let mut spoilt = cosigned(&[1]);
    spoilt.add(witness(2).line(&[7; 72]));
    let mut strangers = cosigned(&[1]);
    strangers.add(witness(3).line(&[7; 72]));
    let other = NoteKey::new("other.example/log", KeyKind::Ed25519, signer("policy log 0").public()).unwrap();
    let elsewhere = two.replace(&log_key().to_string(), &other.to_string());
    let of_two = elsewhere.clone() + &log_line();
    let ml_dsa = format!("{}witness new {}\nquorum new\n", log_line(), ml_dsa_key());
    let mut new = signed(&head().text());
    new.add(ml_dsa_key().line(&ml_dsa_line(&head(), AT_S)));
    let mut spoilt_log = cosigned(&[1]);
    spoilt_log.add(other.line(&[7; 64]));
    let bare = two.replace(&log_line(), "");
    vec![
        yes(
            AREA,
            "head-stranger",
            "a line of somebody else's counts for nothing",
            shown(&two, &strangers),
            believed(&[("X1", AT_S + 1)], &["X2"]),
        ),
        yes(
            AREA,
            "head-of-two-logs",
            "one of two logs has signed",
            shown(&of_two, &cosigned(&[1])),
            believed(&[("X1", AT_S + 1)], &["X2"]),
        ),
        yes(AREA, "head-ml-dsa", "cosigned by ML-DSA-44", shown(&ml_dsa, &new), believed(&[("new", AT_S)], &[])),
        not("ml-dsa-missing", "not cosigned by ML-DSA-44", &ml_dsa, &cosigned(&[1]), "quorum"),
        not("spoilt-log", "a line of the other log that does not verify", &of_two, &spoilt_log, "signature"),
        not("spoilt", "a line of a witness that does not verify", &two, &spoilt, "signature"),
        not("other-log", "no log of the policy's has signed", &elsewhere, &cosigned(&[1]), "unsigned"),
        not("no-log", "the policy knows no log", &bare, &cosigned(&[1]), "unsigned"),
    ]
}
