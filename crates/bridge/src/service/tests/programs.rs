use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Bounds, NotHanded, Said, clear_spool};
use super::scene::{Scene, call, config, dies, hand, json, lives, of, python, quick, resident};
use crate::message::Body;

fn text(body: &Body) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut body.reader().unwrap(), &mut text).unwrap();
    text
}

#[tokio::test]
async fn what_goes_in_comes_out_byte_for_byte() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    scene.begin(a).await;
    // Blanks, escapes, numbers and order as their writer put them; an end of a line is a blank.
    let odd = "{ \"id\" :\t1,\r\n \"method\":\"tools\\/call\", \"jsonrpc\":\"2.0\",\"params\":{\"z\":1.50e+0,\"name\":\"raw\",\"a\":\"\\u00e9é\u{2028}\"}}";
    scene.hand(1, a, odd).await.unwrap();
    assert_eq!(scene.answer(1).await, json!(odd.replace(['\r', '\n'], " ") + "\n"));
    scene.call(2, a, "echo", "{\"a\":[1]}").await;
    match scene.next().await {
        Said::Answer { key: 2, message, remember: None } => {
            assert_eq!(text(&message.body), r#"{"jsonrpc": "2.0", "id": 2, "result": {"a": [1]}}"#);
        }
        other => panic!("{other:?}"),
    }
}

/// Behind the end of a line would stand a message that nobody decided about.
#[tokio::test]
async fn no_message_hides_in_another() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    scene
        .hand(
            1,
            a,
            &format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"x\":\n{}\n}}", call("2", "echo", "1")),
        )
        .await
        .unwrap();
    scene.call(3, a, "seen", "0").await;
    assert_eq!(scene.answer(3).await, json!(["ping", "tools/call"]));
}

#[tokio::test]
async fn what_belongs_to_a_request_goes_to_it() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    scene.begin(a).await;
    scene.call(1, a, "hold", "0").await;
    scene.call(2, a, "progress", "0").await;
    for step in [1, 2] {
        let Said::Part { key: 2, message } = scene.next().await else { panic!() };
        assert_eq!(json(&message)["params"]["progress"], step);
    }
    assert_eq!(scene.answer(2).await, "done");
    // With two open requests nobody knows to which a note belongs; with one it is that.
    scene.call(3, a, "note", "0").await;
    assert!(matches!(scene.next().await, Said::Aside { of, .. } if of == a));
    assert_eq!(scene.answer(3).await, "noted");
    scene.call(4, a, "release", "0").await;
    assert_eq!(scene.answer(1).await, 1);
    assert_eq!(scene.answer(4).await, "released");
    scene.call(5, a, "note", "0").await;
    assert!(matches!(scene.next().await, Said::Part { key: 5, .. }));
    assert_eq!(scene.answer(5).await, "noted");
}

/// Late progress of a request that has ended is not that of the one that goes on.
#[tokio::test]
async fn what_names_another_request_is_not_given_to_the_only_one() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    scene.call(1, a, "stale", "0").await;
    assert!(matches!(scene.next().await, Said::Aside { .. }));
    assert_eq!(scene.answer(1).await, "done");
}

#[tokio::test]
async fn a_server_may_ask_in_a_call() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    scene.call(1, a, "ask", "0").await;
    let Said::Part { key: 1, message } = scene.next().await else { panic!() };
    assert_eq!(json(&message)["method"], "sampling/createMessage");
    // What answers nothing that was asked is not handed over.
    scene.hand(2, a, r#"{"jsonrpc":"2.0","id":"s2","result":"forged"}"#).await.unwrap();
    scene.hand(3, a, r#"{"jsonrpc":"2.0","id":"s1","result":"mine"}"#).await.unwrap();
    assert_eq!(scene.answer(1).await, "mine");
    scene.hand(4, a, r#"{"jsonrpc":"2.0","id":"s1","result":"again"}"#).await.unwrap();
    scene.call(5, a, "seen", "0").await;
    assert_eq!(scene.answer(5).await, json!(["tools/call", "tools/call"]));
}

#[tokio::test]
async fn ids_are_their_senders_and_one_is_open_once() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    let ids = ["1", "\"1\"", "-7", "\"\"", "18446744073709551615", r#""\u00e4\"""#];
    for (id, key) in ids.iter().zip(10..) {
        scene.hand(key, a, &call(id, "hold", "0")).await.unwrap();
    }
    assert!(matches!(scene.hand(99, a, &call("\"\\u0031\"", "die", "0")).await, Err(NotHanded::Id(_))));
    assert!(matches!(scene.hand(98, a, &call("null", "die", "0")).await, Err(NotHanded::Id(_))));
    // Another session may use them.
    scene.hand(97, of(1, Some(1)), &call("1", "echo", "5")).await.unwrap();
    assert_eq!(scene.answer(97).await, 5);
    scene.hand(20, a, &call("2", "release", "0")).await.unwrap();
    for (id, key) in ids.iter().zip(10_u64..).collect::<Vec<_>>().into_iter().rev() {
        assert_eq!(scene.answer(key).await, serde_json::from_str::<Value>(id).unwrap());
    }
    assert_eq!(scene.answer(20).await, "released");
}

#[tokio::test]
async fn sessions_never_meet() {
    let mut scene = Scene::new("");
    let all = [of(0, Some(1)), of(1, Some(1)), of(0, Some(2)), of(0, None)];
    let mut pids = std::collections::BTreeSet::new();
    for whose in all {
        scene.call(1, whose, "who", "0").await;
        let who = scene.answer(1).await;
        assert_eq!(who["pid"], who["group"]);
        let mut names: Vec<_> = who["env"].as_object().unwrap().keys().map(String::as_str).collect();
        names.retain(|name| *name != "LC_CTYPE"); // Python's own.
        assert_eq!(names, ["PATH"]);
        assert_eq!(who["dir"], json!(scene.dir.path().canonicalize().unwrap()));
        pids.insert(who["pid"].as_i64());
    }
    assert_eq!(pids.len(), all.len());
}

#[tokio::test]
async fn a_death_in_the_middle_is_told_and_the_session_comes_back() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    scene.begin(a).await;
    scene.call(1, a, "hold", "0").await;
    scene.call(2, a, "die", "0").await;
    match scene.next().await {
        // Its last words stay here.
        Said::Gone { of, why, .. } => {
            assert!(of == a && why.contains("exit status: 3") && !why.contains("words"), "{why}")
        }
        other => panic!("{other:?}"),
    }
    scene.call(1, a, "seen", "0").await;
    assert_eq!(scene.answer(1).await, json!(["initialize", "notifications/initialized", "tools/call"]));
    scene.call(3, a, "half", "0").await;
    assert!(matches!(scene.next().await, Said::Gone { why, .. } if why.contains("signal: 9")));
    scene.call(4, a, "echo", "4").await;
    assert_eq!(scene.answer(4).await, 4);
}

#[tokio::test]
async fn a_session_comes_back_after_a_start_of_the_agent() {
    let mut scene = Scene::new("chatty");
    let a = of(0, Some(1));
    scene.hand(0, a, r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#).await.unwrap();
    assert!(matches!(scene.next().await, Said::Part { key: 0, .. }));
    let Said::Answer { remember: Some(remember), .. } = scene.next().await else { panic!() };
    assert_eq!(remember, br#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#);
    scene.kept.lock().unwrap().insert(a, remember);
    let config = config(python("", &scene.dir));
    let mut scene = scene.again(&config).await;
    scene.call(1, a, "seen", "0").await;
    assert_eq!(scene.answer(1).await, json!(["initialize", "notifications/initialized", "tools/call"]));
    scene.silent().await;
    // Another session of that peer was none before: nothing is replayed.
    scene.call(1, of(0, Some(2)), "seen", "0").await;
    assert_eq!(scene.answer(1).await, json!(["tools/call"]));
}

#[tokio::test]
async fn a_server_that_takes_no_session_back_is_said_to() {
    let mut scene = Scene::new("forgetful");
    let a = of(0, Some(1));
    scene.begin(a).await;
    scene.call(1, a, "die", "0").await;
    assert!(matches!(scene.next().await, Said::Gone { .. }));
    let again = scene.hand(2, a, &call("2", "echo", "0")).await;
    assert!(matches!(&again, Err(NotHanded::NotStarted(why)) if why.contains("no more")), "{again:?}");
}

#[tokio::test]
async fn what_dies_at_once_is_not_started_at_once_again() {
    let mut scene = Scene::new("dead");
    let a = of(0, Some(1));
    let first = scene.hand(1, a, &call("1", "echo", "0")).await;
    let second = loop {
        let answer = scene.hand(2, a, &call("2", "echo", "0")).await;
        if matches!(answer, Err(NotHanded::NotStarted(_))) {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let Err(NotHanded::NotStarted(why)) = second else { panic!() };
    assert!(why.contains("exit status: 7") && why.contains("started again in"), "{first:?} {why}");
    assert!(matches!(scene.next().await, Said::Gone { .. }));
    let missing = Scene::with(
        "",
        |config| {
            let crate::config::Runs::Program(program) = &mut config.runs else { panic!() };
            program.command = vec!["no-such-program".to_owned()];
        },
        quick(),
    );
    let answer = missing.hand(1, a, &call("1", "echo", "0")).await;
    assert!(matches!(&answer, Err(NotHanded::NotStarted(why)) if why.contains("does not start")), "{answer:?}");
}

#[tokio::test]
async fn garbage_is_passed_over() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    scene.call(1, a, "garbage", "0").await;
    assert_eq!(scene.answer(1).await, "sorry");
    scene.call(2, a, "chatter", "2000").await;
    assert_eq!(scene.answer(2).await, "silent");
}

#[tokio::test]
async fn a_line_without_end_ends() {
    let bounds = Bounds { message_max: 1 << 20, ..quick() };
    let mut scene = Scene::with("", |_| (), bounds);
    let a = of(0, Some(1));
    scene.call(0, a, "echo", "0").await;
    scene.answer(0).await;
    scene.call(1, a, "endless", "0").await;
    assert!(matches!(scene.next().await, Said::Gone { why, .. } if why.contains("longer than one may be")));
    scene.call(2, a, "big", "1").await;
    assert!(matches!(scene.next().await, Said::Gone { .. }));
    assert_eq!(std::fs::read_dir(scene.dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_long_answer_takes_no_memory() {
    let mut scene = Scene::new("");
    let spool = scene.dir.path().to_owned();
    let a = of(0, Some(1));
    scene.call(1, a, "echo", "0").await;
    scene.answer(1).await;
    let before = resident();
    scene.call(2, a, "big", "100").await;
    let Said::Answer { key: 2, message, .. } = scene.next().await else { panic!() };
    let Body::File(path) = &message.body else { panic!() };
    assert_eq!(std::fs::metadata(&***path).unwrap().len(), (100 << 20) + 36);
    let grown = resident().saturating_sub(before);
    assert!(grown < 50 << 10, "{grown} KiB");
    drop(message);
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
    // And a long request goes in from its file.
    let long = call("3", "echo", &format!("\"{}\"", "y".repeat(3 << 20)));
    scene.hand(3, a, &long).await.unwrap();
    assert_eq!(scene.answer(3).await.as_str().map(str::len), Some(3 << 20));
    clear_spool(&spool).unwrap();
}

#[tokio::test]
async fn a_thousand_calls_are_in_flight() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    for key in 1..=1000 {
        scene.call(key, a, "hold", "0").await;
    }
    scene.call(2000, a, "release", "0").await;
    for key in (1..=1000).rev() {
        assert_eq!(scene.answer(key).await, key);
    }
    assert_eq!(scene.answer(2000).await, "released");
}

/// A program that says more than is taken waits, and whoever hands over does not wait for that.
#[tokio::test]
async fn who_takes_nothing_fills_no_memory_and_holds_nobody_up() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    for key in 1..=200 {
        scene.call(key, a, "echo", "0").await;
    }
    for key in 1..=200 {
        assert_eq!(scene.answer(key).await, 0);
    }
    let before = resident();
    scene.call(1, a, "flood", "3000").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB");
    for number in 0..3000 {
        let Said::Part { key: 1, message } = scene.next().await else { panic!() };
        assert_eq!(json(&message)["params"]["n"], number);
    }
    assert_eq!(scene.answer(1).await, "dry");
}

/// What waits while a program ends is for the next one, and its answer comes.
#[tokio::test]
async fn who_reads_no_more_is_ended_and_what_it_did_not_read_was_not_handed_over() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    scene.call(1, a, "shut", "0").await;
    assert_eq!(scene.answer(1).await, "shut");
    assert_eq!(scene.hand(2, a, &call("2", "echo", "0")).await, Err(NotHanded::Ended));
    scene.call(2, a, "echo", "2").await;
    assert!(matches!(scene.next().await, Said::Gone { why, .. } if why.contains("reads no more")));
    assert_eq!(scene.answer(2).await, 2);
}

#[tokio::test]
async fn what_is_not_read_was_not_handed_over() {
    let scene = Scene::with("deaf", |_| (), quick());
    let a = of(0, Some(1));
    let long = call("1", "echo", &format!("\"{}\"", "y".repeat(1 << 20)));
    let service = std::sync::Arc::clone(&scene.service);
    let first = tokio::spawn(async move { hand(&service, 1, a, &long).await });
    let service = std::sync::Arc::clone(&scene.service);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = tokio::spawn(async move { hand(&service, 2, a, &call("2", "echo", "0")).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(first.is_finished() && !second.is_finished());
    scene.service.end(a).await;
    // Of the first some bytes are in the pipe.
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(()), Err(NotHanded::Ended)));
}

/// What waits behind a program that does not read is told so in its time, and is not done later.
#[tokio::test]
async fn who_does_not_read_for_long_is_busy_and_is_not_given_it_later() {
    let bounds = Bounds { reads_within: Duration::from_secs(1), ..quick() };
    let mut scene = Scene::with("late", |_| (), bounds);
    let a = of(0, Some(1));
    let long = "y".repeat(1 << 20);
    scene.hand(1, a, &call("1", "echo", &format!("\"{long}\""))).await.unwrap();
    let begun = std::time::Instant::now();
    let not = scene.hand(2, a, &call("2", "echo", "0")).await;
    assert!(matches!(not, Err(NotHanded::Busy(why)) if why.contains("does not read")), "{not:?}");
    let notice = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
    assert!(scene.hand(3, a, notice).await.is_err() && begun.elapsed() < Duration::from_secs(8));
    // It reads again.
    assert_eq!(scene.answer(1).await, json!(long));
    scene.call(2, a, "seen", "0").await;
    assert_eq!(scene.answer(2).await, json!(["tools/call", "tools/call"]), "its id is free, and it was not written");
}

/// contracts/query.md Q3: what was given up before a byte of it was written is asked anew, not gone on with.
#[tokio::test]
async fn what_was_given_up_before_it_was_read_is_not_taken_for_the_same_that_is_asked_next() {
    let bounds = Bounds { reads_within: Duration::from_secs(1), ..quick() };
    let mut scene = Scene::with("late", |_| (), bounds);
    let a = of(0, Some(1));
    let long = "y".repeat(1 << 20);
    scene.hand(1, a, &call("1", "echo", &format!("\"{long}\""))).await.unwrap();
    let (service, same) = (std::sync::Arc::clone(&scene.service), call("2", "echo", "0"));
    let query = tokio::time::timeout(Duration::from_millis(300), hand(&service, 2, a, &same)).await;
    assert!(query.is_err());
    service.forget_query(&a, 2);
    let letter = scene.hand(3, a, &same).await;
    assert!(matches!(letter, Err(NotHanded::Busy(why)) if why.contains("does not read")), "{letter:?}");
    // It reads again, and its id is free.
    assert_eq!(scene.answer(1).await, json!(long));
    scene.call(2, a, "echo", "7").await;
    assert_eq!(scene.answer(2).await, 7);
}

#[tokio::test]
async fn what_ends_counts_as_its_peer_s_until_it_has_ended() {
    let mut scene = Scene::with("stubborn", |config| config.sessions_per_peer = 1, quick());
    let (a, b, other) = (of(0, Some(1)), of(0, Some(2)), of(1, Some(1)));
    scene.call(1, a, "who", "0").await;
    scene.answer(1).await;
    let service = std::sync::Arc::clone(&scene.service);
    let ends = tokio::spawn(async move { service.end(a).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!ends.is_finished());
    let not = scene.hand(2, b, &call("2", "echo", "0")).await;
    assert!(matches!(not, Err(NotHanded::Busy(why)) if why.contains("one agent")), "{not:?}");
    scene.call(3, other, "echo", "3").await;
    assert_eq!(scene.answer(3).await, 3);
    ends.await.unwrap();
    scene.call(4, b, "echo", "4").await;
    assert_eq!(scene.answer(4).await, 4);
}

/// contracts/call.md X14.
#[tokio::test]
async fn what_is_queued_when_a_session_ends_is_not_done() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    scene.call(1, a, "who", "0").await;
    let dir = scene.answer(1).await["dir"].as_str().unwrap().to_owned();
    let made = std::path::Path::new(&dir).join("made");
    // It reads nothing while this lasts, and all that waits then.
    scene.call(2, a, "sleep", "0.4").await;
    let long = "y".repeat(1 << 20);
    let service = std::sync::Arc::clone(&scene.service);
    let first = tokio::spawn(async move { hand(&service, 3, a, &call("3", "echo", &format!("\"{long}\""))).await });
    let service = std::sync::Arc::clone(&scene.service);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let makes = format!("{:?}", made.display().to_string());
    let second = tokio::spawn(async move { hand(&service, 4, a, &call("4", "make", &makes)).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(first.is_finished() && !second.is_finished());
    scene.service.end(a).await;
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(()), Err(NotHanded::Ended)));
    assert!(!made.exists());
}

#[tokio::test]
async fn nothing_is_left_of_what_ends() {
    for (habit, tool) in [("", "child"), ("stubborn", "child"), ("", "orphan")] {
        let mut scene = Scene::new(habit);
        let a = of(0, Some(1));
        scene.call(1, a, "who", "0").await;
        let program = scene.answer(1).await["pid"].clone();
        scene.call(2, a, tool, "0").await;
        let child = scene.answer(2).await;
        if tool == "child" {
            assert!(lives(&program) && lives(&child));
            scene.service.end(a).await;
        }
        dies(&program).await;
        dies(&child).await;
        // The next message starts another.
        scene.call(3, a, "echo", "3").await;
        while !matches!(scene.next().await, Said::Answer { key: 3, .. }) {}
        scene.call(4, a, "who", "0").await;
        let program = scene.answer(4).await["pid"].clone();
        drop(scene);
        dies(&program).await;
    }
}

#[tokio::test]
async fn an_end_tells_what_was_open() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    scene.call(1, a, "hold", "0").await;
    scene.service.end(a).await;
    assert!(matches!(scene.next().await, Said::Gone { of, .. } if of == a));
    scene.service.end(a).await;
    scene.silent().await;
}

#[tokio::test]
async fn an_idle_session_ends_and_comes_back() {
    let mut scene = Scene::with("", |config| config.idle = Duration::from_millis(300), quick());
    let a = of(0, Some(1));
    scene.begin(a).await;
    scene.call(1, a, "who", "0").await;
    let program = scene.answer(1).await["pid"].clone();
    dies(&program).await;
    scene.call(2, a, "seen", "0").await;
    assert_eq!(scene.answer(2).await, json!(["initialize", "notifications/initialized", "tools/call"]));
    // With a request open it is not idle.
    scene.call(3, a, "hold", "0").await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    scene.call(4, a, "release", "0").await;
    assert_eq!(scene.answer(3).await, 3);
}

#[tokio::test]
async fn too_much_at_once_is_busy() {
    let bounds = Bounds { open_max: 2, pool: 2, ..quick() };
    let scene = Scene::with("", |config| (config.sessions_per_peer, config.children) = (2, 3), bounds);
    let a = of(0, Some(1));
    let held = |key: u64, whose| {
        let text = call(&key.to_string(), "hold", "0");
        let scene = &scene;
        async move { scene.hand(key, whose, &text).await }
    };
    let busy = |answer| assert!(matches!(answer, Err(NotHanded::Busy(_))), "{answer:?}");
    held(1, a).await.unwrap();
    held(2, a).await.unwrap();
    busy(held(3, a).await);
    held(1, of(0, Some(2))).await.unwrap();
    busy(held(1, of(0, Some(3))).await);
    held(1, of(1, Some(1))).await.unwrap();
    busy(held(1, of(1, Some(2))).await);
    scene.service.end(a).await;
    held(1, of(0, Some(3))).await.unwrap();
}

#[tokio::test]
async fn without_a_session_one_id_may_be_open_in_several_programs() {
    let bounds = Bounds { pool: 2, ..quick() };
    let mut scene = Scene::with("", |_| (), bounds);
    let alone = of(0, None);
    scene.hand(1, alone, &call("1", "hold", "0")).await.unwrap();
    scene.hand(2, alone, &call("1", "hold", "0")).await.unwrap();
    assert!(matches!(scene.hand(3, alone, &call("1", "echo", "0")).await, Err(NotHanded::Busy(_))));
    scene.hand(4, alone, &call("4", "hold", "0")).await.unwrap();
    // Of two that have that id the one is told that is meant; where none is, or it is of another id, nobody.
    let cancel =
        |id: &str| format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
    for (key, id) in [(5, "1"), (5, "7"), (4, "1"), (2, "4"), (1, "1")] {
        scene.hand(key, alone, &cancel(id)).await.unwrap();
    }
    scene.hand(6, alone, &call("6", "seen", "0")).await.unwrap();
    assert_eq!(scene.answer(6).await, json!(["tools/call", "tools/call", "notifications/cancelled", "tools/call"]));
    // What belongs to nothing that is open has no way to anybody.
    scene.hand(7, alone, &call("7", "note", "0")).await.unwrap();
    assert_eq!(scene.answer(7).await, "noted");
}

#[tokio::test]
async fn what_was_given_up_is_answered_to_nobody_else() {
    let bounds = Bounds { pool: 2, ..quick() };
    let mut scene = Scene::with("", |_| (), bounds);
    let alone = of(0, None);
    scene.hand(1, alone, &call("1", "hold", "1")).await.unwrap();
    scene.service.forget(&alone, 1);
    // Its id is taken there: another that asks under it is asked in another program, and the late answer is not its.
    scene.hand(2, alone, &call("1", "hold", "2")).await.unwrap();
    assert!(matches!(scene.hand(3, alone, &call("1", "echo", "3")).await, Err(NotHanded::Busy(_))));
    scene.hand(4, alone, &call("4", "release", "0")).await.unwrap();
    assert_eq!(scene.answer(4).await, "released");
    scene.silent().await;
    // The program has answered: its id is free, and whoever has it is answered.
    scene.hand(5, alone, &call("1", "echo", "5")).await.unwrap();
    assert_eq!(scene.answer(5).await, 5);
}

#[tokio::test]
async fn what_only_reads_and_runs_already_is_gone_on_with() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    scene.hand(1, a, &call("1", "hold", "1")).await.unwrap();
    scene.service.forget_query(&a, 1);
    scene.hand(2, a, &call("1", "hold", "1")).await.unwrap();
    scene.call(3, a, "release", "0").await;
    assert_eq!(scene.answer(2).await, 1);
    assert_eq!(scene.answer(3).await, "released");
    scene.call(4, a, "seen", "0").await;
    assert_eq!(scene.answer(4).await.as_array().unwrap().len(), 3, "it was handed over once");
}

#[tokio::test]
async fn after_stop_nothing_is_handed_over() {
    let mut scene = Scene::new("");
    let a = of(0, Some(1));
    scene.call(1, a, "who", "0").await;
    let program = scene.answer(1).await["pid"].clone();
    std::sync::Arc::into_inner(scene.service).unwrap().stop().await;
    assert!(!lives(&program));
    assert!(scene.said.recv().await.is_none());
}
