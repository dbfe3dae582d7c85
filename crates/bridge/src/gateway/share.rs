//! What one principal may have of a gateway at once: requests under way, and bytes of them in memory (contracts/gateway.md W41).

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http_body::Frame;
use http_body_util::BodyExt as _;
use nuncio_contracts::registry::limit;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::refusal::Refusal;
use crate::front::BODY_PATIENCE;
use crate::front::fault::Fault;
use crate::front::flush::Marks;

/// What of the rate of bytes one may have at once.
const BURST: u32 = 64;
/// Principals whose rate is kept; beyond them those go that were quiet.
const RATES_MAX: usize = 4_096;
/// A rate is counted in these, in bytes.
const CELL: usize = 1_024;

/// All shares.
pub(super) struct Shares {
    taken: Mutex<Taken>,
    rate: DefaultKeyedRateLimiter<String>,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: usize,
    of: HashMap<String, Own>,
}

#[derive(Debug, Default)]
struct Own {
    requests: usize,
    bytes: usize,
}

/// What one request has, until it is dropped.
pub(super) struct Share {
    shares: Arc<Shares>,
    principal: String,
    bytes: AtomicUsize,
}

impl Shares {
    pub(super) fn new() -> Arc<Self> {
        let cells = |bytes: u32| NonZeroU32::new(bytes / 1_024).unwrap_or(NonZeroU32::MIN);
        let rate = limit::GATEWAY_BYTES_PER_PRINCIPAL;
        let quota = Quota::per_second(cells(rate)).allow_burst(cells(rate.saturating_mul(BURST)));
        Arc::new(Self { taken: Mutex::default(), rate: RateLimiter::keyed(quota) })
    }

    /// One more request of a principal.
    ///
    /// # Errors
    /// It has as many under way as it may.
    pub(super) fn take(self: &Arc<Self>, principal: &str) -> Result<Share, Refusal> {
        let mut taken = self.taken();
        let own = taken.of.entry(principal.to_owned()).or_default();
        if own.requests >= limit::GATEWAY_REQUESTS_PER_PRINCIPAL {
            return Err(too_many("more requests of yours at once than are taken"));
        }
        own.requests += 1;
        Ok(Share { shares: Arc::clone(self), principal: principal.to_owned(), bytes: AtomicUsize::new(0) })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // What it guards stays whole even if a holder panicked.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// So many bytes more, of this request, in memory until it is answered.
    ///
    /// # Errors
    /// They are more than its principal, or all together, may have.
    pub(super) fn hold(&self, len: usize) -> Result<(), Refusal> {
        let mut taken = self.shares.taken();
        let all = taken.bytes.saturating_add(len);
        let Some(own) = taken.of.get_mut(&self.principal) else { return Ok(()) };
        if own.bytes.saturating_add(len) > limit::GATEWAY_BODIES_PER_PRINCIPAL {
            return Err(too_many("more of yours at once than is kept in memory"));
        }
        if all > limit::GATEWAY_BODIES_MAX {
            return Err(Refusal::unavailable("busy", "more at once than is kept in memory: ask again"));
        }
        own.bytes = own.bytes.saturating_add(len);
        taken.bytes = all;
        self.bytes.fetch_add(len, Relaxed);
        Ok(())
    }

    /// A request's body, whole: what has come is its principal's, so who sends it slowly holds up nobody. One that is refused is read to its end all
    /// the same, within bounds: whoever is still writing would not see the answer.
    ///
    /// # Errors
    /// It is longer than `max`, does not come in time, or is more than the principal may send.
    pub(super) async fn gather(&self, body: Body, max: usize) -> Result<Bytes, Refusal> {
        let late = |_| Fault::malformed("the body did not come in time").with(StatusCode::REQUEST_TIMEOUT);
        let bytes = timeout(BODY_PATIENCE, self.gather_all(body, max)).await.map_err(late)??;
        let cells = u32::try_from(bytes.len().div_ceil(CELL)).ok().and_then(NonZeroU32::new);
        let rate = &self.shares.rate;
        if rate.len() > RATES_MAX {
            rate.retain_recent();
        }
        let within = cells.is_none_or(|cells| matches!(rate.check_key_n(&self.principal, cells), Ok(Ok(()))));
        if within { Ok(bytes) } else { Err(too_many("you send more than is taken in a time: ask again")) }
    }

    async fn gather_all(&self, mut body: Body, max: usize) -> Result<Bytes, Refusal> {
        let (mut bytes, mut len, mut refused) = (BytesMut::new(), 0_usize, None);
        while let Some(frame) = body.frame().await {
            let piece = frame.map_err(|error| Refusal::bad(error.to_string()))?.into_data().unwrap_or_default();
            len = len.saturating_add(piece.len());
            if len > max && refused.is_none() {
                let most = if max >> 20 > 0 { format!("{} MiB", max >> 20) } else { format!("{} KiB", max >> 10) };
                let message = format!("a body here holds at most {most}");
                refused = Some(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
            }
            if refused.is_none() {
                refused = self.hold(piece.len()).err();
            }
            match refused {
                None => bytes.extend_from_slice(&piece),
                Some(_) if len > max.saturating_mul(4) => break,
                Some(_) => bytes = BytesMut::new(),
            }
        }
        refused.map_or_else(|| Ok(bytes.freeze()), Err)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let (mut taken, bytes) = (self.shares.taken(), self.bytes.load(Relaxed));
        taken.bytes = taken.bytes.saturating_sub(bytes);
        let Some(own) = taken.of.get_mut(&self.principal) else { return };
        own.bytes = own.bytes.saturating_sub(bytes);
        own.requests = own.requests.saturating_sub(1);
        if own.requests == 0 {
            taken.of.remove(&self.principal);
        }
    }
}

/// A principal has as much as it may.
fn too_many(message: &str) -> Refusal {
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message).with(header::RETRY_AFTER, "1")
}

/// A response whose request is under way until the system has all of it, or its connection has ended.
pub(super) fn until_taken(response: Response, share: Arc<Share>, marks: Marks) -> Response {
    response.map(|body| Body::new(Held { body, share, marks }))
}

struct Held {
    body: Body,
    share: Arc<Share>,
    marks: Marks,
}

impl Drop for Held {
    /// What the body gave lies with the connection still.
    fn drop(&mut self) {
        let (mark, written) = oneshot::channel();
        self.marks.put(mark);
        let share = Arc::clone(&self.share);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                // Told or dropped, it is over.
                let _ = written.await;
                drop(share);
            });
        }
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(refused: Refusal) -> String {
        refused.json()["error"]["code"].as_str().unwrap().to_owned()
    }

    #[test]
    fn one_principal_has_its_share_and_no_other_s() {
        let shares = Shares::new();
        let held: Vec<Share> = (0..100).filter_map(|_| shares.take("user:anna").ok()).collect();
        assert_eq!(held.len(), limit::GATEWAY_REQUESTS_PER_PRINCIPAL);
        let ben = shares.take("user:ben").unwrap();
        held[0].hold(limit::GATEWAY_BODIES_PER_PRINCIPAL).unwrap();
        assert_eq!(code(held[1].hold(1).unwrap_err()), "too_many");
        ben.hold(1).unwrap();
        drop(held);
        shares.take("user:anna").unwrap().hold(limit::GATEWAY_BODIES_PER_PRINCIPAL).unwrap();
        assert_eq!(shares.taken().bytes, 1);
        drop(ben);
        assert!(shares.taken().of.is_empty() && shares.taken().bytes == 0);
    }

    #[test]
    fn all_together_have_so_much_memory() {
        let shares = Shares::new();
        let mut held = Vec::new();
        for one in 0..limit::GATEWAY_BODIES_MAX / limit::GATEWAY_BODIES_PER_PRINCIPAL {
            let share = shares.take(&format!("user:{one}")).unwrap();
            share.hold(limit::GATEWAY_BODIES_PER_PRINCIPAL).unwrap();
            held.push(share);
        }
        assert_eq!(code(shares.take("user:anna").unwrap().hold(1).unwrap_err()), "busy");
    }

    #[tokio::test]
    async fn a_principal_sends_so_much_in_a_time_and_a_body_has_an_end() {
        let (shares, mib) = (Shares::new(), 1 << 20);
        let sent = async |principal: &str, len: usize| {
            shares.take(principal)?.gather(Body::from(vec![b' '; len]), 16 * mib).await.map(|bytes| bytes.len())
        };
        assert_eq!(code(sent("user:anna", 16 * mib + 1).await.unwrap_err()), "too_large");
        for _ in 0..4 {
            assert_eq!(sent("user:anna", 16 * mib).await.unwrap(), 16 * mib);
        }
        assert_eq!(code(sent("user:anna", 16 * mib).await.unwrap_err()), "too_many");
        assert_eq!(sent("user:ben", 16 * mib).await.unwrap(), 16 * mib);
    }

    /// contracts/gateway.md W41: what is under way slowly has its principal's share alone.
    #[tokio::test(start_paused = true)]
    async fn bodies_that_come_slowly_hold_up_nobody() {
        let shares = Shares::new();
        let slow = |shares: &Arc<Shares>| {
            let share = shares.take("user:anna").unwrap();
            let (sender, rx) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(4);
            sender.try_send(Ok(Bytes::from(vec![b' '; 100_000]))).unwrap();
            let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(rx));
            (sender, tokio::spawn(async move { share.gather(body, 1 << 20).await.map_err(code) }))
        };
        let under_way: Vec<_> = (0..8).map(|_| slow(&shares)).collect();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let ben = shares.take("user:ben").unwrap();
        assert!(ben.gather(Body::from(vec![b' '; 100_000]), 1 << 20).await.is_ok());
        assert_eq!(shares.taken().bytes, 900_000, "what has come is counted");
        for (sender, gathering) in under_way {
            assert_eq!(gathering.await.unwrap().unwrap_err(), "slow");
            drop(sender);
        }
    }
}
