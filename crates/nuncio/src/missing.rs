//! Letters that somebody withholds, told as soon as resends do not explain it any more (contracts/mailbox.md M16).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nuncio_proto::ids::{AgentId, ChannelId, SessionId};
use nuncio_proto::peer::ChannelGap;
use nuncio_proto::session::Gap;
use nuncio_proto::time::UnixMillis;
use tokio::sync::mpsc;

use crate::actor::Actor;
use crate::agent::Agent;
use crate::command::Command;
use crate::entropy::now;
use crate::error::Error;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// A number that is missing for longer than a peer's resends explain, although a higher one came: somebody may withhold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// Whose letter, or control letter, it is.
    pub from: AgentId,
    /// Of whose numbers it is one.
    pub among: Among,
    /// The lowest number that is missing.
    pub seq: u64,
    /// Since when it is missed.
    pub since: UnixMillis,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Among {
    /// Frames of a session.
    Session(SessionId),
    /// Its letters to a channel.
    Channel(ChannelId),
}

/// What is missing, as it is found out.
#[derive(Debug)]
pub struct MissingWatch {
    news: mpsc::UnboundedReceiver<Missing>,
}

/// Who is told, and what was.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    watches: Vec<mpsc::UnboundedSender<Missing>>,
    told: BTreeSet<(AgentId, Among, u64)>,
    due: Option<Instant>,
}

impl MissingWatch {
    /// The next; waits for it. Safe to drop and call again.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the agent has stopped.
    pub async fn next(&mut self) -> Result<Missing, Error> {
        self.news.recv().await.ok_or(Error::Stopped)
    }
}

impl Agent {
    /// What is missing of what peers have sent: what is missing now, and from then on each number once.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn missing(&self) -> Result<MissingWatch, Error> {
        let news = self.ask(|reply| Command::Missing { reply }).await?;
        Ok(MissingWatch { news })
    }
}

impl Lookout {
    /// How long it may be slept before the next look.
    pub(crate) fn pause(&self) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()))
    }

    fn is_due(&mut self) -> bool {
        let is_due = self.pause().is_zero();
        if is_due {
            self.due = Some(Instant::now() + LOOK_EVERY);
        }
        is_due
    }

    /// Tells those who watch of what was not told yet; what is there again is forgotten. What is new.
    fn tell(&mut self, gaps: &[Missing]) -> Vec<Missing> {
        let named = |gap: &Missing| (gap.from, gap.among, gap.seq);
        let new: Vec<Missing> = gaps.iter().filter(|gap| !self.told.contains(&named(gap))).copied().collect();
        self.told = gaps.iter().map(named).collect();
        self.watches.retain(|watch| new.iter().all(|missing| watch.send(*missing).is_ok()) && !watch.is_closed());
        new
    }
}

impl Missing {
    const fn of(gap: &Gap) -> Self {
        Self { from: gap.from, among: Among::Session(gap.session), seq: gap.seq, since: gap.since }
    }

    const fn of_channel(gap: &ChannelGap) -> Self {
        Self { from: gap.from, among: Among::Channel(gap.channel), seq: gap.seq, since: gap.since }
    }
}

impl Actor {
    /// Looks, where it is time.
    // contracts/mailbox.md M16.
    pub(crate) fn look_out(&mut self) {
        if !self.lookout.is_due() {
            return;
        }
        let gaps = self.gaps();
        for Missing { from, among, seq, .. } in self.lookout.tell(&gaps) {
            tracing::warn!(peer = %from, ?among, seq, "a number is missing for long although a higher one came: somebody may withhold it");
        }
    }

    fn gaps(&self) -> Vec<Missing> {
        let in_sessions = self.peer.gaps(now()).map(|gap| Missing::of(&gap));
        in_sessions.chain(self.peer.channel_gaps(now()).map(|gap| Missing::of_channel(&gap))).collect()
    }

    /// Somebody watches: what is missing now is told at once.
    pub(crate) fn watch_missing(&mut self) -> mpsc::UnboundedReceiver<Missing> {
        let (sender, news) = mpsc::unbounded_channel();
        for missing in self.gaps() {
            // The receiver is in our hands.
            let _ = sender.send(missing);
        }
        // What is not told yet goes to all who watch at the next look, and to this one not twice.
        self.lookout.due = None;
        self.look_out();
        self.lookout.watches.push(sender);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_proto::crypto::SigningKey;

    /// contracts/mailbox.md M16: each once, and again where it is missing again.
    #[tokio::test]
    async fn what_is_missing_is_told_once() {
        let from = AgentId::from_bytes(SigningKey::from_seed(&[2; 32]).public()).unwrap();
        let among = Among::Session(SessionId::from_bytes([1; 32]));
        let gap = |seq| Missing { from, among, seq, since: UnixMillis(5) };
        let mut lookout = Lookout::default();
        let (sender, mut news) = mpsc::unbounded_channel();
        lookout.watches.push(sender);
        let mut seen = |lookout: &mut Lookout, gaps: &[Missing]| {
            lookout.tell(gaps);
            let mut seen = Vec::new();
            while let Ok(missing) = news.try_recv() {
                seen.push(missing.seq);
            }
            seen
        };
        assert_eq!(seen(&mut lookout, &[gap(7)]), [7]);
        assert_eq!(seen(&mut lookout, &[gap(7)]), [0; 0], "it was told");
        assert_eq!(seen(&mut lookout, &[gap(9)]), [9]);
        assert_eq!(seen(&mut lookout, &[]), [0; 0]);
        assert_eq!(seen(&mut lookout, &[gap(9)]), [9], "missing again");
        drop(news);
        lookout.tell(&[gap(11)]);
        assert!(lookout.watches.is_empty(), "nobody listens");
    }
}
