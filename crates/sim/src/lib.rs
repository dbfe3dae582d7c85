//! Many agents over a virtual clock, a lossy network and forgetful disks; development only.
//!
//! ```text
//!   Plan ─► World ──► Violation, or a Report
//!            ├─ Agent   proto's Peer, a Disk, a clock that may be wrong, the Guard of its tokens, the Book of what was promised
//!            ├─ Net     loss, duplicates, reordering, delay, partitions
//!            └─ Trace   what happened, in words
//! ```
//!
//! A run is a function of its plan: a seed that fails fails again.
//!
//! ```
//! use nuncio_sim::{plan::Plan, trace::Trace, world};
//!
//! let report = world::run(&Plan::calm(7, 2, 20), &mut Trace::off())?;
//! assert_eq!(report.arrived, report.written);
//! # Ok::<(), nuncio_sim::book::Violation>(())
//! ```

pub mod agent;
pub mod book;
pub mod dice;
pub mod disk;
pub mod guard;
pub mod net;
pub mod plan;
mod scene;
pub mod service;
pub mod soak;
pub mod targets;
pub mod trace;
pub mod world;
