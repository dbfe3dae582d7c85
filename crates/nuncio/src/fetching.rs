//! Our own mailbox and our place in the directory: opened, listed, fetched from, for as long as the agent runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use bytes::{Buf as _, Bytes, BytesMut};
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::deposit::MailboxSecret;
use nuncio_proto::ids::AgentId;
use serde::Deserialize;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::aside::{Aside, Fate, Numbered};
use crate::links::Tasks;
use crate::node::{Answered, Following, Node, Unreachable};
use crate::wake::Wake;

/// Frames handed to the actor at once.
const FRAMES_AT_ONCE: usize = 64;
/// A stream that lasted so long was served: what ended it is no reason to wait long.
const LASTING: Duration = Duration::from_secs(60);
/// Between two tries of what is set aside, but for those behind a full round.
const ASIDE_AGAIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(time::DIRECTORY_LOOK);

/// What a directory has of this agent.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Left {
    /// One-time prekeys that were given to nobody.
    pub(crate) left: u64,
    /// The highest number of a batch that it was ever given.
    pub(crate) batch: Option<u32>,
    /// Until when the bundle is valid.
    pub(crate) valid_until_ms: Option<u64>,
}

/// What is to be listed: a bundle, a batch.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) bundle: Option<Vec<u8>>,
    pub(crate) batch: Option<Vec<u8>>,
}

/// What came over one stream.
#[derive(Debug, Default)]
struct Fetched {
    aside: Aside,
    /// The highest number that came.
    last: u64,
    /// Up to where the node was told that frames are taken.
    told: u64,
    /// When those that are set aside were tried last.
    tried: Option<Instant>,
}

/// What the tasks of a mailbox share.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) node: Arc<Node>,
    pub(crate) tasks: Tasks,
    pub(crate) secret: watch::Receiver<MailboxSecret>,
    /// Looks into the directory now.
    pub(crate) look: Arc<Notify>,
}

/// Pauses between tries that brought nothing.
pub(crate) fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(time::MAIL_PAUSE_MIN))
        .with_max_delay(Duration::from_millis(time::MAIL_PAUSE_MAX))
        .with_jitter()
        .without_max_times()
        .build()
}

/// Keeps the mailbox open and fetches from it, until the agent stops.
pub(crate) async fn keep(post: Post, cancel: CancellationToken) {
    let both = async { tokio::join!(fetch_on(post.clone()), list_on(post)) };
    tokio::select! {
        () = cancel.cancelled() => {}
        _ = both => {}
    }
}

/// Closes a mailbox that this agent is not to have any more; frames that wait there stay.
pub(crate) async fn close(node: Arc<Node>, cancel: CancellationToken) {
    let closing = async {
        for pause in pauses() {
            match node.delete("/mailbox/secret").await.map(|answer| answer.status) {
                Ok(status) if !status.is_server_error() => return,
                _ => tokio::time::sleep(pause).await,
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = closing => {}
    }
}

async fn fetch_on(mut post: Post) {
    let mut waits = pauses();
    loop {
        let since = tokio::time::Instant::now();
        let why = post.fetch().await;
        if since.elapsed() >= LASTING {
            waits = pauses();
        }
        if let Some(why) = why {
            tracing::info!(why, "the mailbox is not there");
            // The actor may have stopped.
            let _ = post.tasks.urgent.send(Wake::MailboxWaits { why: Some(why) });
            tokio::time::sleep(waits.next().unwrap_or(LASTING)).await;
        }
    }
}

async fn list_on(post: Post) {
    let mut waits = pauses();
    loop {
        let pause = match post.list().await {
            Ok(()) => {
                waits = pauses();
                LOOK_EVERY
            }
            Err(why) => {
                tracing::warn!(why, "the directory has not what is to be listed");
                waits.next().unwrap_or(LOOK_EVERY)
            }
        };
        tokio::select! {
            () = post.look.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Post {
    /// Opens the mailbox and follows what comes: why it ended. `None` where the secret is another by now.
    async fn fetch(&mut self) -> Option<String> {
        let secret = self.secret.borrow_and_update().clone();
        let opened = self.node.put("/mailbox/secret", Bytes::copy_from_slice(secret.expose())).await;
        if let Err(why) = said(opened) {
            return Some(why);
        }
        if self.tasks.urgent.send(Wake::MailboxOpened(Box::new(secret))).is_err() {
            return Some("the agent stops".to_owned());
        }
        let stream = match self.node.follow("/mailbox").await {
            Ok(stream) => stream,
            Err(error) => return Some(error.reason),
        };
        let mut changes = self.secret.clone();
        let post = &*self;
        tokio::select! {
            why = post.take(stream) => Some(why),
            // Also when the actor has stopped, and with it this task.
            _ = changes.changed() => None,
        }
    }

    /// Takes what comes: why it ended.
    async fn take(&self, mut stream: Following) -> String {
        let (mut bytes, mut fetched) = (BytesMut::new(), Fetched::default());
        loop {
            let frames = match cut(&mut bytes) {
                Ok(frames) => frames,
                Err(why) => return why,
            };
            if !frames.is_empty() {
                if let Err(why) = self.hand_over(frames, &mut fetched).await {
                    return why;
                }
                continue;
            }
            let more = tokio::select! {
                more = stream.next() => more,
                () = tokio::time::sleep(fetched.rest()), if !fetched.aside.is_empty() => {
                    match self.hand_over(Vec::new(), &mut fetched).await {
                        Ok(()) => continue,
                        Err(why) => return why,
                    }
                }
            };
            match more {
                Some(more) => bytes.extend_from_slice(&more),
                None => return "its stream ended".to_owned(),
            }
        }
    }

    /// Hands frames to the actor, then says up to where they are on disk or refused for good.
    // contracts/mailbox.md M10.
    async fn hand_over(&self, frames: Vec<Numbered>, fetched: &mut Fetched) -> Result<(), String> {
        fetched.try_all(frames, &self.tasks.wakes).await?;
        let up_to = fetched.aside.done_up_to(fetched.last);
        if up_to <= fetched.told {
            return Ok(());
        }
        fetched.told = up_to;
        said(self.node.post_bytes("/mailbox/taken", Bytes::copy_from_slice(&up_to.to_be_bytes())).await).map(drop)
    }

    /// Looks what the directory has, and lists what it has not.
    // contracts/directory.md D7.
    async fn list(&self) -> Result<(), String> {
        let left = left_in(&said(self.node.get("/directory").await)?)?;
        let (list, listing) = oneshot::channel();
        self.tasks.wakes.send(Wake::Listed { left, list }).await.map_err(|_| "the agent stops")?;
        let Listing { bundle, batch } = listing.await.map_err(|_| "the agent stops")?;
        let mut has = left;
        let both = [("/directory/bundle", bundle), ("/directory/prekeys", batch)];
        for (path, listed) in both.into_iter().filter_map(|(path, listed)| Some((path, listed?))) {
            has = left_in(&said(self.node.put(path, listed.into()).await)?)?;
        }
        // The actor may have stopped.
        let _ = self.tasks.urgent.send(Wake::DirectoryHas(has));
        Ok(())
    }
}

impl Fetched {
    /// Hands frames to the actor, and now and then those that were set aside behind them, until there was room for all.
    // contracts/mailbox.md M17.
    async fn try_all(&mut self, mut frames: Vec<Numbered>, wakes: &mpsc::Sender<Wake>) -> Result<(), String> {
        let mut waits = pauses();
        self.last = frames.last().map_or(self.last, |last| last.number);
        if frames.len() >= FRAMES_AT_ONCE || self.rest().is_zero() {
            frames.extend(self.aside.take());
            self.tried = Some(Instant::now());
        }
        while !frames.is_empty() {
            let (taken, answer) = oneshot::channel();
            let wake = Wake::Fetched { frames: frames.iter().map(|tried| tried.frame.clone()).collect(), taken };
            wakes.send(wake).await.map_err(|_| "the agent stops")?;
            let fates = answer.await.map_err(|_| "the agent stops")?;
            let rest = frames.split_off(fates.len().min(frames.len()));
            for (tried, fate) in core::mem::replace(&mut frames, rest).into_iter().zip(fates) {
                if fate == Fate::Aside {
                    self.aside.keep(tried, Instant::now());
                }
            }
            if !frames.is_empty() {
                tokio::time::sleep(waits.next().unwrap_or(LASTING)).await;
            }
        }
        Ok(())
    }

    /// How long it is until those that are set aside are tried again.
    fn rest(&self) -> Duration {
        self.tried.map_or(Duration::ZERO, |at| ASIDE_AGAIN.saturating_sub(at.elapsed()))
    }
}

/// Claims another agent's bundle, with a one-time prekey where there is one left.
// contracts/directory.md D8.
pub(crate) async fn claim(node: Arc<Node>, of: AgentId, tasks: Tasks) {
    let bundle = said(node.post_bytes(&format!("/directory/claim/{of}"), Bytes::new()).await);
    let bundle = bundle.map(|answered| answered.body.to_vec());
    // The actor may have stopped.
    let _ = tasks.urgent.send(Wake::BundleCame { of, bundle });
}

fn left_in(answered: &Answered) -> Result<Left, String> {
    serde_json::from_slice(&answered.body).map_err(|error| error.to_string())
}

fn said(answered: Result<Answered, Unreachable>) -> Result<Answered, String> {
    let answered = answered.map_err(|error| error.reason)?;
    if answered.status.is_success() {
        return Ok(answered);
    }
    let says = String::from_utf8_lossy(answered.body.get(..200).unwrap_or(&answered.body)).into_owned();
    Err(format!("the node answers {}: {says}", answered.status))
}

/// Cuts whole frames off what came, at most so many.
// contracts/mailbox.md M9.
fn cut(bytes: &mut BytesMut) -> Result<Vec<Numbered>, String> {
    let mut frames = Vec::new();
    while frames.len() < FRAMES_AT_ONCE {
        let Some((number, rest)) = bytes.split_first_chunk::<8>() else { break };
        let Some((len, rest)) = rest.split_first_chunk::<4>() else { break };
        let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
        if len > limit::FRAME_LEN_MAX {
            return Err("it gives a frame that is too long".to_owned());
        }
        if rest.len() < len {
            break;
        }
        let number = u64::from_be_bytes(*number);
        bytes.advance(12);
        frames.push(Numbered::new(number, bytes.split_to(len).freeze()));
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries frames with an actor that answers so: what it was given, a list for each time.
    async fn tried(fetched: &mut Fetched, numbers: &[u64], mut answers: Vec<Vec<Fate>>) -> Vec<Vec<u8>> {
        let (wakes, mut woken) = mpsc::channel(1);
        let frame = |number: &u64| Numbered::new(*number, Bytes::from(vec![u8::try_from(*number).unwrap()]));
        let actor = async move {
            let mut given = Vec::new();
            for fates in answers.drain(..) {
                let Some(Wake::Fetched { frames, taken }) = woken.recv().await else {
                    panic!("frames are handed over")
                };
                given.push(frames.iter().map(|frame| frame[0]).collect());
                taken.send(fates).unwrap();
            }
            drop(woken);
            given
        };
        let (tried, given) = tokio::join!(fetched.try_all(numbers.iter().map(frame).collect(), &wakes), actor);
        tried.unwrap();
        given
    }

    /// contracts/mailbox.md M10, M17.
    #[tokio::test]
    async fn a_frame_that_is_set_aside_holds_up_no_other_and_is_not_taken() {
        use Fate::{Aside, Done};
        let mut fetched = Fetched::default();
        let given = tried(&mut fetched, &[1, 2, 3], vec![vec![Done, Aside, Done]]).await;
        assert_eq!((given, fetched.aside.done_up_to(fetched.last)), (vec![vec![1, 2, 3]], 1));
        // There is no room for 5 at first.
        let given = tried(&mut fetched, &[4, 5], vec![vec![Done], vec![Done]]).await;
        assert_eq!(
            (given, fetched.aside.done_up_to(fetched.last)),
            (vec![vec![4, 5], vec![5]], 1),
            "not tried at once"
        );
        fetched.tried = None;
        let given = tried(&mut fetched, &[6], vec![vec![Done, Done]]).await;
        assert_eq!((given, fetched.aside.done_up_to(fetched.last)), (vec![vec![6, 2]], 6));
    }

    #[test]
    fn a_stream_is_cut_wherever_its_parts_end() {
        let frames = [vec![1, 2, 3], vec![], vec![9; 300]];
        let part = |(number, frame): (u64, &Vec<u8>)| {
            [&number.to_be_bytes()[..], &u32::try_from(frame.len()).unwrap().to_be_bytes(), frame].concat()
        };
        let stream: Vec<u8> = (7..).zip(&frames).flat_map(part).collect();
        for at in 0..stream.len() {
            let (mut bytes, mut got, mut last) = (BytesMut::new(), Vec::new(), None);
            for part in [&stream[..at], &stream[at..]] {
                bytes.extend_from_slice(part);
                let cut = cut(&mut bytes).unwrap();
                got.extend(cut.iter().map(|cut| cut.frame.to_vec()));
                last = cut.last().map(|cut| cut.number).or(last);
            }
            assert_eq!((got.as_slice(), last), (&frames[..], Some(9)), "cut at {at}");
        }
        let mut lie = BytesMut::from(&[0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0][..]);
        assert!(cut(&mut lie).is_err(), "no memory for a length that is only claimed");
    }
}
