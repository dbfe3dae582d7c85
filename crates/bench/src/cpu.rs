//! Processor time of those who serve, while those who ask share the machine with them (Linux).

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// The name of threads that ask. Their time is not counted.
pub(crate) const ASKING: &str = "bench-asking";

/// What every thread of this process has worked so far, in nanoseconds: all but the one that looks and those that ask.
pub(crate) struct Worked(HashMap<OsString, u64>);

impl Worked {
    pub(crate) fn now() -> Result<Self> {
        // A thread that has just answered is counted when it has gone to rest.
        std::thread::sleep(Duration::from_millis(2));
        let here = fs::read_link("/proc/thread-self").context("processor time is read from Linux's /proc")?;
        let mut worked = HashMap::new();
        for thread in fs::read_dir("/proc/self/task")? {
            let (path, id) = thread.map(|thread| (thread.path(), thread.file_name()))?;
            // A thread may end while it is looked at.
            let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
            if here.file_name() == Some(&id) || name.trim_end() == ASKING {
                continue;
            }
            let Ok(line) = fs::read_to_string(path.join("schedstat")) else { continue };
            let nanos = line.split_whitespace().next().context("a thread's schedstat")?.parse()?;
            worked.insert(id, nanos);
        }
        Ok(Self(worked))
    }

    /// Microseconds that they have worked since.
    pub(crate) fn us_since(&self) -> Result<f64> {
        let more = |(id, now): (OsString, u64)| now.saturating_sub(self.0.get(&id).copied().unwrap_or(0));
        let nanos: u64 = Self::now()?.0.into_iter().map(more).sum();
        Ok(Duration::from_nanos(nanos).as_secs_f64() * 1e6)
    }
}
