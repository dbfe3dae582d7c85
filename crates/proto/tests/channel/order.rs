//! In which order letters are handed out.

use nuncio_contracts::registry::{limit, time};
use nuncio_proto::channel::{Handed, Order, Waiting};
use nuncio_proto::ids::{AgentId, LetterId};

use crate::group::{NOW, agents};

fn id(number: u8) -> LetterId {
    LetterId::new(NOW, [number; 10])
}

fn letter(sender: AgentId, seq: u64, number: u8, answers: Option<u8>) -> Waiting<u8> {
    Waiting { sender, seq, id: id(number), reply_to: answers.map(id), len: 10, letter: number }
}

fn numbers(handed: &[Handed<u8>]) -> Vec<(u8, bool)> {
    handed.iter().map(|handed| (handed.letter.letter, handed.early)).collect()
}

fn order(senders: &[AgentId]) -> Order<u8> {
    let mut order = Order::default();
    senders.iter().for_each(|sender| order.begins(*sender, 0));
    order
}

/// contracts/channel.md C45: what comes late in a session, and waits for what it answers, is not overtaken by what is behind it.
#[test]
fn a_letter_below_the_first_chain_is_in_front_of_it() {
    let all: Vec<AgentId> = agents(2).iter().map(|agent| agent.id()).collect();
    let mut order = Order::default();
    order.begins(all[0], 1);
    assert!(order.offer(letter(all[0], 0, 1, Some(9)), NOW).is_empty());
    assert!(order.offer(letter(all[0], 1, 2, None), NOW).is_empty());
    assert_eq!(numbers(&order.sent(id(9), NOW)), [(1, false), (2, false)]);
}

#[test]
fn an_answer_waits_for_what_it_answers_and_each_sender_is_in_order() {
    let all: Vec<AgentId> = agents(3).iter().map(|agent| agent.id()).collect();
    let mut order = order(&all);
    assert!(order.offer(letter(all[1], 0, 11, Some(2)), NOW).is_empty());
    assert!(order.offer(letter(all[2], 0, 21, Some(11)), NOW).is_empty());
    assert!(order.offer(letter(all[0], 1, 2, None), NOW).is_empty(), "the sender's own first is missing");
    let handed = order.offer(letter(all[0], 0, 1, None), NOW);
    assert_eq!(numbers(&handed), [(1, false), (2, false), (11, false), (21, false)]);
    assert_eq!(order.wakes(), None);
    // An answer to one's own.
    assert!(order.offer(letter(all[1], 1, 12, Some(99)), NOW).is_empty());
    assert_eq!(numbers(&order.sent(id(99), NOW)), [(12, false)]);
}

#[test]
fn what_waits_too_long_is_handed_out_with_a_mark_lower_numbers_first() {
    let all: Vec<AgentId> = agents(2).iter().map(|agent| agent.id()).collect();
    let mut order = order(&all);
    assert!(order.offer(letter(all[0], 3, 4, None), NOW).is_empty());
    assert!(order.offer(letter(all[0], 2, 3, Some(77)), NOW.plus(1)).is_empty());
    assert_eq!(order.wakes(), Some(NOW.plus(time::CHANNEL_WAIT)));
    assert!(order.due(NOW.plus(time::CHANNEL_WAIT - 1)).is_empty());
    let handed = order.due(NOW.plus(time::CHANNEL_WAIT));
    assert_eq!(numbers(&handed), [(3, true), (4, false)]);
}

#[test]
fn an_answer_to_an_old_letter_waits_for_nothing() {
    let all: Vec<AgentId> = agents(1).iter().map(|agent| agent.id()).collect();
    let mut order = order(&all);
    let old = LetterId::new(nuncio_proto::time::UnixMillis(NOW.0 - time::CHANNEL_WAIT), [5; 10]);
    let handed = order.offer(Waiting { reply_to: Some(old), ..letter(all[0], 0, 1, None) }, NOW);
    assert_eq!(numbers(&handed), [(1, true)]);
}

#[test]
fn a_hole_is_waited_for_no_more() {
    let all: Vec<AgentId> = agents(1).iter().map(|agent| agent.id()).collect();
    let mut order = order(&all);
    assert!(order.offer(letter(all[0], 2, 3, None), NOW).is_empty());
    assert_eq!(numbers(&order.passed(all[0], &[(0, 2)], NOW)), [(3, false)]);
}

#[test]
fn as_many_wait_as_may_in_number_and_bytes() {
    let all: Vec<AgentId> = agents(2).iter().map(|agent| agent.id()).collect();
    let mut order = order(&all);
    for seq in 1..=limit::CHANNEL_WAITING_MAX as u64 {
        assert!(order.offer(letter(all[0], seq + 1, 1, None), NOW).is_empty());
    }
    let first = order.offer(letter(all[1], 5, 9, None), NOW);
    assert_eq!(first.len(), limit::CHANNEL_WAITING_MAX, "one with a mark, and all that follow it");
    assert_eq!(first.iter().filter(|handed| handed.early).count(), 1);

    let mut order = self::order(&all);
    let large = |seq| Waiting { len: limit::CHANNEL_WAITING_BYTES_MAX / 2, ..letter(all[0], seq, 1, None) };
    assert!(order.offer(large(5), NOW).is_empty() && order.offer(large(7), NOW).is_empty());
    assert_eq!(order.offer(letter(all[1], 9, 9, None), NOW).len(), 1);
}
