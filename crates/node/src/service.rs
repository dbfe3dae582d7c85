//! The token service: what it keeps, and what it does with a request. It knows no HTTP.

mod issue;
mod replace;
mod revoke;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use nuncio_proto::deposit::Deposit;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::tlog::{KeyKind, NoteKey};
use nuncio_proto::token::hash_of;
use nuncio_store::{Engine as _, Op, Store};
use serde_json::Value;

use crate::audit::{Deed, Record};
use crate::authn::{Attempt, Caller, Request};
use crate::directory::{Claim, Directory};
use crate::entropy;
use crate::error::NodeError;
use crate::form::Form;
use crate::keys::{Keys, Rotated};
use crate::ledger::{Ledger, Unwritten};
use crate::limits::Sources;
use crate::log::{Events, Log, LogError};
use crate::mailbox::{Begun, Mailboxes, Refused};
use crate::metrics::Metrics;
use crate::mint::{Draft, Minted};
use crate::once::Once;
use crate::policy::{self, Policy, SubjectType};
use crate::refusal::{Code, Refusal};
use crate::request::TokenRequest;
use crate::revoked::Revoked;
use crate::routes::Needs;
use crate::scribe::Scribe;
use crate::statement::{self, Edition, Made};

/// One trust domain's service.
#[derive(Debug)]
pub(crate) struct Service {
    identity: Identity,
    policy_file: PathBuf,
    policy: RwLock<Arc<Policy>>,
    keys: RwLock<Arc<Keys>>,
    /// Held while the owner changes something, so that two changes do not start from one state.
    turning: tokio::sync::Mutex<()>,
    revoked: Revoked,
    /// Held while one revokes.
    revoking: tokio::sync::Mutex<()>,
    signed_keys: Made,
    signed_revocations: Made,
    once: Once,
    pub(crate) store: Arc<Store>,
    pub(crate) directory: Directory,
    pub(crate) mailboxes: Arc<Mailboxes>,
    pub(crate) ledger: Ledger,
    pub(crate) scribe: Scribe,
    pub(crate) sources: Sources,
    pub(crate) metrics: Metrics,
}

/// A token that is to be: what was decided, and what it is called in the records.
struct Decided {
    deed: Deed,
    draft: Draft,
}

impl Service {
    /// Takes a home's store over. What was used up before is used up still.
    pub(crate) fn open(
        store: Arc<Store>,
        identity: Identity,
        policy_file: &Path,
        log: &Path,
    ) -> Result<Self, NodeError> {
        let policy = policy::load(policy_file)?;
        let now = entropy::now();
        let (keys, mut ops) = ready_keys(&store, &policy, now)?;
        ops.push(Record::of_owner(Deed::Policy, now, &policy.hash).put(entropy::random()?));
        store.commit(&ops)?;
        let revoked = Revoked::load(&store)?;
        let (once, now_s) = (Once::default(), now.0 / 1_000);
        let events = open_log(&store, log, &policy, &identity)?;
        let ledger = Ledger::open(Arc::clone(&store), |record| {
            let client = record.client.unwrap_or_default();
            for used in record.used.into_iter().filter(|used| used.until_s >= now_s) {
                // One id in two records would be a fault of ours; it is used up either way.
                let _ = once.take(&client, used, now_s);
            }
        })?;
        let (directory, mailboxes) = (Directory::load(&store)?, Arc::new(Mailboxes::load(&store)?));
        let own = Arc::clone(&store);
        let scribe =
            Scribe::start(events, store, identity.signing().clone(), identity.id(), Arc::clone(ledger.waiting()))?;
        Ok(Self {
            identity,
            policy_file: policy_file.to_owned(),
            policy: RwLock::new(Arc::new(policy)),
            keys: RwLock::new(Arc::new(keys)),
            turning: tokio::sync::Mutex::new(()),
            revoked,
            revoking: tokio::sync::Mutex::new(()),
            signed_keys: Made::default(),
            signed_revocations: Made::default(),
            once,
            store: own,
            directory,
            mailboxes,
            ledger,
            scribe,
            sources: Sources::new(),
            metrics: Metrics::new(),
        })
    }

    /// The policy in force. A request is decided by one from its beginning to its end: its caller has it.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the policy file again. One that is refused leaves the former in force (contracts/txts.md N13).
    pub(crate) async fn reload(&self) -> Result<(), NodeError> {
        let _alone = self.turning.lock().await;
        let policy = policy::load(&self.policy_file)?;
        if !policy.service.is(&self.policy().service) {
            let why = "trust domain, issuer and algorithm change with a restart alone";
            return Err(NodeError::policy(&self.policy_file, why));
        }
        self.keep(Record::of_owner(Deed::Policy, entropy::now(), &policy.hash), Vec::new()).await?;
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
        Ok(())
    }

    /// Who asks, within the rate of that client and with the permission that the route needs.
    pub(crate) fn authenticate(
        &self,
        request: &Request<'_>,
        needs: Needs,
        attempt: &mut Attempt,
    ) -> Result<Caller, Refusal> {
        let policy = self.policy();
        let caller = request.authenticate(&policy, &self.once, attempt)?;
        if caller.holder.and_then(|holder| holder.agent).is_some_and(|agent| policy.is_retired(&agent)) {
            return Err(Refusal::client("the agent's identity is over"));
        }
        if needs == Needs::Operator && !policy.is_operator(&caller.client) {
            return Err(Refusal::new(Code::UnauthorizedClient, "the client is no operator"));
        }
        Ok(caller)
    }

    /// A token, or why there is none. Either way its record is on the device when this returns (contracts/txts.md N30).
    pub(crate) async fn token(&self, caller: &Caller, attempt: Attempt, form: &Form) -> Result<Minted, Refusal> {
        let now = entropy::now();
        let mut record = Record { at: now, client: attempt.client, used: attempt.used, ..Record::default() };
        let minted = match self.decide(caller, form, now, &mut record).await {
            Ok(decided) => self.mint(&caller.policy, &decided, now, &mut record),
            Err(refusal) => Err(refusal),
        };
        match minted {
            Err(refusal) => Err(self.deny(record, refusal).await),
            Ok(minted) => {
                self.keep(record.clone(), Vec::new()).await?;
                // It may have been revoked while the record was written.
                if record.txn.as_ref().is_some_and(|txn| self.revoked.has(txn)) {
                    let withheld = Record { at: entropy::now(), used: Vec::new(), ..record };
                    return Err(self.deny(withheld, Refusal::grant("the transaction was revoked")).await);
                }
                Ok(minted)
            }
        }
    }

    async fn decide(
        &self,
        caller: &Caller,
        form: &Form,
        now: UnixMillis,
        record: &mut Record,
    ) -> Result<Decided, Refusal> {
        let policy = &caller.policy;
        let request = TokenRequest::read(form, &policy.service)?;
        let holder = caller.holder.ok_or_else(|| {
            Refusal::request(
                "a token is bound to a key: the policy names no agent for this client, and there is no DPoP proof",
            )
        })?;
        record.holder = holder.agent;
        let node = self.identity.id();
        let asked = Asked { policy, caller, node, holder, request: &request, now_s: now.0 / 1_000 };
        record.input = Some(hash_of(request.subject_token.as_bytes()));
        let decided = match request.subject_type {
            SubjectType::TxnToken => self.replace(&asked, record)?,
            _ => asked.issue(now).await?,
        };
        note(record, &decided.draft);
        if decided.draft.to.agent().is_some_and(|to| policy.is_retired(to)) {
            return Err(Refusal::new(Code::InvalidTarget, "the receiver's identity is over"));
        }
        // contracts/txts.md N15
        if request.subject_type != SubjectType::UnsignedJson && decided.draft.tells(request.subject_token) {
            return Err(Refusal::request("the token would hold its subject token"));
        }
        if let Some(point) = &policy.decisions {
            let action = match decided.deed {
                Deed::Replace => "replace",
                Deed::Renew => "renew",
                _ => "issue",
            };
            point.permits(&caller.client.name, action, &decided.draft).await?;
        }
        Ok(decided)
    }

    fn mint(
        &self,
        policy: &Policy,
        decided: &Decided,
        now: UnixMillis,
        record: &mut Record,
    ) -> Result<Minted, Refusal> {
        let minted = decided.draft.mint(&policy.service, self.keys().signing(), now.0 / 1_000)?;
        record.deed = decided.deed;
        record.token = Some(hash_of(minted.token.as_bytes()));
        Ok(minted)
    }

    /// Keeps a record and what goes with it. Returns when they are on the device (contracts/txts.md N30).
    pub(crate) async fn keep(&self, record: Record, ops: Vec<Op>) -> Result<(), Unwritten> {
        self.ledger.keep(record, ops).await?;
        self.scribe.records_wait();
        Ok(())
    }

    /// Writes a refusal down; if that cannot be done, it is the reason.
    pub(crate) async fn deny(&self, record: Record, refusal: Refusal) -> Refusal {
        let record = Record { deed: Deed::Deny, error: Some(refusal.code.name().to_owned()), ..record };
        match self.keep(record, Vec::new()).await {
            Ok(()) => refusal,
            Err(unwritten) => unwritten.into(),
        }
    }

    /// The next key signs from now on.
    pub(crate) async fn rotate(&self, force: bool) -> Result<Rotated, NodeError> {
        let _alone = self.turning.lock().await;
        let mut keys = Keys::clone(&self.keys());
        let now = entropy::now();
        let (ops, rotated) = keys.rotate(now, force)?;
        // On the device before the first token that the new key signs.
        self.keep(Record::of_owner(Deed::Rotate, now, &rotated.signs), ops).await?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(rotated)
    }

    /// The keys that sign tokens, as a JWK set's members.
    pub(crate) fn jwks(&self) -> Vec<Value> {
        self.keys().jwks(entropy::now())
    }

    /// The same, signed.
    pub(crate) fn signed_keys(&self) -> Bytes {
        let (keys, now) = (self.keys(), entropy::now());
        let edition = Edition { number: keys.number(), iat: now.0 / 1_000 };
        let make = || statement::keys(&self.identity, &self.policy().service.domain, keys.jwks(now), now);
        self.signed_keys.edition(edition, make)
    }

    /// The revoked transactions, signed.
    pub(crate) fn signed_revocations(&self) -> Bytes {
        let (list, now) = (self.revoked.list(), entropy::now());
        let edition = Edition { number: list.serial(), iat: now.0 / 1_000 };
        self.signed_revocations.edition(edition, || {
            let txns = list.entries(edition.iat);
            statement::revoked(&self.identity, &self.policy().service.domain, list.serial(), txns, now)
        })
    }

    /// An agent's bundle, for somebody who wants to write to it.
    pub(crate) async fn claim(&self, by: AgentId, of: AgentId) -> Result<Vec<u8>, Refusal> {
        // A home that was put back from a copy has prekeys that were given away since: its log has ended, if somebody has seen it (contracts/directory.md D11).
        let gives = self.scribe.is_sound();
        self.directory.claim(&self.store, &self.ledger, Claim { by, of, gives }, entropy::now()).await
    }

    /// Takes frames for agents that the policy names, as far as a stream was not refused before.
    pub(crate) fn deposit(&self, deposits: &[Deposit], refused: &mut Refused) -> Begun {
        let policy = self.policy();
        let has_mailbox = |agent: &AgentId| policy.client_of(agent).is_some();
        self.mailboxes.begin(&self.ledger, deposits, refused, has_mailbox, entropy::now())
    }

    /// The answers to deposits of which it is known whether they are on disk.
    pub(crate) fn deposited(&self, begun: Begun) -> Vec<u16> {
        self.mailboxes.end(begun)
    }

    /// Forgets what is over and who is quiet.
    pub(crate) async fn forget(&self) {
        self.sources.forget();
        let policy = self.policy();
        self.directory.forget(&self.ledger, |agent| policy.is_retired(agent), entropy::now()).await;
        self.mailboxes.expire(&self.ledger, entropy::now());
    }

    /// The node's identity.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn revoked_len(&self) -> usize {
        self.revoked.list().len()
    }
}

/// A request for a token, and what it is decided by.
struct Asked<'a> {
    policy: &'a Policy,
    caller: &'a Caller,
    /// The node, for which a client's own word may be.
    node: AgentId,
    holder: crate::holder::Holder,
    request: &'a TokenRequest<'a>,
    now_s: u64,
}

/// The log of this domain, by the node's own key (contracts/audit.md section 5).
fn open_log(store: &Arc<Store>, folder: &Path, policy: &Policy, identity: &Identity) -> Result<Events, NodeError> {
    let origin = format!("{}/log", policy.service.domain);
    let key = NoteKey::new(&origin, KeyKind::Ed25519, identity.signing().public()).ok_or(LogError::Name)?;
    Ok(Events::open(Log::open(Arc::clone(store), folder, key, identity.signing().clone())?)?)
}

fn ready_keys(store: &Store, policy: &Policy, now: UnixMillis) -> Result<(Keys, Vec<Op>), NodeError> {
    let algorithm = policy.service.algorithm;
    let Some(mut keys) = Keys::load(store)? else { return Keys::make(algorithm, now) };
    let ops = keys.prepare(algorithm, now)?;
    Ok((keys, ops))
}

/// What a record says of a token.
fn note(record: &mut Record, draft: &Draft) {
    record.txn = Some(draft.txn.clone());
    record.subject = Some(draft.sub.clone());
    record.receiver = Some(draft.to.to_string());
    record.hop = Some(draft.n);
    record.scope = Some(draft.scope.to_string());
}

/// A new UUIDv7, as text.
fn new_txn(now: UnixMillis) -> Result<String, Refusal> {
    let random = entropy::random().map_err(|_| Refusal::unavailable("no randomness"))?;
    Ok(uuid::Uuid::from_bytes(*LetterId::new(now, random).as_bytes()).hyphenated().to_string())
}
