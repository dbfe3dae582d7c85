//! K4 to K8: the claims.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [taken(), missing(), integers(), texts(), objects(), scopes(), chains(), holders(), hops(), payloads()]
        .into_iter()
        .flatten()
        .collect()
}

fn refuses(name: &str, comment: &str, body: &Value) -> Case {
    refused(name, comment, given(token(&header(), body)), "token_malformed")
}

/// A good body with one member exchanged.
fn no(name: &str, comment: &str, pointer: &str, value: impl Into<Value>) -> Case {
    refuses(name, comment, &with(body(), pointer, value))
}

fn taken() -> Vec<Case> {
    let all = [
        ("/iss", json!("https://txts.acme.example")),
        ("/act", json!({ "sub": "user:ben" })),
        ("/agentic_ctx", json!({})),
        ("/rctx", json!({ "req_ip": "192.0.2.7" })),
    ];
    let all = all.into_iter().fold(body(), |body, (pointer, value)| with(body, pointer, value));
    let unknown =
        ["/later", "/cnf/later", "/hop/later"].into_iter().fold(body(), |body, at| with(body, at, json!([1])));
    vec![
        grants("valid-first-hop", "nothing was replaced, one workload asked", &on_hop(0, 4)),
        grants("valid-one-hop", "it may not be handed on", &on_hop(0, 0)),
        grants("valid-last-hop", "n is max", &on_hop(4, 4)),
        grants("valid-hop-16", "the last hop that any token may have", &on_hop(16, 16)),
        grants("valid-all-claims", "every claim that may be there", &all),
        grants("valid-no-optional", "none of them", &without(body(), "/tctx")),
        grants("valid-unknown", "what is not known is passed over: in the body, in cnf, in hop", &unknown),
        grants("valid-texts", "texts are not looked into", &with(with(body(), "/sub", " "), "/txn", "ä,\u{0}")),
    ]
}

fn missing() -> Vec<Case> {
    let names = ["iat", "exp", "aud", "txn", "sub", "scope", "req_wl", "req_wl_chain", "jti", "cnf", "hop"];
    let case = |name: &str| {
        refuses(
            &format!("missing-{}", name.replace('_', "-")),
            "a required claim",
            &without(body(), &format!("/{name}")),
        )
    };
    names.into_iter().map(case).collect()
}

fn integers() -> Vec<Case> {
    let written = |name: &str, comment: &str, claim: &str, number: &str| {
        let good = format!("\"{claim}\":{}", body()[claim]);
        let text = text(&body());
        assert!(text.contains(&good));
        let token = token_of(&super::text(&header()), &text.replace(&good, &format!("\"{claim}\":{number}")));
        refused(name, comment, given(token), "token_malformed")
    };
    vec![
        no("iat-text", "not a number", "/iat", NOW_S.to_string()),
        no("exp-null", "null is not a number", "/exp", Value::Null),
        no("exp-true", "true is not 1", "/exp", true),
        written("exp-fraction", "no fraction, also of nothing", "exp", "1790000110.0"),
        written("exp-exponent", "no exponent", "exp", "179000011e1"),
        written("iat-negative", "before 1970", "iat", "-1"),
        written("iat-negative-zero", "a sign", "iat", "-0"),
        written("exp-2-64", "beyond 64 bits", "exp", "18446744073709551616"),
    ]
}

fn texts() -> Vec<Case> {
    let wrong = |name: &str| {
        let pointer = format!("/{name}");
        let dashed = name.replace('_', "-");
        [
            no(&format!("{dashed}-empty"), "a text that is not empty", &pointer, ""),
            no(&format!("{dashed}-number"), "not a text", &pointer, 7),
        ]
    };
    let mut cases: Vec<_> =
        ["aud", "txn", "sub", "scope", "req_wl", "jti", "iss"].into_iter().flat_map(wrong).collect();
    cases.extend([
        no("aud-array", "JWT allows a list here, a transaction token does not", "/aud", json!(["acme.example"])),
        no("scope-array", "a list is one text", "/scope", json!(["travel.book"])),
        no("sub-null", "null is not a text", "/sub", Value::Null),
        no("iss-null", "null is not absent", "/iss", Value::Null),
    ]);
    cases
}

fn objects() -> Vec<Case> {
    vec![
        no("act-text", "not an object", "/act", "user:ben"),
        no("agentic-ctx-array", "not an object", "/agentic_ctx", json!([])),
        no("tctx-number", "not an object", "/tctx", 1),
        no("rctx-null", "null is not absent", "/rctx", Value::Null),
        no("cnf-text", "not an object", "/cnf", jkt("alice")),
        no("hop-array", "not an object", "/hop", json!([1, 4])),
    ]
}

fn scopes() -> Vec<Case> {
    let no = |name: &str, comment: &str, scope: &str| no(name, comment, "/scope", scope);
    vec![
        no("scope-two-spaces", "one space between two", "travel.book  travel.pay"),
        no("scope-space-in-front", "no space in front", " travel.book"),
        no("scope-space-behind", "no space behind", "travel.book "),
        no("scope-space-alone", "a space between nothing", " "),
        no("scope-twice", "none twice", "travel.book travel.pay travel.book"),
        no("scope-tab", "a space, and no other white space", "travel.book\ttravel.pay"),
        no("scope-quote", "RFC 6749 has no quotation mark", "travel.book\""),
        no("scope-backslash", "RFC 6749 has no backslash", "travel\\book"),
        no("scope-not-ascii", "visible ASCII alone", "träum.book travel.book"),
        no("scope-delete", "visible ASCII alone", "travel.book\u{7f}"),
    ]
}

fn chains() -> Vec<Case> {
    let chain = |name: &str, comment: &str, joined: &str, chain: Value| {
        refuses(name, comment, &with(with(body(), "/req_wl", joined), "/req_wl_chain", chain))
    };
    vec![
        no("req-wl-other", "another workload than the chain's", "/req_wl", "gateway,someone"),
        no("req-wl-order", "the first first", "/req_wl", "planner,gateway"),
        no("req-wl-last-alone", "the whole chain", "/req_wl", "planner"),
        no("req-wl-space", "commas alone between two", "/req_wl", "gateway, planner"),
        no("req-wl-chain-text", "not an array", "/req_wl_chain", "gateway,planner"),
        chain("req-wl-chain-comma", "a comma in a name makes two of one", "a,b,c", json!(["a,b", "c"])),
        chain("req-wl-chain-empty-name", "a name is not empty", "gateway,", json!(["gateway", ""])),
        chain("req-wl-chain-number", "a name is a text", "gateway,7", json!(["gateway", 7])),
        chain("req-wl-chain-long", "more workloads than hops", "a,b,c", json!(["a", "b", "c"])),
        chain("req-wl-chain-short", "fewer workloads than hops", "b", json!(["b"])),
        no("req-wl-chain-none", "somebody asked", "/req_wl_chain", json!([])),
    ]
}

fn holders() -> Vec<Case> {
    let own = jkt("alice");
    vec![
        no("cnf-empty", "no thumbprint", "/cnf", json!({})),
        no("cnf-jwk", "the key is named by its thumbprint alone", "/cnf", json!({ "jwk": okp(&[7; 32]) })),
        no("jkt-number", "not a text", "/cnf/jkt", 7),
        no("jkt-short", "31 bytes", "/cnf/jkt", encode([7; 31])),
        no("jkt-padded", "no padding is written", "/cnf/jkt", format!("{own}=")),
        no("jkt-stray-bits", "the same bytes in a second spelling", "/cnf/jkt", stray(&own)),
        no("jkt-did", "a thumbprint, not a name", "/cnf/jkt", actor("alice").did()),
    ]
}

fn hops() -> Vec<Case> {
    let weak =
        format!("did:key:{}", multibase::encode(multibase::Base::Base58Btc, [&[0xed, 1, 1][..], &[0; 31]].concat()));
    let before = body()["hop"]["prev"].as_str().unwrap().to_owned();
    vec![
        refuses("hop-n-missing", "which hop", &without(body(), "/hop/n")),
        refuses("hop-max-missing", "the last hop", &without(body(), "/hop/max")),
        refuses("hop-to-missing", "for whom", &without(body(), "/hop/to")),
        refuses("hop-prev-missing", "every hop but the first replaces a token", &without(body(), "/hop/prev")),
        refuses("hop-prev-first", "the first hop replaces none", &with(on_hop(0, 4), "/hop/prev", before.as_str())),
        refuses("hop-n-256", "hops are counted to 255", &on_hop(256, 4)),
        no("hop-n-text", "not a number", "/hop/n", "1"),
        no("hop-n-fraction", "not an integer", "/hop/n", 1.0),
        no("hop-n-negative", "counted from 0", "/hop/n", -1),
        no("hop-max-17", "more hops than any token may have", "/hop/max", 17),
        no("hop-max-260", "not 4 in eight bits", "/hop/max", 260),
        no("hop-max-null", "not a number", "/hop/max", Value::Null),
        no("hop-to-name", "a DID", "/hop/to", "booking"),
        no("hop-to-array", "one receiver", "/hop/to", json!([actor("bob").did()])),
        no("hop-to-other-method", "another DID method", "/hop/to", actor("bob").did().replace("did:key", "did:web")),
        no("hop-to-channel-upper", "a channel's id in capitals", "/hop/to", "0A".repeat(32)),
        no("hop-to-channel-short", "31 bytes are no channel's id", "/hop/to", "0a".repeat(31)),
        no("hop-to-weak", "a key of small order is no agent", "/hop/to", weak),
        no("hop-prev-null", "null is not absent", "/hop/prev", Value::Null),
        no(
            "hop-prev-null-first",
            "null is not absent",
            "/hop",
            with(on_hop(0, 4), "/hop/prev", Value::Null)["hop"].take(),
        ),
        no("hop-prev-short", "31 bytes", "/hop/prev", encode([7; 31])),
        no("hop-prev-hexadecimal", "another spelling of the bytes", "/hop/prev", "07".repeat(32)),
        no("hop-prev-padded", "no padding is written", "/hop/prev", format!("{before}=")),
    ]
}

fn payloads() -> Vec<Case> {
    let pay = |name: &str, comment: &str, pay: Value| no(name, comment, "/hop/pay", pay);
    let (salt, hash) = (encode([5; 16]), encode([6; 32]));
    vec![
        pay("pay-text", "not an object", json!(hash)),
        pay("pay-null", "null is not absent", Value::Null),
        pay("pay-empty", "neither salt nor hash", json!({})),
        pay("pay-no-salt", "no salt", json!({ "hash": hash })),
        pay("pay-no-hash", "no hash", json!({ "salt": salt })),
        pay("pay-salt-15", "a byte too few", json!({ "salt": encode([5; 15]), "hash": hash })),
        pay("pay-salt-17", "a byte too many", json!({ "salt": encode([5; 17]), "hash": hash })),
        pay("pay-hash-31", "a byte too few", json!({ "salt": salt, "hash": encode([6; 31]) })),
        pay(
            "pay-salt-stray-bits",
            "the same bytes in a second spelling",
            json!({ "salt": stray(&salt), "hash": hash }),
        ),
    ]
}
