//! Deterministic randomness for tests, vectors and the simulator. Never for keys that protect anything.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

use crate::crypto;

/// A counter hashed with a seed: reproducible, and unrelated streams for unrelated seeds.
#[derive(Clone, Debug)]
pub struct TestRng {
    seed: [u8; 32],
    counter: u64,
    block: Vec<u8>,
}

/// The generator of a seed.
#[must_use]
pub fn rng(seed: u64) -> TestRng {
    TestRng { seed: crypto::sha256(&[b"nuncio test rng", &seed.to_be_bytes()]), counter: 0, block: Vec::new() }
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            if self.block.is_empty() {
                self.block = crypto::sha256(&[&self.seed, &self.counter.to_be_bytes()]).to_vec();
                self.counter += 1;
            }
            *byte = self.block.pop().unwrap_or_default();
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}
