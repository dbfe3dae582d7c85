//! The Merkle tree of RFC 6962 section 2.1, as it grows.

use crate::crypto;

/// A Merkle tree hash: SHA-256.
pub type Hash = [u8; 32];

/// The hash of an entry.
// contracts/log.md G1: leaves and nodes are hashed apart, so neither passes for the other.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    crypto::sha256(&[&[0], entry])
}

/// The hash of two subtrees.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    crypto::sha256(&[&[1], left, right])
}

/// The root of a complete subtree, out of the hashes of one of its levels: as many as a power of two.
#[must_use]
pub fn subtree_root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => crypto::sha256(&[]),
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&subtree_root(left), &subtree_root(right))
        }
    }
}

/// The right edge of a tree: enough to append to it and to know its root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees that the tree is made of, the largest first: one for each bit of its size.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The edge that was kept; `None` when there are not as many peaks as the size has bits.
    #[must_use]
    pub fn restore(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        let count = usize::try_from(size.count_ones()).ok()?;
        (peaks.len() == count).then_some(Self { size, peaks })
    }

    /// Entries in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the complete subtrees, the largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf, by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each one at the size's low end is a subtree as large as the one just completed.
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// The tree's root; of an empty tree the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(smallest) = peaks.next() else { return crypto::sha256(&[]) };
        peaks.fold(*smallest, |right, left| node_hash(left, &right))
    }
}
