//! An agent of a test's own, with what its home offers and calls; and two that know each other.

use std::path::Path;

use nuncio::{Agent, Config};
use nuncio_bridge::Bridge;

pub struct End {
    pub agent: Agent,
    pub bridge: Bridge,
}

impl End {
    pub async fn open(home: &Path) -> Self {
        Self::open_as(home, |config| config).await
    }

    /// With a configuration that is altered.
    pub async fn open_as(home: &Path, alter: impl FnOnce(Config) -> Config) -> Self {
        let config = Config::new(home).listen(([127, 0, 0, 1], 0).into());
        let config = if Bridge::offers(home).unwrap() { config.serve_calls() } else { config };
        let agent = Agent::open(alter(config)).await.unwrap();
        let bridge = Bridge::start(agent.clone(), home).await.unwrap();
        Self { agent, bridge }
    }

    pub async fn stop(self) {
        self.bridge.stop().await;
        self.agent.shutdown().await.unwrap();
    }
}

/// Each adds the other, as `near` and as `far`.
pub async fn acquaint(near: &End, far: &End) {
    let (near, far) = (&near.agent, &far.agent);
    near.add_peer(&far.invitation().await.unwrap(), Some("far")).await.unwrap();
    far.add_peer(&near.invitation().await.unwrap(), Some("near")).await.unwrap();
}
