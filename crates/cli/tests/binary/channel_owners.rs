//! What owners and admins ask of a channel, and what they are told when it cannot be.

use crate::channel::{crew, members, until};
use crate::support::{Daemon, Homes, fails, json, nuncio, ok, stderr};

/// Each says what is wrong, and of whom.
#[test]
fn everyday_mistakes_are_told_apart() {
    let homes = Homes::new();
    let [anna, ben, cleo] = crew(&homes);
    let refused = |agent: &Daemon, args: &[&str], why: &str| {
        let said = fails(&agent.home, &[&["channel"], args].concat(), 1);
        assert!(said.contains(why), "{args:?}: {said}");
        assert!(!said.contains("changes what is not so") && said.contains("hint: "), "{args:?}: {said}");
    };
    ok(&anna.home, &["channel", "create", "board"]);
    refused(&anna, &["invite", "crew", "ben"], "it is a member already");
    refused(&anna, &["remove", "board", "ben"], "it is no member: there is nobody to take out");
    refused(&anna, &["remove", "crew", anna.did()], "it is the owner, whom nobody takes out");
    refused(&anna, &["rename", "crew", "crew"], "called that already");
    refused(&anna, &["admin", "board", "ben"], "invite it first");
    refused(&anna, &["admin", "crew", "ben", "--no"], "it is no admin");
    refused(&anna, &["admin", "crew", anna.did()], "it is the owner, who may do all");
    refused(&anna, &["hand-over", "crew", anna.did()], "it is the owner already");
    refused(&anna, &["hand-over", "board", "ben"], "it is no member: invite it first");
    ok(&anna.home, &["channel", "admin", "crew", "ben"]);
    refused(&anna, &["admin", "crew", "ben"], "it is an admin already");
    until(|| ok(&ben.home, &["channel", "list"]).contains("  admin "));
    refused(&ben, &["admin", "crew", cleo.did()], "only the owner does this");
    refused(&ben, &["rename", "crew", "crew"], "called that already");
    refused(&ben, &["succeed", "crew", "--behind", "99"], "epoch that is not known");
    refused(&cleo, &["succeed", "crew"], "owner or one of its admins");
    refused(&cleo, &["support", "crew", ben.did()], "has not asked this agent for its support");
}

/// contracts/channel.md C60: the owner of before has the last word, and who waits for it is told so.
#[test]
fn who_takes_over_from_an_owner_that_is_away_is_told_so() {
    let homes = Homes::new();
    let [anna, ben, cleo] = crew(&homes);
    ok(&anna.home, &["channel", "hand-over", "crew", "ben"]);
    until(|| ok(&ben.home, &["channel", "list"]).contains("this agent is asked to be the owner"));
    let (home, address) = (anna.home.clone(), anna.listening().to_owned());
    anna.stop();
    let waits = fails(&ben.home, &["channel", "take-over", "crew", "--wait", "500ms"], 3);
    assert!(waits.contains("has not answered yet"), "{waits}");
    let anna = Daemon::listen(&home, &address, &[]);
    until(|| ok(&ben.home, &["channel", "list"]).contains("  owner "));
    drop((anna, cleo));
}

/// contracts/channel.md C15: of two admins both, and the owner of before is out.
#[test]
fn admins_make_one_of_them_the_owner_where_the_owner_is_gone() {
    let homes = Homes::new();
    let [anna, ben, cleo] = crew(&homes);
    for name in ["ben", "cleo"] {
        ok(&anna.home, &["channel", "admin", "crew", name]);
    }
    for agent in [&ben, &cleo] {
        let role = |member: &serde_json::Value| member["role"] == "admin";
        until(|| members(agent).iter().filter(|member| role(member)).count() == 2);
    }
    let (home, address) = (anna.home.clone(), anna.listening().to_owned());
    anna.stop();
    let waits = fails(&ben.home, &["channel", "succeed", "crew", "--wait", "500ms"], 3);
    assert!(waits.contains("nuncio channel support"), "{waits}");
    until(|| ok(&cleo.home, &["channel", "list"]).contains(&format!("{} would be the owner of crew", ben.did())));
    assert_eq!(json(&cleo.home, &["channel", "members", "crew"])["asking"][0], ben.did());
    ok(&cleo.home, &["channel", "support", "crew", ben.did()]);
    until(|| ok(&ben.home, &["channel", "list"]).contains("  owner "));
    until(|| members(&cleo).len() == 2);
    assert!(!ok(&cleo.home, &["channel", "list"]).contains("would be"), "it is the owner, and asks no more");
    let sent = nuncio(&ben.home, &["channel", "send", "crew", "we go on"]);
    assert!(sent.status.success() && stderr(&sent).contains("delivered to 1 of 1"), "{}", stderr(&sent));
    let anna = Daemon::listen(&home, &address, &[]);
    until(|| ok(&anna.home, &["channel", "list"]).contains("  gone "));
}

#[test]
fn who_is_joining_is_told_so_and_who_does_not_wait_knows_nothing() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    ok(&anna.home, &["channel", "create", "crew"]);
    ok(&anna.home, &["channel", "invite", "crew", "ben"]);
    until(|| ok(&ben.home, &["channel", "list"]).contains("anna invites into crew"));
    let (home, address) = (anna.home.clone(), anna.listening().to_owned());
    anna.stop();
    assert!(fails(&ben.home, &["channel", "join", "crew", "--wait", "0s"], 3).contains("goes on by itself"));
    let joining = fails(&ben.home, &["--json", "channel", "send", "crew", "am I in?"], 1);
    assert!(joining.contains("\"joining\"") && joining.contains("as soon as the owner can be reached"), "{joining}");
    let anna = Daemon::listen(&home, &address, &[]);
    until(|| ok(&ben.home, &["channel", "list"]).contains("  member "));
    anna.stop();
    let sent = nuncio(&ben.home, &["channel", "send", "crew", "who has it?", "--wait", "0s"]);
    assert_eq!(sent.status.code(), Some(3), "{}", stderr(&sent));
    assert!(stderr(&sent).contains("not yet: anna"), "{}", stderr(&sent));
}

/// A letter that cannot be sealed again: who relies on such a channel is told before.
#[test]
fn a_channel_that_audits_says_what_that_costs() {
    let homes = Homes::new();
    let home = homes.init("anna");
    let made = nuncio(&home, &["channel", "create", "board", "--audits"]);
    assert!(made.status.success() && stderr(&made).contains("never has it"), "{}", stderr(&made));
    assert!(!stderr(&nuncio(&home, &["channel", "create", "crew"])).contains("never has it"));
}
