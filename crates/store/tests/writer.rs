//! The one writer: order, grouping, and silence after the first failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};

use nuncio_store::{Backlog, Durable, Engine, MemoryEngine, Op, Staged, StoreError, Visit, Writer};

fn step(n: u64) -> Staged<u64> {
    Staged { ops: vec![Op::Put { key: b"counter".to_vec(), value: n.to_be_bytes().to_vec() }], ticket: n }
}

/// Lets each commit through only when the test says so, and fails when told to.
#[derive(Clone)]
struct Gate {
    inner: MemoryEngine,
    enter: Arc<Barrier>,
    leave: Arc<Barrier>,
    fails: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
}

impl Gate {
    fn new() -> Self {
        Self {
            inner: MemoryEngine::new(),
            enter: Arc::new(Barrier::new(2)),
            leave: Arc::new(Barrier::new(2)),
            fails: Arc::default(),
            commits: Arc::default(),
        }
    }

    fn pass(&self) {
        self.enter.wait();
        self.leave.wait();
    }
}

impl Engine for Gate {
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        self.enter.wait();
        self.leave.wait();
        self.commits.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::DiskFull("gate".into()));
        }
        self.inner.commit(ops)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, prefix: &[u8], each: &mut Visit<'_>) -> Result<(), StoreError> {
        self.inner.scan(prefix, each)
    }
}

type Groups = Receiver<Vec<u64>>;

fn tickets() -> (impl FnMut(Vec<Durable<u64>>) + Send + 'static, Groups) {
    let (send, receive): (Sender<Vec<u64>>, _) = channel();
    (move |group| send.send(group.into_iter().map(Durable::into_inner).collect()).unwrap(), receive)
}

#[test]
fn what_waits_is_committed_together_and_handed_out_in_order_only_afterwards() {
    let gate = Gate::new();
    let (on_durable, groups) = tickets();
    let batches: Arc<Mutex<Vec<Vec<Op>>>> = Arc::default();
    let seen = Arc::clone(&batches);
    let writer = Writer::spawn_traced(
        gate.clone(),
        on_durable,
        |e| panic!("{e}"),
        move |ops| seen.lock().unwrap().push(ops.to_vec()),
    )
    .unwrap();

    writer.submit(step(0)).unwrap();
    gate.enter.wait();
    for n in 1..=100 {
        writer.submit(step(n)).unwrap();
    }
    assert!(groups.try_recv().is_err(), "nothing is handed out before its commit has returned");
    gate.leave.wait();
    assert_eq!(groups.recv().unwrap(), [0]);
    gate.pass();
    assert_eq!(groups.recv().unwrap(), (1..=100).collect::<Vec<_>>());
    assert_eq!(gate.get(b"counter").unwrap().unwrap(), 100_u64.to_be_bytes());

    let stats = writer.stats();
    writer.close().unwrap();
    assert_eq!(gate.commits.load(Ordering::SeqCst), 2);
    assert_eq!((stats.groups(), stats.steps(), stats.steps_max()), (2, 101, 100));
    assert_eq!((stats.ops(), stats.ops_max()), (2, 1), "several states of one row are written once");
    assert!(stats.commit_time() >= stats.commit_time_max());
    assert_eq!(*batches.lock().unwrap(), [step(0).ops, step(100).ops]);
}

#[test]
fn after_the_first_failure_nothing_is_handed_out_or_committed() {
    let gate = Gate::new();
    let (on_durable, groups) = tickets();
    let (failed, failures) = channel();
    let writer = Writer::spawn(gate.clone(), on_durable, move |e| failed.send(e).unwrap()).unwrap();

    writer.submit(step(0)).unwrap();
    gate.pass();
    assert_eq!(groups.recv().unwrap(), [0]);
    gate.fails.store(true, Ordering::SeqCst);
    writer.submit(step(1)).unwrap();
    gate.enter.wait();
    writer.submit(step(2)).unwrap();
    gate.leave.wait();
    assert!(matches!(failures.recv().unwrap(), StoreError::DiskFull(_)));
    assert!(matches!(writer.submit(step(3)), Err(StoreError::Stopped)));
    assert!(matches!(writer.try_submit(step(4)), Err(Backlog::Stopped(Staged { ticket: 4, .. }))));
    assert!(matches!(writer.close(), Err(StoreError::Stopped)));
    assert!(failures.recv().is_err(), "told once");
    assert!(groups.recv().is_err());
    assert_eq!(gate.commits.load(Ordering::SeqCst), 2);
}

#[test]
fn a_full_queue_gives_the_step_back() {
    let gate = Gate::new();
    let (on_durable, groups) = tickets();
    let writer = Writer::spawn(gate.clone(), on_durable, |e| panic!("{e}")).unwrap();
    writer.submit(step(0)).unwrap();
    gate.enter.wait();
    let mut submitted = 1;
    let given_back = loop {
        match writer.try_submit(step(submitted)) {
            Ok(()) => submitted += 1,
            Err(Backlog::Full(staged)) => break staged,
            Err(Backlog::Stopped(_)) => panic!("stopped"),
        }
    };
    assert_eq!(given_back.ticket, submitted);
    gate.leave.wait();
    assert_eq!(groups.recv().unwrap(), [0]);
    gate.pass();
    assert_eq!(groups.recv().unwrap().len(), usize::try_from(submitted).unwrap() - 1);
    writer.close().unwrap();
}

#[test]
fn closing_drains() {
    let engine = MemoryEngine::new();
    let (on_durable, groups) = tickets();
    let writer = Writer::spawn(engine.clone(), on_durable, |e| panic!("{e}")).unwrap();
    for n in 0..5000 {
        writer.submit(step(n)).unwrap();
    }
    writer.close().unwrap();
    assert_eq!(groups.iter().flatten().collect::<Vec<_>>(), (0..5000).collect::<Vec<_>>());
    assert_eq!(engine.get(b"counter").unwrap().unwrap(), 4999_u64.to_be_bytes());
}
