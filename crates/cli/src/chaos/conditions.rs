//! What the two agents have to bear. One is a line here.

use std::time::Duration;

use super::path::Weather;

/// One condition.
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    /// Its name, in the table and on the command line.
    pub name: &'static str,
    /// What is between the agents, as it is at first.
    pub ground: Ground,
    /// What happens while they write, each so many milliseconds behind the first letter.
    pub deeds: &'static [(u64, Deed)],
    /// Reasons for which letters may fail in it, their sender being told; in all others none may.
    pub may_tell: &'static [&'static str],
    /// Whether a letter may be refused before it is accepted.
    pub may_refuse: bool,
}

/// What is between the agents.
#[derive(Clone, Copy, Debug)]
pub enum Ground {
    /// A relay of ours in front of each.
    Lines(Weather),
    /// The system's own: two networks.
    Networks {
        /// Packets that the kernel loses, of a hundred, each way.
        loss_percent: u64,
    },
    /// Nothing but a node.
    Domain,
    /// Nothing; but each has a clock of its own.
    Clocks,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// Other weather on both lines.
    Weather(Weather),
    /// Everybody who dials has another address.
    Readdress,
    /// What fits the line between two networks, in bytes of IP.
    Mtu(u16),
    /// That line is there, or not.
    Plug(bool),
    /// One of the two networks' agents has another address, and not the one it had.
    Move {
        /// Whose.
        place: usize,
        /// The last byte of it.
        host: u8,
    },
    /// The node is killed with SIGKILL.
    KillNode,
    /// And is there again.
    StartNode,
    /// How many seconds each one's clock is ahead.
    Clocks {
        /// Of the two.
        off_s: [i32; 2],
    },
}

impl Condition {
    const fn new(name: &'static str, ground: Ground) -> Self {
        Self { name, ground, deeds: &[], may_tell: &[], may_refuse: false }
    }

    const fn with(self, deeds: &'static [(u64, Deed)]) -> Self {
        Self { deeds, ..self }
    }

    const fn may_tell(self, may_tell: &'static [&'static str]) -> Self {
        Self { may_tell, ..self }
    }

    /// Until all has happened.
    #[must_use]
    pub fn span(&self) -> Duration {
        Duration::from_millis(self.deeds.iter().map(|(at, _)| *at).max().unwrap_or_default())
    }

    /// Whether its letters act in transactions.
    #[must_use]
    pub const fn is_under_tokens(&self) -> bool {
        matches!(self.ground, Ground::Domain)
    }
}

/// The condition of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Condition> {
    ALL.iter().find(|condition| condition.name == name)
}

const FAIR: Weather = Weather::FAIR;
const CUT: Weather = Weather { is_cut: true, ..FAIR };
const STORM: Weather =
    Weather { loss_percent: 10, double_percent: 10, overtaken_percent: 10, delay_ms: 10, jitter_ms: 50, ..FAIR };
const HOUR_S: i32 = 3_600;

const fn lines(name: &'static str, weather: Weather) -> Condition {
    Condition::new(name, Ground::Lines(weather))
}

const fn networks(name: &'static str, loss_percent: u64) -> Condition {
    Condition::new(name, Ground::Networks { loss_percent })
}

const fn narrow(len_max: usize) -> Deed {
    Deed::Weather(Weather { len_max, ..FAIR })
}

/// All of them.
pub const ALL: &[Condition] = &[
    lines("fair", FAIR),
    lines("loss-5", Weather { loss_percent: 5, ..FAIR }),
    lines("loss-10", Weather { loss_percent: 10, ..FAIR }),
    lines("loss-20", Weather { loss_percent: 20, ..FAIR }),
    // As far away as another continent's near coast: what finds a loss late shows here.
    lines("loss-5-far", Weather { loss_percent: 5, delay_ms: 30, ..FAIR }),
    lines("loss-20-far", Weather { loss_percent: 20, delay_ms: 30, ..FAIR }),
    lines("jitter-50ms", Weather { delay_ms: 10, jitter_ms: 50, ..FAIR }),
    lines("overtaken-25", Weather { overtaken_percent: 25, ..FAIR }),
    lines("doubled-25", Weather { double_percent: 25, ..FAIR }),
    lines("storm", STORM),
    // UDP payloads of IPv4 at 1,500, 1,280, and the least that QUIC goes with: nobody is told, long ones vanish.
    lines("black-hole-1252-1200", FAIR).with(&[
        (2_000, narrow(1_252)),
        (6_000, narrow(1_200)),
        (10_000, narrow(1_472)),
    ]),
    lines("black-hole-1199", FAIR).with(&[(2_000, narrow(1_199)), (12_000, Deed::Weather(FAIR))]),
    lines("rebinding-x5", FAIR).with(&[
        (1_000, Deed::Readdress),
        (2_000, Deed::Readdress),
        (3_000, Deed::Readdress),
        (4_000, Deed::Readdress),
        (5_000, Deed::Readdress),
    ]),
    lines("storm-rebinding", STORM).with(&[(2_000, Deed::Readdress), (4_000, Deed::Readdress)]),
    lines("partition-5s", FAIR).with(&[(1_000, Deed::Weather(CUT)), (6_000, Deed::Weather(FAIR))]),
    lines("partition-30s", FAIR).with(&[(1_000, Deed::Weather(CUT)), (31_000, Deed::Weather(FAIR))]),
    lines("partition-60s", FAIR).with(&[(1_000, Deed::Weather(CUT)), (61_000, Deed::Weather(FAIR))]),
    networks("kernel-fair", 0),
    networks("kernel-loss-5", 5),
    networks("kernel-loss-10", 10),
    networks("kernel-loss-20", 20),
    networks("mtu-1500-1280-1228", 0).with(&[
        (2_000, Deed::Mtu(1_280)),
        (5_000, Deed::Mtu(1_228)),
        (8_000, Deed::Mtu(1_500)),
    ]),
    // Below what QUIC needs nothing goes; with it, all.
    networks("mtu-1200", 0).with(&[(2_000, Deed::Mtu(1_200)), (12_000, Deed::Mtu(1_500))]),
    networks("move-one", 0).with(&[(2_000, Deed::Move { place: 0, host: 11 })]),
    networks("move-other", 0).with(&[(2_000, Deed::Move { place: 1, host: 12 })]),
    networks("line-pulled-30s", 0).with(&[(1_000, Deed::Plug(false)), (31_000, Deed::Plug(true))]),
    Condition {
        may_refuse: true,
        ..Condition::new("node-killed-x3", Ground::Domain).with(&[
            (2_000, Deed::KillNode),
            (4_000, Deed::StartNode),
            (7_000, Deed::KillNode),
            (9_000, Deed::StartNode),
            (12_000, Deed::KillNode),
            (14_000, Deed::StartNode),
        ])
    },
    Condition::new("clock-back-1h", Ground::Clocks)
        .with(&[(2_000, Deed::Clocks { off_s: [-HOUR_S, 0] }), (6_000, Deed::Clocks { off_s: [0, 0] })])
        .may_tell(&["future"]),
    Condition {
        may_refuse: true,
        ..Condition::new("clock-ahead-1h", Ground::Clocks)
            .with(&[(2_000, Deed::Clocks { off_s: [HOUR_S, 0] }), (6_000, Deed::Clocks { off_s: [0, 0] })])
            .may_tell(&["future"])
    },
    Condition {
        // A letter that is being written while its own writer's clock is put back.
        may_refuse: true,
        ..Condition::new("clocks-both-ahead-and-back", Ground::Clocks)
            .with(&[
                (2_000, Deed::Clocks { off_s: [HOUR_S, HOUR_S] }),
                (6_000, Deed::Clocks { off_s: [0, 0] }),
                (10_000, Deed::Clocks { off_s: [-HOUR_S, -HOUR_S] }),
            ])
            // What was made by a clock before it was put back, and comes behind that.
            .may_tell(&["future"])
    },
];
