use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::config::{Program, ReadTools, Runs};

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

fn agent() -> AgentId {
    "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse().unwrap()
}

/// A service with two tools that read, of which nobody may anything.
fn service() -> ServiceConfig {
    let program = Program { command: vec!["x".to_owned()], directory: None, environment: BTreeMap::new() };
    ServiceConfig {
        runs: Runs::Program(program),
        read: ReadTools::Named(["read_file".to_owned(), "a b".to_owned()].into()),
        open: Scope::default(),
        peers: BTreeMap::new(),
        agents: BTreeMap::new(),
        tokens: Scope::default(),
        idle: Duration::from_secs(60),
        sessions_per_peer: 1,
        children: 1,
    }
}

fn request(method: &str, params: &str) -> Envelope {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":{},"params":{{{params}}}}}"#, serde_json::json!(method));
    Envelope::read(text.as_bytes()).unwrap()
}

fn notice(method: &str) -> Envelope {
    Envelope::read(format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#).as_bytes()).unwrap()
}

fn call(tool: &str) -> Envelope {
    request("tools/call", &format!(r#""name":{}"#, serde_json::json!(tool)))
}

/// Decides for a peer that the file gives `held`.
fn with(held: &str, message: &Envelope) -> Decision {
    let mut service = service();
    service.peers.insert("bob".to_owned(), scope(held));
    decide(&service, &Asker { agent: &agent(), name: Some("bob"), token: None, permit: None }, message)
}

/// The one scope of the three that a message needs, found by trying: each other is not enough, and the denial names it.
#[track_caller]
fn needs(wanted: &str, message: &Envelope) {
    for held in [USE, READ, WRITE] {
        let enough = held == wanted || wanted == USE;
        let decision = with(held, message);
        let expected = if enough { Decision::Allowed } else { Decision::Denied { needs: wanted.to_owned() } };
        assert_eq!(decision, expected, "{} with {held}", message.method);
    }
    assert_eq!(with("", message), Decision::Denied { needs: wanted.to_owned() });
}

#[test]
fn every_method_of_both_eras_needs_what_it_does() {
    for method in [
        "initialize",
        "ping",
        "server/discover",
        "logging/setLevel",
        "completion/complete",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    ] {
        needs(USE, &request(method, ""));
    }
    for method in [
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "subscriptions/listen",
        "prompts/get",
        "tasks/get",
        "tasks/list",
        "tasks/result",
    ] {
        needs(READ, &request(method, ""));
    }
    for method in ["notifications/initialized", "notifications/cancelled", "notifications/progress", "notifications/x"]
    {
        needs(USE, &notice(method));
        // With an id it is a request, and none that is known.
        needs(WRITE, &request(method, ""));
    }
    for text in [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, r#"{"jsonrpc":"2.0","id":1,"error":{}}"#] {
        needs(USE, &Envelope::read(text.as_bytes()).unwrap());
    }
    needs(READ, &call("read_file"));
    needs(READ, &call("a b"));
    for method in [
        "tasks/cancel",
        "sampling/createMessage",
        "roots/list",
        "elicitation/create",
        "message/send",
        "tools/",
        "x/list",
        "",
    ] {
        needs(WRITE, &request(method, ""));
    }
}

#[test]
fn what_looks_like_it_is_not_it() {
    for method in [
        "Ping",
        "PING",
        "ping ",
        " ping",
        "ping\u{0}",
        "tools/List",
        "tools//list",
        "tools/list/",
        "resources/read\n",
        "initialize\u{200b}",
    ] {
        needs(WRITE, &request(method, ""));
    }
    for tool in [
        "Read_File",
        "read_file ",
        " read_file",
        "read_file\u{0}",
        "read_file:x",
        "*",
        "",
        "tools.read",
        "réad_file",
        "read_file tools.write",
    ] {
        needs(WRITE, &call(tool));
    }
    for params in [
        "",
        r#""name":null"#,
        r#""name":7"#,
        r#""name":["read_file"]"#,
        r#""name":{"read_file":1}"#,
        r#""arguments":{"name":"read_file"}"#,
    ] {
        needs(WRITE, &request("tools/call", params));
    }
    // A call that wants no answer is a call.
    needs(WRITE, &notice("tools/call"));
    // A tool's name in a method that calls none changes nothing.
    needs(WRITE, &request("tools/run", r#""name":"read_file""#));
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file","name":"write_file"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file"},"params":{"name":"write_file"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call"}]"#,
    ] {
        assert!(Envelope::read(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_narrow_scope_covers_one_tool() {
    let denied = |needs: &str| Decision::Denied { needs: needs.to_owned() };
    assert_eq!(with("tools.write:make", &call("make")), Decision::Allowed);
    assert_eq!(with("tools.read:read_file", &call("read_file")), Decision::Allowed);
    for (held, tool, wide) in [
        ("tools.write:make", "Make", WRITE),
        ("tools.write:make", "make2", WRITE),
        ("tools.write:make", "mak", WRITE),
        ("tools.read:make", "make", WRITE),
        ("tools.write:read_file", "read_file", READ),
        ("tools.write:a tools.read:b", "a b", READ),
        ("tools.write:*", "make", WRITE),
        ("tools.write:make", "", WRITE),
    ] {
        assert_eq!(with(held, &call(tool)), denied(wide), "{held} {tool}");
    }
    assert_eq!(with("tools.read:read_file", &request("resources/read", r#""name":"read_file""#)), denied(READ));
    assert_eq!(with("tools.write:make", &request("tools/list", "")), Decision::Allowed);
    // In a set of scopes the name with a blank would be two.
    assert_eq!(with("tools.write:x tools.write", &call("x tools.write")), Decision::Allowed);
    assert_eq!(with("tools.write:x y", &call("x y")), denied(WRITE));
}

#[test]
fn nothing_is_held_that_was_not_given() {
    let (agent, ping, read) = (agent(), request("ping", ""), call("read_file"));
    let nobody = Asker { agent: &agent, name: Some("bob"), token: None, permit: None };
    let denied = |needs: &str| Decision::Denied { needs: needs.to_owned() };
    let mut service = service();
    assert_eq!(decide(&service, &nobody, &ping), denied(USE));
    service.peers.insert("Bob".to_owned(), scope(READ));
    service.peers.insert(agent.to_string(), scope(READ));
    assert_eq!(decide(&service, &nobody, &ping), denied(USE));
    assert_eq!(decide(&service, &Asker { name: None, ..nobody }, &read), denied(READ));
    service.agents.insert(agent, scope(READ));
    assert_eq!(decide(&service, &Asker { name: None, ..nobody }, &read), Decision::Allowed);
    service.agents.clear();
    service.open = scope(READ);
    assert_eq!(decide(&service, &nobody, &read), Decision::Allowed);
    assert_eq!(decide(&service, &nobody, &call("make")), denied(WRITE));
}

#[test]
fn a_token_allows_what_it_and_the_file_say() {
    let agent = agent();
    let ask = |listed: &str, token: &str, message: &Envelope| {
        let (mut service, token) = (service(), scope(token));
        service.tokens = scope(listed);
        let asker = Asker { agent: &agent, name: None, token: Some(&token), permit: None };
        decide(&service, &asker, message) == Decision::Allowed
    };
    let (make, ping) = (call("make"), request("ping", ""));
    for (listed, token) in [
        (WRITE, WRITE),
        (WRITE, "tools.write:make"),
        ("tools.write:make", WRITE),
        ("tools.write:make", "tools.write:make x"),
    ] {
        assert!(ask(listed, token, &make) && ask(listed, token, &ping), "{listed} {token}");
    }
    for (listed, token) in [
        ("", WRITE),
        (WRITE, ""),
        (READ, WRITE),
        (WRITE, READ),
        ("tools.write:other", WRITE),
        (WRITE, "tools.write:other"),
        (WRITE, "tools.*"),
        (WRITE, "other"),
    ] {
        assert!(!ask(listed, token, &make), "{listed} {token}");
    }
    for (listed, token) in
        [("", WRITE), (WRITE, ""), (READ, WRITE), (WRITE, "other"), ("tools.write:a", "tools.write:b"), (WRITE, USE)]
    {
        assert!(!ask(listed, token, &ping), "{listed} {token}");
    }
    assert!(ask("tools.read tools.write", "x tools.read", &ping) && ask(USE, USE, &ping));
}

// contracts/call.md X7.
#[test]
fn who_asks_in_somebody_s_name_is_held_to_the_token() {
    let (agent, mut service, own, token) = (agent(), service(), scope(WRITE), scope(READ));
    service.peers.insert("bob".to_owned(), own.clone());
    service.agents.insert(agent, own.clone());
    service.tokens = scope("tools.read tools.write");
    let asker = |token| Asker { agent: &agent, name: Some("bob"), token, permit: Some(&own) };
    assert_eq!(decide(&service, &asker(None), &call("make")), Decision::Allowed);
    assert_eq!(decide(&service, &asker(Some(&token)), &call("make")), Decision::Denied { needs: WRITE.to_owned() });
    assert_eq!(decide(&service, &asker(Some(&token)), &request("resources/read", "")), Decision::Allowed);
    service.open = scope(WRITE);
    assert_eq!(decide(&service, &asker(Some(&token)), &call("make")), Decision::Allowed, "everybody may");
}

#[test]
fn that_tokens_may_do_less_is_told_apart_from_a_token_that_says_less() {
    let agent = agent();
    let lack = |listed: &str, token: Option<&str>| {
        let (mut service, token) = (service(), token.map(scope));
        service.tokens = scope(listed);
        let asker = Asker { agent: &agent, name: None, token: token.as_ref(), permit: None };
        tokens_lack(&service, &asker, &call("make"))
    };
    assert!(lack("", Some(WRITE)) && lack(READ, Some("tools.write:make")) && lack("tools.write:other", Some(WRITE)));
    assert!(!lack("", Some(READ)) && !lack("", None) && !lack(WRITE, Some(WRITE)) && !lack(WRITE, Some(READ)));
}

#[test]
fn a_permit_allows_what_it_says() {
    let (agent, service) = (agent(), service());
    let ask = |permit: &str, message: &Envelope| {
        let permit = scope(permit);
        decide(&service, &Asker { agent: &agent, name: None, token: None, permit: Some(&permit) }, message)
    };
    assert_eq!(ask("tools.write:make", &call("make")), Decision::Allowed);
    assert_eq!(ask("tools.write:make", &request("initialize", "")), Decision::Allowed);
    for other in ["", "travel.book", "tools", "tools.write.make"] {
        assert_eq!(ask(other, &request("ping", "")), Decision::Denied { needs: USE.to_owned() }, "{other}");
    }
}

#[test]
fn an_agent_s_methods_that_only_read_are_named_and_all_else_writes() {
    let upstream = crate::config::Upstream {
        speaks: Speaks::A2a { webhooks: [].into(), card_keys: Vec::new() },
        url: "http://127.0.0.1/".parse().unwrap(),
        authorization: None,
    };
    let may = |held: &str, message: &Envelope| {
        let service = ServiceConfig { runs: Runs::Url(upstream.clone()), open: scope(held), ..service() };
        let asker = Asker { agent: &agent(), name: None, token: None, permit: None };
        decide(&service, &asker, message) == Decision::Allowed
    };
    for reads in ["GetTask", "ListTasks", "SubscribeToTask", "GetExtendedAgentCard", "tasks/get", "tasks/resubscribe"] {
        assert!(may("tools.read", &request(reads, "")) && !may("tools.write", &request(reads, "")), "{reads}");
    }
    for writes in [
        "SendMessage",
        "message/send",
        "CancelTask",
        "tasks/pushNotificationConfig/set",
        "tools/list",
        "ping",
        "agent card",
        "x",
    ] {
        assert!(may("tools.write", &request(writes, "")) && !may("tools.read", &request(writes, "")), "{writes}");
    }
    assert!(may("tools.write:x", &Envelope::card()) && !may("", &Envelope::card()));
    assert!(may("tools.read", &notice("notifications/cancelled")) && !may("tools.read", &notice("GetTask")));
}
