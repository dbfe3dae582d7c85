//! No image of this process's memory is left behind, and no other program of its user reads it: keys and letters lie there.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks the system to write no core of this process.
///
/// Programs of services inherit the bound, and may raise it.
pub(crate) fn leave_none() {
    let bound = Rlimit { current: Some(0), ..getrlimit(Resource::Core) };
    if let Err(error) = setrlimit(Resource::Core, bound) {
        tracing::warn!(%error, "a crash may leave an image of the memory behind");
    }
}

/// Where the system can, it lets nobody but root look into this process any more; nor does it hand a core to a program, which no bound keeps it from.
///
/// For what runs on. What the process has opened cannot be opened again by its number from then on (`/dev/fd/3`): first everything is read that a command
/// line may name so.
#[cfg(target_os = "linux")]
pub(crate) fn close() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};

    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "programs of the same user can read the memory");
    }
}

/// Nothing of the kind is known here.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn close() {}
