//! Whom people reach by a peer's name.

use std::path::Path;

use super::config::{FILE, GatewayConfig};

/// Where a home's `gateway.toml` names a peer, such as `agents.planner`: whoever is called so is whom people reach there. Nowhere, where there is no such file or it
/// cannot be read.
#[must_use]
pub fn routes_to(home: &Path, peer: &str) -> Vec<String> {
    let Ok(config) = GatewayConfig::load(&home.join(FILE)) else { return Vec::new() };
    let agents = config.agents.iter().filter(|(_, route)| route.peer == peer).map(|(name, _)| format!("agents.{name}"));
    let tasks =
        config.tasks.iter().filter(|(_, route)| route.peer() == Some(peer)).map(|(name, _)| format!("tasks.{name}"));
    agents.chain(tasks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_named_by_the_routes_that_lead_to_it() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(routes_to(home.path(), "planner"), [""; 0]);
        let text = "[agents.planner]\n[agents.other]\npeer = \"planner\"\n[agents.third]\n\
            [tasks.look]\nscope = \"a\"\nservice = \"planner/files\"\ntool = \"look\"\n";
        crate::config::put(home.path(), FILE, text).unwrap();
        assert_eq!(routes_to(home.path(), "planner"), ["agents.other", "agents.planner", "tasks.look"]);
        assert_eq!(routes_to(home.path(), "third"), ["agents.third"]);
        crate::config::put(home.path(), FILE, "[agents").unwrap();
        assert_eq!(routes_to(home.path(), "planner"), [""; 0]);
    }
}
