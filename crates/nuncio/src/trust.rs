//! The actor's side of tokens: what is known of the trust domain, and whose tokens are renewed.
//!
//! ```text
//!   node ──► keys, revoked transactions ──┐
//!   peers ──► the same, handed on ────────┴─► believed? newer? ─► on disk, to the verifier, on to the other peers
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nuncio_contracts::registry::time;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::peer::Auditing;
use nuncio_proto::rows;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{Genuine, KeyBundle, KeySet, Policy, RevokedList, TokenHash, Trusted, hash_of};
use nuncio_store::{Engine, Op};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::actor::Actor;
use crate::command::Reply;
use crate::effects::answer;
use crate::entropy::now;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::spool::{self, Spool};
use crate::wake::{Ticket, Wake};

/// Rows of the runtime's own: the statements that are believed, as they were signed.
const KEYS_ROW: [u8; 2] = [rows::RUNTIME, b'k'];
const REVOKED_ROW: [u8; 2] = [rows::RUNTIME, b'v'];

/// How often the node is asked anew.
const KEYS_EVERY: Duration = Duration::from_millis(time::KEYS_REFRESH);
const REVOKED_EVERY: Duration = Duration::from_millis(time::REVOKED_REFRESH);
/// Between two tries when it does not answer, and between two when a key is not known.
const PAUSE: Duration = Duration::from_secs(5);
/// How long peers wait at a start for the node to say what was revoked.
const START_PATIENCE: Duration = Duration::from_secs(2);
/// Events that are told again in one commit.
const RECOUNTED_AT_ONCE: usize = 1_000;
/// A token of a letter that has not arrived is renewed so long before it expires.
const RENEW_BEFORE_MS: u64 = 45_000;

/// What is known of the trust domain.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) exchange: Arc<Exchange>,
    node: AgentId,
    keys: Option<KeyBundle>,
    revoked: Option<RevokedList>,
    /// Since the start the node was asked what was revoked. Until then no peer is heard.
    asked: bool,
    /// Asks for the keys now.
    wanted: Arc<Notify>,
    /// Tokens that are being renewed.
    renewing: BTreeSet<TokenHash>,
}

impl Trust {
    pub(crate) fn new(exchange: Arc<Exchange>, node: AgentId) -> Self {
        Self {
            exchange,
            node,
            keys: None,
            revoked: None,
            asked: false,
            wanted: Arc::default(),
            renewing: BTreeSet::new(),
        }
    }

    fn trusted(&self) -> Trusted<'_> {
        Trusted { node: &self.node, domain: &self.exchange.domain, now: now() }
    }
}

impl Actor {
    /// Puts the verifier in force, with what was believed before the start.
    pub(crate) fn resume_trust(&mut self) -> Result<(), Error> {
        let policy = Policy {
            deliver_without_token: self.config.letters_without_token,
            wants_proof: self.config.wants_proof,
            rules: self.config.rules.clone(),
        };
        let domain = self.trust.as_ref().map(|trust| trust.exchange.domain.clone());
        self.peer.set_verifier(|verifier| {
            verifier.set_policy(policy);
            verifier.set_signatures(nuncio_transport::AwsLc);
            domain.into_iter().for_each(|domain| verifier.set_domain(domain));
        });
        for row in [KEYS_ROW, REVOKED_ROW] {
            if let Some(statement) = self.store.get(&row)? {
                self.believe(&statement);
            }
        }
        let Some(trust) = &self.trust else { return Ok(()) };
        let (exchange, wanted) = (Arc::clone(&trust.exchange), Arc::clone(&trust.wanted));
        let keep = keep(exchange, wanted, self.tasks.wakes.clone(), self.cancel_token());
        self.tasks.tracker.spawn(keep);
        Ok(())
    }

    /// Goes on with the chain of events, and with giving them to the node.
    pub(crate) fn resume_audit(&mut self) -> Result<(), Error> {
        let waiting = spool::numbers(&self.store)?;
        let policy = self.config.audit;
        let has_events = !waiting.is_empty();
        self.peer.set_audit(policy, waiting);
        let Some(trust) = &self.trust else {
            return if policy.auditing == Auditing::Off { Ok(()) } else { Err(Error::AuditsNowhere) };
        };
        // What was written down is given, whether or not more is.
        if policy.auditing != Auditing::Off || has_events {
            let spool = Spool::new(Arc::clone(&trust.exchange), Arc::clone(&self.store))?;
            let keep = spool.keep(Arc::clone(&self.events), self.tasks.wakes.clone(), self.cancel_token());
            self.tasks.tracker.spawn(keep);
        }
        Ok(())
    }

    /// The log has events: they go, and its newest checkpoint is kept, in one commit.
    pub(crate) fn events_logged(&mut self, up_to: u64, seen: Op, done: Reply<()>) {
        let step = self.peer.events_logged(up_to);
        self.commit_rows(step, vec![seen], vec![answer(done, ())]);
    }

    /// Tells the events that wait again, as a new chain (contracts/audit.md V23). All of them are on disk first, and nothing else happens until then.
    pub(crate) async fn recount(&mut self, done: Reply<()>) {
        if !self.settle_disk().await {
            return;
        }
        let waiting = match spool::first_events(&self.store, usize::MAX) {
            Ok(waiting) => waiting,
            Err(error) => return tracing::error!(%error, "the events that wait cannot be read"),
        };
        if u64::try_from(waiting.len()).ok() != Some(self.peer.events_waiting()) {
            // The next refusal asks again.
            return tracing::warn!("the events that wait are not all there");
        }
        let mut begins = true;
        // Where it ends in between, the log refuses the rest, and all is told again.
        for part in waiting.chunks(RECOUNTED_AT_ONCE) {
            match self.peer.recount(part, core::mem::take(&mut begins), now()) {
                Some(step) => self.commit(step),
                None => return tracing::error!("an event that waits is damaged: `nuncio doctor` says which"),
            }
        }
        let nothing = nuncio_proto::step::Staged { ops: Vec::new(), effects: Default::default() };
        self.backlog.gather(nothing, Vec::new(), vec![answer(done, ())]);
    }

    /// Takes a statement from the node or a peer; what is newer than what is known is kept and handed on (contracts/token.md K21 to K24).
    pub(crate) fn take_statement(&mut self, from: Option<AgentId>, statement: &[u8]) {
        let Some(row) = self.believe(statement) else { return };
        let staged = nuncio_proto::step::Staged { ops: Vec::new(), effects: Default::default() };
        self.gather(staged, vec![Op::Put { key: row.to_vec(), value: statement.to_vec() }]);
        let peers: Vec<AgentId> =
            self.peer.contacts().map(|(agent, _)| agent).filter(|agent| from != Some(*agent)).collect();
        for peer in peers {
            if let Some(step) = self.peer.hand_on(peer, statement.to_vec(), now()) {
                self.commit(step);
            }
        }
    }

    /// Puts a statement in force if it is the trusted node's and newer: the row that keeps it.
    fn believe(&mut self, statement: &[u8]) -> Option<[u8; 2]> {
        let trust = self.trust.as_mut()?;
        if let Ok(bundle) = KeyBundle::open(statement, &trust.trusted()) {
            if trust.keys.as_ref().is_some_and(|known| known.issued >= bundle.issued) {
                return None;
            }
            let keys = bundle.keys.clone();
            trust.keys = Some(bundle);
            self.peer.set_verifier(|verifier| verifier.set_keys(keys));
            return Some(KEYS_ROW);
        }
        let list = RevokedList::open(statement, &trust.trusted());
        let list = list.inspect_err(|error| tracing::info!(%error, "a statement was not believed")).ok()?;
        if trust.revoked.as_ref().is_some_and(|known| known.serial >= list.serial) {
            return None;
        }
        let transactions = list.transactions.clone();
        trust.revoked = Some(list);
        self.peer.set_verifier(|verifier| verifier.set_revoked(transactions));
        Some(REVOKED_ROW)
    }

    /// Whether peers are heard. A letter that waited on disk would be delivered with the first frame that comes, whatever was revoked since.
    pub(crate) fn hears_peers(&self) -> bool {
        self.trust.as_ref().is_none_or(|trust| trust.asked)
    }

    /// From here on peers are heard: what was revoked while the agent did not run is known, as far as it can be.
    pub(crate) fn revoked_asked(&mut self) {
        self.trust.iter_mut().for_each(|trust| trust.asked = true);
        self.open_doors();
    }

    /// A letter waits for a key: one request answers all.
    pub(crate) fn want_key(&self) {
        self.trust.iter().for_each(|trust| trust.wanted.notify_one());
    }

    /// What is done with time: keys that are over verify nothing, and tokens of letters that have not arrived are renewed.
    pub(crate) fn look_after_tokens(&mut self) {
        let Some(trust) = &mut self.trust else { return };
        let over = UnixMillis(now().0.saturating_sub(time::TOKEN_SKEW));
        if trust.keys.take_if(|keys| keys.expires.saturating_mul(1_000) <= over.0).is_some() {
            tracing::warn!("the token service's keys have expired and it gives no others: letters with tokens wait");
            self.peer.set_verifier(|verifier| verifier.set_keys(KeySet::default()));
        }
        let expiring: BTreeMap<TokenHash, Vec<u8>> = self
            .peer
            .tokens_expiring(now().plus(RENEW_BEFORE_MS))
            .map(|(.., token)| (hash_of(&token), token))
            .collect();
        for token in expiring.into_values().filter_map(|token| Genuine::kept(&token)) {
            if !is_over(&token) {
                self.renew(token);
            } else if self.trust.as_ref().is_some_and(|trust| !trust.renewing.contains(token.hash())) {
                // Refused as expired while it lived, and not renewed since.
                self.renewed(&token, None);
            }
        }
    }

    /// A letter's token has expired; without a fresh one it fails.
    pub(crate) fn token_expired(&mut self, to: AgentId, letter: LetterId) {
        let token = self.peer.token_of(to, letter).and_then(|token| Genuine::kept(&token));
        match token {
            Some(token) if self.trust.is_some() => self.renew(token),
            _ => self.retoken(to, letter, None),
        }
    }

    /// Has a token renewed, for all letters on their way that carry it.
    fn renew(&mut self, token: Genuine) {
        let Some(trust) = &mut self.trust else { return };
        if !trust.renewing.insert(*token.hash()) {
            return;
        }
        let (exchange, urgent) = (Arc::clone(&trust.exchange), self.tasks.urgent.clone());
        self.tasks.tracker.spawn(async move {
            let renewed = exchange.renew(&token).await;
            let renewed = renewed.inspect_err(
                |error| tracing::info!(%error, "the token of letters that have not arrived was not renewed"),
            );
            // The actor may have stopped.
            let _ = urgent.send(Wake::Renewed { former: Arc::new(token), token: renewed.ok() });
        });
    }

    pub(crate) fn renewed(&mut self, former: &Genuine, token: Option<&Arc<Genuine>>) {
        if let Some(trust) = &mut self.trust {
            trust.renewing.remove(former.hash());
        }
        // One that still lives may be renewed at the next look.
        if token.is_none() && !is_over(former) {
            return;
        }
        let carriers: Vec<_> = self.peer.letters_with(former.hash()).collect();
        for (to, letter) in carriers {
            self.retoken(to, letter, token);
        }
    }

    fn retoken(&mut self, to: AgentId, letter: LetterId, token: Option<&Arc<Genuine>>) {
        let step = match token {
            Some(token) => self.peer.retoken(to, letter, token.text().as_bytes()).ok(),
            None => self.peer.give_up_token(to, letter),
        };
        step.into_iter().for_each(|step| self.commit(step));
    }

    fn gather(&mut self, staged: nuncio_proto::step::Staged, rows: Vec<Op>) {
        self.backlog.gather(staged, rows, Ticket::default().answers);
    }
}

fn is_over(token: &Genuine) -> bool {
    token.claims().exp.saturating_mul(1_000) <= now().0
}

/// What was revoked, from a node that may not be reached at once.
async fn first_revoked(exchange: &Exchange) -> Vec<u8> {
    loop {
        if let Ok(answered) = exchange.node.get("/revoked").await
            && answered.status.is_success()
        {
            return answered.body.to_vec();
        }
        tokio::time::sleep(START_PATIENCE / 8).await;
    }
}

/// Asks the node for its statements, now and then and whenever a key is wanted, until the agent stops.
async fn keep(exchange: Arc<Exchange>, wanted: Arc<Notify>, wakes: mpsc::Sender<Wake>, cancel: CancellationToken) {
    let first = tokio::select! {
        () = cancel.cancelled() => return,
        first = tokio::time::timeout(START_PATIENCE, first_revoked(&exchange)) => first,
    };
    if let Ok(statement) = first
        && wakes.send(Wake::Statement { statement }).await.is_err()
    {
        return;
    }
    if wakes.send(Wake::RevokedAsked).await.is_err() {
        return;
    }
    let (mut keys, mut revoked, mut tick) =
        (tokio::time::interval(KEYS_EVERY), tokio::time::interval(REVOKED_EVERY), tokio::time::interval(PAUSE));
    loop {
        let path = tokio::select! {
            () = cancel.cancelled() => return,
            _ = revoked.tick() => "/revoked",
            () = exchange.revoked.notified() => "/revoked",
            _ = keys.tick() => "/keys",
            () = wanted.notified() => "/keys",
            _ = tick.tick() => {
                if wakes.send(Wake::LookAfterTokens).await.is_err() {
                    return;
                }
                continue;
            }
        };
        match exchange.node.get(path).await {
            Ok(answered) if answered.status.is_success() => {
                let statement = answered.body.to_vec();
                if wakes.send(Wake::Statement { statement }).await.is_err() {
                    return;
                }
            }
            Ok(answered) => tracing::warn!(path, status = %answered.status, "the node gives no statement"),
            Err(unreachable) => {
                tracing::info!(
                    path,
                    reason = unreachable.reason,
                    "the node is not reached; what is known goes on to hold"
                );
                if path == "/keys" {
                    keys.reset_after(PAUSE);
                } else {
                    revoked.reset_after(PAUSE);
                }
            }
        }
        // Whoever makes keys wanted without end is answered so often.
        tokio::time::sleep(PAUSE / 10).await;
    }
}
