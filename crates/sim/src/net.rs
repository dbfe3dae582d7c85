//! A network that loses, doubles, delays and reorders, and at times carries nothing between two agents.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dice::Dice;

/// Number of an agent in a run.
pub type Who = usize;

/// What travels. Its sender is always known, as a QUIC connection knows it.
#[derive(Clone, Debug)]
pub enum Packet {
    /// One frame.
    Frame(Arc<[u8]>),
    /// Asks for a bundle with a one-time prekey.
    Claim,
    /// The answer.
    Bundle(Arc<[u8]>),
}

/// How bad the network is. Chances are in per mille.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Packets lost.
    pub loss: u32,
    /// Packets that come twice.
    pub duplicate: u32,
    /// Packets that take ten times as long.
    pub reorder: u32,
    /// Packets that come again hours later.
    pub ghost: u32,
    /// The longest usual delay.
    pub delay_ms: u64,
}

/// The links between all agents.
#[derive(Debug)]
pub struct Net {
    /// How bad it is now.
    pub weather: Weather,
    dice: Dice,
    cut: BTreeMap<(Who, Who), u64>,
}

const GHOST_MS: u64 = 7_200_000;

impl Net {
    /// A network with all links open.
    #[must_use]
    pub const fn new(weather: Weather, dice: Dice) -> Self {
        Self { weather, dice, cut: BTreeMap::new() }
    }

    /// After how many milliseconds a packet arrives: not at all, once, or more often.
    pub fn fates(&mut self, from: Who, to: Who, now_ms: u64) -> Vec<u64> {
        let weather = self.weather;
        if self.is_cut(from, to, now_ms) || self.dice.per_mille(weather.loss) {
            return Vec::new();
        }
        let mut fates = vec![self.delay()];
        if self.dice.per_mille(weather.duplicate) {
            fates.push(self.delay());
        }
        if self.dice.per_mille(weather.ghost) {
            fates.push(self.dice.below(GHOST_MS));
        }
        fates
    }

    fn delay(&mut self) -> u64 {
        let usual = 1 + self.dice.below(self.weather.delay_ms);
        if self.dice.per_mille(self.weather.reorder) { usual.saturating_mul(10) } else { usual }
    }

    /// Carries nothing between two agents until a time.
    pub fn cut(&mut self, one: Who, other: Who, until_ms: u64) {
        self.cut.insert((one.min(other), one.max(other)), until_ms);
    }

    /// Whether nothing is carried between two agents.
    #[must_use]
    pub fn is_cut(&self, one: Who, other: Who, now_ms: u64) -> bool {
        self.cut.get(&(one.min(other), one.max(other))).is_some_and(|until| now_ms < *until)
    }

    /// Good from now on.
    pub fn heal(&mut self) {
        self.weather = Weather { delay_ms: self.weather.delay_ms.min(50), ..Weather::default() };
        self.cut.clear();
    }
}
