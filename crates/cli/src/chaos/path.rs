//! A bad line for UDP: a relay in front of one address that loses, delays, doubles, overtakes, narrows and cuts.
//!
//! ```text
//!   dialler ──▶ front ──▶ [ weather ] ──▶ its own back socket ──▶ the agent
//!           ◀──       ◀── [ weather ] ◀──                     ◀──
//! ```
//!
//! It needs no rights and no system's help, so it runs wherever the tests do. Every dialler has a back socket of its own, and
//! so an address of its own at the agent; another back socket is another address in mid-session.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::dice::Dice;

/// Longest datagram there is.
const DATAGRAM_MAX: usize = 65_535;
/// What is overtaken comes so much later than the rest.
const OVERTAKEN: Duration = Duration::from_millis(30);

/// What becomes of datagrams, each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Lost, of a hundred.
    pub loss_percent: u64,
    /// Come twice, of a hundred.
    pub double_percent: u64,
    /// Are overtaken by later ones, of a hundred.
    pub overtaken_percent: u64,
    /// All come so much later, in milliseconds.
    pub delay_ms: u64,
    /// And each by up to so much more.
    pub jitter_ms: u64,
    /// Longer ones are lost, in bytes of UDP payload.
    pub len_max: usize,
    /// So are longer ones on the way back to who dials.
    pub answer_len_max: usize,
    /// Nothing comes through.
    pub is_cut: bool,
}

impl Weather {
    /// Everything comes through.
    pub const FAIR: Self = Self {
        loss_percent: 0,
        double_percent: 0,
        overtaken_percent: 0,
        delay_ms: 0,
        jitter_ms: 0,
        len_max: DATAGRAM_MAX,
        answer_len_max: DATAGRAM_MAX,
        is_cut: false,
    };

    /// How much later one datagram comes, for each time that it comes: none where it is lost.
    fn fate(&self, len: usize, dice: &mut Dice) -> [Option<Duration>; 2] {
        if self.is_cut || len > self.len_max || dice.percent(self.loss_percent) {
            return [None, None];
        }
        let mut late = || {
            let jitter = if self.jitter_ms == 0 { 0 } else { dice.roll(self.jitter_ms) };
            let plain = Duration::from_millis(self.delay_ms + jitter);
            if dice.percent(self.overtaken_percent) { plain + OVERTAKEN } else { plain }
        };
        let (once, again) = (late(), late());
        [Some(once), dice.percent(self.double_percent).then_some(again)]
    }
}

/// What a path has done.
#[derive(Debug, Default)]
struct Done {
    carried: AtomicU64,
    lost: AtomicU64,
}

/// A dialler's way through.
struct Way {
    back: Arc<UdpSocket>,
    _reading: DropGuard,
}

/// What the front's task and its owner share.
struct Shared {
    weather: Mutex<Weather>,
    dice: Mutex<Dice>,
    ways: Mutex<HashMap<SocketAddr, Way>>,
    /// Whose address diallers have behind it.
    behind: Ipv4Addr,
    to: Mutex<Option<SocketAddr>>,
    done: Done,
}

/// The line in front of one address. It is gone when this is dropped.
pub struct Path {
    front: SocketAddr,
    shared: Arc<Shared>,
    _open: DropGuard,
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn on_loopback(at: Ipv4Addr) -> io::Result<UdpSocket> {
    UdpSocket::bind((at, 0)).await
}

impl Path {
    /// A line that leads nowhere yet.
    ///
    /// # Errors
    /// A system without a socket.
    pub async fn open(weather: Weather, seed: u64) -> io::Result<Self> {
        Self::open_as(Ipv4Addr::LOCALHOST, weather, seed).await
    }

    /// [`Path::open`], where all who dial come from another of loopback's addresses.
    ///
    /// # Errors
    /// As there.
    pub async fn open_as(behind: Ipv4Addr, weather: Weather, seed: u64) -> io::Result<Self> {
        let front = Arc::new(on_loopback(Ipv4Addr::LOCALHOST).await?);
        let shared = Arc::new(Shared {
            weather: Mutex::new(weather),
            dice: Mutex::new(Dice(seed | 1)),
            ways: Mutex::default(),
            behind,
            to: Mutex::default(),
            done: Done::default(),
        });
        let (addr, open) = (front.local_addr()?, CancellationToken::new());
        let (serving, of_front) = (open.clone(), Arc::clone(&shared));
        tokio::spawn(async move { serving.run_until_cancelled(of_front.serve(front)).await });
        Ok(Self { front: addr, shared, _open: open.drop_guard() })
    }

    /// Where to dial.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.front
    }

    /// Where it leads from now on.
    pub fn leads_to(&self, to: SocketAddr) {
        *locked(&self.shared.to) = Some(to);
    }

    /// Other weather.
    pub fn turns(&self, weather: Weather) {
        *locked(&self.shared.weather) = weather;
    }

    /// Every dialler has another address from now on, as behind a NAT that was started again.
    pub fn readdress(&self) {
        locked(&self.shared.ways).clear();
    }

    /// Datagrams that came through, and that were lost.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let done = &self.shared.done;
        (done.carried.load(Ordering::Relaxed), done.lost.load(Ordering::Relaxed))
    }
}

impl Shared {
    /// Takes what diallers send.
    async fn serve(self: Arc<Self>, front: Arc<UdpSocket>) {
        let mut datagram = vec![0; DATAGRAM_MAX];
        loop {
            // A port that nobody listens at makes the next call fail: the line goes on.
            let Ok((len, from)) = front.recv_from(&mut datagram).await else { continue };
            let Some(to) = *locked(&self.to) else { continue };
            let Some(back) = self.way_of(from, &front).await else { continue };
            self.carry(datagram.get(..len).unwrap_or_default(), back, to);
        }
    }

    /// The back socket of a dialler, which is heard from now on.
    async fn way_of(self: &Arc<Self>, dialler: SocketAddr, front: &Arc<UdpSocket>) -> Option<Arc<UdpSocket>> {
        if let Some(way) = locked(&self.ways).get(&dialler) {
            return Some(Arc::clone(&way.back));
        }
        let (back, heard) = (Arc::new(on_loopback(self.behind).await.ok()?), CancellationToken::new());
        let (shared, front, listening) = (Arc::clone(self), Arc::clone(front), heard.clone());
        let answers = Arc::clone(&back);
        tokio::spawn(async move {
            listening
                .run_until_cancelled(async move {
                    let mut datagram = vec![0; DATAGRAM_MAX];
                    loop {
                        let Ok((len, _)) = answers.recv_from(&mut datagram).await else { continue };
                        if len <= locked(&shared.weather).answer_len_max {
                            shared.carry(datagram.get(..len).unwrap_or_default(), Arc::clone(&front), dialler);
                        }
                    }
                })
                .await
        });
        locked(&self.ways).insert(dialler, Way { back: Arc::clone(&back), _reading: heard.drop_guard() });
        Some(back)
    }

    fn carry(&self, datagram: &[u8], by: Arc<UdpSocket>, to: SocketAddr) {
        let weather = *locked(&self.weather);
        let fate = weather.fate(datagram.len(), &mut locked(&self.dice));
        if fate == [None, None] {
            self.done.lost.fetch_add(1, Ordering::Relaxed);
        }
        for late in fate.into_iter().flatten() {
            self.done.carried.fetch_add(1, Ordering::Relaxed);
            // What cannot go at once, as over a socket that is new, goes as soon as it can.
            if late.is_zero() && by.try_send_to(datagram, to).is_ok() {
                continue;
            }
            let (by, datagram) = (Arc::clone(&by), datagram.to_vec());
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                by.send_to(&datagram, to).await
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 10_000;

    fn fates(weather: Weather) -> Vec<[Option<Duration>; 2]> {
        let mut dice = Dice(7);
        (0..N).map(|_| weather.fate(1_200, &mut dice)).collect()
    }

    #[test]
    fn the_weather_does_what_it_says_and_no_more() {
        assert!(fates(Weather::FAIR).iter().all(|fate| *fate == [Some(Duration::ZERO), None]));
        let lost = |weather| fates(weather).iter().filter(|fate| fate[0].is_none()).count();
        assert!((1_700..2_300).contains(&lost(Weather { loss_percent: 20, ..Weather::FAIR })));
        assert_eq!(lost(Weather { is_cut: true, ..Weather::FAIR }), N);
        assert_eq!(lost(Weather { len_max: 1_199, ..Weather::FAIR }), N);
        assert_eq!(lost(Weather { len_max: 1_200, ..Weather::FAIR }), 0);
        let double = fates(Weather { double_percent: 10, ..Weather::FAIR });
        assert!((800..1_200).contains(&double.iter().filter(|fate| fate[1].is_some()).count()));
        let late = fates(Weather { delay_ms: 20, jitter_ms: 50, ..Weather::FAIR });
        let late: Vec<_> = late.iter().filter_map(|fate| fate[0]).map(|late| late.as_millis()).collect();
        assert_eq!((late.iter().min(), late.iter().max()), (Some(&20), Some(&69)));
    }

    #[tokio::test]
    async fn a_path_carries_both_ways_and_another_back_socket_is_another_address() {
        let (agent, dialler) =
            (on_loopback(Ipv4Addr::LOCALHOST).await.unwrap(), on_loopback(Ipv4Addr::LOCALHOST).await.unwrap());
        let path = Path::open(Weather::FAIR, 1).await.unwrap();
        path.leads_to(agent.local_addr().unwrap());
        let mut seen = Vec::new();
        for said in [&b"one"[..], b"two", b"three"] {
            dialler.send_to(said, path.addr()).await.unwrap();
            let mut got = [0; 8];
            let (len, from) = agent.recv_from(&mut got).await.unwrap();
            assert_eq!(&got[..len], said);
            agent.send_to(b"yes", from).await.unwrap();
            assert_eq!(dialler.recv_from(&mut got).await.unwrap(), (3, path.addr()));
            seen.push(from);
            if seen.len() == 2 {
                path.readdress();
            }
        }
        assert!(seen[0] == seen[1] && seen[1] != seen[2], "{seen:?}");
        assert_eq!(path.counts(), (6, 0));
    }
}
