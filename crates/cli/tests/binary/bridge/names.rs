//! What is said of a peer goes with the peer, and with nobody's name (contracts/local-api.md A26).

use super::*;
use crate::support::{nuncio, stderr};

fn services(home: &Path) -> Value {
    json_of(home, &["services"])["services"][0]["peers"].take()
}

fn denied(home: &Path, service: &str) {
    let mut command = command(home);
    command.args(["mcp", service]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}", hello(0)).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let answer: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(answer["error"]["code"], -32040, "{answer}");
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0), "what is denied was heard");
}

#[test]
fn who_gets_the_name_of_one_that_was_removed_may_nothing() {
    if !has_python("names::who_gets_the_name_of_one_that_was_removed_may_nothing") {
        return;
    }
    let scene = Scene::new();
    let anna = &scene.anna.home;
    scene.allow(&["tools.read"]);
    let file = anna.join("services.toml");
    let with_ben = std::fs::read_to_string(&file).unwrap();
    let cora = Daemon::start(&scene.homes.init("cora"), &[]);
    cora.add(&scene.anna, "anna");
    Client::start(&scene.ben.home, "anna/files").end();
    for by_hand in [false, true] {
        if by_hand {
            // In force, and taken out where the running agent has not looked since.
            std::fs::write(&file, with_ben.replace("ben =", "nobody =")).unwrap();
        }
        let removed = nuncio(anna, &["peers", "remove", "ben"]);
        assert!(removed.status.success());
        // Of one that was taken out by hand there may be what a line of its own brought since.
        assert!(by_hand || stderr(&removed).contains("named for files"), "{}", stderr(&removed));
        assert!(!services(anna).to_string().contains("ben"));
        let added = nuncio(anna, &["peers", "add", "--name", "ben", cora.invitation()]);
        assert!(added.status.success() && !stderr(&added).contains("may"), "{}", stderr(&added));
        denied(&cora.home, "anna/files");
        // As it was, for the other way.
        ok(anna, &["peers", "remove", cora.did()]);
        scene.anna.add(&scene.ben, "ben");
        scene.allow(&["tools.read"]);
        Client::start(&scene.ben.home, "anna/files").end();
    }
}

#[test]
fn who_goes_may_nothing_although_the_file_cannot_be_followed() {
    if !has_python("names::who_goes_may_nothing_although_the_file_cannot_be_followed") {
        return;
    }
    let scene = Scene::new();
    let (anna, ben) = (&scene.anna.home, &scene.ben);
    scene.allow(&["tools.read"]);
    let file = anna.join("services.toml");
    let with_ben = std::fs::read_to_string(&file).unwrap();
    let cora = Daemon::start(&scene.homes.init("cora"), &[]);
    cora.add(&scene.anna, "anna");
    let add = |name: &str, who: &Daemon| nuncio(anna, &["peers", "add", "--name", name, who.invitation()]);
    Client::start(&ben.home, "anna/files").end();
    // It can be read, and this program does not start what it says; or it cannot be read.
    for cannot in [format!("{with_ben}\n[services.other]\nnative = true\n"), "[services".to_owned()] {
        std::fs::write(&file, &cannot).unwrap();
        let is_read = cannot.contains("native");
        let removed = nuncio(anna, &["peers", "remove", "ben"]);
        assert_eq!((removed.status.success(), stderr(&removed).contains("still there")), (is_read, !is_read));
        assert!(!std::fs::read_to_string(&file).unwrap().contains("ben ="));
        assert!(add("ben", &cora).status.success());
        denied(&cora.home, "anna/files");
        std::fs::write(&file, &with_ben).unwrap();
        ok(anna, &["peers", "remove", cora.did()]);
        scene.anna.add(ben, "ben");
        scene.allow(&["tools.read"]);
        Client::start(&ben.home, "anna/files").end();
    }
    // Nor is an edit followed that is not finished: under another name it may what it could, and nobody under the former.
    let unfinished = with_ben.replace("[services.files", "[services.mine") + "\n[services.other]\nnative = true\n";
    std::fs::write(&file, unfinished).unwrap();
    let renamed = add("benny", ben);
    assert!(renamed.status.success() && stderr(&renamed).contains("benny may: mine"), "{}", stderr(&renamed));
    Client::start(&ben.home, "anna/files").end();
    assert!(add("ben", &cora).status.success());
    denied(&cora.home, "anna/files");
    ok(anna, &["peers", "remove", "ben"]);
    Client::start(&ben.home, "anna/files").end();
}

#[test]
fn who_is_not_called_otherwise_after_all_has_what_it_had() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let cora = Daemon::start(&homes.init("cora"), &[]);
    anna.add(&cora, "cora");
    let home = &anna.home;
    nuncio_bridge::expose(home, &"files".parse().unwrap(), &["true".to_owned()]).unwrap();
    ok(home, &["allow", "files", "ben", "tools.read"]);
    let file = home.join("services.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let rename = |name: &str| nuncio(home, &["peers", "add", "--name", name, ben.invitation()]);
    let is_as_it_was = |why: &str| {
        assert_eq!(services(home), json!({ "ben": ["tools.read"] }), "{why}");
        let peers = json_of(home, &["peers"])["peers"].take();
        let names: Vec<_> = peers.as_array().unwrap().iter().filter_map(|peer| peer["name"].as_str()).collect();
        assert!(names.contains(&"ben") && names.len() == 2, "{why}: {names:?}");
    };
    for (name, why) in [("cora", "another has that name"), ("a b", "it is no name")] {
        assert!(!rename(name).status.success());
        is_as_it_was(why);
    }
    // The file can be read, and is too long to be written with one name more.
    let len = 1024 * 1024 - good.len() - 8;
    std::fs::write(&file, format!("{good}#{}\n", "x".repeat(len))).unwrap();
    let refused = rename("one-that-is-called-otherwise");
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("services.toml") && !stderr(&refused).contains("now"), "{}", stderr(&refused));
    is_as_it_was("too long");
    std::fs::write(&file, good).unwrap();
    // Broken off behind the copy: asked again it goes on.
    ok(home, &["allow", "files", "benny", "tools.read", "--ahead"]);
    assert!(rename("benny").status.success());
    assert_eq!(services(home), json!({ "benny": ["tools.read"] }));
}

#[test]
fn where_people_reach_a_name_that_is_given_or_taken_away_is_said() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let home = &anna.home;
    nuncio_bridge::expose(home, &"files".parse().unwrap(), &["true".to_owned()]).unwrap();
    let file = home.join("gateway.toml");
    std::fs::write(&file, "[agents.ben]\nletters = \"travel.plan\"\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let add = |name: &str| stderr(&nuncio(home, &["peers", "add", "--name", name, ben.invitation()]));
    let said = add("benny");
    assert!(said.contains("still names ben: people reach nobody by agents.ben") && !said.contains("too"), "{said}");
    assert!(add("ben").contains("gateway.toml names ben: people reach this one by agents.ben"));
    let removed = nuncio(home, &["peers", "remove", ben.did()]);
    assert!(stderr(&removed).contains("still names ben"), "{}", stderr(&removed));
}

#[test]
fn what_is_said_of_a_peer_goes_with_it_to_another_name() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    nuncio_bridge::expose(&anna.home, &"files".parse().unwrap(), &["true".to_owned()]).unwrap();
    ok(&anna.home, &["allow", "files", "ben", "tools.read"]);
    let rename = |name: &str| nuncio(&anna.home, &["peers", "add", "--name", name, ben.invitation()]);
    let renamed = rename("benny");
    let said = stderr(&renamed);
    assert!(said.contains("in services.toml too") && said.contains("benny may: files: tools.read"), "{said}");
    assert_eq!(services(&anna.home), json!({ "benny": ["tools.read"] }));

    // Where the file cannot be read a name stays, and a removal is done and says what it could not.
    let file = anna.home.join("services.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "[services").unwrap();
    let refused = rename("ben");
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("services.toml, line 1"), "{}", stderr(&refused));
    assert_eq!(json_of(&anna.home, &["peers"])["peers"][0]["name"], "benny");
    let said = fails(&anna.home, &["peers", "remove", "benny"], 1);
    assert!(said.contains("it is removed") && said.contains("still there"), "{said}");
    assert_eq!(json_of(&anna.home, &["peers"])["peers"], json!([]));

    // Who is given a name of which something is said may that, which is told.
    std::fs::write(&file, good).unwrap();
    let added = rename("benny");
    assert!(stderr(&added).contains("benny may: files: tools.read"), "{}", stderr(&added));
    // Also where no agent runs.
    let home = anna.home.clone();
    anna.stop();
    ok(&home, &["peers", "remove", "benny"]);
    assert_eq!(services(&home), json!({}));
}

#[test]
fn a_name_that_nobody_has_is_a_slip_unless_it_is_said_ahead() {
    let homes = Homes::new();
    let (anna, _ben) = homes.pair();
    let home = &anna.home;
    nuncio_bridge::expose(home, &"files".parse().unwrap(), &["true".to_owned()]).unwrap();
    let file = || std::fs::read_to_string(home.join("services.toml")).unwrap();
    let before = file();
    let said = fails(home, &["allow", "files", "bne", "tools.read"], 2);
    assert!(said.contains("no peer is called bne") && said.contains("--ahead"), "{said}");
    assert!(fails(home, &["allow", "files", "did:key:zBad", "tools.read"], 2).contains("no DID"));
    assert!(fails(home, &["allow", "files", "bne", "--nothing"], 2).contains("no peer is called bne"));
    let said = fails(home, &["allow", "files", "ben"], 2);
    assert!(said.contains("--nothing"), "{said}");
    let marker = homes.path("ran");
    let ran = format!("touch {}", marker.display());
    let said = fails(home, &["expose", "mcp", "other", "--allow", "bne=tools.read", "--", "sh", "-c", &ran], 2);
    assert!(said.contains("no peer is called bne"), "{said}");
    assert!(file() == before && !marker.exists(), "nothing is written, and nothing was started");
    ok(home, &["allow", "files", "bne", "tools.read", "--ahead"]);
    ok(home, &["allow", "files", "ben", "tools.read"]);
    assert_eq!(services(home), json!({ "ben": ["tools.read"], "bne": ["tools.read"] }));
    ok(home, &["allow", "files", "bne", "--nothing"]);
    ok(home, &["allow", "files", "ben", "--nothing"]);
    ok(home, &["allow", "files", "ben", "--nothing"]);
    assert_eq!(services(home), json!({}));
}

#[test]
fn the_bearer_of_the_line_is_among_who_may() {
    if !has_python("names::the_bearer_of_the_line_is_among_who_may") {
        return;
    }
    let homes = Homes::new();
    let (anna, ben) = (Daemon::start(&homes.init("anna"), &[]), Daemon::start(&homes.init("ben"), &[]));
    let (server, log) = (server(), homes.path("log"));
    let command = ["--", "python3", server.to_str().unwrap(), log.to_str().unwrap()];
    let expose = |more: &[&str]| ok(&anna.home, &[&["expose", "mcp", "files"], more, &command].concat());
    assert!(expose(&["--nobody"]).contains("who may: nobody\n"));
    let told = expose(&[]);
    assert!(told.contains("who may: whoever has the line below: tools.read\n"), "{told}");
    let line = told.lines().find_map(|line| line.trim().strip_prefix("nuncio connect ")).unwrap().trim_matches('\'');
    let connected = nuncio(&ben.home, &["connect", line, "--peer-name", "anna"]);
    let said = stderr(&connected);
    assert!(said.contains("anna is shown the line now") && said.contains("nuncio knocks let-in did:key:"), "{said}");
    Client::start(&ben.home, "anna/files").end();
    let told = expose(&["--let-in", "service.use"]);
    assert!(
        told.contains(&format!("who may: {}: tools.read; whoever has the line below: service.use", ben.did())),
        "{told}"
    );
}
