//! A file that a thread of its own writes, and syncs as it grows: who makes the bytes waits for neither, and the last sync is a short one.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Blocks that may wait for the disk.
const BLOCKS_WAITING: usize = 64;
/// Bytes between two syncs; without them a large file is all in the system's memory at its end, and the last sync takes as long as writing it.
const SYNC_EVERY: usize = 8 << 20;

/// Writes one file, in order.
pub(crate) struct WriteBehind {
    blocks: SyncSender<Vec<u8>>,
    thread: JoinHandle<io::Result<File>>,
}

impl WriteBehind {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let (blocks, waiting) = sync_channel(BLOCKS_WAITING);
        let thread =
            std::thread::Builder::new().name("nuncio-payload".to_owned()).spawn(move || write(file, &waiting))?;
        Ok(Self { blocks, thread })
    }

    /// Hands over the next bytes. `false` when an earlier write failed: [`WriteBehind::finish`] says how.
    pub(crate) fn push(&self, block: Vec<u8>) -> bool {
        self.blocks.send(block).is_ok()
    }

    /// Waits until everything is written and synced.
    pub(crate) fn finish(self) -> io::Result<File> {
        drop(self.blocks);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes ended early")))
    }
}

fn write(mut file: File, waiting: &Receiver<Vec<u8>>) -> io::Result<File> {
    let mut unsynced = 0;
    for block in waiting {
        file.write_all(&block)?;
        unsynced += block.len();
        if unsynced >= SYNC_EVERY {
            file.sync_data()?;
            unsynced = 0;
        }
    }
    file.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_in_the_file_in_order() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let behind = WriteBehind::new(path.reopen().unwrap()).unwrap();
        for byte in 0..100 {
            assert!(behind.push(vec![byte; 1_000]));
        }
        behind.finish().unwrap();
        let written = std::fs::read(path.path()).unwrap();
        assert!(written.chunks(1_000).zip(0..100).all(|(block, byte)| block == [byte; 1_000]));
        assert_eq!(written.len(), 100_000);
    }

    #[test]
    fn a_write_that_fails_is_told() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let read_only = File::open(path.path()).unwrap();
        let behind = WriteBehind::new(read_only).unwrap();
        while behind.push(vec![0; 1_000]) {}
        assert!(behind.finish().is_err());
    }
}
