//! What a client that takes nothing is told, and what is kept for it.

use std::sync::{Arc, Mutex};

use nuncio_proto::ids::CallSessionId;
use tokio::time::Instant;

use super::*;
use crate::front::letter_id;
use crate::line::{LineError, Say};
use crate::message::Message;

/// What was let go of.
#[derive(Clone, Default)]
struct Gone(Arc<Mutex<Vec<u64>>>);

impl Line for Gone {
    async fn say(&self, _: Say) -> Result<(), LineError> {
        Ok(())
    }

    async fn listen(&self, _: Option<CallSessionId>, _: Option<u64>) -> Result<mpsc::Receiver<Heard>, LineError> {
        Err(LineError::Stopped)
    }

    async fn taken(&self, no: u64) -> Result<(), LineError> {
        self.0.lock().unwrap().push(no);
        Ok(())
    }
}

fn aside(no: u64, len: usize) -> Heard {
    Heard { no, id: letter_id(), what: HeardWhat::Aside(Message::json(vec![b'1'; len])) }
}

/// A post that is not taken, and takes all its time.
async fn hangs(patience: Duration) -> Result<(), String> {
    tokio::time::sleep(patience).await;
    Err("it says nothing".to_owned())
}

async fn left<L: Line>(telling: &mut Telling<'_, L>) -> Vec<u64> {
    let mut left = Vec::new();
    while let Ok(Some(heard)) = tokio::time::timeout(Duration::from_secs(1), telling.next()).await {
        left.push(heard.no);
    }
    left
}

#[tokio::test(start_paused = true)]
async fn for_a_client_that_takes_nothing_little_is_kept_and_tried_once() {
    let (gone, (sender, heard)) = (Gone::default(), mpsc::channel(4));
    let mut telling = Telling::new(&gone, heard);
    tokio::spawn(async move {
        for no in 1..=100 {
            let _ = sender.send(aside(no, 10)).await;
        }
        std::future::pending::<()>().await;
    });
    assert_eq!(telling.next().await.unwrap().no, 1);
    let began = Instant::now();
    assert!(telling.tell(hangs).await.is_err());
    assert_eq!(began.elapsed(), PATIENCE * 4 + AGAIN.iter().sum::<Duration>(), "four times");
    assert_eq!(*gone.0.lock().unwrap(), (2..=84).collect::<Vec<_>>(), "the oldest are let go of");
    assert_eq!(telling.next().await.unwrap().no, 85);
    let began = Instant::now();
    assert!(telling.tell(hangs).await.is_err());
    assert_eq!(began.elapsed(), STALLED_PATIENCE, "once, and not for long");
    assert_eq!(telling.next().await.unwrap().no, 86);
    assert!(telling.tell(|_| std::future::ready(Ok(()))).await.is_ok());
    assert_eq!(telling.next().await.unwrap().no, 87);
    let began = Instant::now();
    assert!(telling.tell(hangs).await.is_err());
    assert!(began.elapsed() > PATIENCE * 4, "one that has taken one has its tries again");
    assert_eq!(left(&mut telling).await, (88..=100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_for_a_client_that_takes_nothing_is_not_long() {
    let (gone, (sender, heard)) = (Gone::default(), mpsc::channel(16));
    for no in 1..=5 {
        sender.send(aside(no, 30 << 10)).await.unwrap();
    }
    let mut telling = Telling::new(&gone, heard);
    assert!(telling.tell(hangs).await.is_err());
    assert_eq!(left(&mut telling).await, [4, 5]);
    assert_eq!(*gone.0.lock().unwrap(), [1, 2, 3]);
}

/// What a task ends with is the longest of all.
#[tokio::test(start_paused = true)]
async fn the_newest_is_kept_however_long_it_is() {
    let (gone, (sender, heard)) = (Gone::default(), mpsc::channel(16));
    for (no, len) in [(1, 10), (2, 10), (3, 100 << 10)] {
        sender.send(aside(no, len)).await.unwrap();
    }
    let mut telling = Telling::new(&gone, heard);
    assert!(telling.tell(hangs).await.is_err());
    assert_eq!(left(&mut telling).await, [3]);
}

#[tokio::test(start_paused = true)]
async fn of_a_client_that_takes_what_comes_nothing_is_let_go_of() {
    let (gone, (sender, heard)) = (Gone::default(), mpsc::channel(64));
    for no in 1..=50 {
        sender.send(aside(no, 10)).await.unwrap();
    }
    let mut telling = Telling::new(&gone, heard);
    let slow = async |_| {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Ok(())
    };
    for no in 1..=50 {
        assert_eq!(telling.next().await.unwrap().no, no);
        telling.tell(slow).await.unwrap();
    }
    assert!(gone.0.lock().unwrap().is_empty());
}
