//! The turn of an epoch: live rows are sealed anew, and then the old key goes for good.
//!
//! ```text
//!   old+new ▶ idle slot      re-seal what names old       none names old        new ▶ one slot     new ▶ the other
//!   synced, read back   ──▶  in batches, each a commit ──▶ (checked)        ──▶ synced        ──▶  synced
//!   ▲                        ▲                                                   ▲
//!   a cut here: old alone    a cut here: both keys open everything, go on        a cut here: levelled at opening
//! ```
//!
//! Letters go on meanwhile: a commit is held off for one batch at most, and is sealed under the new key from the first step on.

use nuncio_proto::step::Op;
use zeroize::Zeroizing;

use crate::engine::Engine;
use crate::error::StoreError;
use crate::keys::KeyFile;
use crate::rest::{Vault, epoch_of};

/// Rows sealed anew in one commit; a letter waits for at most one such commit.
const ROWS_PER_BATCH: usize = 256;
/// Keys remembered by one scan, a few megabytes; a larger store is scanned again.
const KEYS_PER_SCAN: usize = 1 << 16;

/// Where a turn is, for tests that cut the power there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnStep {
    BothKeysWritten,
    BatchSealed,
    NoneNamesOld,
    NewKeyInOneSlot,
    NewKeyInBothSlots,
}

/// Turns the epoch, or finishes a turn that was cut short. The number of rows sealed anew.
pub(crate) fn turn<E: Engine>(
    vault: &Vault<E>,
    keys: &mut KeyFile,
    at: &mut dyn FnMut(TurnStep),
) -> Result<u64, StoreError> {
    {
        let held = vault.hold_commits();
        keys.begin_turn()?;
        vault.set_keys(keys.epochs().clone(), &held);
    }
    at(TurnStep::BothKeysWritten);
    let old = keys.epochs().old().map(|old| old.epoch());
    let mut sealed = 0;
    loop {
        let stale = stale_keys(vault.engine(), old)?;
        if stale.is_empty() {
            break;
        }
        for batch in stale.chunks(ROWS_PER_BATCH) {
            sealed += seal_anew(vault, batch, old)?;
            at(TurnStep::BatchSealed);
        }
    }
    at(TurnStep::NoneNamesOld);
    keys.finish_turn(|| at(TurnStep::NewKeyInOneSlot))?;
    vault.set_keys(keys.epochs().clone(), &vault.hold_commits());
    at(TurnStep::NewKeyInBothSlots);
    Ok(sealed)
}

/// Keys of rows that name the old epoch, at most [`KEYS_PER_SCAN`]. Empty only when a scan of everything found none.
fn stale_keys<E: Engine>(engine: &E, old: Option<u32>) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut stale = Vec::new();
    engine.scan(&[], &mut |key, row| {
        if stale.len() < KEYS_PER_SCAN && Some(epoch_of(key, row)?) == old {
            stale.push(key.to_vec());
        }
        Ok(())
    })?;
    Ok(stale)
}

/// Reads and writes under the commit lock, so that no letter's write is overtaken by an older value.
fn seal_anew<E: Engine>(vault: &Vault<E>, keys: &[Vec<u8>], old: Option<u32>) -> Result<u64, StoreError> {
    let mut held = vault.hold_commits();
    let mut ops = Vec::with_capacity(keys.len());
    for key in keys {
        let Some(row) = vault.engine().get(key)? else { continue };
        if Some(epoch_of(key, &row)?) == old {
            ops.push(Op::Put { key: key.clone(), value: vault.open(key, row)? });
        }
    }
    let result = vault.commit_held(&ops, &mut held);
    let count = u64::try_from(ops.len()).unwrap_or(u64::MAX);
    for op in ops {
        if let Op::Put { value, .. } = op {
            drop(Zeroizing::new(value));
        }
    }
    result.map(|()| count)
}

#[cfg(test)]
mod tests;
