//! Answers that are awaited: one of them needs no token.

use super::*;

#[test]
fn an_answer_that_is_awaited_needs_no_token_and_any_other_does() {
    let (mut a, mut b) = guarded();
    let asked = with_token(&mut Agent::new(7), "?", &token(&a, &b));
    a.post(b.peer.id(), &asked);
    a.peer.await_answer(b.peer.id(), asked.id);
    settle(&mut a, &mut b);
    let mut answer = b.letter("!");
    answer.reply_to = Some(asked.id);
    b.post(a.peer.id(), &answer);
    settle(&mut a, &mut b);
    assert_eq!(a.inbox, ["!"]);

    let mut unasked = b.letter("to nothing");
    unasked.reply_to = Some(b.letter("never sent").id);
    b.post(a.peer.id(), &unasked);
    a.peer.await_no_answer(b.peer.id(), asked.id);
    let mut late = b.letter("late");
    late.reply_to = Some(asked.id);
    b.post(a.peer.id(), &late);
    settle(&mut a, &mut b);
    assert_eq!([failure(&b, &unasked), failure(&b, &late)], [Some(code::TOKEN_MISSING); 2]);
}

#[test]
fn of_many_answers_the_first_that_comes_needs_no_token_and_no_other() {
    let (mut a, mut b) = guarded();
    let asked = with_token(&mut Agent::new(7), "?", &token(&a, &b));
    a.post(b.peer.id(), &asked);
    a.peer.await_answer(b.peer.id(), asked.id);
    settle(&mut a, &mut b);
    let answers = ["one", "two", "three"].map(|text| {
        let mut answer = b.letter(text);
        answer.reply_to = Some(asked.id);
        b.post(a.peer.id(), &answer);
        answer
    });
    b.run();
    // The first is held back until the others have come: nothing is in its turn before it.
    let mut frames = core::mem::take(&mut b.out);
    frames.rotate_left(1);
    for frame in frames {
        a.receive(b.peer.id(), &frame).unwrap();
    }
    settle(&mut a, &mut b);
    assert_eq!(a.inbox, ["two"], "it came first");
    let [one, two, three] = answers.map(|answer| failure(&b, &answer));
    assert_eq!([one, two, three], [Some(code::TOKEN_MISSING), None, Some(code::TOKEN_MISSING)]);
}

#[test]
fn an_answer_that_waited_for_its_key_was_the_answer_too() {
    let (mut a, mut b) = guarded();
    let asked = with_token(&mut Agent::new(7), "?", &token(&a, &b));
    a.post(b.peer.id(), &asked);
    a.peer.await_answer(b.peer.id(), asked.id);
    settle(&mut a, &mut b);
    a.peer.set_verifier(|verifier| verifier.set_keys(KeySet::default()));
    let token = token(&b, &a);
    let mut answer = with_token(&mut b, "with a token", &token);
    answer.reply_to = Some(asked.id);
    b.post(a.peer.id(), &answer);
    settle(&mut a, &mut b);
    assert!(a.inbox.is_empty(), "its key is not there");
    a.peer.set_verifier(|verifier| verifier.set_keys(keys()));
    settle(&mut a, &mut b);
    let mut second = b.letter("without");
    second.reply_to = Some(asked.id);
    b.post(a.peer.id(), &second);
    settle(&mut a, &mut b);
    assert_eq!(a.inbox, ["with a token"]);
    assert_eq!(failure(&b, &second), Some(code::TOKEN_MISSING));
}
