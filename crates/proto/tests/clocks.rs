//! Clocks that are put back while something is waited for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use nuncio_contracts::registry::{limit, time};
use nuncio_proto::time::UnixMillis;

use agent::{Agent, later, pair, settle};

#[path = "conversation/agent.rs"]
#[allow(dead_code, reason = "another test uses the rest")]
mod agent;

const HOUR_MS: u64 = 3_600_000;

fn put_back(agent: &mut Agent) {
    agent.now = UnixMillis(agent.now.0 - HOUR_MS);
}

/// Two that have talked.
fn talking() -> (Agent, Agent) {
    let (mut a, mut b) = pair();
    let (of_a, of_b) = (a.peer.id(), b.peer.id());
    a.send(of_b, "first");
    settle(&mut a, &mut b);
    b.send(of_a, "and back");
    settle(&mut a, &mut b);
    (a, b)
}

#[test]
fn a_lost_frame_goes_again_soon_though_the_clock_was_put_back() {
    let (mut a, mut b) = talking();
    let of_b = b.peer.id();
    let lost = a.send(of_b, "lost on the way");
    a.run();
    a.out.clear();
    put_back(&mut a);
    later(time::RESEND_FIRST, [&mut a, &mut b]);
    settle(&mut a, &mut b);
    assert!(a.delivered.contains(&lost), "it waits until the clock shows that hour again");
    // And then at its usual pace.
    a.send(of_b, "lost, too");
    a.run();
    a.out.clear();
    a.run();
    assert!(a.out.is_empty(), "nothing goes again at once");
    assert!(a.peer.next_wake().since(a.now) <= time::RESEND_MAX);
}

#[test]
fn a_session_that_is_waited_for_is_asked_for_again_though_the_clock_was_put_back() {
    let (mut a, b) = pair();
    a.send(b.peer.id(), "to nobody yet");
    a.run();
    assert_eq!(a.wants.len(), 1);
    put_back(&mut a);
    a.run();
    assert_eq!(a.wants.len(), 2, "it is asked for no more for an hour");
    a.run();
    assert_eq!(a.wants.len(), 2, "but not all the time");
    a.now = a.now.plus(time::RESEND_MAX);
    a.run();
    assert_eq!(a.wants.len(), 3);
}

/// Of an agent that is never idle.
#[test]
fn what_came_is_acknowledged_though_the_clock_was_put_back() {
    let (mut a, mut b) = talking();
    let sent = a.send(b.peer.id(), "is it there?");
    a.run();
    for frame in core::mem::take(&mut a.out) {
        b.receive(a.peer.id(), &frame).unwrap();
    }
    assert!(
        limit::ACK_EVERY > 1 && b.peer.next(b.now, false, &mut b.rng).is_none(),
        "it waits for a letter to ride on"
    );
    put_back(&mut b);
    let ack = b.peer.next(b.now, false, &mut b.rng).expect("an acknowledgement, and not in an hour");
    b.take(ack);
    for frame in core::mem::take(&mut b.out) {
        a.receive(b.peer.id(), &frame).unwrap();
    }
    assert!(a.delivered.contains(&sent));
}
