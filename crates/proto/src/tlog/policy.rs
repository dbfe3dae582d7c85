//! What a verifier wants of a checkpoint: which logs it believes, and which witnesses have to have cosigned (C2SP tlog-policy).
//!
//! ```text
//!   quorum ─► group (2 of 3) ─┬─► witness
//!                             ├─► witness
//!                             └─► group (any) ─► witness …       each name is a member once: a tree, without cycles
//! ```

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::limit;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::cosignature::cosigned_at;
use super::note::{Note, NoteError, NoteKey};

/// Which checkpoints are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<NoteKey>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    /// `None` where no witness is asked for.
    quorum: Option<Member>,
}

/// A witness by the name that the policy gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// The name, which means nothing outside of the policy.
    pub name: Vec<u8>,
    /// Its key.
    pub key: NoteKey,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    needed: usize,
    members: Vec<Member>,
}

/// By its place in the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// Which witnesses of a policy have cosigned a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned<'a> {
    /// Whether they are enough.
    pub is_quorum: bool,
    /// Each with the time that it tells, in seconds.
    pub by: Vec<(&'a PolicyWitness, u64)>,
    /// Those that the quorum counts and that have not.
    pub missing: Vec<&'a PolicyWitness>,
}

/// Why a policy is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It is longer than it may be.
    #[error("the policy is longer than {} bytes", limit::TLOG_POLICY_LEN_MAX)]
    Length,
    /// It does not say which witnesses are enough.
    #[error("the policy has no line `quorum NAME`")]
    NoQuorum,
    /// A line, numbered from 1.
    #[error("line {0}: {1}")]
    Line(usize, LineError),
}

/// What is wrong with a line of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// Not the form of one.
    #[error(
        "not `log KEY [URL]`, `witness NAME KEY [URL]`, `group NAME all|any|K NAME…` or `quorum NAME` with a newline behind it"
    )]
    Malformed,
    /// A key that is none, or signs something else.
    #[error("no key that a log or witness signs with")]
    Key,
    /// A key, a name, a member or a quorum a second time.
    #[error("a key, a name, a member or the quorum stands here a second time")]
    Duplicate,
    /// A name that no line in front of it defines.
    #[error("a name that no line in front of it defines")]
    Unknown,
    /// A number of members that the group has not.
    #[error("the group has not so many members, or none is wanted")]
    Threshold,
    /// More of one kind than there may be.
    #[error("there are more than {} logs, witnesses or groups", limit::TLOG_POLICY_ITEMS_MAX)]
    TooMany,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The first line that is wrong, and how.
    // contracts/log.md G19.
    pub fn parse(policy: &[u8]) -> Result<Self, PolicyError> {
        if policy.len() > limit::TLOG_POLICY_LEN_MAX {
            return Err(PolicyError::Length);
        }
        let mut reading = Reading::default();
        // A file that was cut ends in the middle of a line, and may mean something else.
        for (at, line) in policy.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let read = line.strip_suffix(b"\n").ok_or(LineError::Malformed).and_then(|line| reading.line(line));
            read.map_err(|error| PolicyError::Line(at + 1, error))?;
        }
        let quorum = reading.quorum.ok_or(PolicyError::NoQuorum)?;
        Ok(Self { quorum, ..reading.policy })
    }

    /// Whatever the log, each of these has to have cosigned.
    #[must_use]
    pub fn all_of(witnesses: Vec<NoteKey>) -> Self {
        let named = |key: NoteKey| PolicyWitness { name: key.name().into(), key };
        let witnesses: Vec<PolicyWitness> = witnesses.into_iter().map(named).collect();
        let members: Vec<Member> = (0..witnesses.len()).map(Member::Witness).collect();
        let quorum = (!members.is_empty()).then_some(Member::Group(0));
        Self { logs: Vec::new(), witnesses, groups: vec![Group { needed: members.len(), members }], quorum }
    }

    /// The keys of its logs; none where the log is known otherwise.
    #[must_use]
    pub fn logs(&self) -> &[NoteKey] {
        &self.logs
    }

    /// Its witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// The key of the log that has signed a note.
    ///
    /// # Errors
    /// Why none of its logs has.
    // contracts/log.md G21.
    pub fn log_of(&self, note: &Note) -> Result<&NoteKey, CheckpointError> {
        let mut signed = Err(CheckpointError::Note(NoteError::Unsigned));
        for log in &self.logs {
            match Checkpoint::open(note, log) {
                Ok(_) => signed = signed.or(Ok(log)),
                Err(CheckpointError::Note(NoteError::Unsigned)) => {}
                Err(error) => return Err(error),
            }
        }
        signed
    }

    /// Who has cosigned a checkpoint, and whether that is enough.
    ///
    /// # Errors
    /// [`NoteError::Signature`]: a line of one of its witnesses does not verify.
    // contracts/log.md G21.
    pub fn cosigned<'a>(&'a self, note: &Note) -> Result<Cosigned<'a>, NoteError> {
        let mut times = Vec::new();
        for witness in &self.witnesses {
            times.push(match cosigned_at(note, &witness.key) {
                Ok(at_s) => Some(at_s),
                Err(NoteError::Unsigned) => None,
                Err(error) => return Err(error),
            });
        }
        let counted = self.counted();
        let each = || self.witnesses.iter().zip(&times);
        Ok(Cosigned {
            is_quorum: self.is_reached(&times),
            by: each().filter_map(|(witness, at_s)| at_s.map(|at_s| (witness, at_s))).collect(),
            missing: each()
                .enumerate()
                .filter(|(at, (_, at_s))| at_s.is_none() && counted.contains(at))
                .map(|(_, (witness, _))| witness)
                .collect(),
        })
    }

    fn is_reached(&self, times: &[Option<u64>]) -> bool {
        // Members stand in front of their groups.
        let mut groups: Vec<bool> = Vec::new();
        let is_met = |groups: &[bool], member: &Member| match member {
            Member::Witness(at) => times.get(*at).is_some_and(Option::is_some),
            Member::Group(at) => groups.get(*at).is_some_and(|is_met| *is_met),
        };
        for group in &self.groups {
            let met = group.members.iter().filter(|member| is_met(&groups, member)).count();
            groups.push(met >= group.needed);
        }
        self.quorum.is_none_or(|quorum| is_met(&groups, &quorum))
    }

    /// The witnesses below the quorum.
    fn counted(&self) -> BTreeSet<usize> {
        let (mut counted, mut open) = (BTreeSet::new(), Vec::from_iter(self.quorum));
        while let Some(member) = open.pop() {
            match member {
                Member::Witness(at) => drop(counted.insert(at)),
                Member::Group(at) => open.extend(self.groups.get(at).into_iter().flat_map(|group| &group.members)),
            }
        }
        counted
    }
}

/// A policy of which some lines are read.
#[derive(Default)]
struct Reading<'a> {
    policy: Policy,
    quorum: Option<Option<Member>>,
    names: BTreeMap<&'a [u8], Member>,
    /// Names that are a member of a group.
    members: BTreeSet<&'a [u8]>,
}

impl<'a> Reading<'a> {
    fn line(&mut self, line: &'a [u8]) -> Result<(), LineError> {
        if !line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..)) {
            return Err(LineError::Malformed);
        }
        let items: Vec<&[u8]> =
            line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] | [b"log", key, _] => self.log(key),
            [b"witness", name, key] | [b"witness", name, key, _] => self.witness(name, key),
            [b"group", name, needed, members @ ..] if !members.is_empty() => self.group(name, needed, members),
            [b"quorum", name] => self.quorum(name),
            _ => Err(LineError::Malformed),
        }
    }

    fn log(&mut self, key: &[u8]) -> Result<(), LineError> {
        let key = read_key(key).filter(|key| key.kind().signs_for_log()).ok_or(LineError::Key)?;
        if self.policy.logs.iter().any(|known| known.public() == key.public()) {
            return Err(LineError::Duplicate);
        }
        push(&mut self.policy.logs, key).map(drop)
    }

    // contracts/log.md G20.
    fn witness(&mut self, name: &'a [u8], key: &[u8]) -> Result<(), LineError> {
        let key = read_key(key).filter(|key| key.kind().cosigns()).ok_or(LineError::Key)?;
        if self.policy.witnesses.iter().any(|known| known.key.public() == key.public()) {
            return Err(LineError::Duplicate);
        }
        let at = push(&mut self.policy.witnesses, PolicyWitness { name: name.to_vec(), key })?;
        self.define(name, Member::Witness(at))
    }

    fn group(&mut self, name: &'a [u8], needed: &[u8], members: &[&'a [u8]]) -> Result<(), LineError> {
        let needed = match needed {
            b"all" => members.len(),
            b"any" => 1,
            number => read_number(number).ok_or(LineError::Malformed)?,
        };
        let found = members.iter().map(|member| self.names.get(member).copied().ok_or(LineError::Unknown));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        if !members.iter().all(|member| self.members.insert(member)) {
            return Err(LineError::Duplicate);
        }
        if needed == 0 || needed > members.len() {
            return Err(LineError::Threshold);
        }
        let at = push(&mut self.policy.groups, Group { needed, members: found })?;
        self.define(name, Member::Group(at))
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), LineError> {
        let quorum = match name {
            NONE => None,
            name => Some(*self.names.get(name).ok_or(LineError::Unknown)?),
        };
        if self.quorum.replace(quorum).is_some() { Err(LineError::Duplicate) } else { Ok(()) }
    }

    fn define(&mut self, name: &'a [u8], member: Member) -> Result<(), LineError> {
        let is_new = name != NONE && self.names.insert(name, member).is_none();
        if is_new { Ok(()) } else { Err(LineError::Duplicate) }
    }
}

/// The quorum of a policy that asks for no witness.
const NONE: &[u8] = b"none";

/// Its place.
fn push<T>(to: &mut Vec<T>, item: T) -> Result<usize, LineError> {
    if to.len() == limit::TLOG_POLICY_ITEMS_MAX {
        return Err(LineError::TooMany);
    }
    to.push(item);
    Ok(to.len() - 1)
}

fn read_key(text: &[u8]) -> Option<NoteKey> {
    NoteKey::parse(core::str::from_utf8(text).ok()?)
}

/// In decimal, without zeros in front. One too large for a number is larger than any group.
fn read_number(text: &[u8]) -> Option<usize> {
    let is_number = text.iter().all(u8::is_ascii_digit) && (text == b"0" || !text.starts_with(b"0"));
    let text = core::str::from_utf8(text).ok().filter(|_| is_number)?;
    Some(text.parse().unwrap_or(usize::MAX))
}
