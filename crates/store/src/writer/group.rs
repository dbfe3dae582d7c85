//! The steps of one commit.

use std::collections::HashSet;
use std::sync::mpsc::Receiver;

use nuncio_proto::step::Op;
use zeroize::Zeroize as _;

use super::Staged;
use crate::engine::key_of;

/// Steps in one group: at 12 µs a step, a step waits at most some 12 ms for those before it.
const MAX_STEPS: usize = 1024;

/// Bytes of keys and values in one group, before the last step that is taken in: a few of sled's 512 KiB segments.
const MAX_BYTES: usize = 1 << 20;

/// Steps that are committed together.
pub(super) struct Group<T> {
    ops: Vec<Op>,
    tickets: Vec<T>,
    bytes: usize,
}

impl<T> Group<T> {
    /// The first step and all that wait behind it, up to the bounds.
    pub(super) fn gather(first: Staged<T>, waiting: &Receiver<Staged<T>>) -> Self {
        let mut group = Self { ops: Vec::new(), tickets: Vec::new(), bytes: 0 };
        group.push(first);
        while group.tickets.len() < MAX_STEPS && group.bytes < MAX_BYTES {
            let Ok(staged) = waiting.try_recv() else { break };
            group.push(staged);
        }
        group
    }

    fn push(&mut self, staged: Staged<T>) {
        self.bytes += staged.ops.iter().map(len_of).sum::<usize>();
        self.ops.extend(staged.ops);
        self.tickets.push(staged.ticket);
    }

    /// The writes, one for each key, and the tickets in the order of submission.
    pub(super) fn into_parts(self) -> (Vec<Op>, Vec<T>) {
        (last_of_each_key(self.ops), self.tickets)
    }
}

/// Of several writes to one key only the last is kept: the states that a session went through within a group are written once.
fn last_of_each_key(mut ops: Vec<Op>) -> Vec<Op> {
    let mut seen = HashSet::with_capacity(ops.len());
    let keep: Vec<bool> = ops.iter().rev().map(|op| seen.insert(key_of(op))).collect();
    if keep.iter().all(|kept| *kept) {
        return ops;
    }
    let mut keep = keep.into_iter().rev();
    let mut superseded = Vec::new();
    ops = ops
        .into_iter()
        .filter_map(|op| {
            if keep.next() == Some(true) {
                return Some(op);
            }
            superseded.push(op);
            None
        })
        .collect();
    wipe(superseded);
    ops
}

/// Overwrites plain values before their memory is given back.
pub(super) fn wipe(ops: Vec<Op>) {
    for op in ops {
        if let Op::Put { mut value, .. } = op {
            value.as_mut_slice().zeroize();
        }
    }
}

fn len_of(op: &Op) -> usize {
    match op {
        Op::Put { key, value } => key.len() + value.len(),
        Op::Delete { key } => key.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &[u8], value: &[u8]) -> Op {
        Op::Put { key: key.to_vec(), value: value.to_vec() }
    }

    #[test]
    fn the_last_write_to_a_key_is_kept_in_its_place() {
        let gone = Op::Delete { key: b"b".to_vec() };
        let ops =
            vec![put(b"a", b"1"), put(b"b", b"1"), put(b"a", b"2"), gone.clone(), put(b"c", b"1"), put(b"a", b"3")];
        assert_eq!(last_of_each_key(ops), [gone, put(b"c", b"1"), put(b"a", b"3")]);
    }
}
