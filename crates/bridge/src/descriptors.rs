//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Every program that waits for an answer has a connection to itself, and every request at an address one more: what a front takes, and what peers may
/// have under way. Programs of services inherit it, and some of them walk through all that may be open.
const WANTED: u64 = 8_192;

/// Raises the bound of files and connections that this process may have open, as far as its system lets it: many systems begin with 1,024. For programs
/// that do nothing but run an agent.
pub fn make_room_for_connections() {
    let limit = getrlimit(Resource::Nofile);
    if let Some(wanted) = raised(limit.current, limit.maximum)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit })
    {
        tracing::warn!(%error, wanted, "fewer connections than there could be");
    }
}

/// What the bound becomes, if it rises: `None` stands for none in both.
fn raised(current: Option<u64>, maximum: Option<u64>) -> Option<u64> {
    let wanted = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    current.filter(|current| *current < wanted).map(|_| wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_rises_as_far_as_it_may_and_never_falls() {
        assert_eq!(raised(Some(1_024), Some(1 << 20)), Some(WANTED));
        assert_eq!(raised(Some(1_024), None), Some(WANTED));
        assert_eq!(raised(Some(256), Some(4_096)), Some(4_096));
        assert_eq!(raised(Some(1_024), Some(1_024)), None);
        assert_eq!(raised(Some(20_000), Some(20_000)), None);
        assert_eq!(raised(None, None), None);
    }
}
