//! `nuncio permit`: given, handed on, shown, revoked, by hand.

use super::*;
use crate::support::{nuncio, stderr};

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}"))
}

fn denied(answer: &Value) {
    assert_eq!(answer["error"]["code"], -32040, "{answer}");
}

#[test]
fn a_permit_is_given_handed_on_and_revoked() {
    if !has_python("permits::a_permit_is_given_handed_on_and_revoked") {
        return;
    }
    let scene = Scene::new();
    let (anna, ben) = (&scene.anna.home, &scene.ben.home);
    let cora = Daemon::start(&scene.homes.init("cora"), &[]);
    scene.anna.add(&cora, "cora");
    cora.add(&scene.anna, "anna");
    let count = |client: &mut Client, n: u64| client.ask(&call(n, "count", &json!({ "n": n })));

    scene.allow(&["tools.read"]);
    let mut at_ben = Client::start(ben, "anna/files");
    denied(&count(&mut at_ben, 1));
    let given = json_of(anna, &["permit", "give", "ben", "files", "tools.read", "tools.write:count", "--further", "1"]);
    assert_eq!(text(&count(&mut at_ben, 2)), "2");
    // Who lists who may, or takes away what was said, is told of it.
    let listed = ok(anna, &["services"]);
    assert!(listed.contains("ben, by a permit: tools.read tools.write:count"), "{listed}");
    assert_eq!(json_of(anna, &["services"])["permits"][0]["id"], given["id"]);
    let nothing = nuncio(anna, &["allow", "files", "ben", "--nothing"]);
    let revoke = format!("nuncio permit revoke {}", text_of(&given["id"]));
    assert!(nothing.status.success() && stderr(&nothing).contains(&revoke), "{nothing:?}");
    scene.allow(&["tools.read"]);

    // Ben hands on a part of it, and cora shows it.
    ok(ben, &["permit", "keep", text_of(&given["permit"])]);
    let narrow = ["permit", "narrow", text_of(&given["id"]), cora.did()];
    let wide = fails(ben, &[&narrow[..], &["tools.write"]].concat(), 2);
    assert!(wide.contains("no more than the one above"), "{wide}");
    let narrowed = json_of(ben, &[&narrow[..], &["tools.write:count", "--for", "2h"]].concat());
    assert_eq!(narrowed["links"][1]["by"], scene.ben.did());
    let kept = nuncio(&cora.home, &["permit", "keep", text_of(&narrowed["permit"])]);
    assert!(kept.status.success() && stderr(&kept).contains("whether it was revoked its giver knows"));
    let mut at_cora = Client::start(&cora.home, "anna/files");
    assert_eq!(text(&count(&mut at_cora, 3)), "3");
    denied(&at_cora.ask(&call(4, "look", &json!({}))));

    let listed = json_of(anna, &["permit", "list"]);
    assert_eq!(listed["permits"].as_array().map(Vec::len), Some(2), "given, and shown: {listed}");
    let told = ok(anna, &["permit", "list"]);
    assert!(told.contains(&format!("  given to {}", scene.ben.did())), "{told}");
    assert!(told.contains(&format!("handed on to {}, given to {}", cora.did(), scene.ben.did())), "{told}");
    // Cora was shown to have it by ben, who takes it back; anna takes back the rest.
    ok(ben, &["permit", "revoke", text_of(&narrowed["id"])]);
    assert_eq!(text(&count(&mut at_ben, 5)), "5");
    denied(&count(&mut at_cora, 6));
    ok(anna, &["permit", "revoke", text_of(&given["id"])]);
    denied(&count(&mut at_ben, 7));
    assert!(!ok(anna, &["services"]).contains("permit"));
    assert_eq!(json_of(anna, &["permit", "list"])["permits"], json!([]));
    fails(anna, &["permit", "revoke", text_of(&given["id"])], 2);
    assert_eq!(scene.counted(), [2, 3, 5]);
    at_ben.end();
    at_cora.end();
}

#[test]
fn a_permit_is_shown_without_an_agent_and_nothing_else_is_taken_for_one() {
    let homes = Homes::new();
    let (anna, ben) = (homes.init("anna"), homes.init("ben"));
    let to = text_of(&json_of(&ben, &["id"])["agent"]).to_owned();
    let none = fails(&anna, &["permit", "give", &to, "files", "tools.read"], 2);
    assert!(none.contains("files is not offered"), "{none}");
    nuncio_bridge::expose(&anna, &"files".parse().unwrap(), &["true".to_owned()]).unwrap();
    let line = ok(&anna, &["permit", "give", &to, "files", "tools.read", "--for", "2h"]);
    let line = line.trim();
    let shown = json_of(&ben, &["permit", "show", line]);
    assert_eq!(
        (&shown["holder"], &shown["service"], &shown["scopes"]),
        (&json!(to), &json!("files"), &json!(["tools.read"]))
    );
    assert!(ok(&ben, &["permit", "show", line]).contains("tools.read until 20"));
    // A character is another.
    let last = if line.ends_with('A') { "Q" } else { "A" };
    let forged = format!("{}{last}", &line[..line.len() - 1]);
    for bad in [&forged, "nuncio-permit:", "nuncio:did:key:z6Mk"] {
        assert!(fails(&ben, &["permit", "show", bad], 2).contains("not a permit"), "{bad}");
        fails(&ben, &["permit", "keep", bad], 2);
    }
    fails(&ben, &["permit", "keep", line], 2);
    for bad in [&["tools.admin"][..], &["tools.read", "--for", "367d"], &["tools.read", "--further", "4"]] {
        fails(&anna, &[&["permit", "give", &to, "files"], bad].concat(), 2);
    }
    let me = text_of(&json_of(&anna, &["id"])["agent"]).to_owned();
    fails(&anna, &["permit", "give", &me, "files", "tools.read"], 2);
    assert_eq!(json_of(&ben, &["permit", "list"])["permits"], json!([]), "its giver is not known there");
    // It goes with its service, also where no agent runs.
    assert_eq!(json_of(&anna, &["permit", "list"])["permits"].as_array().map(Vec::len), Some(1));
    ok(&anna, &["withdraw", "files"]);
    nuncio_bridge::expose(&anna, &"files".parse().unwrap(), &["true".to_owned()]).unwrap();
    assert_eq!(json_of(&anna, &["permit", "list"])["permits"], json!([]));
}
