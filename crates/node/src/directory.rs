//! Where an agent that sleeps is found: its newest bundle, and one-time prekeys of which each is given away once (contracts/directory.md).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::batch::PrekeyBatch;
use nuncio_proto::bundle::{Bundle, OneTimeRef};
use nuncio_proto::codec;
use nuncio_proto::crypto::sha256;
use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine as _, Op, RowFault, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::ledger::{Ledger, Unwritten};
use crate::limits::Claims;
use crate::refusal::{Code, Refusal};
use crate::rows;

const VERSION: u8 = 1;

/// Every agent's listing.
#[derive(Debug)]
pub(crate) struct Directory {
    listings: Mutex<BTreeMap<AgentId, Listing>>,
    claims: Claims,
    /// Held while an owner changes its listing, so that two changes do not start from one state.
    listing: tokio::sync::Mutex<()>,
}

/// What there is of one agent. The prekeys themselves are rows.
#[derive(Clone, Debug, Default)]
struct Listing {
    /// The bundle and its edition.
    bundle: Option<(Vec<u8>, UnixMillis)>,
    newest: Option<Newest>,
    /// Given to nobody, with the end of each batch.
    left: BTreeSet<OneTimeRef>,
    ends: BTreeMap<u32, UnixMillis>,
}

/// The newest batch that was ever listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Newest {
    number: u32,
    hash: [u8; 32],
}

/// Who wants whose bundle, and whether a one-time prekey may go with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) by: AgentId,
    pub(crate) of: AgentId,
    pub(crate) gives: bool,
}

/// What an owner is told of its listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Left {
    left: usize,
    batch: Option<u32>,
    valid_until_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct ListingRow(u8, Option<ByteBuf>, Option<(u32, ByteArray<32>)>);

#[derive(Serialize, Deserialize)]
struct ListedRow(u8, u64, ByteBuf);

impl Directory {
    /// Everything that was listed and not given away.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let unreadable = |key: &[u8]| StoreError::Row { key: HEXLOWER.encode(key), fault: RowFault::Malformed };
        let mut listings = BTreeMap::<AgentId, Listing>::new();
        store.scan(&[rows::LISTING], &mut |key, value| {
            let (agent, listing) = Listing::read(key, value).ok_or_else(|| unreadable(key))?;
            listings.insert(agent, listing);
            Ok(())
        })?;
        store.scan(&[rows::LISTED], &mut |key, value| {
            let read = || rows::split_listed(key).zip(read_listed(value));
            let ((agent, at), (end, _)) = read().ok_or_else(|| unreadable(key))?;
            let listing = listings.entry(agent).or_default();
            listing.left.insert(at);
            listing.ends.insert(at.batch, end);
            Ok(())
        })?;
        Ok(Self { listings: Mutex::new(listings), claims: Claims::new(), listing: tokio::sync::Mutex::default() })
    }

    /// contracts/directory.md D4.
    pub(crate) async fn list_bundle(
        &self,
        ledger: &Ledger,
        owner: AgentId,
        bytes: Vec<u8>,
        now: UnixMillis,
    ) -> Result<Left, Refusal> {
        let bundle = Bundle::parse(&bytes, now).map_err(|error| Refusal::request(error.to_string()))?;
        if bundle.agent != owner || bundle.one_time.is_some() {
            return Err(Refusal::request("it is another agent's bundle, or one with a one-time prekey"));
        }
        let _alone = self.listing.lock().await;
        let mut listing = self.of(&owner);
        if let Some((kept, edition)) = &listing.bundle {
            if *kept == bytes {
                return Ok(listing.left(now));
            }
            if bundle.not_after <= *edition {
                return Err(Refusal::new(Code::Outdated, "the directory has a bundle that is valid for longer"));
            }
        }
        listing.bundle = Some((bytes, bundle.not_after));
        ledger.write(vec![listing.put(&owner)]).await?;
        let mut listings = self.listings();
        let kept = listings.entry(owner).or_default();
        kept.bundle = listing.bundle;
        Ok(kept.left(now))
    }

    /// contracts/directory.md D5.
    pub(crate) async fn list_batch(
        &self,
        ledger: &Ledger,
        owner: AgentId,
        bytes: Vec<u8>,
        now: UnixMillis,
    ) -> Result<Left, Refusal> {
        let read = move || PrekeyBatch::parse(&owner, &bytes, now).map(|batch| (sha256(&[&bytes]), batch));
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| Refusal::unavailable("it broke off"))?;
        let (hash, batch) = read.map_err(|error| Refusal::request(error.to_string()))?;
        let newest = Newest { number: batch.number(), hash };
        let _alone = self.listing.lock().await;
        let mut listing = self.of(&owner);
        if listing.newest == Some(newest) {
            return Ok(listing.left(now));
        }
        if listing.newest.is_some_and(|had| newest.number <= had.number) {
            return Err(Refusal::new(
                Code::Outdated,
                "the directory has had a batch of this number, or of a higher one",
            ));
        }
        if listing.batches() >= limit::DIRECTORY_BATCHES_MAX {
            return Err(Refusal::new(Code::Full, "the directory keeps no more batches of this agent"));
        }
        listing.newest = Some(newest);
        let offers: Vec<_> = (0..limit::ONE_TIME_BATCH).filter_map(|index| batch.offer(index)).collect();
        let put = |offer: &nuncio_proto::bundle::OneTimeOffer| {
            let row = ListedRow(VERSION, batch.not_after().0, ByteBuf::from(offer.to_bytes()));
            Op::Put { key: rows::listed(&owner, offer.prekey().at), value: codec::encode(&row) }
        };
        ledger.write(core::iter::once(listing.put(&owner)).chain(offers.iter().map(put)).collect()).await?;
        let mut listings = self.listings();
        let kept = listings.entry(owner).or_default();
        kept.newest = listing.newest;
        kept.left.extend(offers.iter().map(|offer| offer.prekey().at));
        kept.ends.insert(newest.number, batch.not_after());
        Ok(kept.left(now))
    }

    /// What an owner has listed.
    pub(crate) fn left(&self, owner: &AgentId, now: UnixMillis) -> Left {
        self.listings().get(owner).map(|listing| listing.left(now)).unwrap_or_default()
    }

    /// A bundle with a prekey that nobody else is given, or with none (contracts/directory.md D8 to D11).
    pub(crate) async fn claim(
        &self,
        store: &Arc<Store>,
        ledger: &Ledger,
        claim: Claim,
        now: UnixMillis,
    ) -> Result<Vec<u8>, Refusal> {
        let nothing = || Refusal::new(Code::NotFound, "the directory has no bundle of this agent");
        let (bundle, at) = {
            let mut listings = self.listings();
            let listing = listings.get_mut(&claim.of).ok_or_else(nothing)?;
            let (bundle, end) = listing.bundle.clone().ok_or_else(nothing)?;
            if now > end.plus(time::CLOCK_SKEW) {
                return Err(nothing());
            }
            // A claim that asks for a prekey where none is left takes nobody's place.
            let at = listing.next(now).filter(|_| claim.gives && self.claims.allow(&claim.by, &claim.of));
            if let Some(at) = &at {
                listing.left.remove(at);
            }
            (bundle, at)
        };
        let Some(at) = at else { return Ok(bundle) };
        let key = rows::listed(&claim.of, at);
        let Some(with_one) = with_offer(store, key.clone(), &bundle).await else {
            // Nobody is kept waiting by a row that cannot be read: it is given to nobody, and the next claim has another.
            tracing::error!(agent = %claim.of, "a one-time prekey in the directory cannot be read");
            return Ok(bundle);
        };
        let Ok(deleted) = ledger.begin(vec![Op::Delete { key }]) else {
            // Nothing was handed over: it is there still.
            self.listings().entry(claim.of).or_default().left.insert(at);
            return Err(Unwritten.into());
        };
        deleted.await.map_err(|_| Unwritten)?;
        Ok(with_one)
    }

    /// Deletes what is over, and all of those whose identity is (contracts/directory.md D10).
    pub(crate) async fn forget(&self, ledger: &Ledger, is_retired: impl Fn(&AgentId) -> bool, now: UnixMillis) {
        let _alone = self.listing.lock().await;
        let mut ops = Vec::new();
        for (agent, listing) in self.listings().iter_mut() {
            let is_over = is_retired(agent);
            let ended = |at: &OneTimeRef| is_over || listing.ends.get(&at.batch).is_none_or(|end| now > *end);
            let (gone, left) = listing.left.iter().partition::<BTreeSet<OneTimeRef>, _>(|at| ended(at));
            ops.extend(gone.iter().map(|at| Op::Delete { key: rows::listed(agent, *at) }));
            listing.left = left;
            listing.ends.retain(|batch, _| listing.left.iter().any(|at| at.batch == *batch));
            if is_over && listing.bundle.take().is_some() {
                // The number of its newest batch stays: nothing of it is listed again.
                ops.push(listing.put(agent));
            }
        }
        self.claims.forget();
        if !ops.is_empty() && ledger.write(ops).await.is_err() {
            tracing::warn!(
                "what is over stays in the directory's rows until the node is started again; it is given to nobody"
            );
        }
    }

    fn of(&self, owner: &AgentId) -> Listing {
        self.listings().get(owner).cloned().unwrap_or_default()
    }

    fn listings(&self) -> MutexGuard<'_, BTreeMap<AgentId, Listing>> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listing {
    fn read(key: &[u8], value: &[u8]) -> Option<(AgentId, Self)> {
        let agent = AgentId::from_bytes(key.get(1..)?.try_into().ok()?).ok()?;
        let ListingRow(version, bundle, newest) = codec::decode(value, limit::BUNDLE_LEN_MAX + 64).ok()?;
        // It was verified when it was listed; at what time it is looked at does not matter here.
        let edition = |bytes: ByteBuf| Bundle::edition(&bytes).map(|edition| (bytes.into_vec(), edition));
        let bundle = bundle.map(edition).transpose().ok()?;
        let newest = newest.map(|(number, hash)| Newest { number, hash: hash.into_array() });
        (version == VERSION).then_some((agent, Self { bundle, newest, ..Self::default() }))
    }

    fn put(&self, agent: &AgentId) -> Op {
        let bundle = self.bundle.as_ref().map(|(bytes, _)| ByteBuf::from(bytes.as_slice()));
        let newest = self.newest.map(|newest| (newest.number, ByteArray::new(newest.hash)));
        Op::Put { key: rows::listing(agent), value: codec::encode(&ListingRow(VERSION, bundle, newest)) }
    }

    /// Batches of which prekeys are left.
    fn batches(&self) -> usize {
        self.left.iter().map(|at| at.batch).collect::<BTreeSet<u32>>().len()
    }

    /// The next prekey that is not over.
    fn next(&self, now: UnixMillis) -> Option<OneTimeRef> {
        self.left.iter().find(|at| self.ends.get(&at.batch).is_some_and(|end| now <= *end)).copied()
    }

    fn left(&self, now: UnixMillis) -> Left {
        let is_good = |at: &&OneTimeRef| self.ends.get(&at.batch).is_some_and(|end| now <= *end);
        Left {
            left: self.left.iter().filter(is_good).count(),
            batch: self.newest.map(|newest| newest.number),
            valid_until_ms: self.bundle.as_ref().map(|(_, edition)| edition.0),
        }
    }
}

/// The bundle with the prekey of this row; `None` where that cannot be read.
async fn with_offer(store: &Arc<Store>, key: Vec<u8>, bundle: &[u8]) -> Option<Vec<u8>> {
    let store = Arc::clone(store);
    let row = tokio::task::spawn_blocking(move || store.get(&key)).await.ok()?.ok()??;
    Bundle::with_offer(bundle, &read_listed(&row)?.1).ok()
}

/// Until when a prekey is given away, and its bytes.
fn read_listed(value: &[u8]) -> Option<(UnixMillis, Vec<u8>)> {
    let ListedRow(version, end, offer) = codec::decode(value, limit::BUNDLE_LEN_MAX).ok()?;
    (version == VERSION).then_some((UnixMillis(end), offer.into_vec()))
}
