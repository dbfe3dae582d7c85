//! A reader that ends where a message is too deep, or where what is kept of it would be too long.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use super::DEPTH_MAX;

/// How many bytes may be read from here on; whoever reads sets it before each thing that is kept.
#[derive(Clone, Debug)]
pub(super) struct Budget(Rc<Cell<u64>>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Rc::new(Cell::new(u64::MAX)))
    }

    /// What comes is kept: at most so many bytes, blanks and escapes among them.
    pub(super) fn kept(&self, bytes: u64) {
        self.0.set(bytes);
    }

    /// What comes is passed over.
    pub(super) fn passed(&self) {
        self.0.set(u64::MAX);
    }
}

/// Counts brackets outside texts, and bytes against the budget.
pub(super) struct Meter<R> {
    inner: R,
    budget: Budget,
    depth: u32,
    text: bool,
    escaped: bool,
}

impl<R: Read> Meter<R> {
    pub(super) fn new(inner: R, budget: Budget) -> Self {
        Self { inner, budget, depth: 0, text: false, escaped: false }
    }

    fn see(&mut self, byte: u8) -> io::Result<()> {
        match (self.text, byte) {
            (true, _) if self.escaped => self.escaped = false,
            (true, b'\\') => self.escaped = true,
            (_, b'"') => self.text = !self.text,
            (false, b'{' | b'[') => self.depth += 1,
            (false, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
            _ => (),
        }
        if self.depth > DEPTH_MAX { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) }
    }
}

impl<R: Read> Read for Meter<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buf)?;
        let left = self.budget.0.get();
        let taken = u64::try_from(len).unwrap_or(u64::MAX);
        if taken > left {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if left < u64::MAX {
            self.budget.0.set(left - taken);
        }
        buf.iter().take(len).try_for_each(|byte| self.see(*byte))?;
        Ok(len)
    }
}
