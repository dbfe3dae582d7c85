//! Permits between agents: given, handed on and shown, revoked from both ends, through restarts (contracts/permit.md sections 2 to 4).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use nuncio_contracts::registry::{limit, time};
use nuncio_proto::call::ServiceName;
use nuncio_proto::control::Control;
use nuncio_proto::identity::{Identity, Retirement};
use nuncio_proto::ids::{AgentId, PermitId};
use nuncio_proto::letter::LetterKind;
use nuncio_proto::peer::PermitError;
use nuncio_proto::permit::{NotAllowed, Permit, Terms};
use nuncio_proto::rows;
use nuncio_proto::testing::rng;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Scope;

use agent::{Agent, settle};

#[path = "conversation/agent.rs"]
#[allow(dead_code, reason = "another test uses the rest")]
mod agent;

const DAY: u64 = 86_400_000;

fn files() -> ServiceName {
    "files".parse().unwrap()
}

impl Agent {
    fn terms(&self, holder: AgentId, scope: &str, further: u8) -> Terms {
        Terms { holder, scope: Scope::parse(scope).unwrap(), until: self.now.plus(30 * DAY), further }
    }

    fn give(&mut self, holder: AgentId, scope: &str, further: u8) -> Permit {
        let (permit, step) =
            self.peer.give_permit(files(), self.terms(holder, scope, further), self.now).expect("it is given");
        self.take(step);
        permit
    }

    fn keep(&mut self, permit: &Permit) {
        let step = self.peer.keep_permit(permit, self.now).unwrap();
        self.take(step);
    }

    /// Of a permit that it keeps.
    fn narrow(&mut self, permit: &Permit, holder: AgentId, scope: &str) -> Permit {
        let terms = Terms { until: permit.last().terms.until, ..self.terms(holder, scope, 0) };
        let (narrowed, step) = self.peer.narrow_permit(permit.id(), terms, self.now).unwrap();
        self.take(step);
        narrowed
    }

    fn revoke(&mut self, id: PermitId) -> Option<Permit> {
        let (told, step) = self.peer.revoke_permit(id).unwrap();
        self.take(step);
        told
    }

    fn say(&mut self, to: AgentId, control: &Control) {
        let mut letter = self.letter("");
        (letter.kind, letter.payload) = (LetterKind::Control, control.encode());
        self.post(to, &letter);
    }

    fn show(&mut self, to: &mut Self, permit: &Permit) {
        self.say(to.peer.id(), &Control::Permit(permit.to_bytes()));
        settle(self, to);
    }

    fn permitted(&self, holder: AgentId) -> Option<String> {
        self.peer.permitted(&holder, &files(), self.now).map(|scope| scope.to_string())
    }
}

/// Who serves, and two who ask; all know each other.
fn three() -> ([Agent; 3], [AgentId; 3]) {
    let mut all = [Agent::new(1), Agent::new(2), Agent::new(3)];
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        let [one, two] = all.get_disjoint_mut([from, to]).unwrap();
        one.know(&two.peer);
    }
    let ids = all.each_ref().map(|agent| agent.peer.id());
    (all, ids)
}

/// A gives B, B hands on to C, C shows it.
fn shown() -> ([Agent; 3], [AgentId; 3], [Permit; 2]) {
    let ([mut a, mut b, mut c], ids) = three();
    let given = a.give(ids[1], "tools.read tools.write", 1);
    b.keep(&given);
    let narrowed = b.narrow(&given, ids[2], "tools.read");
    c.keep(&narrowed);
    c.show(&mut a, &narrowed);
    ([a, b, c], ids, [given, narrowed])
}

#[test]
fn what_was_given_counts_at_once_for_its_holder_and_its_service() {
    let ([mut a, ..], [ida, idb, idc]) = three();
    a.give(idb, "tools.read", 0);
    a.give(idb, "tools.write:a", 0);
    assert_eq!(a.permitted(idb).as_deref(), Some("tools.read tools.write:a"));
    assert_eq!((a.permitted(idc), a.permitted(ida)), (None, None));
    assert_eq!(a.peer.permitted(&idb, &"mail".parse().unwrap(), a.now), None);
    a.restart();
    assert_eq!(a.permitted(idb).as_deref(), Some("tools.read tools.write:a"));
    a.now = a.now.plus(30 * DAY);
    assert_eq!(a.permitted(idb), None);
    let step = a.peer.forget_permits(a.now).unwrap();
    a.take(step);
    assert!(a.peer.forget_permits(a.now).is_none() && !a.disk.0.keys().any(|key| key[0] == rows::PERMIT));
}

#[test]
fn what_was_handed_on_counts_once_it_is_shown_and_for_who_shows_it() {
    let ([mut a, mut b, mut c], [_, idb, idc], [given, narrowed]) = shown();
    assert_eq!(a.permitted(idc).as_deref(), Some("tools.read"));
    assert_eq!(b.peer.permitted(&idc, &files(), b.now), None, "it counts at its giver alone");
    a.restart();
    assert_eq!(a.permitted(idc).as_deref(), Some("tools.read"));
    // Whose it is shows it, and nobody for it.
    let other = b.narrow(&given, idc, "tools.write");
    b.show(&mut a, &other);
    assert_eq!(a.permitted(idc).as_deref(), Some("tools.read"));
    // Another's is of no use: neither the one that was narrowed nor the one that it was narrowed of.
    let step = a.peer.revoke_permit(narrowed.id()).unwrap().1;
    a.take(step);
    c.show(&mut a, &given);
    b.show(&mut a, &narrowed);
    assert_eq!((a.permitted(idc), a.peer.permits().count()), (None, 1));
    assert_eq!(a.permitted(idb).as_deref(), Some("tools.read tools.write"));
    // Nor can another keep it as its own.
    assert_eq!(c.peer.keep_permit(&given, c.now).unwrap_err(), PermitError::Useless(NotAllowed::Holder));
}

#[test]
fn a_link_that_its_giver_revokes_takes_all_below_it_for_good() {
    let ([mut a, mut b, mut c], [_, idb, idc], [given, narrowed]) = shown();
    assert_eq!(a.revoke(given.id()), None);
    assert_eq!((a.permitted(idb), a.permitted(idc), a.peer.permits().count()), (None, None, 0));
    for _ in 0..2 {
        b.show(&mut a, &given);
        c.show(&mut a, &narrowed);
        assert_eq!((a.permitted(idb), a.permitted(idc)), (None, None));
        a.restart();
    }
    assert_eq!(a.peer.revoke_permit(given.id()).unwrap_err(), PermitError::Unknown);
    // One that is given anew is another.
    a.now = a.now.plus(1);
    a.give(idb, "tools.read", 0);
    assert_eq!(a.permitted(idb).as_deref(), Some("tools.read"));
}

#[test]
fn whoever_handed_it_on_takes_it_back_and_nobody_else() {
    let ([mut a, mut b, mut c], [ida, idb, idc], [given, narrowed]) = shown();
    // Who holds it, and who has signed another link of it, are not heard.
    c.say(ida, &Control::PermitOver(narrowed.to_bytes()));
    b.say(ida, &Control::PermitOver(given.to_bytes()));
    settle(&mut c, &mut a);
    settle(&mut b, &mut a);
    assert!(a.permitted(idc).is_some() && a.permitted(idb).is_some());
    assert_eq!(c.peer.revoke_permit(narrowed.id()).unwrap_err(), PermitError::Unknown);
    let told = b.revoke(narrowed.id()).unwrap();
    assert_eq!((told.giver(), &told), (&ida, &narrowed));
    b.say(ida, &Control::PermitOver(told.to_bytes()));
    settle(&mut b, &mut a);
    assert!(a.permitted(idc).is_none() && a.permitted(idb).is_some());
    c.show(&mut a, &narrowed);
    a.restart();
    c.show(&mut a, &narrowed);
    assert!(a.permitted(idc).is_none());
}

#[test]
fn who_revokes_more_than_is_kept_loses_what_it_handed_on() {
    let ([mut a, mut b, mut c], [ida, idb, idc], [_, narrowed]) = shown();
    let given = a.give(idb, "tools.read", 1);
    b.keep(&given);
    for no in 0..=u64::try_from(limit::PERMITS_OVER_MAX).unwrap() {
        assert!(a.permitted(idb).is_some_and(|scope| scope.contains("tools.read")), "{no}");
        let terms = Terms { until: a.now.plus(DAY + no), ..b.terms(idc, "tools.read", 0) };
        let below = given.narrow(b.peer.identity(), terms).unwrap();
        b.say(ida, &Control::PermitOver(below.to_bytes()));
        settle(&mut b, &mut a);
    }
    c.show(&mut a, &b.narrow(&given, idc, "tools.read"));
    assert!(a.peer.permits().all(|permit| permit.links().all(|link| link.id() != given.id())));
    assert_eq!(a.permitted(idc).as_deref(), Some("tools.read"), "of what else it was given nothing is lost");
    assert!(a.peer.permits().any(|permit| *permit == narrowed));
}

#[test]
fn one_holder_fills_its_own_part_alone() {
    let ([mut a, mut b, mut c], [_, idb, idc]) = three();
    let given = a.give(idb, "tools.read tools.write", 1);
    b.keep(&given);
    for no in 0..=u64::try_from(limit::PERMITS_PER_HOLDER_MAX).unwrap() {
        let terms = Terms { until: b.now.plus(DAY + no), ..b.terms(idc, "tools.read", 0) };
        let permit = given.narrow(b.peer.identity(), terms).unwrap();
        c.show(&mut a, &permit);
    }
    let of = |holder| a.peer.permits().filter(|permit| *permit.holder() == holder).count();
    assert_eq!((of(idc), of(idb)), (limit::PERMITS_PER_HOLDER_MAX, 1));
}

#[test]
fn what_a_removed_peer_was_given_is_revoked() {
    let ([mut a, mut b, mut c], [_, idb, idc], [given, narrowed]) = shown();
    let step = a.peer.remove_contact(idb).unwrap();
    a.take(step);
    assert_eq!((a.permitted(idb), a.permitted(idc)), (None, None), "and what it handed on");
    a.know(&b.peer);
    b.show(&mut a, &given);
    c.show(&mut a, &narrowed);
    assert_eq!((a.permitted(idb), a.permitted(idc)), (None, None));
}

#[test]
fn what_a_removed_peer_handed_on_is_revoked_where_what_it_stood_on_is_forgotten() {
    let ([mut a, _b, mut c], [_, idb, idc], [_, narrowed]) = shown();
    a.disk.0.retain(|key, _| key[0] != rows::PERMIT || key[1..33] != idb.as_bytes()[..]);
    a.restart();
    assert!(a.permitted(idb).is_none() && a.permitted(idc).is_some());
    let step = a.peer.remove_contact(idb).unwrap();
    a.take(step);
    c.show(&mut a, &narrowed);
    assert_eq!(a.permitted(idc), None);
}

#[test]
fn who_was_removed_hands_on_nothing_through_a_friend_either() {
    let ([mut a, mut b, mut c], [_, idb, idc]) = three();
    let mut d = Agent::new(4);
    a.know(&d.peer);
    d.know(&a.peer);
    let given = a.give(idc, "tools.read", 2);
    let step = a.peer.remove_contact(idb).unwrap();
    a.take(step);
    // C goes on with B, which hands on to D; A has seen none of these links.
    c.keep(&given);
    let terms = Terms { until: given.last().terms.until, ..c.terms(idb, "tools.read", 1) };
    let (at_b, _) = c.peer.narrow_permit(given.id(), terms, c.now).unwrap();
    b.keep(&at_b);
    let at_d = b.narrow(&at_b, d.peer.id(), "tools.read");
    for _ in 0..2 {
        d.show(&mut a, &at_d);
        assert_eq!((a.permitted(d.peer.id()), a.permitted(idc).as_deref()), (None, Some("tools.read")));
        a.restart();
    }
    // Of others, and at others, it is as it was.
    assert!(d.peer.keep_permit(&at_d, d.now).is_ok());
    a.know(&b.peer);
    a.restart();
    assert_eq!(a.peer.removals(&idb), 1);
    for _ in 0..2 {
        d.show(&mut a, &at_d);
        b.show(&mut a, &at_b);
        assert_eq!((a.permitted(d.peer.id()), a.permitted(idb)), (None, None), "it was made before");
        a.restart();
    }
    // What it is given since counts, and what it hands on of that.
    let anew = a.give(idb, "tools.read", 1);
    b.keep(&anew);
    let on = b.narrow(&anew, d.peer.id(), "tools.read");
    d.show(&mut a, &on);
    assert_eq!((a.permitted(d.peer.id()), a.permitted(idb)), (Some("tools.read".into()), Some("tools.read".into())));
    let step = a.peer.remove_contact(idb).unwrap();
    a.take(step);
    a.restart();
    assert_eq!((a.peer.removals(&idb), a.permitted(d.peer.id()), a.permitted(idb)), (2, None, None));
}

#[test]
fn what_the_giver_has_forgotten_of_one_that_was_removed_counts_no_more() {
    let ([mut a, mut b, mut c], [_, idb, idc], [given, narrowed]) = shown();
    // A restored giver, or one whose clock was ahead for a while, which keeps none of it.
    a.disk.0.retain(|key, _| key[0] != rows::PERMIT);
    a.restart();
    let step = a.peer.remove_contact(idb).unwrap();
    a.take(step);
    a.know(&b.peer);
    for _ in 0..2 {
        b.show(&mut a, &given);
        c.show(&mut a, &narrowed);
        assert_eq!((a.permitted(idb), a.permitted(idc)), (None, None), "it was given before");
        a.restart();
    }
    // What it is given since counts, and what it hands on of that; and no longer than it is kept.
    let anew = a.give(idb, "tools.write", 1);
    b.keep(&anew);
    let on = b.narrow(&anew, idc, "tools.write");
    c.show(&mut a, &on);
    a.restart();
    assert_eq!((a.permitted(idb), a.permitted(idc)), (Some("tools.write".into()), Some("tools.write".into())));
    a.disk.0.retain(|key, _| key[0] != rows::PERMIT || key[1..33] != idb.as_bytes()[..]);
    a.restart();
    assert_eq!((a.permitted(idb), a.permitted(idc)), (None, None));
    // Who was never removed shows again what a restored giver has forgotten.
    let given = a.give(idc, "tools.read", 0);
    a.disk.0.retain(|key, _| key[0] != rows::PERMIT);
    a.restart();
    c.show(&mut a, &given);
    assert_eq!(a.permitted(idc), Some("tools.read".into()));
}

#[test]
fn a_mark_of_the_first_form_is_of_one_that_was_removed_once() {
    let ([mut a, _, _], [_, idb, _]) = three();
    let step = a.peer.remove_contact(idb).unwrap();
    a.take(step);
    let row = a.disk.0.iter_mut().find(|(key, _)| key[0] == rows::PERMIT_REMOVED).unwrap();
    *row.1 = vec![0x01];
    a.restart();
    assert_eq!(a.peer.removals(&idb), 1);
}

#[test]
fn a_clock_that_was_ahead_for_a_while_forgets_no_revoked_link() {
    let ([mut a, mut b, _], [_, idb, _]) = three();
    let given = a.give(idb, "tools.read", 0);
    a.revoke(given.id());
    let right = a.now;
    let forget = |a: &mut Agent, at| {
        a.now = at;
        let step = a.peer.forget_permits(at);
        step.into_iter().for_each(|step| a.take(step));
        a.restart();
        a.now = right;
    };
    let over = given.last().terms.until.plus(time::PERMIT_OVER_STAYS);
    forget(&mut a, UnixMillis(over.0 - 1));
    b.show(&mut a, &given);
    assert_eq!(a.permitted(idb), None);
    forget(&mut a, over);
    assert!(!a.disk.0.keys().any(|key| key[0] == rows::PERMIT_OVER), "what is over for long is not kept");
}

#[test]
fn what_a_retired_agent_has_signed_counts_no_more() {
    let ([mut a, b, ..], [.., idc], _) = shown();
    let statement = Retirement::sign(b.peer.identity(), None, b.now);
    let (_, step) = a.peer.retire(statement, a.now).unwrap();
    a.take(step);
    assert_eq!(a.permitted(idc), None);
}

#[test]
fn none_is_made_or_taken_that_is_good_for_too_long_or_for_itself() {
    let ([mut a, mut b, ..], [ida, idb, _]) = three();
    let until = a.now.plus(time::PERMIT_LIFE_MAX + 1);
    let long = Terms { until, ..a.terms(idb, "tools.read", 0) };
    assert_eq!(a.peer.give_permit(files(), long.clone(), a.now).unwrap_err(), PermitError::TooLong);
    let signed = Permit::give(a.peer.identity(), files(), long).unwrap();
    b.show(&mut a, &signed);
    assert_eq!(a.permitted(idb), None);
    let own = a.terms(ida, "tools.read", 0);
    assert_eq!(a.peer.give_permit(files(), own, a.now).unwrap_err(), PermitError::Myself);
    let over = Terms { until: a.now, ..a.terms(idb, "tools.read", 0) };
    assert_eq!(a.peer.give_permit(files(), over, a.now).unwrap_err(), PermitError::Useless(NotAllowed::Over));
}

#[test]
fn a_permit_of_another_giver_is_passed_over() {
    let ([mut a, mut b, ..], [_, idb, _]) = three();
    let other = Identity::generate(&mut rng(9)).unwrap();
    let foreign = Permit::give(&other, files(), b.terms(idb, "tools.write", 0)).unwrap();
    b.show(&mut a, &foreign);
    let mut forged = Permit::give(a.peer.identity(), files(), b.terms(idb, "tools.write", 0)).unwrap().to_bytes();
    *forged.last_mut().unwrap() ^= 1;
    b.say(a.peer.id(), &Control::Permit(forged));
    settle(&mut b, &mut a);
    assert_eq!((a.permitted(idb), a.peer.permits().count(), b.failed.len()), (None, 0, 0));
}
