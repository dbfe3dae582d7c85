//! The right edge of a log in tiles: every hash that is in no full tile yet, and so all that a log keeps in memory of its tree.

use super::tile::{NodeError, Tile, TileKind};
use super::tree::{Frontier, Hash, leaf_hash, subtree_root};

/// Hashes in a full tile.
const WIDTH: usize = 256;

/// A tile and its bytes.
pub type Filled = (Tile, Vec<u8>);

/// The unfinished tiles of a tree, one for each level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    frontier: Frontier,
    /// By level: the hashes of the tile that is being filled.
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of a tree of so many entries, out of its tiles.
    ///
    /// # Errors
    /// A tile that cannot be read, or is not as wide as it must be.
    pub fn read<E>(size: u64, read: impl Fn(&Tile) -> Result<Vec<u8>, E>) -> Result<Self, NodeError<E>> {
        let mut edge = Self::default();
        for level in 0..=7 {
            let Some(hashes) = size.checked_shr(8 * u32::from(level)).filter(|hashes| *hashes > 0) else { break };
            let unfinished = Tile::in_tree(TileKind::Hashes(level), hashes / 256, size);
            edge.levels
                .push(unfinished.map_or(Ok(Vec::new()), |tile| tile.hashes(&read)?.ok_or(NodeError::Width(tile)))?);
        }
        edge.frontier = edge.peaks(size).ok_or(NodeError::Range)?;
        Ok(edge)
    }

    /// The roots of the complete subtrees, out of the unfinished tiles: each bit of the size is in one of them.
    fn peaks(&self, size: u64) -> Option<Frontier> {
        let mut peaks = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = hashes.as_slice();
            while !rest.is_empty() {
                let largest = 1 << rest.len().ilog2();
                let (subtree, behind) = rest.split_at(largest);
                peaks.push(subtree_root(subtree));
                rest = behind;
            }
        }
        Frontier::restore(size, peaks)
    }

    /// Entries in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Appends an entry. The tiles that it fills, the lowest first: each is full, and never another.
    pub fn push(&mut self, entry: &[u8]) -> Vec<Filled> {
        let mut hash = leaf_hash(entry);
        self.frontier.push(hash);
        let (mut filled, mut index) = (Vec::new(), self.frontier.size() - 1);
        for level in 0..=7_u8 {
            if self.levels.len() <= level.into() {
                self.levels.push(Vec::with_capacity(WIDTH));
            }
            let Some(hashes) = self.levels.get_mut(usize::from(level)) else { break };
            hashes.push(hash);
            if hashes.len() < WIDTH {
                break;
            }
            index /= 256;
            filled.extend(Tile::new(TileKind::Hashes(level), index, 256).map(|tile| (tile, hashes.concat())));
            hash = subtree_root(hashes);
            hashes.clear();
        }
        filled
    }

    /// The unfinished tiles, as they are now: what a checkpoint of this size needs beside the full ones.
    pub fn unfinished(&self) -> impl Iterator<Item = Filled> + '_ {
        (0..).zip(&self.levels).filter_map(|(level, hashes)| {
            let kind = TileKind::Hashes(level);
            let index = self.size().checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
            let tile = Tile::new(kind, index, u16::try_from(hashes.len()).ok()?)?;
            Some((tile, hashes.concat()))
        })
    }
}
