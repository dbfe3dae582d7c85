//! Mailboxes: our own, what contacts gave of theirs, and which frames go there (contracts/mailbox.md sections 1 and 2).
//!
//! ```text
//!   set_mailbox ─► told to each contact in its session ─► the contact deposits
//!   a contact's letter `mailbox` ─► mail: frames that were not left there ─► the runtime deposits ─► mailed: not again for long
//! ```

use nuncio_contracts::registry::{kind, limit, time};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::{Change, Out, Peer};
use crate::batch::PrekeyBatch;
use crate::codec;
use crate::control::Control;
use crate::deposit::{DepositKey, MailboxSecret};
use crate::frame::Nonce;
use crate::ids::{AgentId, ChannelId, LetterId, Seq, SessionId};
use crate::mailbox::{Given, Mailbox};
use crate::outbox::{Entry, SealedAs};
use crate::rows;
use crate::session::{Gap, Told};
use crate::step::{Effect, Op, Step};
use crate::time::UnixMillis;

/// Our own mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    at: Mailbox,
    secret: MailboxSecret,
}

/// What is to be left at a node for a contact.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Where.
    pub at: Mailbox,
    /// By what; a stranger has none.
    pub key: Option<DepositKey>,
    /// The frames, lowest number first, each with what tells it from others.
    pub frames: Vec<(Vec<u8>, Mailed)>,
    /// All of it acknowledges, and carries no letter.
    pub acks_alone: bool,
}

/// Which frame was left at a node: the caller gives it back to [`Peer::mailed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mailed {
    /// The outbox entry and the nonce of its frame; an acknowledgement alone has none.
    entry: Option<(u64, Nonce)>,
    told: Option<Told>,
    /// A letter to a channel that was sealed once for all.
    group: Option<(ChannelId, Seq)>,
}

/// By which way a letter of ours has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is not sealed: it waits for a session, a token, or a place in the window.
    Waiting,
    /// It is sealed, and goes over a connection.
    Sealed,
    /// Its frame is at the peer's node since then.
    Mailbox(UnixMillis),
}

/// What moves of mailboxes.
#[derive(Debug)]
pub(crate) enum MailChange {
    Own(Option<Own>),
    Tell { to: AgentId, id: [u8; 16], now: UnixMillis },
    Of { agent: AgentId, at: Option<Mailbox> },
    Denied { agent: AgentId },
    Mailed { to: AgentId, frames: Vec<Mailed>, now: UnixMillis },
}

#[derive(Serialize, Deserialize)]
struct OwnRow(u8, ByteArray<32>, String);
type At = (String, Option<ByteArray<32>>);
#[derive(Serialize, Deserialize)]
struct OfRow(u8, Option<ByteArray<16>>, Option<ByteArray<32>>, bool, Option<At>, Option<MailedRow>);
type MailedRow = (ByteArray<32>, Seq, u64, Seq);
#[derive(Serialize, Deserialize)]
struct DepositedRow(u8, u64, ByteArray<12>);

const ROW_VERSION: u8 = 1;
/// No row of this module is longer.
const ROW_LEN_MAX: usize = 1_024;

impl Mailed {
    pub(super) fn group(channel: ChannelId, seq: Seq) -> Self {
        Self { group: Some((channel, seq)), ..Self::default() }
    }
}

impl Peer {
    /// Where frames wait for this agent, if it has a mailbox.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.mailbox.as_ref().map(|own| &own.at)
    }

    /// What the mailbox's node is to have.
    #[must_use]
    pub fn mailbox_secret(&self) -> Option<&MailboxSecret> {
        self.mailbox.as_ref().map(|own| &own.secret)
    }

    /// Has a mailbox at a node, or none: contacts are told of it in their sessions. Another node has another secret. `None` where it is so already.
    // contracts/mailbox.md section 1.
    pub fn set_mailbox<R: CryptoRng + ?Sized>(&self, at: Option<Mailbox>, rng: &mut R) -> Option<Step> {
        if self.mailbox() == at.as_ref() {
            return None;
        }
        let kept = self.mailbox.as_ref().filter(|own| at.as_ref().is_some_and(|at| at.node == own.at.node));
        let secret = kept.map_or_else(|| new_secret(rng), |own| own.secret.clone());
        Some(self.step(Change::Mail(MailChange::Own(at.map(|at| Own { at, secret })))))
    }

    /// Makes another secret for the mailbox: no deposit key of before serves once its node has it. `None` where there is no mailbox.
    pub fn renew_mailbox<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Option<Step> {
        let at = self.mailbox()?.clone();
        Some(self.step(Change::Mail(MailChange::Own(Some(Own { at, secret: new_secret(rng) })))))
    }

    /// The mailbox's node has the secret: from now on contacts are told of it. Told sooner, they would be denied what they leave there.
    // contracts/mailbox.md M12.
    pub fn mailbox_opened(&mut self) {
        self.mailbox_open = true;
        let contacts: Vec<_> = self.contacts.keys().copied().collect();
        contacts.iter().for_each(|agent| self.update_untold(agent));
    }

    /// Where frames wait for a contact, and whether this agent has a key to leave some.
    #[must_use]
    pub fn mailbox_of(&self, agent: &AgentId) -> Option<(&Mailbox, bool)> {
        let (at, key) = self.contacts.get(agent)?.mail.at.as_ref()?;
        Some((at, key.is_some()))
    }

    /// What a person said of a contact's mailbox. `None` where it is known, or the contact is not.
    #[must_use]
    pub fn set_mailbox_of(&self, agent: AgentId, at: Option<Mailbox>) -> Option<Step> {
        let known = self.contacts.get(&agent)?.mail.at.as_ref().map(|(at, _)| at);
        (known != at.as_ref()).then(|| self.step(Change::Mail(MailChange::Of { agent, at })))
    }

    /// The contact's node has denied a deposit: the key is forgotten until the contact gives another. `None` where it has given another already.
    // contracts/mailbox.md M13.
    #[must_use]
    pub fn deposit_denied(&self, agent: AgentId, key: &DepositKey) -> Option<Step> {
        let (_, known) = self.contacts.get(&agent)?.mail.at.as_ref()?;
        (known.as_ref() == Some(key)).then(|| self.step(Change::Mail(MailChange::Denied { agent })))
    }

    /// What is to be left at the contact's node now, at most so many frames: those of its session under way that are not there yet, behind them those that
    /// were left long ago, and an acknowledgement that none of them brings. `None` where there is nothing, or nowhere to leave it.
    // contracts/mailbox.md M14.
    pub fn mail<R: CryptoRng + ?Sized>(&self, to: AgentId, now: UnixMillis, most: usize, rng: &mut R) -> Option<Mail> {
        let contact = self.contacts.get(&to)?;
        let (at, key) = contact.mail.at.as_ref()?;
        let session = self.current(&to)?;
        let is_due = |frame: &[u8], at: Option<UnixMillis>| {
            at.is_none_or(|at| now.since(at) >= time::DEPOSIT_AGAIN) && (key.is_some() || is_start(frame))
        };
        let under_way = session.outstanding.values().filter(|frame| !frame.seen).filter_map(|frame| frame.entry);
        let sealed = under_way.filter_map(|no| {
            let entry = self.outbox.get(&no)?;
            let sealed = entry.sealed.as_ref().filter(|sealed| is_due(&sealed.frame, entry.deposited_at()))?;
            Some((no, entry, sealed))
        });
        let (again, new): (Vec<_>, Vec<_>) = sealed.partition(|(_, entry, _)| entry.deposited_at().is_some());
        let frame = |(no, entry, sealed): (u64, &Entry, &SealedAs)| {
            Some((sealed.frame.clone(), Mailed { entry: Some((no, entry.nonce()?)), told: sealed.told, group: None }))
        };
        let mut frames: Vec<_> = new.into_iter().chain(again).filter_map(frame).take(most).collect();
        let (acks_alone, told) = (frames.is_empty(), session.told());
        let brought = frames.iter().any(|(_, mailed)| mailed.told == told) || contact.mail.mailed == told;
        if told.is_some() && !brought && key.is_some() && session.handshake.is_none() {
            let mut nonce = [0; 12];
            rng.fill_bytes(&mut nonce);
            frames.extend(session.seal_ack(nonce).map(|ack| (ack, Mailed { told, ..Mailed::default() })));
        }
        (!frames.is_empty()).then(|| Mail { at: at.clone(), key: key.clone(), frames, acks_alone })
    }

    /// Frames were left at a contact's node.
    pub fn mailed(&self, to: AgentId, frames: Vec<Mailed>, now: UnixMillis) -> Step {
        self.step(Change::Mail(MailChange::Mailed { to, frames, now }))
    }

    /// Letters on their way in sessions, and by which way each has left.
    pub fn ways(&self) -> impl Iterator<Item = (AgentId, LetterId, Way)> {
        let way = |entry: &crate::outbox::Entry| match (&entry.sealed, entry.deposited_at()) {
            (None, _) => Way::Waiting,
            (Some(_), None) => Way::Sealed,
            (Some(_), Some(at)) => Way::Mailbox(at),
        };
        self.outbox.values().filter(|entry| !entry.control).map(move |entry| (entry.to, entry.id, way(entry)))
    }

    /// Numbers that are missing for longer than a peer's resends explain.
    // contracts/mailbox.md M16.
    pub fn gaps(&self, now: UnixMillis) -> impl Iterator<Item = Gap> {
        let lasting = move |gap: &Gap| now.since(gap.since) >= time::GAP_PATIENCE;
        self.sessions.values().filter_map(crate::session::Session::gap).filter(lasting)
    }

    /// Makes a batch of one-time prekeys for a directory that has had batches up to a number: from now on this agent gives none of them away itself.
    /// `None` while there are too many prekeys that were not used.
    // contracts/directory.md D6.
    pub fn list_batch<R: CryptoRng + ?Sized>(&self, had: Option<u32>, now: UnixMillis, rng: &mut R) -> Option<Step> {
        let made = self.prekeys.make_listed(&self.identity, had.unwrap_or(0), now, rng)?;
        Some(self.step(Change::PrekeysMade(made)))
    }

    /// The newest batch that was made for a directory, as long as none of its prekeys was used.
    #[must_use]
    pub fn listed_batch(&self) -> Option<PrekeyBatch> {
        self.prekeys.newest_listed()
    }

    /// Tells a contact where our mailbox is, in the session that there is now.
    pub(super) fn next_telling<R: CryptoRng + ?Sized>(&self, now: UnixMillis, rng: &mut R) -> Option<Step> {
        let to = *self.untold.first()?;
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        Some(self.step(Change::Mail(MailChange::Tell { to, id, now })))
    }

    /// Lists the contact among those that are to be told, or takes it off.
    // contracts/mailbox.md M12.
    pub(super) fn update_untold(&mut self, agent: &AgentId) {
        let speaks = self.current(agent).filter(|session| session.ratchet.send.is_some()).map(|session| session.id);
        let is_untold = self.contacts.get(agent).filter(|contact| !contact.info.retired).is_some_and(|contact| {
            let mail = &contact.mail;
            match &self.mailbox {
                Some(_) => self.mailbox_open && speaks.is_some() && !mail.silent && (mail.stale || mail.told != speaks),
                None => speaks.is_some() && mail.told.is_some(),
            }
        });
        if is_untold {
            self.untold.insert(*agent);
        } else {
            self.untold.remove(agent);
        }
    }

    /// A contact of which nothing was heard since its oldest frame was left at its node, long ago: it may not have the session any more.
    // contracts/mailbox.md M15.
    pub(super) fn unheard(&self, to: AgentId, now: UnixMillis) -> Option<Step> {
        let (contact, session) = (self.contacts.get(&to)?, self.current(&to)?);
        contact.mail.at.as_ref()?;
        let oldest = session.outstanding.values().find_map(|frame| frame.entry)?;
        let at = self.outbox.get(&oldest)?.deposited_at().filter(|at| now.since(*at) >= time::DEPOSIT_AGAIN)?;
        let silent = contact.mail.heard.is_none_or(|heard| heard <= at);
        silent.then(|| self.step(Change::Restart { with: to, session: session.id, now }))
    }

    pub(super) fn apply_mail(&mut self, change: MailChange, out: &mut Out) {
        match change {
            MailChange::Own(own) => self.apply_own(own, out),
            MailChange::Tell { to, id, now } => self.apply_tell(to, id, now, out),
            MailChange::Of { agent, at } => {
                self.change_mail(agent, out, |mail| {
                    let key = mail.at.take().filter(|(known, _)| Some(known) == at.as_ref()).and_then(|(_, key)| key);
                    mail.at = at.map(|at| (at, key));
                });
            }
            MailChange::Denied { agent } => {
                self.change_mail(agent, out, |mail| mail.at.iter_mut().for_each(|(_, key)| *key = None));
            }
            MailChange::Mailed { to, frames, now } => self.apply_mailed(to, &frames, now, out),
        }
    }

    fn apply_own(&mut self, own: Option<Own>, out: &mut Out) {
        out.ops.push(match &own {
            Some(own) => Op::Put { key: rows::mailbox(), value: own.to_row() },
            None => Op::Delete { key: rows::mailbox() },
        });
        let secret = |own: &Option<Own>| own.as_ref().map(|own| own.secret.clone());
        self.mailbox_open &= secret(&own) == secret(&self.mailbox);
        self.mailbox = own;
        let contacts: Vec<_> = self.contacts.keys().copied().collect();
        for agent in contacts {
            out.contacts.insert(agent);
            if self.contacts.get(&agent).is_some_and(|contact| contact.mail.told.is_some()) {
                self.change_mail(agent, out, |mail| (mail.stale, mail.id) = (true, None));
            }
        }
    }

    fn apply_tell(&mut self, to: AgentId, id: [u8; 16], now: UnixMillis, out: &mut Out) {
        let (Some(contact), Some(session)) = (self.contacts.get(&to), self.current(&to)) else { return };
        let (session, id) = (session.id, contact.mail.id.unwrap_or(id));
        let given = self.mailbox.as_ref().map(|own| Given { at: own.at.clone(), key: own.secret.deposit_key(id) });
        let has = given.is_some();
        // A letter that tells it is under way, and goes in this session too.
        let again = contact.mail.telling.filter(|_| has && !contact.mail.stale);
        let telling = again.or(Some(self.next_entry));
        if again.is_none() {
            let about = LetterId::new(now, *session.as_bytes().first_chunk().unwrap_or(&[0; 10]));
            self.queue_control(to, &Control::Mailbox(given), about, now, out);
        }
        self.change_mail(to, out, |mail| {
            (mail.id, mail.told) = (Some(id).filter(|_| has), Some(session).filter(|_| has));
            (mail.stale, mail.telling) = (false, telling);
        });
    }

    /// A letter that told a contact of our mailbox is given up: the contact is told again once it is heard.
    pub(super) fn telling_failed(&mut self, no: u64) {
        let contact = self.outbox.get(&no).and_then(|entry| self.contacts.get_mut(&entry.to));
        if let Some(contact) = contact.filter(|contact| contact.mail.telling == Some(no)) {
            (contact.mail.silent, contact.mail.stale) = (true, true);
        }
    }

    /// What was acknowledged through the contact's node came again: the acknowledgement was lost.
    pub(super) fn ack_comes_again(&mut self, to: &AgentId, again: bool) {
        if let Some(contact) = self.contacts.get_mut(to).filter(|_| again) {
            contact.mail.mailed = None;
        }
    }

    pub(super) fn note_heard(&mut self, id: SessionId, with: AgentId, now: UnixMillis) {
        if let Some(contact) = self.contacts.get_mut(&with) {
            (contact.mail.heard, contact.mail.silent) = (Some(now), false);
        }
        self.sessions.get_mut(&id).into_iter().for_each(|session| session.note_gap(now));
    }

    /// A contact says where its mailbox is.
    // contracts/letter.md L21.
    pub(super) fn take_mailbox(&mut self, from: AgentId, given: Option<Given>, out: &mut Out) {
        self.change_mail(from, out, |mail| mail.at = given.map(|Given { at, key }| (at, Some(key))));
        out.effects.push(Effect::Mailbox { of: from });
    }

    /// A verified bundle says where. It takes nobody's key away.
    // contracts/mailbox.md M13.
    pub(super) fn learn_mailbox(&mut self, of: AgentId, at: Mailbox, out: &mut Out) {
        let known = self.contacts.get(&of).and_then(|contact| contact.mail.at.as_ref());
        if known.is_none_or(|(known, key)| key.is_none() && *known != at) {
            self.change_mail(of, out, |mail| mail.at = Some((at, None)));
        }
    }

    fn apply_mailed(&mut self, to: AgentId, frames: &[Mailed], now: UnixMillis, out: &mut Out) {
        let told = frames.iter().rev().find_map(|mailed| mailed.told);
        if told.is_some_and(|_| self.contacts.get(&to).is_some_and(|contact| contact.mail.mailed != told)) {
            self.change_mail(to, out, |mail| mail.mailed = told);
        }
        for Mailed { entry, group, .. } in frames {
            group.iter().for_each(|(channel, seq)| self.group_mailed(channel, *seq, to, now, out));
            let Some((no, nonce)) = entry else { continue };
            let Some(entry) = self.outbox.get_mut(no).filter(|entry| entry.to == to) else { continue };
            entry.deposited = Some((*nonce, now));
            let value = codec::encode(&DepositedRow(ROW_VERSION, now.0, ByteArray::new(*nonce)));
            out.ops.push(Op::Put { key: rows::numbered(rows::DEPOSITED, *no), value });
        }
    }

    fn change_mail(&mut self, agent: AgentId, out: &mut Out, change: impl FnOnce(&mut crate::contact::ContactMail)) {
        let Some(contact) = self.contacts.get_mut(&agent) else { return };
        change(&mut contact.mail);
        let mail = &contact.mail;
        let at =
            mail.at.as_ref().map(|(at, key)| (at.to_string(), key.as_ref().map(|key| ByteArray::new(*key.expose()))));
        let told = mail.told.map(|session| ByteArray::new(*session.as_bytes()));
        let mailed = mail.mailed.map(Told::to_row);
        let value = codec::encode(&OfRow(ROW_VERSION, mail.id.map(ByteArray::new), told, mail.stale, at, mailed));
        out.ops.push(Op::Put { key: rows::mailbox_of(&agent), value });
        out.contacts.insert(agent);
    }

    pub(super) fn load_mailbox(&mut self, value: &[u8]) -> Option<()> {
        let OwnRow(version, secret, at) = codec::decode(value, ROW_LEN_MAX).ok()?;
        let at = at.parse().ok().filter(|_| version == ROW_VERSION)?;
        self.mailbox = Some(Own { at, secret: MailboxSecret::new(secret.into_array()) });
        Some(())
    }

    pub(super) fn load_mailbox_of(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let agent = AgentId::from_bytes(rows::split_32(key)?).ok()?;
        let OfRow(version, id, told, stale, at, mailed) = codec::decode(value, ROW_LEN_MAX).ok()?;
        let at = at.map(|(at, key)| Some((at.parse().ok()?, key.map(|key| DepositKey::new(key.into_array())))));
        let at = match at {
            Some(at) => Some(at?),
            None => None,
        };
        // Who is owed words alone has no row of its own.
        let mail = (version == ROW_VERSION).then(|| &mut self.contacts.entry(agent).or_default().mail)?;
        (mail.id, mail.told) =
            (id.map(ByteArray::into_array), told.map(|session| SessionId::from_bytes(session.into_array())));
        (mail.stale, mail.at, mail.mailed) = (stale, at, mailed.map(Told::from_row));
        Some(())
    }

    pub(super) fn load_deposited(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let DepositedRow(version, at, nonce) = codec::decode(value, ROW_LEN_MAX).ok()?;
        let entry = self.outbox.get_mut(&rows::split_numbered(key)?).filter(|_| version == ROW_VERSION)?;
        entry.deposited = Some((nonce.into_array(), UnixMillis(at)));
        Some(())
    }
}

impl Own {
    fn to_row(&self) -> Vec<u8> {
        codec::encode(&OwnRow(ROW_VERSION, ByteArray::new(*self.secret.expose()), self.at.to_string()))
    }
}

fn new_secret<R: CryptoRng + ?Sized>(rng: &mut R) -> MailboxSecret {
    let mut secret = [0; 32];
    rng.fill_bytes(&mut secret);
    MailboxSecret::new(secret)
}

/// contracts/frame.md F2.
fn is_start(frame: &[u8]) -> bool {
    frame.get(1..3) == Some(&[limit::WIRE_VERSION, kind::FRAME_START])
}
