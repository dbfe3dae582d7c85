//! `nuncio knocks`: who asks to be let in, by hand (contracts/call.md section 7).

use nuncio_cli::wire::{Named, NewPeer, Purpose};

use super::*;
use crate::support::{nuncio, stderr};

/// Waits until so many knock.
fn knocking(home: &Path, many: usize) -> Vec<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let all = json_of(home, &["knocks"])["knocks"].as_array().unwrap().clone();
        if all.len() == many {
            return all;
        }
        assert!(Instant::now() < until, "{all:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn whoever_knocks_is_listed_with_what_it_wants_and_let_in_or_turned_away() {
    if !has_python("knocks::whoever_knocks_is_listed_with_what_it_wants_and_let_in_or_turned_away") {
        return;
    }
    let homes = Homes::new();
    let start = |name: &str| Daemon::start(&homes.init(name), &[]);
    let (anna, ben, cora) = (start("anna"), start("ben"), start("cora"));
    let (log, server) = (homes.path("log"), server());
    let offer =
        ["expose", "mcp", "files", "--nobody", "--", "python3", server.to_str().unwrap(), log.to_str().unwrap()];
    let line = json_of(&anna.home, &offer)["invitation"].as_str().unwrap().to_owned();
    assert!(!line.contains("knock="), "{line}");
    ok(&ben.home, &["connect", &line, "--peer-name", "anna", "--ask", "tools.write:count"]);
    let knock = &knocking(&anna.home, 1)[0];
    assert_eq!((knock["agent"].as_str(), &knock["transaction"]), (Some(ben.did()), &Value::Null));
    assert_eq!(knock["purpose"], json!({ "service": "files", "scopes": ["tools.write:count"] }));
    // The other says in which transaction it would act.
    let purpose = Purpose { service: Some("files".to_owned()), scopes: vec!["tools.read".to_owned()] };
    let invitation = line.split('#').next().unwrap().to_owned();
    let new = |words: &str| NewPeer {
        invitation: invitation.clone(),
        name: None,
        knock: Some(purpose.clone()),
        transaction: Some(words.to_owned()),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let api = cora.api();
    for wrong in ["", "a\nb", &"x".repeat(129)] {
        assert!(runtime.block_on(api.post::<Named>("/v1/peers", &new(wrong))).is_err(), "{wrong:?}");
    }
    let _added: Named = runtime.block_on(api.post("/v1/peers", &new("user:mia, t-1"))).unwrap();
    let both = knocking(&anna.home, 2);
    let of_cora = both.iter().find(|knock| knock["agent"] == cora.did()).unwrap();
    assert_eq!(of_cora["transaction"], "user:mia, t-1");
    let table = ok(&anna.home, &["knocks"]);
    assert!(table.contains("files tools.write:count") && table.contains("user:mia, t-1"), "{table}");

    ok(&anna.home, &["knocks", "decline", cora.did()]);
    assert_eq!(knocking(&anna.home, 1)[0]["agent"], ben.did());
    let nobody = fails(&anna.home, &["knocks", "decline", cora.did()], 2);
    assert!(nobody.contains("nuncio knocks"), "{nobody}");
    ok(&anna.home, &["knocks", "let-in", ben.did(), "--name", "ben"]);
    knocking(&anna.home, 0);
    ok(&anna.home, &["allow", "files", "ben", "tools.read"]);
    Client::start(&ben.home, "anna/files").end();

    // A line that lets in is listed, and is worth nothing once it is revoked.
    let again = json_of(
        &anna.home,
        &["expose", "mcp", "files", "--", "python3", server.to_str().unwrap(), log.to_str().unwrap()],
    );
    let lines = json_of(&anna.home, &["knocks", "lines"])["lines"].as_array().unwrap().clone();
    assert_eq!((lines.len(), &lines[0]["purpose"]["service"], &lines[0]["times"]), (1, &json!("files"), &json!(1)));
    ok(&anna.home, &["knocks", "revoke", lines[0]["line"].as_str().unwrap()]);
    fails(&anna.home, &["knocks", "revoke", lines[0]["line"].as_str().unwrap()], 2);
    let none = nuncio(&anna.home, &["knocks", "lines"]);
    assert!(stderr(&none).contains("no line lets anybody in"), "{none:?}");
    let dora = start("dora");
    ok(&dora.home, &["connect", again["invitation"].as_str().unwrap(), "--peer-name", "anna"]);
    assert_eq!(knocking(&anna.home, 1)[0]["agent"], dora.did(), "it asks a person");
}
