//! A clock of an agent's own, that can be put forward and back while it runs: libfaketime between it and the system.
//!
//! The wall clock alone: what a system's own clock does when somebody sets it is that, and time that has passed stays passed.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::process::Program;

/// Where Debian's package `libfaketime` has it.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

/// The clock of one agent: a file that says how far it is off.
pub(super) struct Clock {
    file: PathBuf,
    library: &'static str,
}

impl Clock {
    /// A clock that is right, or why there is none.
    pub(super) fn new(dir: &Path, name: &str) -> Result<Self, String> {
        let library = LIBRARIES.into_iter().find(|path| Path::new(path).exists());
        let library = library.ok_or("libfaketime is not installed (Debian: libfaketime)")?;
        let clock = Self { file: dir.join(format!("{name}.clock")), library };
        clock.is_off(0).map_err(|failure| failure.to_string())?;
        Ok(clock)
    }

    /// The program as it runs by this clock.
    pub(super) fn program(&self, program: &Program) -> Program {
        let words = [
            format!("LD_PRELOAD={}", self.library),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ];
        program.behind("env", &words)
    }

    /// It is so many seconds ahead from now on.
    pub(super) fn is_off(&self, seconds: i32) -> Result<(), Failure> {
        // Whole at once: a file that is half written is no time.
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{seconds:+}")).map_err(Failure::io("write", &next))?;
        std::fs::rename(&next, &self.file).map_err(Failure::io("write", &self.file))
    }
}
