//! Letters to a channel: sent to each member, and handed out in their order (contracts/channel.md sections 9 and 11).

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_contracts::registry::{code, extension, limit};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::super::{Change, Out, Peer};
use super::{ChannelChange, Channels, ROW_LEN_MAX, ROW_VERSION};
use crate::audit::AUDITED_LEN_MAX;
use crate::channel::{ChannelPlace, Handed, Order, Record, Roster, Says, Waiting};
use crate::codec;
use crate::control::Control;
use crate::error::{PeerError, Refusal};
use crate::frame::Nonce;
use crate::ids::{AgentId, ChainId, ChannelId, LetterId, Seq};
use crate::letter::{Letter, LetterError, LetterKind};
use crate::outbox::Entry;
use crate::rows;
use crate::step::{Op, Step};
use crate::time::UnixMillis;
use crate::token::Genuine;

mod taken;
mod undecided;

pub(super) use taken::Taken;

/// Letters of one channel.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// The number of this agent's next.
    next: Seq,
    order: Order<Held>,
    /// Of epochs that are not known here, and after a start all that waited, by the numbers of their rows.
    set_aside: BTreeMap<u64, (AgentId, Held)>,
    next_row: u64,
}

/// A letter that is not handed out yet.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) received: UnixMillis,
    pub(super) letter: Letter,
    pub(super) bytes: Vec<u8>,
    pub(super) token: Option<Arc<Genuine>>,
    /// In what it came, where it was sealed once for all.
    pub(super) sealed: Option<Sealed>,
    /// Until when it waits for the key of its token; after a start that is said anew.
    pub(super) until: Option<UnixMillis>,
    /// The number of its row.
    pub(super) row: u64,
}

/// In what a letter came that was sealed once for all.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Sealed {
    pub(super) chain: ChainId,
    pub(super) nonce: Nonce,
}

/// Whether a letter may be delivered, as far as its channel is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Judged {
    /// It may.
    Welcome,
    /// It may not; one of the registry's codes says why.
    Refused(u16),
}

#[derive(Serialize, Deserialize)]
struct OwnRow(u8, Seq, ByteBuf, Option<ByteArray<32>>, Option<u64>);
#[derive(Serialize, Deserialize)]
struct HeldRow(u8, ByteArray<32>, u64, ByteBuf, Option<ByteBuf>, Option<(ByteArray<32>, ByteArray<12>)>);

const HELD_ROW_VERSION: u8 = 2;

/// The extension that names a place.
const PLACE_LEN_MAX: usize = 96;
/// Letters of one member that wait for the record.
const SET_ASIDE_EACH: usize = 64;
/// Numbers and a transcript.
const OWN_LEN_MAX: usize = 8_192;
/// A letter and its token, with room for the rest.
const HELD_LEN_MAX: usize = limit::FRAME_LEN_MAX + limit::TOKEN_LEN_MAX;

type LoadRow = fn(&mut Peer, &[u8], &[u8]) -> Option<()>;

impl Letters {
    pub(super) fn wakes(&self) -> Option<UnixMillis> {
        let waiting = self.set_aside.values().filter(|(_, held)| !held.is_undecided());
        let over = waiting.map(|(_, held)| held.letter.expires().plus(1)).min();
        let late = self.undecided().map(|(_, held)| held.decided_at()).min();
        [self.order.wakes(), over, late].into_iter().flatten().min()
    }

    /// The number of this agent's next letter.
    pub(super) const fn next(&self) -> Seq {
        self.next
    }

    pub(super) fn skip_to(&mut self, next: Seq) {
        self.next = self.next.max(next);
    }

    /// Whether as many letters wait for the record as may, of this sender or in all.
    // contracts/channel.md C54.
    pub(super) fn is_full(&self, from: &AgentId) -> bool {
        let bytes = |of_it: bool| -> usize {
            let waiting = self.set_aside.values().filter(|(sender, _)| !of_it || sender == from);
            waiting.map(|(_, held)| held.bytes.len()).sum()
        };
        let of_it = self.set_aside.values().filter(|(sender, _)| sender == from).count();
        of_it >= SET_ASIDE_EACH
            || self.set_aside.len() >= limit::CHANNEL_WAITING_MAX
            || bytes(true) >= limit::CHANNEL_WAITING_BYTES_MAX / 16
            || bytes(false) >= limit::CHANNEL_WAITING_BYTES_MAX
    }

    /// Whether as many letters of this agent wait for the record as may: of all who are no members yet a quarter of what waits.
    fn is_full_for(&self, agent: &AgentId, roster: &Roster) -> bool {
        let strangers = || self.set_aside.values().filter(|(from, _)| !roster.has(from)).count();
        self.is_full(agent) || !roster.has(agent) && strangers() >= limit::CHANNEL_WAITING_MAX / 4
    }

    /// Another member whose letter of this id was handed out.
    pub(super) fn author_of(&self, id: &LetterId) -> Option<&AgentId> {
        self.order.author_of(id)
    }

    pub(super) fn begins(&mut self, sender: AgentId, first: Seq) {
        self.order.begins(sender, first);
    }
}

impl Peer {
    /// How the rows of channels are loaded, behind their records.
    pub(in super::super) const CHANNEL_ROWS: [(u8, LoadRow); 11] = [
        (rows::CHANNEL_ACKED, Self::load_channel_acked),
        (rows::CHANNEL_OUT, Self::load_channel_out),
        (rows::CHANNEL_MAILED, Self::load_channel_mailed),
        (rows::CHANNEL_OWN, Self::load_channel_own),
        (rows::CHANNEL_SENDER, Self::load_channel_sender),
        (rows::CHANNEL_CHAIN, Self::load_channel_chain),
        (rows::CHANNEL_EARLY, Self::load_channel_early),
        (rows::CHANNEL_KEY, Self::load_channel_key),
        (rows::CHANNEL_INVITED, Self::load_invited),
        (rows::CHANNEL_HELD, Self::load_channel_held),
        (rows::CHANNEL_FORGOTTEN, Self::load_forgotten),
    ];

    /// Accepts a letter for all other members of a channel: each of them is delivered it once, or the sender is told why not.
    ///
    /// # Errors
    /// [`PeerError`]: not a member, over a bound, or a letter that cannot be sent.
    // contracts/channel.md C52.
    pub fn channel_send<R: CryptoRng + ?Sized>(
        &self,
        channel: ChannelId,
        letter: &Letter,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<Step, PeerError> {
        let record = self.member_of(&channel)?;
        if self.retired {
            return Err(PeerError::RetiredHere);
        }
        let unfit = [extension::AUDIT, extension::LARGE_PAYLOAD, extension::CHANNEL, extension::HISTORY];
        let token = letter.extension(extension::TOKEN);
        let is_no_token = token.is_some_and(|token| Genuine::kept(token).is_none());
        if is_no_token
            || letter.kind != LetterKind::Plain
            || unfit.iter().any(|number| letter.extension(*number).is_some())
        {
            return Err(PeerError::Letter(LetterError::Malformed));
        }
        if letter.payload.len() > limit::PAYLOAD_INLINE_MAX {
            return Err(PeerError::TooLarge);
        }
        letter.check_time(now).map_err(PeerError::Letter)?;
        let proof = if letter.wants_proof() { limit::HOP_PROOF_LEN_MAX } else { 0 };
        if letter.encode().len() + proof + PLACE_LEN_MAX + AUDITED_LEN_MAX > limit::LETTER_LEN_MAX {
            return Err(PeerError::TooLarge);
        }
        Letter::decode(&letter.encode()).map_err(|(_, error)| PeerError::Letter(error))?;
        let is_sealed_once = |roster: &Roster| roster.audits() || roster.members().len() > limit::CHANNEL_PAIRWISE_MAX;
        if is_sealed_once(record.roster()) {
            return self.seal_for_all(channel, letter, now, rng);
        }
        let others = record.roster().members().len().saturating_sub(1);
        let used = self.outbox.len() - self.outbox_controls;
        let bytes = letter.encode().len().saturating_add(ROW_LEN_MAX).saturating_mul(others);
        if used + others > limit::OUTBOX_LETTERS_MAX
            || self.outbox_bytes.saturating_add(bytes) > limit::OUTBOX_BYTES_MAX
        {
            return Err(PeerError::OutboxFull);
        }
        let letter = Box::new(letter.clone());
        Ok(self.step(Change::Channel(ChannelChange::Sent { channel, letter, now })))
    }

    pub(super) fn apply_channel_sent(&mut self, id: ChannelId, mut letter: Letter, now: UnixMillis, out: &mut Out) {
        let me = self.id();
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let (epoch, seq) = (channel.record.epoch(), channel.letters.next);
        letter.set_extension(ChannelPlace { channel: id, epoch, seq }.extension());
        let others = channel.record.roster().members().map(|(agent, _)| *agent).filter(|agent| *agent != me);
        for agent in others.collect::<Vec<_>>() {
            // contracts/channel.md C49: whoever is sent a letter has its epoch, or hears of it first.
            self.tell_member(agent, id, now, out);
            if self.contact(&agent).is_some_and(|info| !info.retired) {
                if let Some(channel) = self.channels.all.get_mut(&id) {
                    channel.group.in_session.insert(agent, self.next_entry);
                }
                self.apply_queued(Entry::draft(agent, &letter), out);
            }
        }
        self.passed_number(id, letter.id, now, out);
    }

    /// A letter has its number, whichever way it goes.
    pub(super) fn passed_number(&mut self, id: ChannelId, letter: LetterId, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        channel.letters.next = channel.letters.next.saturating_add(1);
        let handed = channel.letters.order.sent(letter, now);
        self.keep_own(id, out);
        self.show_letters(id, handed, None, now, out);
    }

    /// Keeps this agent's numbers.
    pub(super) fn keep_own(&self, id: ChannelId, out: &mut Out) {
        let Some(channel) = self.channels.all.get(&id) else { return };
        let outgoing = ByteBuf::from(channel.group.outgoing.to_row());
        let (heir, left) = (channel.heir.map(|heir| ByteArray::new(*heir.as_bytes())), channel.left.map(|at| at.0));
        let value = codec::encode(&OwnRow(ROW_VERSION, channel.letters.next, outgoing, heir, left));
        out.ops.push(Op::Put { key: rows::channel_own(&id), value });
    }

    /// Numbers of a sender came or never will.
    pub(super) fn pass_holes(
        &mut self,
        id: ChannelId,
        sender: AgentId,
        holes: &[(Seq, Seq)],
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let handed = channel.letters.order.passed(sender, holes, now);
        self.show_letters(id, handed, None, now, out);
    }

    /// Whether the channel that a letter names takes it.
    // contracts/channel.md C53, C67.
    pub(in super::super) fn judge_channel(&self, from: &AgentId, letter: &Letter) -> Result<Judged, Refusal> {
        let place = match ChannelPlace::of(letter) {
            Ok(Some(place)) if letter.extension(extension::HISTORY).is_none() => place,
            Ok(_) => return Ok(self.judge_history(from, letter)),
            Err(()) => return Ok(Judged::Refused(code::MALFORMED)),
        };
        // contracts/channel.md C52.
        if letter.extension(extension::LARGE_PAYLOAD).is_some() {
            return Ok(Judged::Refused(code::MALFORMED));
        }
        // contracts/channel.md C75.
        let audits = self.channel(&place.channel).is_some_and(|record| record.roster().audits());
        match self.judge_place(from, &place)? {
            Judged::Welcome if audits => Ok(Judged::Refused(code::COMMITMENT)),
            judged => Ok(judged),
        }
    }

    pub(super) fn judge_place(&self, from: &AgentId, place: &ChannelPlace) -> Result<Judged, Refusal> {
        let Ok(record) = self.member_of(&place.channel) else { return Ok(Judged::Refused(code::NOT_MEMBER)) };
        let roster = record.roster();
        let Some(number) = record.number_of(&place.epoch) else {
            // contracts/channel.md C54: its author may be a newcomer of that epoch.
            let is_full =
                self.channels.all.get(&place.channel).is_some_and(|channel| channel.letters.is_full_for(from, roster));
            return if is_full { Err(Refusal::ChannelFull) } else { Ok(Judged::Welcome) };
        };
        let is_over = roster.number().saturating_sub(number) > limit::CHANNEL_BEHIND_MAX;
        let are_in = are_members(record, [from, &self.id()], number);
        Ok(if are_in && !is_over { Judged::Welcome } else { Judged::Refused(code::NOT_MEMBER) })
    }

    /// Takes a letter that names a channel out of the caller's hands; what it does not take is delivered at once.
    pub(in super::super) fn take_channel_letter(
        &mut self,
        from: AgentId,
        letter: Letter,
        bytes: &[u8],
        token: Option<&Arc<Genuine>>,
        (received, sealed): (UnixMillis, Option<Sealed>),
        out: &mut Out,
    ) -> Option<Letter> {
        let Ok(Some(place)) = ChannelPlace::of(&letter) else {
            return Some(letter).filter(|letter| self.judge_history(&from, letter) == Judged::Welcome);
        };
        // It was judged when it came; whom the record has taken out meanwhile nobody hears (contracts/channel.md C53).
        if matches!(self.judge_place(&from, &place), Ok(Judged::Refused(_))) {
            return None;
        }
        // What waited for the record, and waits no more, is in front of it.
        if self.channels.again.contains(&place.channel) {
            self.look_again(place.channel, received, out);
        }
        self.came_in_session(place.channel, &from, place.seq, out);
        let channel = self.channels.all.get_mut(&place.channel)?;
        let newest = channel.record.roster().number();
        if channel.record.number_of(&place.epoch).is_some_and(|number| number < newest) {
            // Its author has not heard of the newest.
            self.tell_member(from, place.channel, received, out);
        }
        let channel = self.channels.all.get_mut(&place.channel)?;
        let row = channel.letters.next_row;
        channel.letters.next_row += 1;
        let held = Held { token: token.cloned(), row, ..Held::new(received, letter, bytes.to_vec(), sealed) };
        if channel.record.number_of(&place.epoch).is_none() {
            put_held(&place.channel, &from, &held, out);
            channel.letters.set_aside.insert(row, (from, held));
            self.ask_entries(from, place.channel, received, out);
            return None;
        }
        let handed = offer(channel, from, place.seq, held.clone(), received);
        if !handed.iter().any(|one| one.letter.letter.row == row) {
            put_held(&place.channel, &from, &held, out);
        }
        self.show_letters(place.channel, handed, Some(row), received, out);
        None
    }

    /// Delivers letters whose turn it is; all but a new one have a row that goes.
    fn show_letters(
        &mut self,
        id: ChannelId,
        handed: Vec<Handed<Held>>,
        new: Option<u64>,
        now: UnixMillis,
        out: &mut Out,
    ) {
        for Handed { letter: Waiting { sender, letter: held, .. }, .. } in handed {
            if Some(held.row) != new {
                out.ops.push(Op::Delete { key: rows::channel_held(&id, held.row) });
            }
            match held.over(self.verifier(), now) {
                Some(code) => self.refuse_waiting(id, sender, &held, code, now, out),
                None => {
                    if held.sealed.is_some() {
                        let token = held.token.as_deref();
                        self.tell_received(sender, Some(id), &held.letter, token, now, out);
                    }
                    self.deliver(sender, held.letter, &held.bytes, held.token, held.received, out);
                }
            }
        }
    }

    /// The record has moved: letters that wait of whom it takes out are heard by nobody.
    // contracts/channel.md C53.
    pub(super) fn forget_letters(&mut self, id: ChannelId, out: &mut Out) {
        let me = self.id();
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let record = &channel.record;
        let is_heard = |sender: &AgentId, held: &Held| {
            let place = ChannelPlace::of(&held.letter).ok().flatten();
            let number = place.and_then(|place| record.number_of(&place.epoch));
            number.is_some_and(|number| are_members(record, [sender, &me], number))
        };
        let roster = record.roster();
        let gone = channel.letters.order.forget(is_heard, |sender| roster.has(sender) && roster.has(&me));
        for Waiting { letter: held, .. } in gone {
            out.ops.push(Op::Delete { key: rows::channel_held(&id, held.row) });
        }
    }

    /// This agent is no member any more: all letters that wait go.
    pub(super) fn forget_all_letters(&mut self, id: ChannelId, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let aside = core::mem::take(&mut channel.letters.set_aside).into_keys();
        let waiting = channel.letters.order.forget(|_, _| false, |_| false).into_iter().map(|one| one.letter.row);
        out.ops.extend(aside.chain(waiting).map(|row| Op::Delete { key: rows::channel_held(&id, row) }));
    }

    /// The record has moved, or time has passed: letters that waited for it.
    pub(super) fn look_again(&mut self, id: ChannelId, now: UnixMillis, out: &mut Out) {
        self.channels.again.remove(&id);
        self.decide_undecided(id, now, out);
        let me = self.id();
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let (record, aside) = (&channel.record, core::mem::take(&mut channel.letters.set_aside));
        let (mut again, mut handed) = (BTreeMap::new(), Vec::new());
        for (row, (from, held)) in aside {
            let place = ChannelPlace::of(&held.letter).ok().flatten();
            let number = place.as_ref().and_then(|place| record.number_of(&place.epoch));
            match (place, number) {
                (Some(place), Some(number)) => {
                    let is_heard = are_members(record, [&from, &me], number);
                    if is_heard && held.is_undecided() {
                        channel.letters.set_aside.insert(row, (from, held));
                    } else if is_heard {
                        again.insert(row, (from, place.seq, held));
                    } else {
                        out.ops.push(Op::Delete { key: rows::channel_held(&id, row) });
                    }
                }
                // contracts/channel.md C54: what is over waits for nothing.
                _ if now > held.letter.expires() => out.ops.push(Op::Delete { key: rows::channel_held(&id, row) }),
                _ => drop(channel.letters.set_aside.insert(row, (from, held))),
            }
        }
        for (from, seq, held) in again.into_values() {
            let received = held.received;
            handed.extend(offer(channel, from, seq, held, received));
        }
        handed.extend(channel.letters.order.due(now));
        self.show_letters(id, handed, None, now, out);
    }

    fn load_channel_own(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, []) = rows::split_of_channel::<0>(key)?;
        let OwnRow(version, next, outgoing, heir, left) = codec::decode(value, OWN_LEN_MAX).ok()?;
        let heir = heir.map(|heir| AgentId::from_bytes(heir.into_array())).transpose().ok()?;
        let channel = self.channels.all.get_mut(&id).filter(|_| version == ROW_VERSION)?;
        (channel.letters.next, channel.heir, channel.left) = (next, heir, left.map(UnixMillis));
        self.load_outgoing(&id, &outgoing)
    }

    /// What was in front of frames still is, behind a start: chains that are handed over, and letters in sessions.
    // contracts/channel.md C55.
    pub(in super::super) fn load_in_session(&mut self) {
        for (no, entry) in &self.outbox {
            let Ok(letter) = Letter::decode(&entry.letter) else { continue };
            let chain = entry.control.then(|| handed_chain(&letter)).flatten();
            let place = || ChannelPlace::of(&letter).ok().flatten().map(|place| place.channel);
            let id = if entry.control { chain } else { place() };
            let Some(channel) = id.and_then(|id| self.channels.all.get_mut(&id)) else { continue };
            let group = &mut channel.group;
            if !entry.control {
                group.in_session.insert(entry.to, *no);
            }
            if group.resend.remove(&entry.to).is_some() || group.keys.contains_key(&entry.to) {
                group.keys.entry(entry.to).or_default().push(*no);
            }
        }
    }

    fn load_channel_held(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, row) = rows::split_of_channel::<8>(key)?;
        let HeldRow(version, from, received, bytes, token, sealed) = codec::decode(value, HELD_LEN_MAX).ok()?;
        let (row, received) = (u64::from_be_bytes(row), UnixMillis(received));
        let from = AgentId::from_bytes(from.into_array()).ok().filter(|_| version == HELD_ROW_VERSION)?;
        let token = token.map(|token| Genuine::kept(&token).map(Arc::new).ok_or(())).transpose().ok()?;
        let sealed = sealed
            .map(|(chain, nonce)| Sealed { chain: ChainId::from_bytes(chain.into_array()), nonce: nonce.into_array() });
        let read = Letter::decode(&bytes).ok()?;
        let held = Held { token, row, ..Held::new(received, read, bytes.into_vec(), sealed) };
        let Channels { all, again, .. } = &mut self.channels;
        let letters = &mut all.get_mut(&id)?.letters;
        letters.next_row = letters.next_row.max(row.checked_add(1)?);
        // One that waits for a key still does when the record is looked at: what is behind it waits too.
        let place = ChannelPlace::of(&held.letter).ok().flatten()?;
        letters.order.waits(from, place.seq);
        letters.set_aside.insert(row, (from, held));
        again.insert(id);
        Some(())
    }
}

/// Of which channel a control letter hands a chain over, if it does.
fn handed_chain(letter: &Letter) -> Option<ChannelId> {
    match Control::decode(&letter.payload)? {
        Control::Channel(word) => matches!(word.says, Says::Key(_)).then_some(word.channel),
        _ => None,
    }
}

/// Whether agents are members now, and were in an epoch and ever since.
fn are_members(record: &Record, agents: [&AgentId; 2], number: u32) -> bool {
    agents.iter().all(|agent| record.roster().member(agent).is_some_and(|member| member.since <= number))
}

fn offer(channel: &mut super::Channel, sender: AgentId, seq: Seq, held: Held, now: UnixMillis) -> Vec<Handed<Held>> {
    let order = &mut channel.letters.order;
    // Its session brings a sender's letters in their order, so the first that comes is the first that there is.
    order.begins(sender, seq);
    let (id, reply_to, len) = (held.letter.id, held.letter.reply_to, held.bytes.len());
    order.offer(Waiting { sender, seq, id, reply_to, len, letter: held }, now)
}

fn put_held(channel: &ChannelId, from: &AgentId, held: &Held, out: &mut Out) {
    let token = held.token.as_ref().map(|token| ByteBuf::from(token.text().as_bytes()));
    let (sender, bytes) = (ByteArray::new(*from.as_bytes()), ByteBuf::from(held.bytes.as_slice()));
    let sealed = held.sealed.map(|sealed| (ByteArray::new(*sealed.chain.as_bytes()), ByteArray::new(sealed.nonce)));
    let row = HeldRow(HELD_ROW_VERSION, sender, held.received.0, bytes, token, sealed);
    out.ops.push(Op::Put { key: rows::channel_held(channel, held.row), value: codec::encode(&row) });
}
