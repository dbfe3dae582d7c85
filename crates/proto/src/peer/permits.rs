//! Permits: given, shown, held, handed on, revoked (contracts/permit.md sections 2 to 4).

use std::collections::BTreeMap;

use nuncio_contracts::registry::{limit, time};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::{Change, Out, Peer};
use crate::call::ServiceName;
use crate::codec;
use crate::ids::{AgentId, PermitId};
use crate::permit::{Asked, Link, NotAllowed, NotPermit, Permit, Terms};
use crate::rows;
use crate::step::{Op, Step};
use crate::time::UnixMillis;
use crate::token::Scope;

/// What is known of permits.
#[derive(Debug, Default)]
pub(super) struct Permits {
    /// By holder, and by the id of its last link.
    kept: BTreeMap<(AgentId, PermitId), Permit>,
    /// Links that count no more.
    over: BTreeMap<PermitId, Over>,
    /// Agents that were removed.
    removed: BTreeMap<AgentId, Removed>,
}

/// How often an agent was removed, and whether it is added again.
#[derive(Clone, Copy, Debug)]
struct Removed {
    times: u32,
    is_added: bool,
}

/// By whom a link was revoked, and until when that is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over {
    by: AgentId,
    until: UnixMillis,
}

/// What moves of permits.
#[derive(Debug)]
pub(crate) enum PermitChange {
    Kept(Box<Permit>),
    Over(PermitId, Over),
    Forgotten { kept: Vec<(AgentId, PermitId)>, over: Vec<PermitId> },
}

/// Why a permit is not given, kept or revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermitError {
    /// There can be no such permit.
    #[error(transparent)]
    Form(#[from] NotPermit),
    /// It allows nothing.
    #[error("{0}")]
    Useless(#[from] NotAllowed),
    /// For longer than one may be good.
    #[error("a permit is good for at most {} days", time::PERMIT_LIFE_MAX / 86_400_000)]
    TooLong,
    /// As many of this holder are kept as may.
    #[error("{} permits of this holder are kept: revoke some", limit::PERMITS_PER_HOLDER_MAX)]
    TooMany,
    /// To itself, or of itself.
    #[error("an agent needs no permit at itself")]
    Myself,
    /// None with this id, or it is another's to revoke.
    #[error("there is no such permit here that is this agent's to revoke or to hand on")]
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct KeptRow(u8, ByteBuf);
#[derive(Serialize, Deserialize)]
struct OverRow(u8, ByteArray<32>, u64);
#[derive(Serialize, Deserialize)]
struct RemovedRow(u8, u32, bool);
/// The first form: removed once, and not added again.
#[derive(Serialize, Deserialize)]
struct RemovedOnceRow(u8);

const ROW_VERSION: u8 = 1;
const REMOVED_ROW_VERSION: u8 = 2;
const ROW_LEN_MAX: usize = limit::PERMIT_LEN_MAX + 64;

impl Peer {
    /// Gives a permit for a service of this agent's. It counts once it is kept.
    ///
    /// # Errors
    /// [`PermitError`].
    // contracts/permit.md P9, P10.
    pub fn give_permit(
        &self,
        service: ServiceName,
        terms: Terms,
        now: UnixMillis,
    ) -> Result<(Permit, Step), PermitError> {
        let permit = Permit::give(self.identity(), service, terms)?;
        let step = self.keep(&permit, true, now)?;
        Ok((permit, step))
    }

    /// Hands on a permit that this agent holds.
    ///
    /// # Errors
    /// [`PermitError`].
    pub fn narrow_permit(&self, id: PermitId, terms: Terms, now: UnixMillis) -> Result<(Permit, Step), PermitError> {
        let held = self.calls.permits.kept.get(&(self.id(), id)).ok_or(PermitError::Unknown)?;
        let permit = held.narrow(self.identity(), terms)?;
        let step = self.keep(&permit, false, now)?;
        Ok((permit, step))
    }

    /// Keeps a permit that another agent has given this one, or handed on to it.
    ///
    /// # Errors
    /// [`PermitError`].
    pub fn keep_permit(&self, permit: &Permit, now: UnixMillis) -> Result<Step, PermitError> {
        if *permit.holder() != self.id() {
            return Err(NotAllowed::Holder.into());
        }
        self.keep(permit, false, now)
    }

    fn keep(&self, permit: &Permit, is_new: bool, now: UnixMillis) -> Result<Step, PermitError> {
        if permit.giver() == permit.holder() {
            return Err(PermitError::Myself);
        }
        self.check_permit(permit, is_new, now)?;
        self.check_permit_room(permit, now)?;
        Ok(self.step(Change::Permit(PermitChange::Kept(Box::new(permit.clone())))))
    }

    fn check_permit(&self, permit: &Permit, is_new: bool, now: UnixMillis) -> Result<(), PermitError> {
        let (giver, holder, service) = (permit.giver(), permit.holder(), permit.service());
        let is_over = |by: &AgentId, link: &Link| {
            self.link_is_over(giver, by, link) || !is_new && self.link_is_forgotten(giver, by, link)
        };
        permit.allows(&Asked { giver, holder, service, now }, is_over)?;
        // contracts/permit.md P9: what is revoked is kept as long as the link would count.
        let ends = permit.links().all(|link| link.terms.until.since(now) <= time::PERMIT_LIFE_MAX);
        if ends { Ok(()) } else { Err(PermitError::TooLong) }
    }

    fn check_permit_room(&self, permit: &Permit, now: UnixMillis) -> Result<(), PermitError> {
        let of_holder = self.permits_of(permit.holder()).filter(|kept| kept.last().terms.until > now);
        let has_room = of_holder.filter(|kept| kept.id() != permit.id()).count() < limit::PERMITS_PER_HOLDER_MAX;
        if has_room { Ok(()) } else { Err(PermitError::TooMany) }
    }

    fn permits_of(&self, holder: &AgentId) -> impl Iterator<Item = &Permit> {
        let all = (*holder, PermitId::from_bytes([0; 16]))..=(*holder, PermitId::from_bytes([0xff; 16]));
        self.calls.permits.kept.range(all).map(|(_, permit)| permit)
    }

    /// Whether a link counts no more: it was revoked, or who signed it, other than the giver, is retired, or is removed here; or another than the giver
    /// gave it to one that was removed here ever.
    // contracts/permit.md P7, P15.
    fn link_is_over(&self, giver: &AgentId, by: &AgentId, link: &Link) -> bool {
        let Permits { over, removed, .. } = &self.calls.permits;
        let retired = by != giver && self.contact(by).is_some_and(|info| info.retired);
        let is_here = *giver == self.id();
        let is_removed = is_here && removed.get(by).is_some_and(|removed| !removed.is_added);
        // Of what another gives it nobody knows when it was.
        let is_old = is_here && by != giver && removed.contains_key(&link.terms.holder);
        retired || is_removed || is_old || over.contains_key(&link.id())
    }

    /// Whether a link is this agent's own to one that was removed here ever, and is not kept. It may be of before the removal, which revoked what was kept alone.
    // contracts/permit.md P15.
    fn link_is_forgotten(&self, giver: &AgentId, by: &AgentId, link: &Link) -> bool {
        let Permits { kept, removed, .. } = &self.calls.permits;
        let (me, holder) = (self.id(), link.terms.holder);
        *giver == me && *by == me && removed.contains_key(&holder) && !kept.contains_key(&(holder, link.id()))
    }

    /// How often an agent was removed here.
    #[must_use]
    pub fn removals(&self, agent: &AgentId) -> u32 {
        self.calls.permits.removed.get(agent).map_or(0, |removed| removed.times)
    }

    /// What permits of this agent's allow a peer to do with one of its services, all together; `None` of none.
    // contracts/permit.md P7, P8.
    #[must_use]
    pub fn permitted(&self, holder: &AgentId, service: &ServiceName, now: UnixMillis) -> Option<Scope> {
        let giver = &self.id();
        let asked = Asked { giver, holder, service, now };
        let is_over =
            |by: &AgentId, link: &Link| self.link_is_over(giver, by, link) || self.link_is_forgotten(giver, by, link);
        let allowed = self.permits_of(holder).filter_map(|kept| kept.allows(&asked, is_over).ok());
        allowed.fold(None, |all: Option<Scope>, scope| Some(all.map_or_else(|| scope.clone(), |all| all.union(scope))))
    }

    /// All permits that are kept: given, shown, held and handed on.
    pub fn permits(&self) -> impl Iterator<Item = &Permit> {
        self.calls.permits.kept.values()
    }

    /// Revokes a link, and all below it: of a permit that this agent gave, or one that it has signed itself. Of the latter its giver is to be told, with
    /// the permit that comes back.
    ///
    /// # Errors
    /// [`PermitError::Unknown`].
    // contracts/permit.md P12.
    pub fn revoke_permit(&self, id: PermitId) -> Result<(Option<Permit>, Step), PermitError> {
        let me = self.id();
        let links = self.permits().flat_map(|permit| permit.links().map(move |link| (permit, link)));
        let is_own = |permit: &Permit| *permit.giver() == me || *permit.signer() == me && permit.id() == id;
        let mut own = links.filter(|(permit, link)| link.id() == id && is_own(permit));
        let (permit, link) = own.next().ok_or(PermitError::Unknown)?;
        let over = Over { by: me, until: link.terms.until };
        let tell = (*permit.giver() != me).then(|| permit.clone());
        Ok((tell, self.step(Change::Permit(PermitChange::Over(id, over)))))
    }

    /// What is over is deleted. The caller asks now and then; an hour is often enough.
    #[must_use]
    pub fn forget_permits(&self, now: UnixMillis) -> Option<Step> {
        let Permits { kept, over, .. } = &self.calls.permits;
        let kept: Vec<_> =
            kept.iter().filter(|(_, permit)| permit.last().terms.until <= now).map(|(key, _)| *key).collect();
        // contracts/permit.md P13.
        let is_over = |over: &Over| over.until.plus(time::PERMIT_OVER_STAYS) <= now;
        let over: Vec<_> = over.iter().filter(|(_, over)| is_over(over)).map(|(id, _)| *id).collect();
        let any = !kept.is_empty() || !over.is_empty();
        any.then(|| self.step(Change::Permit(PermitChange::Forgotten { kept, over })))
    }

    pub(super) fn apply_permit(&mut self, change: PermitChange, out: &mut Out) {
        match change {
            PermitChange::Kept(permit) => self.apply_permit_kept(*permit, out),
            PermitChange::Over(id, over) => self.apply_permit_over(id, over, out),
            PermitChange::Forgotten { kept, over } => {
                kept.iter().for_each(|key| self.drop_permit(key, out));
                for id in over {
                    self.calls.permits.over.remove(&id);
                    out.ops.push(Op::Delete { key: rows::permit_over(&id) });
                }
            }
        }
    }

    fn apply_permit_kept(&mut self, permit: Permit, out: &mut Out) {
        let (holder, id) = (*permit.holder(), permit.id());
        let value = codec::encode(&KeptRow(ROW_VERSION, ByteBuf::from(permit.to_bytes())));
        out.ops.push(Op::Put { key: rows::permit(&holder, &id), value });
        self.calls.permits.kept.insert((holder, id), permit);
    }

    fn apply_permit_over(&mut self, id: PermitId, over: Over, out: &mut Out) {
        let value = codec::encode(&OverRow(ROW_VERSION, ByteArray::new(*over.by.as_bytes()), over.until.0));
        out.ops.push(Op::Put { key: rows::permit_over(&id), value });
        self.calls.permits.over.insert(id, over);
        let below = self.calls.permits.kept.iter().filter(|(_, permit)| permit.links().any(|link| link.id() == id));
        let below: Vec<_> = below.map(|(key, _)| *key).collect();
        below.iter().for_each(|key| self.drop_permit(key, out));
    }

    fn drop_permit(&mut self, key: &(AgentId, PermitId), out: &mut Out) {
        self.calls.permits.kept.remove(key);
        out.ops.push(Op::Delete { key: rows::permit(&key.0, &key.1) });
    }

    /// A peer shows what it may do here.
    // contracts/permit.md P10.
    pub(super) fn take_permit(&mut self, from: AgentId, bytes: &[u8], now: UnixMillis, out: &mut Out) {
        let Ok(permit) = Permit::parse(bytes) else { return };
        if *permit.giver() != self.id() || *permit.holder() != from || self.is_fellow_alone(&from) {
            return;
        }
        if self.check_permit(&permit, false, now).is_ok() && self.check_permit_room(&permit, now).is_ok() {
            self.apply_permit_kept(permit, out);
        }
    }

    /// A peer revokes what it has signed.
    // contracts/permit.md P12, P14.
    pub(super) fn take_permit_over(&mut self, from: AgentId, bytes: &[u8], now: UnixMillis, out: &mut Out) {
        let Ok(permit) = Permit::parse(bytes) else { return };
        if *permit.giver() != self.id() || *permit.signer() != from || self.check_permit(&permit, false, now).is_err() {
            return;
        }
        let many = self.calls.permits.over.values().filter(|over| over.by == from).count();
        // Of the second there are as many as others gave it, of the last as many as this agent gave.
        let link = match many / limit::PERMITS_OVER_MAX {
            0 => Some(permit.last()),
            1 => permit.links().find(|link| link.terms.holder == from),
            _ => permit.links().next(),
        };
        let link = link.unwrap_or_else(|| permit.last());
        let (id, over) = (link.id(), Over { by: from, until: link.terms.until });
        self.apply_permit_over(id, over, out);
    }

    /// What a peer that is removed was given, also where only what it handed on is known here.
    // contracts/permit.md P15.
    pub(super) fn lose_permits(&mut self, agent: &AgentId, out: &mut Out) {
        let me = self.id();
        let links = self.permits().filter(|permit| *permit.giver() == me).flat_map(Permit::links);
        let given = links.filter(|link| link.terms.holder == *agent).map(|link| (link.id(), link.terms.until));
        let given: Vec<_> = given.collect();
        for (id, until) in given {
            self.apply_permit_over(id, Over { by: me, until }, out);
        }
        let times = self.removals(agent).saturating_add(1);
        self.mark_removed(agent, Removed { times, is_added: false }, out);
    }

    /// An agent is added again: what it is given from now on, and what it hands on of that, counts.
    // contracts/permit.md P15.
    pub(super) fn may_have_permits(&mut self, agent: &AgentId, out: &mut Out) {
        let gone = self.calls.permits.removed.get(agent).filter(|removed| !removed.is_added);
        if let Some(Removed { times, .. }) = gone.copied() {
            self.mark_removed(agent, Removed { times, is_added: true }, out);
        }
    }

    fn mark_removed(&mut self, agent: &AgentId, removed: Removed, out: &mut Out) {
        self.calls.permits.removed.insert(*agent, removed);
        let value = codec::encode(&RemovedRow(REMOVED_ROW_VERSION, removed.times, removed.is_added));
        out.ops.push(Op::Put { key: rows::permit_removed(agent), value });
    }

    pub(super) fn load_permit(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let KeptRow(version, bytes) = codec::decode(value, ROW_LEN_MAX).ok()?;
        let permit = Permit::parse(&bytes).ok().filter(|_| version == ROW_VERSION)?;
        let (holder, id) = (*permit.holder(), permit.id());
        (rows::permit(&holder, &id) == key).then_some(())?;
        self.calls.permits.kept.insert((holder, id), permit);
        Some(())
    }

    pub(super) fn load_permit_over(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let OverRow(version, by, until) = codec::decode(value, ROW_LEN_MAX).ok()?;
        let id = PermitId::from_bytes(key.get(1..)?.try_into().ok()?);
        let by = AgentId::from_bytes(by.into_array()).ok().filter(|_| version == ROW_VERSION)?;
        self.calls.permits.over.insert(id, Over { by, until: UnixMillis(until) });
        Some(())
    }

    pub(super) fn load_permit_removed(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let agent = AgentId::from_bytes(key.get(1..)?.try_into().ok()?).ok()?;
        let removed = match codec::decode(value, ROW_LEN_MAX) {
            Ok(RemovedRow(REMOVED_ROW_VERSION, times, is_added)) => Removed { times, is_added },
            Ok(_) => return None,
            Err(_) => {
                let RemovedOnceRow(version) = codec::decode(value, ROW_LEN_MAX).ok()?;
                (version == ROW_VERSION).then_some(Removed { times: 1, is_added: false })?
            }
        };
        self.calls.permits.removed.insert(agent, removed);
        Some(())
    }
}
