//! Looks for secrets in all of this process's memory that can be written: heap, stacks, statics.
//!
//! What is looked for is kept masked, or it would find itself; and the buffer into which memory is read is passed over.

#![expect(clippy::disallowed_types, reason = "the core reads no file; who looks for its keys reads memory through one")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hint::black_box;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::thread;

const MASK: u64 = 0xa5c3_96e1_7b2d_48f5;
const STACK_LEN: usize = 2 << 20;
const CHUNK_LEN: usize = 1 << 20;
const PART_LEN: usize = 8;

/// Secrets that are looked for, by any eight bytes in a row of theirs that begin at a multiple of eight.
#[derive(Default)]
pub(crate) struct Hunt {
    parts: Vec<(u64, &'static str)>,
}

impl Hunt {
    /// Remembers a secret, masked.
    pub(crate) fn note(&mut self, what: &'static str, secret: &[u8]) {
        assert!(secret.len() >= 4 * PART_LEN, "{what}: too short to be told from chance");
        self.parts.extend(secret.as_chunks::<PART_LEN>().0.iter().map(|part| (masked(part), what)));
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    /// What is found of them, and how often.
    pub(crate) fn found(&self) -> BTreeMap<&'static str, usize> {
        let mut buffer = vec![0; CHUNK_LEN];
        let start = buffer.as_ptr().addr();
        let own = start..start + CHUNK_LEN;
        let (memory, mut found) = (File::open("/proc/self/mem").unwrap(), BTreeMap::new());
        let wanted = Wanted::new(&self.parts);
        for region in writable() {
            let mut at = region.start;
            while at < region.end {
                let len = CHUNK_LEN.min(region.end - at);
                let Ok(read) = memory.read_at(&mut buffer[..len], at as u64) else { break };
                wanted.look(&buffer[..read], |offset, what| {
                    if !own.contains(&(at + offset)) {
                        *found.entry(what).or_default() += 1;
                    }
                });
                // A part may lie across two chunks.
                at += if len == CHUNK_LEN { len - PART_LEN } else { len };
            }
        }
        found
    }
}

/// A sieve in front of the list: most of memory is nothing that is wanted.
struct Wanted<'a> {
    sieve: Vec<bool>,
    parts: BTreeMap<u64, &'a str>,
}

impl<'a> Wanted<'a> {
    fn new(parts: &[(u64, &'a str)]) -> Self {
        let mut sieve = vec![false; 1 << 16];
        parts.iter().for_each(|(part, _)| sieve[usize::from(*part as u16)] = true);
        Self { sieve, parts: parts.iter().copied().collect() }
    }

    fn look(&self, memory: &[u8], mut found: impl FnMut(usize, &'a str)) {
        for (offset, part) in memory.windows(PART_LEN).enumerate() {
            let part = masked(part.try_into().unwrap());
            if self.sieve[usize::from(part as u16)]
                && let Some(what) = self.parts.get(&part)
            {
                found(offset, what);
            }
        }
    }
}

fn masked(part: &[u8; PART_LEN]) -> u64 {
    u64::from_ne_bytes(*part) ^ black_box(MASK)
}

fn writable() -> Vec<Range<usize>> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let region = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let parse = |text| usize::from_str_radix(text, 16).ok();
        rest.starts_with("rw").then_some(parse(start)?..parse(end)?)
    };
    maps.lines().filter_map(region).collect()
}

/// Runs work on a stack of its own, and then overwrites that stack: what is left of the work is in the heap.
pub(crate) fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let run = |work: Box<dyn FnOnce() -> T + Send>| {
        thread::Builder::new()
            .stack_size(STACK_LEN)
            .spawn(work)
            .unwrap()
            .join()
            .unwrap_or_else(|_| panic!("the work failed"))
    };
    let done = run(Box::new(work));
    // The stack of a thread that has ended is the next one's.
    thread::Builder::new().stack_size(STACK_LEN).spawn(overwrite_stack).unwrap().join().unwrap();
    overwrite_stack();
    done
}

fn overwrite_stack() {
    deep(STACK_LEN / 4_096 / 2);
}

#[inline(never)]
fn deep(left: usize) {
    let mut page = [0_u8; 4_096];
    black_box(&mut page);
    if left > 0 {
        deep(left - 1);
    }
    black_box(&page);
}
