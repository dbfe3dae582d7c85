//! Many deposits on one stream (contracts/mailbox.md M20 to M22).

use std::time::{Duration, Instant};

use nuncio_contracts::registry::{code, limit, time};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::deposit::{Deposit, DepositKey};
use nuncio_proto::ids::AgentId;
use nuncio_transport::{CloseCode, CloseReason, StreamKind, TransportError};

use super::mailbox::{End, framed, secret};
use super::support::{BOOKING, Fixture, PLANNER, agent};

const PATIENCE: Duration = Duration::from_millis(time::REQUEST_PATIENCE);

/// A deposit as it travels.
fn deposit(to: AgentId, key: &DepositKey, frame: &[u8]) -> Vec<u8> {
    framed(&Deposit::new(vec![(to, Some(key.clone()))], frame.to_vec()).unwrap().to_bytes())
}

/// What waits for an agent.
async fn waiting(at: &Fixture, number: u8, count: usize) -> Vec<Vec<u8>> {
    let frames = End::agent(at, number).await.fetch().await.frames(count).await;
    frames.into_iter().map(|(_, frame)| frame).collect()
}

/// contracts/mailbox.md M20.
#[tokio::test]
async fn deposits_on_one_stream_are_answered_and_wait_in_their_order() {
    let mut at = Fixture::new().await;
    let own = secret();
    End::agent(&at, PLANNER).await.open(&own).await;
    let (guest, me, key) = (End::guest(&at).await, agent(PLANNER), own.deposit_key([1; 16]));
    let frames: Vec<Vec<u8>> = (0..200_u8).map(|number| vec![number; 1 + usize::from(number) * 30]).collect();
    let mut bytes: Vec<u8> = frames.iter().flat_map(|frame| deposit(me, &key, frame)).collect();
    // Between them one for somebody who has no mailbox.
    bytes.splice(0..0, deposit(agent(BOOKING), &key, b"frame"));
    let mut expected = vec![code::DEPOSIT_DENIED];
    expected.resize(201, 0);
    assert_eq!(guest.write(&bytes).await.unwrap(), expected);
    at.stop().await;
    at.start().await;
    assert_eq!(waiting(&at, PLANNER, 200).await, frames);
}

/// contracts/mailbox.md M21: a mailbox is full in the middle, and a smaller frame behind that would still fit.
#[tokio::test]
async fn what_is_refused_once_on_a_stream_is_refused_behind_it() {
    let at = Fixture::new().await;
    let [own, others] = [secret(), secret()];
    End::agent(&at, PLANNER).await.open(&own).await;
    End::agent(&at, BOOKING).await.open(&others).await;
    let (guest, me, key) = (End::guest(&at).await, agent(PLANNER), own.deposit_key([1; 16]));
    let large = vec![7; limit::FRAME_LEN_MAX];
    let room = usize::try_from(limit::MAILBOX_KEY_BYTES_MAX).unwrap() / limit::FRAME_LEN_MAX;
    let fill: Vec<u8> = (1..room).flat_map(|_| deposit(me, &key, &large)).collect();
    assert_eq!(guest.write(&fill).await.unwrap(), vec![0; room - 1]);
    let other = deposit(agent(BOOKING), &others.deposit_key([1; 16]), b"other");
    let behind = [deposit(me, &key, b"behind"), deposit(me, &own.deposit_key([2; 16]), b"another key")].concat();
    let bytes =
        [deposit(me, &key, b"before"), deposit(me, &key, &large), behind, other, deposit(me, &key, b"last")].concat();
    let full = code::MAILBOX_FULL;
    assert_eq!(guest.write(&bytes).await.unwrap(), [0, full, full, full, 0, full]);
    assert_eq!(guest.write(&deposit(me, &key, b"next")).await.unwrap(), [0], "another stream begins anew");
    let last = waiting(&at, PLANNER, room + 1).await.split_off(room - 1);
    assert_eq!(last, [b"before".as_slice(), b"next"]);
}

/// contracts/mailbox.md M21: of those who were refused a bounded number is known.
#[tokio::test]
async fn behind_many_who_were_refused_everybody_is() {
    let at = Fixture::new().await;
    let own = secret();
    End::agent(&at, PLANNER).await.open(&own).await;
    let (guest, me, key) = (End::guest(&at).await, agent(PLANNER), own.deposit_key([1; 16]));
    let nobodies: Vec<AgentId> =
        (100..=163).map(|seed| AgentId::from_bytes(SigningKey::from_seed(&[seed; 32]).public()).unwrap()).collect();
    let (last, most) = nobodies.split_last().unwrap();
    assert_eq!(nobodies.len(), limit::DEPOSIT_RECIPIENTS_MAX);
    let to = |agents: &[AgentId]| agents.iter().map(|agent| (*agent, Some(key.clone()))).collect::<Vec<_>>();
    let most = framed(&Deposit::new(to(most), b"frame".to_vec()).unwrap().to_bytes());
    let bytes = [most, deposit(me, &key, b"one"), deposit(*last, &key, b"last"), deposit(me, &key, b"two")].concat();
    let codes = guest.write(&bytes).await.unwrap();
    let (denied, rest) = codes.split_at(limit::DEPOSIT_RECIPIENTS_MAX - 1);
    assert!(denied.iter().all(|code| *code == code::DEPOSIT_DENIED));
    assert_eq!(rest, [0, code::DEPOSIT_DENIED, code::BUSY]);
}

/// contracts/mailbox.md M22: what is no deposit ends a stream, and what was before is answered; what is behind is not looked at.
#[tokio::test]
async fn a_bad_deposit_takes_none_before_it_with_it() {
    let at = Fixture::new().await;
    let own = secret();
    End::agent(&at, PLANNER).await.open(&own).await;
    let (me, key) = (agent(PLANNER), own.deposit_key([1; 16]));
    let long = (u32::try_from(limit::DEPOSIT_LEN_MAX + 1).unwrap() | 0x8000_0000).to_be_bytes().repeat(9);
    let cut = &deposit(me, &key, b"cut")[..50];
    let bad = [framed(b"deposit"), framed(b""), long, vec![0x40, 5, 1, 2, 3, 4, 5], cut.to_vec()];
    for (number, bad) in (0..).zip(&bad) {
        let guest = End::guest(&at).await;
        let good: Vec<u8> = (0..3).flat_map(|of| deposit(me, &key, &[number, of])).collect();
        let behind = if number == 4 { Vec::new() } else { deposit(me, &key, b"behind") };
        assert_eq!(guest.write(&[&good, bad, &behind[..]].concat()).await, Some(vec![0; 3]), "{number}");
        assert_eq!(guest.leave(me, Some(&key), &[number, 3]).await, 0, "its connection goes on");
    }
    let frames = waiting(&at, PLANNER, 20).await;
    assert_eq!(frames, (0..5).flat_map(|number| (0..4).map(move |of| vec![number, of])).collect::<Vec<_>>());
}

/// contracts/mailbox.md M22: a deposit has a time to come, and a stream on which none has begun has not; M7: a guest that asks is not closed.
#[tokio::test]
async fn a_deposit_that_has_begun_has_its_time() {
    let at = Fixture::new().await;
    let own = secret();
    End::agent(&at, PLANNER).await.open(&own).await;
    let (me, key) = (agent(PLANNER), own.deposit_key([1; 16]));
    // An agent that the policy names may wait; a guest's connection would end.
    let booking = End::agent(&at, BOOKING).await;
    let begun = Instant::now();
    let (mut quiet, mut answers) = booking.connection.open(StreamKind::Deposit).await.unwrap();
    let (mut slow, mut refused) = booking.connection.open(StreamKind::Deposit).await.unwrap();
    slow.write_all(&[deposit(me, &key, b"whole"), deposit(me, &key, b"begun")[..50].to_vec()].concat()).await.unwrap();
    refused.read_exact(&mut [0; 2]).await.unwrap();
    let guest = End::guest(&at).await;
    let (mut asking, mut asked) = guest.connection.open(StreamKind::Deposit).await.unwrap();
    while begun.elapsed() < 2 * PATIENCE + Duration::from_secs(2) {
        asking.write_all(&deposit(me, &own.deposit_key([2; 16]), b"asked")).await.unwrap();
        asked.read_exact(&mut [0; 2]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let refused = tokio::time::timeout(PATIENCE, async { refused.read(&mut [0; 2]).await.unwrap_err() }).await;
    let refused = TransportError::from(refused.expect("it may take as long as it likes"));
    assert!(matches!(refused, TransportError::StreamReset(CloseCode::BUSY)), "{refused}");
    quiet.write_all(&deposit(me, &key, b"late")).await.unwrap();
    answers.read_exact(&mut [0; 2]).await.unwrap();
    let closed = tokio::time::timeout(2 * PATIENCE, guest.connection.closed()).await.unwrap();
    assert!(
        matches!(closed, CloseReason::ByPeer { code: CloseCode::BUSY, .. }),
        "an open stream is no asking: {closed}"
    );
}

/// contracts/mailbox.md M22: answers that nobody takes end a stream.
#[tokio::test]
async fn whoever_takes_no_answers_is_served_no_further() {
    let at = Fixture::new().await;
    let nobodies = (100..=163).map(|seed| AgentId::from_bytes(SigningKey::from_seed(&[seed; 32]).public()).unwrap());
    let to = nobodies.map(|agent| (agent, None)).collect();
    let deposit = framed(&Deposit::new(to, b"frame".to_vec()).unwrap().to_bytes());
    // A guest's connection would end, as nothing comes whole any more.
    let booking = End::agent(&at, BOOKING).await;
    let (mut send, _answers) = booking.connection.open(StreamKind::Deposit).await.unwrap();
    let many = deposit.repeat(100);
    let begun = Instant::now();
    let (mut written, mut last) = (0, begun);
    let ended = loop {
        match tokio::time::timeout(3 * PATIENCE, send.write_all(&many)).await.expect("it is not read, and not ended") {
            Ok(()) => (written, last) = (written + 100, Instant::now()),
            Err(error) => break error.to_string(),
        }
    };
    // As many answers as its own machine keeps for it, and what is under way.
    let most = usize::try_from(nuncio_transport::tuning::STREAM_WINDOW).unwrap() / (2 * limit::DEPOSIT_RECIPIENTS_MAX);
    assert!((most..most + 1_000).contains(&written), "{written} of {most}: {ended}");
    assert!(last.elapsed() >= PATIENCE / 2, "it had its time");
}
