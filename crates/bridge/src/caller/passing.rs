//! What comes for programs, in its order.
//!
//! Messages of a session come one after the other. Where there is none each request stands alone: one whose payload is still on its way holds up what follows
//! to its own request, and nothing else.

use std::collections::HashMap;

use nuncio::{CallNews, LetterId, Payload};
use tokio::sync::{mpsc, watch};

use super::{AgentLine, Key, heard};
use crate::line::Heard;

/// Requests to which a payload is on its way, and who takes what follows to each.
type HeldUp = HashMap<LetterId, mpsc::UnboundedSender<u64>>;

impl AgentLine {
    /// Hands on what comes, each when the one before was taken off.
    pub(super) async fn pass_on(
        self,
        key: Key,
        mut after: Option<u64>,
        mut bell: watch::Receiver<()>,
        to: mpsc::Sender<Heard>,
    ) {
        let mut held_up = HeldUp::new();
        loop {
            let Some((no, at_hand)) = self.calling.next(&key, after) else {
                tokio::select! {
                    changed = bell.changed() => if changed.is_err() { return },
                    () = to.closed() => return,
                }
                continue;
            };
            after = Some(no);
            let news = match at_hand {
                Some(news) => news,
                None => match self.calling.agent.call(no).await {
                    Ok(Some(news)) => news,
                    Ok(None) => {
                        self.calling.forget(&key, no);
                        continue;
                    }
                    Err(_) => return,
                },
            };
            match request_of(&news).filter(|_| key.session.is_none()) {
                Some(request) if follows(&held_up, &request, no) => {}
                Some(request) if is_on_its_way(&news) => {
                    held_up.retain(|_, sender| !sender.is_closed());
                    let (sender, numbers) = mpsc::unbounded_channel();
                    held_up.insert(request, sender);
                    tokio::spawn(self.clone().pass_apart((no, news), numbers, to.clone()));
                }
                _ if pass(no, news, &to).await => {}
                _ => return,
            }
        }
    }

    /// Hands on a message whose payload is on its way, and what follows to its request.
    async fn pass_apart(
        self,
        first: (u64, CallNews),
        mut numbers: mpsc::UnboundedReceiver<u64>,
        to: mpsc::Sender<Heard>,
    ) {
        let (mut no, mut news) = first;
        loop {
            if !pass(no, news, &to).await {
                return;
            }
            (no, news) = loop {
                // Nothing waits: what follows is handed on by who hears it, but for what came just now.
                let waiting = numbers.try_recv().or_else(|_| {
                    numbers.close();
                    numbers.try_recv()
                });
                let Ok(no) = waiting else { return };
                if let Ok(Some(news)) = self.calling.agent.call(no).await {
                    break (no, news);
                }
            };
        }
    }
}

/// Whether a message follows one that is held up, and goes with it.
fn follows(held_up: &HeldUp, request: &LetterId, no: u64) -> bool {
    held_up.get(request).is_some_and(|apart| apart.send(no).is_ok())
}

/// `false`: nobody listens any more.
async fn pass(no: u64, news: CallNews, to: &mpsc::Sender<Heard>) -> bool {
    let heard = tokio::select! {
        heard = heard(no, news) => heard,
        () = to.closed() => return false,
    };
    to.send(heard).await.is_ok()
}

fn request_of(news: &CallNews) -> Option<LetterId> {
    match news {
        CallNews::Came(called) => called.letter.reply_to,
        CallNews::Failed { asked, .. } => Some(asked.id),
    }
}

fn is_on_its_way(news: &CallNews) -> bool {
    let CallNews::Came(called) = news else { return false };
    matches!(&called.letter.payload, Payload::Large(payload) if payload.arrived() < payload.len())
}
