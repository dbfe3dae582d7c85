//! Tokens of letters: what a received one may do, which letters wait for a key or a token, and whose token is renewed (contracts/token.md).
//!
//! ```text
//!   letter ─► authorize ─┬─ allowed ─────────────────────────────► its turn
//!                        ├─ denied ──────────────────────────────► refused, its sender is told
//!                        └─ key or token not there ─► waits ─┬─ it came ─► authorize
//!                                                            └─ too late ─► refused
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nuncio_contracts::registry::{code, extension, limit, time};

use super::inbound::put_held;
use super::judge::{Verdict, expiry};
use super::{Change, Out, Peer};
use crate::control::Control;
use crate::frame::Nonce;
use crate::ids::{AgentId, ChainId, ChannelId, LetterId, Seq, SessionId};
use crate::letter::{Letter, LetterKind};
use crate::outbox::Entry;
use crate::session::{Hold, Session};
use crate::step::{Effect, Step};
use crate::time::UnixMillis;
use crate::token::proof::Hop;
use crate::token::{Bearer, Denial, Genuine, Receiver, Thumbprint, TokenHash, Unopened, Verifier, hash_of};

mod sent;

/// What the peer knows of tokens. None of it is on disk: what is missing after a start is asked for again.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    verifier: Verifier,
    /// Letters that wait, with what they need and until when.
    waiting: BTreeMap<(SessionId, Seq), (Need, UnixMillis)>,
    until: BTreeSet<(UnixMillis, SessionId, Seq)>,
    /// Those of which something has changed.
    decidable: BTreeSet<(SessionId, Seq)>,
    /// Letters of ours whose answers are taken without a token, each with its answer once that has come.
    awaited: BTreeMap<(AgentId, LetterId), Option<LetterId>>,
}

/// What a letter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Key(Thumbprint),
    Token(TokenHash),
}

/// Why a letter is not taken now.
pub(super) enum Unauthorized {
    Denied(Denial),
    Need(Need),
}

impl From<Denial> for Unauthorized {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// A waiting letter, judged again.
#[derive(Debug)]
pub(crate) struct Decided {
    at: (SessionId, Seq),
    decision: Decision,
    now: UnixMillis,
}

#[derive(Debug)]
enum Decision {
    /// It waits no more, or is none of this session's business.
    Gone,
    Wait(Need),
    Take(Arc<Genuine>, UnixMillis),
    Refuse(Box<Letter>),
}

/// How a letter came.
struct Carrier<'a> {
    /// Its sender, who was authenticated.
    from: AgentId,
    /// For whom its hop proof is.
    to: &'a Receiver,
    /// Its session, or its chain's id.
    id: SessionId,
    /// It is an answer that is taken without a token.
    is_awaited: bool,
}

impl Tokens {
    pub(super) fn due(&self) -> Option<UnixMillis> {
        self.until.first().map(|(at, ..)| *at)
    }

    /// All that waits has its whole time from now on.
    fn wait_anew(&mut self, now: UnixMillis) {
        let until = now.plus(time::TOKEN_WAIT);
        self.waiting.values_mut().for_each(|waiting| waiting.1 = until);
        self.until = self.waiting.keys().map(|(id, seq)| (until, *id, *seq)).collect();
    }

    fn forget(&mut self, at: &(SessionId, Seq)) {
        self.decidable.remove(at);
        if let Some((_, until)) = self.waiting.remove(at) {
            self.until.remove(&(until, at.0, at.1));
        }
    }
}

impl Peer {
    /// What tokens are judged by.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.tokens.verifier
    }

    /// Changes what tokens are judged by. Letters that wait are looked at again by [`Peer::next`].
    pub fn set_verifier(&mut self, change: impl FnOnce(&mut Verifier)) {
        change(&mut self.tokens.verifier);
        self.tokens.decidable.extend(self.tokens.waiting.keys());
        self.look_again_at_tokens();
    }

    /// Somebody has put the clock forward or back, and it shows this now. Letters that wait for a key or a token neither are given up for it nor wait
    /// until it shows the former time again: they wait anew.
    // contracts/token.md K18.
    pub fn clock_was_set(&mut self, now: UnixMillis) {
        self.tokens.wait_anew(now);
        self.wait_anew_in_channels(now);
    }

    /// Takes one answer of this peer to a letter of ours without a token (contracts/token.md K19), until [`Peer::await_no_answer`] or a restart.
    pub fn await_answer(&mut self, from: AgentId, letter: LetterId) {
        self.tokens.awaited.insert((from, letter), None);
    }

    /// Ends [`Peer::await_answer`].
    pub fn await_no_answer(&mut self, from: AgentId, letter: LetterId) {
        self.tokens.awaited.remove(&(from, letter));
    }

    /// Hands a signed statement on to a peer with which there is a session (contracts/token.md K24).
    #[must_use]
    pub fn hand_on(&self, to: AgentId, statement: Vec<u8>, now: UnixMillis) -> Option<Step> {
        let session = self.current(&to).filter(|session| session.confirmed)?;
        let room = self.contacts.get(&to)?.controls < limit::REFUSALS_MAX;
        let fits = statement.len() + 64 <= limit::PAYLOAD_INLINE_MAX;
        let about = LetterId::new(now, *session.id.as_bytes().first_chunk().unwrap_or(&[0; 10]));
        (room && fits).then(|| self.step(Change::HandedOn { to, statement, about, now }))
    }

    /// Whether a letter may be delivered: its token, verified in this very moment, if it carries one (contracts/token.md section 3).
    pub(super) fn authorize(
        &self,
        session: &Session,
        letter: &Letter,
        now: UnixMillis,
    ) -> Result<Option<Arc<Genuine>>, Unauthorized> {
        let (from, to) = (session.peer(), self.id().into());
        // contracts/token.md K19: an answer is for this agent alone.
        let is_awaited = letter.extension(extension::CHANNEL).is_none() && self.is_awaited(from, letter);
        let carrier = Carrier { from, to: &to, id: session.id, is_awaited };
        // contracts/token.md K10: a hash resolves only within its own session.
        let resolve = |hash: TokenHash| {
            let known = self.tokens.verifier.known(&hash).filter(|_| session.tokens_in.has(&hash));
            known.ok_or(Unauthorized::Need(Need::Token(hash)))
        };
        self.authorize_in(&carrier, letter, resolve, now)
    }

    /// The same for a letter that was sealed once for all members of a channel: its token is whole, and a proof of it is for the channel.
    // contracts/channel.md C70.
    pub(super) fn authorize_in_channel(
        &self,
        from: AgentId,
        channel: ChannelId,
        chain: &ChainId,
        letter: &Letter,
        now: UnixMillis,
    ) -> Result<Option<Arc<Genuine>>, Unauthorized> {
        let (to, id) = (channel.into(), SessionId::from_bytes(*chain.as_bytes()));
        let whole_alone = |_| Err(Denial::Malformed("a hash without a session").into());
        self.authorize_in(&Carrier { from, to: &to, id, is_awaited: false }, letter, whole_alone, now)
    }

    fn authorize_in(
        &self,
        carrier: &Carrier<'_>,
        letter: &Letter,
        resolve: impl FnOnce(TokenHash) -> Result<Arc<Genuine>, Unauthorized>,
        now: UnixMillis,
    ) -> Result<Option<Arc<Genuine>>, Unauthorized> {
        let (me, verifier) = (self.id(), &self.tokens.verifier);
        let bearer = Bearer { from: &carrier.from, me: &me, letter };
        let Some(carried) = letter.extensions.iter().find(|e| e.number == extension::TOKEN) else {
            return Ok(verifier.check_without(&bearer, carrier.is_awaited).map(|()| None)?);
        };
        // contracts/token.md K9
        if !carried.critical {
            return Err(Denial::Malformed("not critical").into());
        }
        let token = match TokenHash::try_from(carried.value.as_slice()) {
            Ok(hash) => resolve(hash)?,
            Err(_) => match verifier.open(&carried.value) {
                Ok(token) => token,
                Err(Unopened::Need(kid)) => return Err(Unauthorized::Need(Need::Key(kid))),
                Err(Unopened::Denied(denial)) => return Err(denial.into()),
            },
        };
        verifier.check(&token, &bearer, now)?;
        self.check_proof(carrier, letter, &token)?;
        Ok(Some(token))
    }

    /// Whether it is the one answer that is awaited: the first that comes, under whichever number.
    fn is_awaited(&self, from: AgentId, letter: &Letter) -> bool {
        let answer = letter.reply_to.and_then(|asked| self.tokens.awaited.get(&(from, asked)));
        answer.is_some_and(|came| came.is_none_or(|first| first == letter.id))
    }

    /// An answer is taken: no other is awaited.
    pub(super) fn note_answer(&mut self, from: AgentId, letter: &Letter) {
        if let Some(answer) = letter.reply_to.and_then(|asked| self.tokens.awaited.get_mut(&(from, asked))) {
            answer.get_or_insert(letter.id);
        }
    }

    /// contracts/token.md K26
    fn check_proof(&self, carrier: &Carrier<'_>, letter: &Letter, token: &Genuine) -> Result<(), Denial> {
        let Some(proof) = letter.extension(extension::HOP_PROOF) else {
            return if self.tokens.verifier.policy().wants_proof { Err(Denial::Proof) } else { Ok(()) };
        };
        let (token, content) = (token.hash(), &letter.content());
        let Carrier { from, to, id, .. } = carrier;
        Hop { from, to, session: id, letter: &letter.id, token, content }.check(proof)
    }

    /// The verdict over a letter that is sound in all but its token.
    pub(super) fn judge_token(
        &self,
        session: &Session,
        letter: Box<Letter>,
        frame: &Nonce,
        now: UnixMillis,
    ) -> Verdict {
        match self.authorize(session, &letter, now) {
            Ok(token) => Verdict::Take(letter, token),
            Err(Unauthorized::Denied(denial)) => {
                Verdict::Refuse(Some((self.refusal(letter.id, frame, denial.code(), now), Some(letter))))
            }
            Err(Unauthorized::Need(need)) => Verdict::Wait(need, expiry(&letter, None)),
        }
    }

    /// A letter waits in its place from now on (contracts/token.md K18).
    pub(super) fn wait(&mut self, at: (SessionId, Seq), with: AgentId, need: Need, now: UnixMillis, out: &mut Out) {
        let asked = self.tokens.waiting.iter().any(|((id, _), (other, _))| *id == at.0 && *other == need);
        let until = self.tokens.waiting.get(&at).map_or(now.plus(time::TOKEN_WAIT), |(_, until)| *until);
        self.tokens.waiting.insert(at, (need, until));
        self.tokens.until.insert((until, at.0, at.1));
        match need {
            Need::Key(kid) => out.effects.push(Effect::WantKey { kid }),
            Need::Token(hash) if !asked && !self.is_asked(with, hash) => {
                let about = LetterId::new(now, *hash.first_chunk().unwrap_or(&[0; 10]));
                self.queue_control(with, &Control::TokenWanted(hash), about, now, out);
            }
            Need::Token(_) => {}
        }
    }

    /// Whether the question for a token is on its way to its peer.
    fn is_asked(&self, with: AgentId, hash: TokenHash) -> bool {
        let wanted = Control::TokenWanted(hash).encode();
        let asks = |entry: &Entry| entry.letter.windows(wanted.len()).any(|part| part == wanted);
        self.outbox.values().any(|entry| entry.control && entry.to == with && asks(entry))
    }

    /// Looks again at one letter that waits.
    pub(super) fn next_decision(&self, now: UnixMillis) -> Option<Step> {
        let late = self.tokens.until.first().filter(|(until, ..)| *until <= now).map(|(_, id, seq)| (*id, *seq));
        let at = late.or_else(|| self.tokens.decidable.first().copied())?;
        let decision = self.decide(at, late.is_some(), now);
        Some(self.step(Change::Decided(Decided { at, decision, now })))
    }

    fn decide(&self, (id, seq): (SessionId, Seq), late: bool, now: UnixMillis) -> Decision {
        let Some(session) = self.sessions.get(&id).filter(|session| !self.is_over(session, now)) else {
            return Decision::Gone;
        };
        let held = session.held.get(&seq).filter(|held| held.state == Hold::Token);
        let read = held.and_then(|held| Some((held.nonce, Letter::decode(&held.letter).ok()?)));
        let Some((frame, letter)) = read else { return Decision::Gone };
        let refuse = |code: u16| Decision::Refuse(self.refusal(letter.id, &frame, code, now));
        if let Err(error) = letter.check_time(now) {
            return refuse(error.code());
        }
        match self.authorize(session, &letter, now) {
            Ok(Some(token)) => {
                let expires = expiry(&letter, Some(&token));
                Decision::Take(token, expires)
            }
            Err(Unauthorized::Need(Need::Key(_))) if late => refuse(code::TOKEN_KEY),
            Err(Unauthorized::Need(Need::Token(_))) if late => refuse(code::TOKEN_MISSING),
            Err(Unauthorized::Need(need)) => Decision::Wait(need),
            Err(Unauthorized::Denied(denial)) => refuse(denial.code()),
            // Only letters with a token wait.
            Ok(None) => Decision::Gone,
        }
    }

    pub(super) fn apply_decided(&mut self, decided: Decided, out: &mut Out) {
        let Decided { at: (id, seq), decision, now } = decided;
        let Some(with) = self.sessions.get(&id).map(Session::peer) else { return self.tokens.forget(&(id, seq)) };
        out.contacts.insert(with);
        match decision {
            Decision::Wait(need) => {
                self.tokens.decidable.remove(&(id, seq));
                if self.tokens.waiting.get(&(id, seq)).is_some_and(|(known, _)| *known != need) {
                    self.wait((id, seq), with, need, now, out);
                }
            }
            Decision::Gone => self.tokens.forget(&(id, seq)),
            Decision::Refuse(told) => {
                self.tokens.forget(&(id, seq));
                self.refuse_held(id, with, seq, &told, now, out);
            }
            Decision::Take(token, expires) => {
                self.tokens.forget(&(id, seq));
                self.take_waiting(id, with, seq, (token, expires), now, out);
            }
        }
    }

    fn take_waiting(
        &mut self,
        id: SessionId,
        with: AgentId,
        seq: Seq,
        (token, expires): (Arc<Genuine>, UnixMillis),
        now: UnixMillis,
        out: &mut Out,
    ) {
        // What is behind it is next in order with it, and has waited as long.
        self.refuse_expired(id, with, now, out);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let skipped_before = session.skipped.len();
        let moved = session.release(seq, token, expires);
        if let Some(held) = session.held.get(&seq) {
            out.ops.push(put_held(&id, seq, held));
        }
        self.keep_moved(id, &moved, skipped_before, out);
        out.sessions.insert(id);
        self.take_in_order(id, with, None, moved.in_order, Verdict::Nothing, now, out);
        self.want_ack(id, with, now);
        self.end_replaced(id, with, now, out);
    }

    /// Control letters about tokens, and refusals, are heard when they come, not when they are next: two agents that wait for each other's would
    /// wait for ever.
    pub(super) fn hear(&mut self, id: SessionId, from: AgentId, letter: &Letter, now: UnixMillis, out: &mut Out) {
        if letter.kind != LetterKind::Control {
            return;
        }
        match Control::decode(&letter.payload) {
            Some(Control::Refused { letter, code, frame }) => {
                // A letter that was sealed again since is judged anew.
                let in_frame = |no: &u64| self.outbox.get(no).and_then(Entry::nonce) == Some(frame);
                let Some(entry) = self.letters.get(&(from, letter)).copied().filter(in_frame) else {
                    return self.frame_is_refused(from, letter, code, &frame, out);
                };
                // These two are for this side to say.
                let code = if matches!(code, code::CANCELLED | code::RETIRED) { code::REFUSED } else { code };
                if !self.seal_again(entry, code, out) {
                    self.apply_not_taken(entry, code, out);
                }
            }
            Some(Control::TokenWanted(hash)) => self.hand_out(id, from, hash, now, out),
            Some(Control::Token(token)) => self.take_token(id, &token, out),
            // What was revoked may be about the very letters that wait before it.
            Some(Control::Statement(statement)) => out.effects.push(Effect::Statement { from, statement }),
            _ => {}
        }
    }

    /// A token has come for which letters wait: they carry it whole from now on.
    fn take_token(&mut self, id: SessionId, token: &[u8], out: &mut Out) {
        let need = Need::Token(hash_of(token));
        let waiting = self.tokens.waiting.iter().filter(|((of, _), (wanted, _))| *of == id && *wanted == need);
        let waiting: Vec<_> = waiting.map(|(at, _)| *at).collect();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        for at in waiting {
            let Some(held) = session.held.get_mut(&at.1).filter(|held| held.state == Hold::Token) else { continue };
            let Ok(mut letter) = Letter::decode(&held.letter) else { continue };
            letter.set_token(token.to_vec());
            let whole = letter.encode();
            // Its sender cannot have meant it: with the token it is no letter any more.
            if whole.len() > limit::LETTER_LEN_MAX {
                continue;
            }
            held.letter = whole;
            out.ops.push(put_held(&id, at.1, held));
            self.tokens.decidable.insert(at);
        }
    }

    /// Keeps a token that came with a delivered letter.
    pub(super) fn keep_token(&mut self, token: Option<&Arc<Genuine>>, from: &AgentId, now: UnixMillis) {
        if let Some(token) = token {
            self.tokens.verifier.keep(Arc::clone(token), from, now);
        }
    }

    /// Letters that wait for their token since before the start.
    pub(super) fn resume_waiting(&mut self, now: UnixMillis) {
        let held =
            self.sessions.values().flat_map(|session| session.held.iter().map(|(seq, held)| (session.id, *seq, held)));
        let waiting: Vec<_> =
            held.filter(|(.., held)| held.state == Hold::Token).map(|(id, seq, _)| (id, seq)).collect();
        for at in waiting {
            let until = now.plus(time::TOKEN_WAIT);
            // What it really needs is seen when it is looked at.
            self.tokens.waiting.insert(at, (Need::Token([0; 32]), until));
            self.tokens.until.insert((until, at.0, at.1));
            self.tokens.decidable.insert(at);
        }
    }
}
