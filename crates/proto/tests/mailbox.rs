//! Agents that are never there at the same time: deposit keys, what is left at a node and when again, batches of a directory, gaps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use nuncio_contracts::registry::{limit, time};
use nuncio_proto::bundle::Bundle;
use nuncio_proto::deposit::{DepositKey, MailboxSecret};
use nuncio_proto::ids::AgentId;
use nuncio_proto::mailbox::Mailbox;
use nuncio_proto::peer::{ContactInfo, Mail, Way};
use nuncio_proto::rows;

use agent::{Agent, later, pair, settle};

#[path = "conversation/agent.rs"]
#[allow(dead_code, reason = "another test uses the rest")]
mod agent;

fn node(port: u16) -> Mailbox {
    let node = "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd".parse().unwrap();
    Mailbox { node, endpoint: format!("node.example:{port}") }
}

impl Agent {
    fn open_mailbox(&mut self) -> MailboxSecret {
        let step = self.peer.set_mailbox(Some(node(1)), &mut self.rng).unwrap();
        self.take(step);
        self.peer.mailbox_opened();
        self.peer.mailbox_secret().unwrap().clone()
    }

    fn mail(&mut self, to: AgentId) -> Option<Mail> {
        self.peer.mail(to, self.now, 1_000, &mut self.rng)
    }

    /// What is for a contact's node is left there: the frames.
    fn leave(&mut self, to: AgentId) -> Vec<Vec<u8>> {
        self.run();
        self.out.clear();
        let Some(mail) = self.mail(to) else { return Vec::new() };
        let (frames, mailed) = mail.frames.into_iter().unzip();
        let step = self.peer.mailed(to, mailed, self.now);
        self.take(step);
        frames
    }

    /// Takes what it fetched, as from nobody.
    fn fetch(&mut self, frames: &[Vec<u8>]) {
        for frame in frames {
            if let Ok(step) = self.peer.receive(None, frame, self.now, &mut self.rng, &self.disk) {
                self.take(step);
            }
        }
    }

    /// Begins with the bundle that the other has listed.
    fn begin_with(&mut self, other: &Agent) {
        let bundle = Bundle::parse(&other.peer.bundle(&[], other.now).unwrap(), self.now).unwrap();
        let step = self.peer.begin(&bundle, self.now, &mut self.rng).unwrap();
        self.take(step);
        self.wants.clear();
    }
}

/// Two agents with mailboxes that have spoken, and know where to leave frames.
fn spoken() -> (Agent, Agent, [AgentId; 2]) {
    let (mut a, mut b) = pair();
    let ids = [a.peer.id(), b.peer.id()];
    a.open_mailbox();
    b.open_mailbox();
    a.send(ids[1], "first");
    settle(&mut a, &mut b);
    (a, b, ids)
}

fn key_of(agent: &mut Agent, to: AgentId) -> Option<DepositKey> {
    agent.send(to, "probe");
    agent.run();
    agent.mail(to).unwrap().key
}

/// contracts/mailbox.md M12: each contact has a key of its own, of the secret that the node has.
#[test]
fn each_contact_is_given_a_key_of_its_own_and_another_when_the_secret_changes() {
    let (mut a, mut b, [ida, idb]) = spoken();
    let mut c = Agent::new(3);
    c.know(&b.peer);
    b.know(&c.peer);
    c.send(idb, "hello");
    settle(&mut c, &mut b);
    let secret = b.peer.mailbox_secret().unwrap().clone();
    let (of_a, of_c) = (key_of(&mut a, idb).unwrap(), key_of(&mut c, idb).unwrap());
    assert!(secret.has(&of_a) && secret.has(&of_c) && of_a != of_c);
    settle(&mut a, &mut b);
    let step = b.peer.renew_mailbox(&mut b.rng).unwrap();
    b.take(step);
    settle(&mut a, &mut b);
    assert_eq!(key_of(&mut a, idb).as_ref(), Some(&of_a), "not before its node has it");
    b.peer.mailbox_opened();
    settle(&mut a, &mut b);
    let (renewed, secret) = (key_of(&mut a, idb).unwrap(), b.peer.mailbox_secret().unwrap().clone());
    assert!(secret.has(&renewed) && !secret.has(&of_a) && renewed.id() != of_a.id());
    settle(&mut a, &mut b);
    // It is told once, also through restarts.
    let sealed = b.peer.counters().sealed;
    b.run();
    b.restart();
    b.peer.mailbox_opened();
    b.run();
    assert!(b.peer.sessions().any(|(session, _)| session.peer() == ida));
    assert!(sealed > 0 && b.peer.counters().sealed == 0, "{:?}", b.peer.counters());
    let step = b.peer.set_mailbox(None, &mut b.rng).unwrap();
    b.take(step);
    settle(&mut a, &mut b);
    assert!(a.peer.mailbox_of(&idb).is_none(), "it has none any more");
    assert!(a.peer.mailbox_of(&idb).is_none() && b.peer.mailbox().is_none());
}

/// Neither is ever there when the other is: the first letter, its answer and the acknowledgements come to pass through their nodes alone.
#[test]
fn two_that_never_meet_speak_through_their_mailboxes_from_the_first_letter_on() {
    let (mut a, mut b) = pair();
    let (ida, idb) = (a.peer.id(), b.peer.id());
    a.open_mailbox();
    b.open_mailbox();
    let first = a.send(idb, "first");
    a.run();
    a.begin_with(&b);
    let starts = a.leave(idb);
    assert!(starts.len() >= 2, "the letter, and where an answer may be left");
    b.fetch(&starts);
    assert_eq!(b.inbox, ["first"]);
    let acks = b.leave(ida);
    assert!(!acks.is_empty(), "a way back is known");
    a.fetch(&acks);
    assert_eq!(a.delivered, [first]);
    let answer = b.send(ida, "answer");
    let answers = b.leave(ida);
    a.fetch(&answers);
    assert_eq!(a.inbox, ["answer"]);
    b.fetch(&a.leave(idb));
    assert_eq!(b.delivered, [answer]);
    // Nothing has anything new to say: nothing is left any more.
    for _ in 0..50 {
        later(time::RESEND_MAX, [&mut a, &mut b]);
        let (more, back) = (a.leave(idb), b.leave(ida));
        b.fetch(&more);
        a.fetch(&back);
    }
    assert!(a.leave(idb).is_empty() && b.leave(ida).is_empty());
    assert_eq!((a.inbox.len(), b.inbox.len()), (1, 1));
}

/// contracts/mailbox.md M14: resends fill no mailbox, also through restarts; a day later it is left once more.
#[test]
fn a_frame_is_left_once_and_again_after_a_day() {
    let (mut a, _, [_, idb]) = spoken();
    a.send(idb, "while it is away");
    let left = a.leave(idb);
    assert_eq!(left.len(), 1);
    for _ in 0..200 {
        a.now = a.now.plus(time::RESEND_MAX);
        assert!(a.leave(idb).is_empty());
        a.restart();
    }
    assert!(a.peer.ways().all(|(.., way)| matches!(way, Way::Mailbox(_))));
    assert!(a.disk.0.keys().any(|key| key[0] == rows::DEPOSITED));
    // Heard of meanwhile, by whatever: it has the session, and gets the same frame.
    a.now = a.now.plus(time::DEPOSIT_AGAIN);
    let mail = a.mail(idb).unwrap();
    assert_eq!(mail.frames[0].0, left[0]);
}

/// contracts/ratchet.md R9: a frame that comes over a connection, out of the mailbox, and out of it again, is one letter.
#[test]
fn a_letter_that_comes_by_both_ways_is_delivered_once() {
    let (mut a, mut b, [ida, idb]) = spoken();
    a.send(idb, "once");
    a.run();
    let direct = core::mem::take(&mut a.out);
    let left = a.leave(idb);
    for frame in &direct {
        b.receive(ida, frame).unwrap();
    }
    b.fetch(&left);
    b.fetch(&left);
    assert_eq!(b.inbox, ["first", "once"]);
    // contracts/mailbox.md M11: one that may not write any more does not by this way either.
    let step = b.peer.set_contact(ida, ContactInfo::default()).unwrap();
    b.take(step);
    a.send(idb, "unwanted");
    let left = a.leave(idb);
    b.fetch(&left);
    assert_eq!(b.inbox, ["first", "once"]);
    // What a contact that was removed has left is nobody's.
    a.send(idb, "too late");
    let left = a.leave(idb);
    let step = b.peer.remove_contact(ida).unwrap();
    b.take(step);
    b.fetch(&left);
    assert_eq!(b.inbox, ["first", "once"]);
}

/// contracts/mailbox.md M13.
#[test]
fn a_key_that_was_denied_is_forgotten_until_another_is_given() {
    let (mut a, mut b, [ida, idb]) = spoken();
    let key = key_of(&mut a, idb).unwrap();
    let step = a.peer.deposit_denied(idb, &key).unwrap();
    a.take(step);
    a.restart();
    assert_eq!(a.peer.mailbox_of(&idb), Some((&node(1), false)));
    assert!(a.mail(idb).is_none(), "without a key only a start is left");
    // A bundle gives no key and takes none; the contact does.
    settle(&mut a, &mut b);
    let step = b.peer.renew_mailbox(&mut b.rng).unwrap();
    b.take(step);
    b.peer.mailbox_opened();
    settle(&mut a, &mut b);
    assert_eq!(a.peer.mailbox_of(&idb), Some((&node(1), true)));
    assert!(a.peer.deposit_denied(idb, &key).is_none(), "that one is not the key any more");
    assert!(b.peer.mailbox_of(&ida).is_some());
}

/// contracts/mailbox.md M15: it lost its store, and no notice can tell.
#[test]
fn a_peer_that_lost_its_store_is_begun_anew_with_after_a_day_of_silence() {
    let (mut a, mut b, [_, idb]) = spoken();
    let lost = a.send(idb, "to the former life");
    let before = a.leave(idb);
    let bytes = b.peer.identity().to_bytes();
    let again = nuncio_proto::identity::Identity::from_bytes(&bytes).unwrap();
    let (peer, staged) = nuncio_proto::peer::Peer::create(again, b.now, &mut b.rng);
    b.peer = peer;
    b.peer.set_verifier(|verifier| verifier.set_policy(nuncio_proto::token::Policy::tokenless()));
    b.disk.0.clear();
    b.inbox.clear();
    b.commit(staged);
    b.know(&a.peer);
    b.open_mailbox();
    b.fetch(&before);
    assert!(b.inbox.is_empty());
    later(time::DEPOSIT_AGAIN - 1, [&mut a, &mut b]);
    a.run();
    assert!(a.wants.is_empty(), "it may be away");
    later(time::RESEND_MAX + 1, [&mut a, &mut b]);
    a.run();
    assert_eq!(a.wants, [idb]);
    a.begin_with(&b);
    let left = a.leave(idb);
    b.fetch(&left);
    assert_eq!(b.inbox, ["to the former life"]);
    let back = b.leave(a.peer.id());
    a.fetch(&back);
    assert!(a.delivered.contains(&lost));
}

/// contracts/directory.md D6, B10: what is the directory's is given by nobody else.
#[test]
fn a_listed_batch_is_the_directorys_alone() {
    let (mut a, mut b) = pair();
    let idb = b.peer.id();
    let step = b.peer.list_batch(None, b.now, &mut b.rng).unwrap();
    b.take(step);
    b.restart();
    let listed = b.peer.listed_batch().unwrap();
    let before = b.peer.one_time_left();
    assert_eq!(before, usize::from(limit::ONE_TIME_BATCH));
    // All of its own are given before any other batch is made.
    for request in 0..200 {
        let step = b.peer.claim(a.peer.id(), request, &[], b.now).unwrap();
        let staged = b.peer.stage(step).unwrap();
        for effect in staged.effects.after_commit() {
            if let nuncio_proto::step::Effect::Bundle { bundle, .. } = effect {
                let given = Bundle::parse(&bundle, b.now).unwrap().one_time;
                assert!(given.is_none_or(|one| one.at.batch != listed.number()), "{request}");
            }
        }
    }
    // A start with one of its prekeys is taken.
    a.send(idb, "by the directory");
    a.run();
    let bundle = b.peer.bundle(&[], b.now).unwrap();
    let bundle = Bundle::with_one_time(&bundle, &listed.offer(9).unwrap()).unwrap();
    let step = a.peer.begin(&Bundle::parse(&bundle, a.now).unwrap(), a.now, &mut a.rng).unwrap();
    a.take(step);
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["by the directory"]);
    assert!(b.peer.listed_batch().is_none(), "one of them is used: it is not listed again");
    // The next one is above what the directory has had.
    let step = b.peer.list_batch(Some(70), b.now, &mut b.rng).unwrap();
    b.take(step);
    assert_eq!(b.peer.listed_batch().unwrap().number(), 71);
}

/// contracts/mailbox.md M16.
#[test]
fn a_number_that_is_withheld_is_reported_when_it_outlasts_patience() {
    let (mut a, mut b, [ida, idb]) = spoken();
    a.send(idb, "withheld");
    a.send(idb, "let through");
    a.run();
    let frames = core::mem::take(&mut a.out);
    let seq = b.peer.sessions().next().unwrap().0.next_expected();
    let _ = b.receive(ida, &frames[1]);
    assert_eq!(b.peer.gaps(b.now).count(), 0, "not at once");
    b.now = b.now.plus(time::GAP_PATIENCE);
    let gaps: Vec<_> = b.peer.gaps(b.now).collect();
    assert_eq!((gaps.len(), gaps[0].seq, gaps[0].from), (1, seq, ida));
    b.restart();
    assert_eq!(b.peer.gaps(b.now).count(), 0, "a start begins to count anew");
    b.now = b.now.plus(time::GAP_PATIENCE);
    assert_eq!(b.peer.gaps(b.now).count(), 1);
    b.receive(ida, &frames[0]).unwrap();
    assert_eq!(b.peer.gaps(b.now).count(), 0);
    assert_eq!(b.inbox, ["first", "withheld", "let through"]);
}

/// contracts/mailbox.md M14: what lies at a node already is left again behind what does not.
#[test]
fn what_was_never_left_goes_first() {
    let (mut a, _, [_, idb]) = spoken();
    a.send(idb, "left");
    a.run();
    assert!(!a.leave(idb).is_empty());
    let newest = a.send(idb, "never left");
    a.run();
    a.now = a.now.plus(time::DEPOSIT_AGAIN);
    let first = a.peer.mail(idb, a.now, 1, &mut a.rng).unwrap().frames.into_iter().map(|(_, mailed)| mailed).collect();
    let step = a.peer.mailed(idb, first, a.now);
    a.take(step);
    let ways: Vec<_> = a.peer.ways().filter(|(_, letter, _)| *letter == newest).map(|(.., way)| way).collect();
    assert_eq!(ways, [Way::Mailbox(a.now)]);
}
