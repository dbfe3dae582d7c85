use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nuncio_proto::call::Head;
use serde_json::{Value, json};

use super::super::{Ask, NotHanded, Said};
use super::scene::{Scene, call, config, interpreter, json, of, quick, resident};
use crate::config::{Runs, Speaks, Upstream};
use crate::jsonrpc::Envelope;
use crate::message::{Body, Message};

/// A server, which ends with the test.
struct Server(Child, u16);

impl Server {
    fn new(habit: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/service/tests/server_http.py");
        let mut child = Command::new(interpreter()).args([script, habit]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self(child, line.trim().parse().unwrap())
    }

    fn runs(&self) -> Runs {
        let url = format!("http://127.0.0.1:{}/mcp?key=hunter2", self.1).parse().unwrap();
        Runs::Url(Upstream { speaks: Speaks::Mcp, url, authorization: Some("Bearer mine".to_owned()) })
    }

    fn scene(&self) -> Scene {
        Scene::of(&config(self.runs()), quick(), Default::default(), Arc::new(tempfile::tempdir().unwrap()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The fields of the last POST before this is asked, by name in lower case.
async fn last_fields(scene: &mut Scene, method: &str) -> serde_json::Map<String, Value> {
    scene.call(900, of(1, Some(9)), "seen", "0").await;
    let seen = scene.answer(900).await;
    let before = &seen.as_array().unwrap()[..seen.as_array().unwrap().len() - 1];
    let last = before.iter().rev().find(|one| one[0] == method).unwrap_or_else(|| panic!("no {method} in {seen}"));
    last[1].as_object().unwrap().iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect()
}

#[tokio::test]
async fn what_goes_in_comes_out_byte_for_byte() {
    let server = Server::new("");
    let mut scene = server.scene();
    let a = of(0, Some(1));
    let odd = "{ \"id\" :\t1,\r\n \"method\":\"tools\\/call\", \"jsonrpc\":\"2.0\",\"params\":{\"z\":1.50e+0,\"name\":\"raw\",\"a\":\"\\u00e9é\"}}";
    scene.hand(1, a, odd).await.unwrap();
    assert_eq!(scene.answer(1).await, json!(odd));
    let long = call("2", "raw", &format!("\"{}\"", "y".repeat(3 << 20)));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, long.as_bytes()).unwrap();
    let message = Message { body: Body::File(Arc::new(file.into_temp_path())), ..Message::json("") };
    let envelope = Envelope::read(long.as_bytes()).unwrap();
    scene.service.hand(Ask { key: 2, of: a, envelope, message, token: None }).await.unwrap();
    assert_eq!(scene.answer(2).await, json!(long));
}

#[tokio::test]
async fn fields_from_afar_travel_only_where_they_are_named() {
    let server = Server::new("");
    let mut scene = server.scene();
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rät","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let head = Head::of([
        ("authorization", "Bearer theirs"),
        ("cookie", "a=b"),
        ("x-other", "1"),
        ("mcp-session-id", "stolen"),
        ("host", "evil"),
        ("content-length", "1"),
        ("traceparent", "00-1"),
        ("txn-token", "stolen"),
        ("mcp-param-region", "eu"),
        ("origin", "x"),
        ("transfer-encoding", "chunked"),
        ("last-event-id", "e-1"),
    ]);
    let message = Message { head, ..Message::json(text) };
    let envelope = Envelope::read(text.as_bytes()).unwrap();
    scene
        .service
        .hand(Ask { key: 1, of: of(0, None), envelope, message, token: Some("verified".to_owned()) })
        .await
        .unwrap();
    assert_eq!(scene.answer(1).await, Value::Null);
    let fields = last_fields(&mut scene, "POST").await;
    let mut names: Vec<_> = fields.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "mcp-method",
            "mcp-name",
            "mcp-param-region",
            "mcp-protocol-version",
            "traceparent",
            "txn-token",
        ]
    );
    assert_eq!((&fields["authorization"], &fields["txn-token"]), (&json!("Bearer mine"), &json!("verified")));
    assert_eq!((&fields["mcp-method"], &fields["mcp-name"]), (&json!("tools/call"), &json!("=?base64?csOkdA==?=")));
    assert_eq!(fields["content-length"], json!(text.len().to_string()));
    assert_ne!(fields["host"], "evil");
}

#[tokio::test]
async fn a_session_of_the_server_is_one_of_the_asker_and_comes_back() {
    let server = Server::new("sessions");
    let mut scene = server.scene();
    let (a, b) = (of(0, Some(1)), of(0, Some(2)));
    scene.begin(a).await;
    assert_eq!(scene.kept.lock().unwrap()[&a], br#"{"session":"s-1","version":"2025-06-18"}"#);
    scene.call(1, a, "raw", "1").await;
    scene.answer(1).await;
    // Another of the same peer has none, and is told so in the server's words.
    scene.call(2, b, "raw", "1").await;
    let Said::Answer { key: 2, message, remember: None } = scene.next().await else { panic!() };
    assert_eq!((message.head.get(":status"), &json(&message)["id"]), (Some("404"), &json!(2)));
    assert!(json(&message)["error"]["message"].as_str().unwrap().contains("begin anew"));
    let mut scene = scene.again(&config(server.runs())).await;
    scene.call(3, a, "seen", "1").await;
    let seen = scene.answer(3).await;
    let last = seen.as_array().unwrap().last().unwrap()[1].to_string().to_lowercase();
    assert!(
        last.contains(r#""mcp-session-id":"s-1""#) && last.contains(r#""mcp-protocol-version":"2025-06-18""#),
        "{last}"
    );
    assert!(!seen.to_string().contains("DELETE"));
    scene.service.end(a).await;
    scene.begin(of(1, Some(9))).await;
    assert_eq!(last_fields(&mut scene, "DELETE").await["mcp-session-id"], "s-1");
}

// contracts/call.md X43.
#[tokio::test]
async fn the_sessions_of_a_peer_that_goes_are_ended_at_the_server_and_no_other() {
    let server = Server::new("sessions");
    let mut scene = server.scene();
    let (theirs, other) = (of(0, Some(1)), of(1, Some(1)));
    scene.begin(theirs).await;
    scene.begin(other).await;
    scene.service.end_peer(&theirs.from);
    let ended = async {
        loop {
            scene.call(3, other, "seen", "1").await;
            let seen = scene.answer(3).await;
            let ended: Vec<_> = seen.as_array().unwrap().iter().filter(|seen| seen[0] == "DELETE").cloned().collect();
            if let [one] = &ended[..] {
                break one.to_string().to_lowercase();
            }
            assert!(ended.is_empty(), "{ended:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), ended).await.unwrap();
    assert!(ended.contains(r#""mcp-session-id":"s-1""#), "{ended}");
}

#[tokio::test]
async fn a_stream_has_parts_and_an_answer() {
    let server = Server::new("");
    let mut scene = server.scene();
    let a = of(0, Some(1));
    scene.call(1, a, "progress", "0").await;
    let Said::Part { key: 1, message } = scene.next().await else { panic!() };
    let Body::Bytes(bytes) = &message.body else { panic!() };
    assert_eq!(bytes, "{\"jsonrpc\":\"2.0\",\n\"method\":\"notifications/progress\"}");
    assert_eq!(scene.answer(1).await, "do");
    scene.silent().await;
}

#[tokio::test]
async fn what_breaks_off_is_lost_or_goes_on() {
    let server = Server::new("");
    let mut scene = server.scene();
    let a = of(0, Some(1));
    scene.call(1, a, "broken", "0").await;
    assert!(matches!(scene.next().await, Said::Part { key: 1, .. }));
    assert!(matches!(scene.next().await, Said::Lost { key: 1, .. }));
    scene.call(2, a, "resume", "0").await;
    assert_eq!(scene.answer(2).await, "resumed");
    scene.call(3, a, "reset", "0").await;
    match scene.next().await {
        Said::Lost { key: 3, why } => assert!(!why.contains("hunter2"), "{why}"),
        other => panic!("{other:?}"),
    }
    // Without a session nothing is asked for again.
    scene.call(4, of(0, None), "resume", "0").await;
    assert!(matches!(scene.next().await, Said::Lost { key: 4, .. }));
}

#[tokio::test]
async fn what_nobody_hears_was_not_handed_over() {
    let server = Server::new("");
    let mut scene = server.scene();
    drop(server);
    let answer = scene.hand(1, of(0, Some(1)), &call("1", "raw", "0")).await;
    assert!(matches!(&answer, Err(NotHanded::NotStarted(why)) if !why.contains("hunter2")), "{answer:?}");
    let text = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert!(scene.hand(2, of(0, Some(1)), text).await.is_err());
    scene.silent().await;
}

#[tokio::test]
async fn another_status_travels_with_an_answer_and_a_lock_of_the_agents_own_does_not() {
    let server = Server::new("");
    let mut scene = server.scene();
    scene.call(1, of(0, Some(1)), "teapot", "0").await;
    let Said::Answer { message, .. } = scene.next().await else { panic!() };
    assert_eq!(message.head.iter().collect::<Vec<_>>(), [(":status", "418")]);
    assert_eq!((&json(&message)["id"], json(&message)["error"]["code"].as_i64()), (&json!(1), Some(-32043)));
    // What is an answer goes on as it is.
    scene.call(5, of(0, Some(1)), "wrong", "0").await;
    let Said::Answer { message, .. } = scene.next().await else { panic!() };
    assert_eq!((message.head.get(":status"), json(&message)["error"]["code"].as_i64()), (Some("400"), Some(-32602)));
    // Who is asked is who was named.
    scene.call(2, of(0, Some(1)), "moved", "0").await;
    let Said::Answer { message, .. } = scene.next().await else { panic!() };
    assert_eq!(message.head.get(":status"), Some("303"));
    scene.call(3, of(0, Some(1)), "seen", "0").await;
    assert!(!scene.answer(3).await.to_string().contains("ASTRAY"));
    let locked = Server::new("locked");
    let mut scene = locked.scene();
    scene.call(1, of(0, Some(1)), "raw", "0").await;
    let Said::Answer { message, .. } = scene.next().await else { panic!() };
    assert_eq!((message.head.get(":status"), json(&message)["error"]["code"].as_i64()), (None, Some(-32043)));
}

#[tokio::test]
async fn what_belongs_to_no_request_is_heard() {
    let server = Server::new("asides");
    let mut scene = server.scene();
    let a = of(0, Some(1));
    scene.begin(a).await;
    let Said::Aside { of, message } = scene.next().await else { panic!() };
    assert_eq!((of, json(&message)["params"]["n"].as_i64()), (a, Some(1)));
    scene.service.end(a).await;
    scene.silent().await;
}

#[tokio::test]
async fn an_end_tells_what_was_open_and_a_cancel_ends_one() {
    let server = Server::new("");
    let mut scene = server.scene();
    let (a, alone) = (of(0, Some(1)), of(0, None));
    scene.call(1, a, "hold", "0").await;
    let twice = scene.hand(2, a, &call("1", "raw", "0")).await;
    assert!(matches!(twice, Err(NotHanded::Id(_))), "{twice:?}");
    scene.service.end(a).await;
    assert!(matches!(scene.next().await, Said::Gone { of, .. } if of == a));
    let cancel =
        |id: &str| format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
    for key in [10, 11] {
        scene.hand(key, alone, &call("7", "hold", "0")).await.unwrap();
    }
    scene.hand(12, alone, &call("8", "hold", "0")).await.unwrap();
    for (key, id) in [(20, "8"), (11, "8"), (12, "9"), (11, "7")] {
        scene.hand(key, alone, &cancel(id)).await.unwrap();
    }
    assert!(matches!(scene.next().await, Said::Lost { key: 11, .. }));
    scene.silent().await;
}

#[tokio::test]
async fn a_long_answer_takes_no_memory() {
    let server = Server::new("");
    let mut scene = server.scene();
    scene.call(1, of(0, None), "raw", "0").await;
    scene.answer(1).await;
    let before = resident();
    scene.call(2, of(0, None), "big", "100").await;
    let Said::Answer { key: 2, message, .. } = scene.next().await else { panic!() };
    let Body::File(path) = &message.body else { panic!() };
    assert_eq!(std::fs::metadata(&***path).unwrap().len(), (100 << 20) + 36);
    let grown = resident().saturating_sub(before);
    assert!(grown < 50 << 10, "{grown} KiB");
}

#[tokio::test]
async fn who_has_too_many_sessions_loses_an_idle_one() {
    let server = Server::new("sessions");
    let mut config = config(server.runs());
    config.sessions_per_peer = 2;
    let mut scene = Scene::of(&config, quick(), Default::default(), Arc::new(tempfile::tempdir().unwrap()));
    let [a, b, c] = [1, 2, 3].map(|no| of(0, Some(no)));
    for one in [a, b, c] {
        scene.begin(one).await;
    }
    // What went is remembered.
    scene.call(1, a, "hold", "0").await;
    scene.call(2, b, "hold", "0").await;
    let third = scene.hand(3, c, &call("3", "raw", "0")).await;
    assert!(matches!(third, Err(NotHanded::Busy(_))), "{third:?}");
}
