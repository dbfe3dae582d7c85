//! What is waited for in channels.

use std::time::Duration;

use nuncio::{Agent, ChannelId, ChannelInfo, LetterId, Tally};

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("in time")
}

pub(crate) async fn info(agent: &Agent, channel: ChannelId) -> Option<ChannelInfo> {
    agent.channels().await.unwrap().into_iter().find(|one| one.id == channel)
}

/// Waits until an agent has a channel with so many members.
pub(crate) async fn has(agent: &Agent, channel: ChannelId, members: usize) -> ChannelInfo {
    let mut news = agent.channel_news().await.unwrap();
    loop {
        if let Some(info) = info(agent, channel).await.filter(|info| info.members.len() == members) {
            return info;
        }
        within(news.next()).await.unwrap();
    }
}

/// Waits until a letter is under way to nobody.
pub(crate) async fn told(agent: &Agent, letter: LetterId) -> Tally {
    let mut bell = agent.tallied().await.unwrap();
    loop {
        let tally = agent.tally(letter).await.unwrap().unwrap();
        if tally.waiting() == 0 {
            return tally;
        }
        within(bell.changed()).await.unwrap();
    }
}
