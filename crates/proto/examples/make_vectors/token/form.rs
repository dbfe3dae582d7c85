//! K1 and K3: the compact form, and JSON that means one thing.

use nuncio_contracts::registry::limit;

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [taken(), segments_refused(), base64_refused(), json_refused(), twice(), depths(), lengths()]
        .into_iter()
        .flatten()
        .collect()
}

fn no(name: &str, comment: &str, token: impl Into<String>) -> Case {
    refused(name, comment, given(token), "token_malformed")
}

/// A good body's text with another in front of its first member.
fn body_and(members: &str) -> String {
    text(&body()).replacen('{', &format!("{{{members},"), 1)
}

fn taken() -> Vec<Case> {
    let spaced = text(&body()).replacen(',', " ,\r\n\t", 3);
    let escaped = text(&body()).replace("\"sub\":\"user:anna\"", r#""\u0073ub":"\u0075ser:anna""#);
    let is = |name: &str, comment: &str, token| granted(name, comment, given(token), &body());
    vec![
        is("valid", "the second hop of a transaction", token(&header(), &body())),
        is("valid-white-space", "JSON's white space", token_of(&format!(" {}\n", text(&header())), &spaced)),
        is("valid-escapes", "escapes are read before names are compared", token_of(&text(&header()), &escaped)),
        is(
            "valid-names-again",
            "the same name in two objects",
            token(&header(), &with(body(), "/tctx", json!({ "tctx": 1, "sub": { "sub": 1 } }))),
        ),
        is(
            "valid-numbers",
            "in a claim that nobody reads a number may have any form",
            token_of(&text(&header()), &body_and(r#""later":[-1,1.5,1e300,-0,99999999999999999999]"#)),
        ),
    ]
}

fn segments_refused() -> Vec<Case> {
    let [header, body, signature] = segments();
    let good = format!("{header}.{body}.{signature}");
    let general = json!({ "protected": header, "payload": body, "signature": signature });
    vec![
        no("empty", "nothing at all", ""),
        no("dots-alone", "three segments with nothing in them", ".."),
        no("two-segments", "no signature, and no dot before it", format!("{header}.{body}")),
        no("four-segments", "one segment more", format!("{good}.{signature}")),
        no("four-segments-empty", "a dot behind it", format!("{good}.")),
        no("five-segments", "the form of an encrypted one", format!("{header}.{body}.{signature}.{body}.{signature}")),
        no("header-empty", "no header", sign(&service(), "", &body)),
        no("body-empty", "no body", sign(&service(), &header, "")),
        no("json-serialization", "the other form of a JWS", text(&general)),
    ]
}

fn base64_refused() -> Vec<Case> {
    let [header, body, signature] = segments();
    let signed = format!("{header}.{body}");
    let (loose_header, loose_body) = (unaligned(&text(&super::header())), unaligned(&text(&super::body())));
    let by = |header: &str, body: &str| sign(&service(), header, body);
    let slash = encode(text(&with(super::body(), "/rctx", json!({ "a": "???" }))));
    assert!(slash.contains('_'), "a character of one alphabet alone");
    vec![
        no("header-padded", "no padding is written, signed or not", by(&padded(&loose_header), &body)),
        no("body-padded", "no padding is written, signed or not", by(&header, &padded(&loose_body))),
        no("signature-padded", "no padding is written", format!("{signed}.{signature}==")),
        no("header-stray-bits", "the same bytes in a second spelling", by(&stray(&loose_header), &body)),
        no("body-stray-bits", "the same bytes in a second spelling", by(&header, &stray(&loose_body))),
        no("signature-stray-bits", "the same bytes in a second spelling", format!("{signed}.{}", stray(&signature))),
        no("body-other-alphabet", "/ is of the other alphabet of base64", by(&header, &slash.replace('_', "/"))),
        no(
            "body-line-break",
            "no white space inside a segment",
            by(&header, &format!("{}\n{}", &body[..8], &body[8..])),
        ),
        no("space-in-front", "no white space around it", format!(" {signed}.{signature}")),
        no("line-break-behind", "no white space around it", format!("{signed}.{signature}\n")),
    ]
}

fn json_refused() -> Vec<Case> {
    let (header, body) = (encode(text(&header())), text(&body()));
    let is = |name: &str, comment: &str, body: &[u8]| no(name, comment, sign(&service(), &header, &encode(body)));
    let by_header = |name: &str, comment: &str, text: &str| no(name, comment, token_of(text, &body));
    let wide: Vec<u8> = body.bytes().flat_map(|byte| [0, byte]).collect();
    vec![
        by_header("header-not-json", "a header that is no JSON", "alg=EdDSA"),
        by_header("header-array", "a header that is no object", r#"["EdDSA"]"#),
        is("body-not-json", "a body that is no JSON", b"sub=user:anna"),
        is("body-array", "a body that is no object", format!("[{body}]").as_bytes()),
        is("body-cut", "the last brace is missing", &body.as_bytes()[..body.len() - 1]),
        is("body-two-objects", "nothing follows the object", format!("{body}{{}}").as_bytes()),
        is("body-byte-order-mark", "no byte order mark", format!("\u{feff}{body}").as_bytes()),
        is("body-utf-16", "UTF-8 alone", &wide),
        is("body-bad-utf-8-inside", "a byte that is no UTF-8, in a claim that nobody reads", &not_utf8(&body)),
        is("body-comment", "JSON has no comments", body.replacen('{', "{/**/", 1).as_bytes()),
        is(
            "body-comma-behind",
            "no comma behind the last member",
            format!("{},}}", &body[..body.len() - 1]).as_bytes(),
        ),
        is("body-nan", "NaN is no JSON", body_and(r#""a":NaN"#).as_bytes()),
        is("body-number-leading-zero", "no leading zero", body_and(r#""a":01"#).as_bytes()),
        is("body-number-too-large", "beyond binary64", body_and(r#""a":1e400"#).as_bytes()),
        is("body-half-surrogate", "no half of a surrogate pair", body_and(r#""a":"\ud800""#).as_bytes()),
        is("body-control-character", "a line break in a text is escaped", body_and("\"a\":\"\n\"").as_bytes()),
    ]
}

fn not_utf8(body: &str) -> Vec<u8> {
    let (front, back) = body.split_at(1);
    [front.as_bytes(), b"\"a\":\"\xff\",", back.as_bytes()].concat()
}

fn twice() -> Vec<Case> {
    let (header, body) = (text(&header()), text(&body()));
    let by_header = |name: &str, comment: &str, member: &str| {
        no(name, comment, token_of(&header.replacen('{', &format!("{{{member},"), 1), &body))
    };
    let is = |name: &str, comment: &str, members: &str| no(name, comment, token_of(&header, &body_and(members)));
    vec![
        by_header("header-twice", "a member twice, also with one value", r#""alg":"EdDSA""#),
        by_header("header-twice-escaped", "one name in two spellings", r#""\u0061lg":"none""#),
        by_header("header-twice-deep", "a member twice in an object of the header", r#""jwk":{"x":"a","x":"a"}"#),
        is("claim-twice", "a claim twice", r#""sub":"user:eve""#),
        is("claim-twice-escaped", "one name in two spellings", r#""\u0073ub":"user:eve""#),
        is("claim-twice-unknown", "also of a claim that nobody reads", r#""later":1,"later":1"#),
        is("claim-twice-deep", "in an object inside", r#""act":{"sub":"a","sub":"b"}"#),
        is("claim-twice-in-array", "in an object of an array", r#""rctx":{"a":[{"b":1,"b":1}]}"#),
        no("hop-twice", "a member of hop twice", token_of(&header, &body.replace(r#""max":4"#, r#""max":16,"max":4"#))),
    ]
}

/// So many objects, one in the other, around a number.
fn objects(levels: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
}

fn arrays(levels: usize) -> String {
    format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
}

fn depths() -> Vec<Case> {
    let max = limit::TOKEN_DEPTH_MAX;
    let in_body = |inner: &str| given(token_of(&text(&header()), &body_and(&format!("\"later\":{inner}"))));
    let in_header = |inner: &str| {
        let header = text(&header()).replacen('{', &format!("{{\"later\":{inner},"), 1);
        given(token_of(&header, &text(&body())))
    };
    let is = |name: &str, comment: &str, input| granted(name, comment, input, &body());
    let no = |name: &str, comment: &str, input| refused(name, comment, input, "token_malformed");
    vec![
        is("valid-depth", "as deep as there may be, the body counted", in_body(&objects(max - 1))),
        is("valid-depth-arrays", "arrays count as objects do", in_body(&arrays(max - 1))),
        is("valid-depth-header", "as deep as there may be, the header counted", in_header(&objects(max - 1))),
        no("depth-objects", "one object too deep", in_body(&objects(max))),
        no("depth-arrays", "one array too deep", in_body(&arrays(max))),
        no("depth-array-empty", "one array too deep, with nothing in it", in_body(&arrays(max).replace('1', ""))),
        no(
            "depth-object-empty",
            "one object too deep, with nothing in it",
            in_body(&objects(max).replace(r#""a":1"#, "")),
        ),
        no("depth-header", "one object too deep in the header", in_header(&objects(max))),
        no("depth-thousands", "as deep as a token has bytes for", in_body(&arrays(2_500))),
    ]
}

/// A token of this length, filled up in its header and its body.
fn of_length(len: usize) -> (String, Value) {
    let rest = len - token(&header(), &body()).len();
    for in_header in 1..4 {
        let header = with(header(), "/later", "x".repeat(in_header));
        for in_body in rest / 2..rest {
            let body = with(body(), "/later", "x".repeat(in_body));
            if encode(text(&header)).len() + encode(text(&body)).len() + 88 == len {
                return (token(&header, &body), body);
            }
        }
    }
    panic!("no token of {len} bytes");
}

fn lengths() -> Vec<Case> {
    let (longest, body) = of_length(limit::TOKEN_LEN_MAX);
    let (longer, _) = of_length(limit::TOKEN_LEN_MAX + 1);
    assert_eq!((longest.len(), longer.len()), (limit::TOKEN_LEN_MAX, limit::TOKEN_LEN_MAX + 1));
    vec![
        granted("valid-length", "the longest token", given(longest), &body),
        no("too-long", "one byte more, and good but for that", longer),
    ]
}
