//! Invitations: one line, as it is pasted (contracts/identity.md section 4).

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::kit::{Case, actor, fixed, hex};

const AREA: &str = "invitation";

pub(crate) fn cases() -> Vec<Case> {
    [valid(), lenient(), mailboxes(), knocks(), lines_refused(), endpoints_refused(), hashes_refused()]
        .into_iter()
        .flatten()
        .collect()
}

/// Alice's line up to its parts.
fn line() -> String {
    format!("nuncio:{}", actor("alice").did())
}

fn hash() -> [u8; 32] {
    fixed("invitation bundle")
}

fn bundle() -> String {
    format!("bundle={}", BASE64URL_NOPAD.encode(&hash()))
}

/// What a line says, and how it is written again.
fn says(endpoints: &[&str], with_hash: bool) -> Value {
    let mut parts: Vec<String> = endpoints.iter().map(|endpoint| format!("at={endpoint}")).collect();
    parts.extend(with_hash.then(bundle));
    let written = if parts.is_empty() { line() } else { format!("{}?{}", line(), parts.join("&")) };
    json!({
        "agent": actor("alice").did(),
        "endpoints": endpoints,
        "bundle_hash": with_hash.then(|| hex(hash())),
        "written": written,
    })
}

fn taken(name: &str, comment: &str, text: impl Into<String>, says: Value) -> Case {
    Case::valid(AREA, name, comment, json!({ "text": text.into() }), says)
}

fn refused(name: &str, comment: &str, text: impl Into<String>) -> Case {
    Case::refused(AREA, name, comment, json!({ "text": text.into() }), "not-invitation")
}

fn valid() -> Vec<Case> {
    let case = |name: &str, comment: &str, endpoints: &[&str], with_hash| {
        let says = says(endpoints, with_hash);
        taken(name, comment, says["written"].as_str().unwrap().to_owned(), says)
    };
    let long = format!("{}.example:7420", "a".repeat(255 - 13));
    vec![
        case("valid-agent", "the agent alone: its address comes from elsewhere", &[], false),
        case("valid-endpoint", "one address", &["198.51.100.7:4433"], false),
        case("valid-all", "two addresses and the hash", &["agent.example:7420", "[2001:db8::1]:7420"], true),
        case("valid-hash", "the hash alone", &[], true),
        case("valid-eight-endpoints", "as many as there may be", &["h:1"; 8], false),
        case("valid-endpoint-255", "the longest", &[&long], false),
        case("valid-endpoint-shortest", "a host of one byte", &["h:1"], false),
        case("valid-port-65535", "the largest port", &["h:65535"], false),
        case("valid-host-signs", "a host is not looked into: = and : are of it", &["a=b:c:1"], false),
    ]
}

/// Other spellings that are taken.
fn lenient() -> Vec<Case> {
    let (line, bundle) = (line(), bundle());
    let longest = format!("{line}?later={}", "x".repeat(4_096 - line.len() - 7));
    vec![
        taken(
            "valid-space-around",
            "what a terminal or a file puts around it",
            format!(" \t{line}\r\n"),
            says(&[], false),
        ),
        taken("valid-no-parts", "? and nothing behind it", format!("{line}?"), says(&[], false)),
        taken("valid-empty-parts", "empty parts are passed over", format!("{line}?&at=h:1&&"), says(&["h:1"], false)),
        taken("valid-hash-first", "parts in another order", format!("{line}?{bundle}&at=h:1"), says(&["h:1"], true)),
        taken(
            "valid-unknown-names",
            "names of a later version are passed over, with any value; names are lower case",
            format!("{line}?x=&at=h:1&AT=nowhere&y=a=b?c&at2=h:2"),
            says(&["h:1"], false),
        ),
        taken("valid-4096", "the longest line", &longest, says(&[], false)),
        taken(
            "valid-4096-space-around",
            "its length is counted without the space around it",
            format!("  {longest}\n"),
            says(&[], false),
        ),
        refused("line-4097", "one byte more", format!("{longest}x")),
    ]
}

fn mailboxes() -> Vec<Case> {
    let (line, node) = (line(), actor("carol").did());
    let at = format!("{node}@node.example:7421");
    let mut says = says(&["h:1"], false);
    (says["mailbox"], says["written"]) = (json!(at), json!(format!("{line}?at=h:1&mailbox={at}")));
    let no = |name: &str, comment: &str, at: &str| refused(name, comment, format!("{line}?mailbox={at}"));
    vec![
        taken(
            "valid-mailbox",
            "an agent that sleeps: where its frames wait",
            format!("{line}?mailbox={at}&at=h:1"),
            says,
        ),
        no("mailbox-empty", "no mailbox", ""),
        no("mailbox-no-node", "an address alone: nobody's", "node.example:7421"),
        no("mailbox-no-address", "a node alone", &node),
        no("mailbox-port-0", "nobody listens there", &format!("{node}@node.example:0")),
        no("mailbox-other-method", "another DID method", &at.replace("did:key", "did:web")),
        no("mailbox-twice", "one mailbox, also if both are the same", &format!("{at}&mailbox={at}")),
    ]
}

/// contracts/identity.md I18.
fn knocks() -> Vec<Case> {
    let (line, bundle) = (line(), bundle());
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let secret: [u8; 16] = fixed("invitation secret");
    let part = format!("knock={}", encode(&secret));
    let lets_in = |endpoints: &[&str], with_hash| {
        let mut says = says(endpoints, with_hash);
        let written = says["written"].as_str().unwrap();
        let sign = if written.contains('?') { '&' } else { '?' };
        (says["written"], says["knock"]) = (json!(format!("{written}{sign}{part}")), hex(secret));
        says
    };
    let case = |name: &str, comment: &str, text: String, says| taken(name, comment, text, says);
    let no = |name: &str, comment: &str, secret: &str| refused(name, comment, format!("{line}?knock={secret}"));
    let high = encode(&[0xff; 16]);
    // 22 characters hold four bits more than 16 bytes have.
    let other = high.strip_suffix('w').map(|rest| format!("{rest}x")).unwrap();
    vec![
        case("valid-knock", "it lets its bearer in", format!("{line}?at=h:1&{bundle}&{part}"), lets_in(&["h:1"], true)),
        case("valid-knock-alone", "no address, no hash", format!("{line}?{part}"), lets_in(&[], false)),
        case(
            "valid-knock-first",
            "parts in another order",
            format!("{line}?{part}&{bundle}&at=h:1"),
            lets_in(&["h:1"], true),
        ),
        no("knock-empty", "nothing lets nobody in", ""),
        no("knock-21", "a character is missing", &encode(&secret)[..21]),
        no("knock-15", "15 bytes", &encode(&[7; 15])),
        no("knock-17", "17 bytes", &encode(&[7; 17])),
        no("knock-padded", "no padding is written", &format!("{}==", encode(&secret))),
        no("knock-other-alphabet", "/ is of the other alphabet of base64", &high.replace('_', "/")),
        no("knock-unused-bits", "the same bytes in a second spelling: the last four bits are zero", &other),
        no("knock-hexadecimal", "another spelling of the bytes", hex(secret).as_str().unwrap()),
        no("knock-twice", "one, also if both are the same", &format!("{0}&{part}", encode(&secret))),
    ]
}

fn lines_refused() -> Vec<Case> {
    let (line, did) = (line(), actor("alice").did());
    let weak =
        format!("did:key:{}", multibase::encode(multibase::Base::Base58Btc, [&[0xed, 1, 1][..], &[0; 31]].concat()));
    vec![
        refused("empty", "nothing at all", ""),
        refused("space-alone", "nothing but space", " \n"),
        refused("no-scheme", "the agent's name without nuncio:", did.clone()),
        refused("other-scheme", "another scheme", format!("mailto:{did}")),
        refused("uppercase-scheme", "the scheme is lower case", format!("NUNCIO:{did}")),
        refused("scheme-slashes", "no slashes behind the scheme", format!("nuncio://{did}")),
        refused("scheme-alone", "no agent", "nuncio:"),
        refused("parts-alone", "parts of nobody", "nuncio:?at=h:1"),
        refused("agent-cut", "the last character is missing", &line[..line.len() - 1]),
        refused("agent-longer", "one character too many", format!("{line}x")),
        refused("agent-weak", "a key of small order", format!("nuncio:{weak}")),
        refused("agent-other-method", "another DID method", line.replace("did:key", "did:web")),
        refused("fragment", "a DID URL is no agent", format!("{line}#key")),
        refused("parts-without-question-mark", "& does not begin the parts", format!("{line}&at=h:1")),
        refused("space-inside", "no white space inside", format!("{line} ?at=h:1")),
        refused("two-lines", "one line, also where the second would be passed over", format!("{line}?x=\n{line}")),
        refused("no-break-space", "no other white space is taken off", format!("\u{a0}{line}")),
        refused("form-feed", "no other white space is taken off", format!("{line}\u{c}")),
        refused("unknown-not-ascii", "visible ASCII alone, whatever the name", format!("{line}?x=é")),
        refused("part-without-value", "a part without =", format!("{line}?at=h:1&bundle")),
        refused("unknown-without-value", "also of a name that is not known", format!("{line}?x")),
    ]
}

fn endpoints_refused() -> Vec<Case> {
    let line = line();
    let no = |name: &str, comment: &str, endpoint: &str| refused(name, comment, format!("{line}?at={endpoint}"));
    vec![
        no("endpoint-empty", "no address", ""),
        no("endpoint-no-port", "a host alone", "agent.example"),
        no("endpoint-no-host", "a port alone", ":7420"),
        no("port-empty", "a colon and no port", "agent.example:"),
        no("port-0", "nobody listens there", "agent.example:0"),
        no("port-65536", "ports end at 65535", "agent.example:65536"),
        no("port-plus", "digits alone", "agent.example:+80"),
        no("port-minus", "digits alone", "agent.example:-80"),
        no("port-leading-zero", "a second spelling of a port", "agent.example:080"),
        no("port-hex", "digits alone", "agent.example:0x50"),
        no("port-name", "digits alone", "agent.example:http"),
        no("endpoint-slash", "behind the port stands nothing", "agent.example:80/"),
        no("endpoint-not-ascii", "visible ASCII alone", "agént.example:80"),
        no("endpoint-control", "visible ASCII alone", "agent\u{7f}.example:80"),
        no("endpoint-256", "one byte too many", &format!("{}.example:7420", "a".repeat(256 - 13))),
        no("endpoint-second-bad", "each one counts", "h:1&at=h"),
        refused("endpoints-nine", "one too many", format!("{line}?{}", ["at=h:1"; 9].join("&"))),
    ]
}

fn hashes_refused() -> Vec<Case> {
    let line = line();
    let no = |name: &str, comment: &str, hash: &str| refused(name, comment, format!("{line}?bundle={hash}"));
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let high = encode(&[0xff; 32]);
    // 43 characters hold two bits more than 32 bytes have.
    let other = high.strip_suffix('8').map(|rest| format!("{rest}9")).unwrap();
    vec![
        no("hash-empty", "no hash", ""),
        no("hash-31", "31 bytes", &encode(&[7; 31])),
        no("hash-33", "33 bytes", &encode(&[7; 33])),
        no("hash-cut", "a character is missing", &encode(&hash())[..42]),
        no("hash-padded", "no padding is written", &format!("{}=", encode(&hash()))),
        no("hash-other-alphabet", "/ is of the other alphabet of base64", &high.replace('_', "/")),
        no("hash-other-character", "no character of base64", &encode(&hash()).replacen(char::is_alphanumeric, ".", 1)),
        no("hash-unused-bits", "the same bytes in a second spelling: the last two bits are zero", &other),
        no("hash-hexadecimal", "another spelling of the bytes", hex(hash()).as_str().unwrap()),
        no("hash-twice", "one hash, also if both are the same", &format!("{0}&bundle={0}", encode(&hash()))),
    ]
}
