//! Proofs about a tree, made and checked: that an entry is in it, that it only grew (RFC 6962 sections 2.1.1 and 2.1.2; the checks as in
//! RFC 9162 sections 2.1.3.2 and 2.1.4.2).

use super::tree::{Hash, leaf_hash, node_hash};
use crate::crypto;

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// No tree of that size has that entry, or the older tree is the larger.
    #[error("the proof is about no such tree")]
    Range,
    /// Not as many hashes as such a proof has.
    #[error("the proof has too many or too few hashes")]
    Length,
    /// It comes to another root.
    #[error("the proof comes to another root")]
    Root,
}

/// Hashes of complete subtrees, from wherever they are kept.
pub trait Nodes {
    /// Why a hash cannot be had.
    type Error;

    /// The hash of the subtree of `2^level` leaves that begins at leaf `index · 2^level`.
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The proof that the entry at `index` is in the tree of `size`, from its sibling up to the root's child. Empty when there is no such entry.
///
/// # Errors
/// The first hash that cannot be had.
pub fn inclusion_proof<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    let (mut proof, mut from, mut to) = (Vec::new(), 0, size);
    if index >= size {
        return Ok(proof);
    }
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            proof.push(range(nodes, middle, to)?);
            to = middle;
        } else {
            proof.push(range(nodes, from, middle)?);
            from = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `new` entries begins with the tree of `old`. Empty for an empty tree and for the tree itself.
///
/// # Errors
/// The first hash that cannot be had.
pub fn consistency_proof<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<Vec<Hash>, N::Error> {
    let (mut proof, mut from, mut to) = (Vec::new(), 0, new);
    if old == 0 || old >= new {
        return Ok(proof);
    }
    while to != old {
        let middle = from + split(to - from);
        if old <= middle {
            proof.push(range(nodes, middle, to)?);
            to = middle;
        } else {
            proof.push(range(nodes, from, middle)?);
            from = middle;
        }
    }
    // The last subtree is the old tree itself, whose root the verifier has, unless something stands to its left.
    if from > 0 {
        proof.push(range(nodes, from, to)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The root of the first `size` leaves.
///
/// # Errors
/// The first hash that cannot be had.
pub fn root_of<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    if size == 0 { Ok(crypto::sha256(&[])) } else { range(nodes, 0, size) }
}

/// The root of the leaves from one up to another; the first is where a subtree of RFC 6962 begins.
fn range<N: Nodes>(nodes: &N, from: u64, to: u64) -> Result<Hash, N::Error> {
    let len = to - from;
    if len.is_power_of_two() {
        let level = len.trailing_zeros();
        return nodes.node(level, from >> level);
    }
    let middle = from + split(len);
    Ok(node_hash(&range(nodes, from, middle)?, &range(nodes, middle, to)?))
}

/// The largest power of two below a length of two or more.
const fn split(len: u64) -> u64 {
    1 << (len - 1).ilog2()
}

/// Checks that an entry is in the tree with this root.
///
/// # Errors
/// Why the proof proves nothing.
// contracts/log.md G2.
pub fn verify_inclusion(index: u64, size: u64, entry: &[u8], proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf_hash(entry));
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            (at, last) = skip_lone(at, last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    ended(last, hash == *root)
}

/// Checks that the tree with the new root begins with the tree with the old one.
///
/// # Errors
/// Why the proof proves nothing.
// contracts/log.md G3.
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Range);
    }
    if old == 0 || old == new {
        let is_empty = old > 0 || *old_root == crypto::sha256(&[]);
        let is_same = is_empty && (old < new || old_root == new_root);
        return if proof.is_empty() { ended(0, is_same) } else { Err(ProofError::Length) };
    }
    // A complete old tree is a node of the new one, and the verifier has its hash.
    let (first, rest) = match proof.split_first() {
        _ if old.is_power_of_two() => (old_root, proof),
        Some(split) => split,
        None => return Err(ProofError::Length),
    };
    let skipped = (old - 1).trailing_ones();
    let (mut at, mut last) = ((old - 1) >> skipped, (new - 1) >> skipped);
    let (mut older, mut newer) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            (older, newer) = (node_hash(sibling, &older), node_hash(sibling, &newer));
            (at, last) = skip_lone(at, last);
        } else {
            newer = node_hash(&newer, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    ended(last, older == *old_root && newer == *new_root)
}

/// Passes over the levels at which the last node has no sibling and stands for itself.
const fn skip_lone(at: u64, last: u64) -> (u64, u64) {
    let lone = if at & 1 == 1 || at == 0 { 0 } else { at.trailing_zeros() };
    (at >> lone, last >> lone)
}

const fn ended(last: u64, is_root: bool) -> Result<(), ProofError> {
    match (last, is_root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}
