//! Lines that let their bearer in: what each means, until when and how often (contracts/call.md X30).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nuncio_contracts::registry::limit;
use nuncio_proto::call::ServiceName;
use nuncio_proto::codec;
use nuncio_proto::ids::AgentId;
use nuncio_proto::invitation::Invitation;
use nuncio_proto::knock::KnockSecret;
use nuncio_proto::rows;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Scope;
use nuncio_store::{Engine as _, Op};
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::agent::Agent;
use crate::command::Reply;
use crate::effects::{answer, tell};
use crate::entropy::{self, now};
use crate::error::Error;
use crate::knocks::{KnockCommand, Meant, key};

/// What invitations of this agent's let in: behind it the secret's hash.
const GIVEN: [u8; 2] = [rows::RUNTIME, b'I'];
/// By whom one was used: behind it the secret's hash and the agent. It goes with the line.
const USED: [u8; 2] = [rows::RUNTIME, b'U'];

#[derive(Serialize, Deserialize)]
struct GivenRow(u8, Option<String>, String, u64, u32);

/// Names a line without letting anybody in: the first bytes of its secret's hash.
pub type LineId = [u8; 8];

/// A line that was made and may still let somebody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its name.
    pub id: LineId,
    /// What it lets in for.
    pub meant: Meant,
    /// Until when.
    pub until: UnixMillis,
    /// How often still.
    pub left: u32,
}

impl Agent {
    /// A line that lets whoever has it in, so many `times` within its `life`: it is sent like a password. Whoever came with it, and for what, is told by
    /// [`Agent::knocks`]; [`Agent::admit`] lets it in.
    ///
    /// # Errors
    /// [`Error::Randomness`]; a store that cannot write.
    pub async fn invite_for(
        &self,
        service: Option<ServiceName>,
        scope: Scope,
        life: Duration,
        times: u32,
    ) -> Result<Invitation, Error> {
        let meant = Meant { service, scope };
        self.ask_door(|reply| KnockCommand::Invite { meant, life, times, reply }).await
    }

    /// The lines that may still let somebody in.
    pub async fn lines(&self) -> Result<Vec<Line>, Error> {
        self.ask_door(|reply| KnockCommand::Lines { reply }).await
    }

    /// Makes a line worth nothing. `false` if there is none. Whoever was let in by it stays.
    pub async fn revoke_line(&self, line: LineId) -> Result<bool, Error> {
        self.ask_door(|reply| KnockCommand::Revoke { line, reply }).await
    }
}

/// A line, and by whom it was used.
struct Given {
    line: Line,
    used: BTreeSet<AgentId>,
}

/// All of them, by the hash of the secret. All of it is on disk, too.
#[derive(Default)]
pub(crate) struct Lines(BTreeMap<[u8; 32], Given>);

impl Lines {
    /// What a secret means, if its line is good and this agent has not used it, and the rows that count its use: it is counted before any other is
    /// looked at.
    // contracts/call.md X30.
    pub(crate) fn redeem(&mut self, secret: &KnockSecret, by: AgentId, now: UnixMillis) -> Option<(Meant, Vec<Op>)> {
        let hash = secret.hash();
        let Given { line, used } = self.0.get_mut(&hash).filter(|given| now <= given.line.until)?;
        if !used.insert(by) {
            return None;
        }
        line.left = line.left.saturating_sub(1);
        let meant = line.meant.clone();
        let rows = match line.left {
            0 => self.take(|line| line.left == 0),
            _ => vec![put(&hash, line), Op::Put { key: used_by(&hash, &by), value: Vec::new() }],
        };
        Some((meant, rows))
    }

    /// Takes out those that are meant, with their rows.
    fn take(&mut self, is_meant: impl Fn(&Line) -> bool) -> Vec<Op> {
        let taken = self.0.extract_if(.., |_, given| is_meant(&given.line));
        let rows_of = |(hash, given): ([u8; 32], Given)| {
            let used = given.used.into_iter().map(move |by| used_by(&hash, &by));
            [key(GIVEN, &hash)].into_iter().chain(used).map(|key| Op::Delete { key })
        };
        taken.flat_map(rows_of).collect()
    }
}

impl Actor {
    pub(crate) fn resume_lines(&mut self) -> Result<(), Error> {
        let store = Arc::clone(&self.store);
        store.scan(&GIVEN, &mut |key, value| {
            self.door.lines.0.extend(key.get(2..).and_then(|hash| read(hash, value)));
            Ok(())
        })?;
        store.scan(&USED, &mut |key, _| {
            let split = key.get(2..).and_then(|rest| rest.split_first_chunk::<32>());
            let by = split.and_then(|(hash, agent)| Some((hash, AgentId::from_bytes(agent.try_into().ok()?).ok()?)));
            if let Some((given, by)) = by.and_then(|(hash, by)| Some((self.door.lines.0.get_mut(hash)?, by))) {
                given.used.insert(by);
            }
            Ok(())
        })?;
        Ok(())
    }

    pub(crate) fn invite_for(&mut self, meant: Meant, life: Duration, times: u32, reply: Reply<Invitation>) {
        let invited = self.invitation().and_then(|line| Ok((line, KnockSecret::new(entropy::random()?))));
        let (invitation, secret) = match invited {
            Ok(invited) => invited,
            Err(error) => return tell(reply, Err(error)),
        };
        let until = now().plus(u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
        let hash = secret.hash();
        let line = Line { id: id_of(&hash), meant, until, left: times };
        let row = put(&hash, &line);
        self.door.lines.0.insert(hash, Given { line, used: BTreeSet::new() });
        self.commit_door(vec![row], vec![answer(reply, Invitation { knock: Some(secret), ..invitation })]);
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        let all = self.door.lines.0.values().map(|given| &given.line);
        all.filter(|line| line.until >= now()).cloned().collect()
    }

    pub(crate) fn revoke_line(&mut self, id: LineId, reply: Reply<bool>) {
        let rows = self.door.lines.take(|line| line.id == id);
        match rows.is_empty() {
            true => tell(reply, Ok(false)),
            false => self.commit_door(rows, vec![answer(reply, true)]),
        }
    }

    /// Lines whose time is over.
    pub(crate) fn forget_old_lines(&mut self, now: UnixMillis) {
        let rows = self.door.lines.take(|line| line.until < now);
        if !rows.is_empty() {
            self.commit_door(rows, Vec::new());
        }
    }
}

fn id_of(hash: &[u8; 32]) -> LineId {
    *hash.first_chunk().unwrap_or(&[0; 8])
}

fn used_by(hash: &[u8; 32], agent: &AgentId) -> Vec<u8> {
    key(USED, &[hash.as_slice(), agent.as_bytes()].concat())
}

fn put(hash: &[u8; 32], line: &Line) -> Op {
    let service = line.meant.service.as_ref().map(ToString::to_string);
    let row = GivenRow(1, service, line.meant.scope.to_string(), line.until.0, line.left);
    Op::Put { key: key(GIVEN, hash), value: codec::encode(&row) }
}

fn read(hash: &[u8], value: &[u8]) -> Option<([u8; 32], Given)> {
    let hash = hash.try_into().ok()?;
    let GivenRow(_, service, scope, until, left) = codec::decode(value, limit::KNOCK_LEN_MAX).ok()?;
    let service = service.map(|service| service.parse::<ServiceName>()).transpose().ok()?;
    let meant = Meant { service, scope: Scope::parse(&scope)? };
    let line = Line { id: id_of(&hash), meant, until: UnixMillis(until), left };
    Some((hash, Given { line, used: BTreeSet::new() }))
}
