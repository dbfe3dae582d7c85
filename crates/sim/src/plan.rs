//! The parameters of one run: all that chance does not decide.

use crate::dice::Dice;
use crate::net::Weather;

const HOUR_MS: u64 = 3_600_000;

/// The most agents of a run with a channel.
pub const COMPANY_MAX: usize = 34;

/// One run. Equal plans give equal runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything else.
    pub seed: u64,
    /// How many agents write to each other.
    pub agents: usize,
    /// How many letters they write altogether.
    pub letters: u64,
    /// Usual time between two letters.
    pub gap_ms: u64,
    /// The most letters written at once.
    pub burst: u64,
    /// The network.
    pub weather: Weather,
    /// What goes wrong besides.
    pub faults: Faults,
    /// What letters may do, and who says so.
    pub tokens: Tokens,
    /// A channel to which all letters go, instead of from one agent to another.
    pub company: Option<Company>,
}

/// A channel: who is in it at first, and how it changes. Chances are in per mille.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Company {
    /// How many are asked in at the beginning, its owner among them.
    pub members: usize,
    /// Somebody changes it, or several do at the same time, instead of writing.
    pub change: u32,
    /// Letters that answer another one, of letters.
    pub answer: u32,
    /// An agent reaches nobody, for minutes or hours. As faults are.
    pub away: u32,
    /// Some agents do not reach the others, for minutes. As faults are.
    pub split: u32,
    /// Who is away is so for up to two days.
    pub long: bool,
}

/// Transaction tokens: chances, in per mille. Without any, no agent of the run knows a trust domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Letters carry one, of letters.
    pub carry: u32,
    /// It is one that earlier letters of this pair carried, of letters with a token.
    pub shared: u32,
    /// It is another pair's, of letters with a token.
    pub stolen: u32,
    /// Receivers deliver nothing without one.
    pub wants: bool,
    /// An agent loses the service's keys, and has them again after a while; so does one that starts. As faults are, once for every letter.
    pub keyless: u32,
    /// A transaction is revoked, and one agent after the other hears of it. As faults are.
    pub revoke: u32,
    /// Letters whose token expired are given a fresh one, of those letters; the others are given up.
    pub renew: u32,
    /// Letters under way are given a fresh token before the old one expires. As faults are.
    pub ahead: u32,
}

/// Chances, in per mille; the dice are rolled once for every letter, while it is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// An agent stops without warning, and comes back after a while.
    pub crash: u32,
    /// Only the first agent stops; the others run on.
    pub only_first: bool,
    /// A link carries nothing for a while.
    pub partition: u32,
    /// A clock jumps by up to an hour, forward or back.
    pub clock_step: u32,
    /// An agent starts again from an earlier copy of its disk.
    pub restore: u32,
    /// An agent loses its sessions, and nothing else.
    pub lost_sessions: u32,
    /// An agent is removed from another's contacts, and added again after a while.
    pub forget_contact: u32,
    /// Nobody writes for days.
    pub silence: u32,
    /// Letters have a deadline, of letters.
    pub deadline: u32,
    /// A letter is taken back.
    pub cancel: u32,
    /// Frames with an altered byte arrive too.
    pub forge: u32,
    /// The application removes letters from its inbox.
    pub done: u32,
}

impl Plan {
    /// The plan of a seed: 20 % loss, duplication, reordering and crashes always, each of the rest or not.
    #[must_use]
    pub fn of_seed(seed: u64, letters: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x706c_616e);
        let agents = if dice.per_mille(700) { 2 } else { 3 + dice.index(4) };
        let weather = Weather {
            loss: 200,
            duplicate: 100,
            reorder: 100,
            ghost: some(&mut dice, 20),
            delay_ms: [2, 20, 200, 3_000].get(dice.index(4)).copied().unwrap_or(20),
        };
        let faults = Faults {
            crash: 5 + some(&mut dice, 60),
            only_first: dice.per_mille(200),
            partition: some(&mut dice, 10),
            clock_step: some(&mut dice, 5),
            restore: if dice.per_mille(250) { some(&mut dice, 60) } else { 0 },
            lost_sessions: some(&mut dice, 30),
            forget_contact: if dice.per_mille(200) { some(&mut dice, 8) } else { 0 },
            silence: some(&mut dice, 15),
            deadline: some(&mut dice, 200),
            cancel: some(&mut dice, 80),
            forge: some(&mut dice, 50),
            done: some(&mut dice, 500),
        };
        let gap_ms = [2, 30, 500, 5_000].get(dice.index(4)).copied().unwrap_or(30);
        let burst = [1, 3, 20, 300].get(dice.index(4)).copied().unwrap_or(3);
        Self { seed, agents, letters, gap_ms, burst, weather, faults, tokens: Tokens::of_seed(seed), company: None }
    }

    /// Nothing goes wrong.
    #[must_use]
    pub fn calm(seed: u64, agents: usize, letters: u64) -> Self {
        let weather = Weather { delay_ms: 20, ..Weather::default() };
        Self {
            seed,
            agents,
            letters,
            gap_ms: 30,
            burst: 3,
            weather,
            faults: Faults::default(),
            tokens: Tokens::default(),
            company: None,
        }
    }

    /// The plan of a channel's seed: of 3 to 12 members in most runs, of up to 32 in some. Loss, duplication, reordering, crashes and changes
    /// always, each of the rest or not.
    #[must_use]
    pub fn of_channel(seed: u64, letters: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x0063_6861_6e6e_656c);
        let members = if dice.per_mille(900) { 3 + dice.index(10) } else { 13 + dice.index(20) };
        let agents = (members + 1 + dice.index(3)).min(COMPANY_MAX);
        let weather = Weather {
            loss: 50 + some(&mut dice, 250),
            duplicate: 100,
            reorder: 100,
            ghost: some(&mut dice, 20),
            delay_ms: [2, 20, 200, 3_000].get(dice.index(4)).copied().unwrap_or(20),
        };
        let faults = Faults {
            crash: 5 + some(&mut dice, 60),
            partition: some(&mut dice, 20),
            forge: some(&mut dice, 20),
            done: some(&mut dice, 300),
            ..Faults::default()
        };
        let company = Company {
            members,
            change: 30 + some(&mut dice, 300),
            answer: some(&mut dice, 500),
            away: some(&mut dice, 20),
            split: some(&mut dice, 20),
            long: false,
        };
        let gap_ms = [2, 30, 500, 5_000, 60_000].get(dice.index(5)).copied().unwrap_or(30);
        let burst = [1, 3, 20].get(dice.index(3)).copied().unwrap_or(3);
        // In some the letters are hours apart, and a chain is over with nearly each.
        let is_slow = Dice::new(seed ^ 0x686f_7572_7300).per_mille(150);
        let (gap_ms, burst) = if is_slow { (HOUR_MS, 1) } else { (gap_ms, burst) };
        let company = if is_slow { Company { away: 100, long: true, ..company } } else { company };
        let (tokens, company) = (Tokens::default(), Some(company));
        Self { seed, agents, letters, gap_ms, burst, weather, faults, tokens, company }
    }
}

impl Tokens {
    /// The tokens of a seed: none in every third run.
    fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x746f_6b65_6e73);
        if dice.per_mille(333) {
            return Self::default();
        }
        Self {
            carry: if dice.per_mille(300) { 1_000 } else { 500 },
            shared: if dice.per_mille(300) { 0 } else { 900 },
            stolen: some(&mut dice, 50),
            wants: dice.per_mille(500),
            keyless: some(&mut dice, 30),
            revoke: some(&mut dice, 20),
            renew: [0, 500, 900, 1_000].get(dice.index(4)).copied().unwrap_or(900),
            ahead: some(&mut dice, 100),
        }
    }

    /// Whether there are any.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.carry > 0
    }
}

/// Half of the time nothing, else up to `most`.
fn some(dice: &mut Dice, most: u32) -> u32 {
    if dice.per_mille(500) { 0 } else { 1 + u32::try_from(dice.below(u64::from(most))).unwrap_or(0) }
}
