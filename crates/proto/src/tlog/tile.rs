//! Tiles: the tree's hashes, and the log's entries, in files of 256 that never change (C2SP tlog-tiles).

use super::proof::Nodes;
use super::tree::{Hash, subtree_root};

/// Hashes, or entries, in a full tile.
const WIDTH: u64 = 256;
/// Tree levels that one tile spans.
const HEIGHT: u32 = 8;
/// No tree of 2^64 leaves needs a higher one.
const LEVEL_MAX: u8 = 7;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TileKind {
    /// Entries.
    Entries,
    /// Hashes: at level 0 of the leaves, above of full tiles of the level below.
    Hashes(u8),
}

/// A tile's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// Why bytes are not what a tile should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// No path of a tile, in its one spelling.
    #[error("not the path of a tile")]
    Path,
    /// Not as many bytes or entries as the tile is wide.
    #[error("the tile has another width than its path says")]
    Width,
    /// An entry is longer than a bundle can hold.
    #[error("an entry has more than 65535 bytes")]
    Entry,
}

impl Tile {
    /// A tile of 1 to 256 hashes or entries.
    #[must_use]
    pub fn new(kind: TileKind, index: u64, width: u16) -> Option<Self> {
        let is_level = !matches!(kind, TileKind::Hashes(level) if level > LEVEL_MAX);
        (is_level && (1..=WIDTH).contains(&width.into())).then_some(Self { kind, index, width })
    }

    /// What it holds.
    #[must_use]
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// Which of its level.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Hashes or entries in it.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether it is full, and so is never another.
    #[must_use]
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == WIDTH
    }

    /// Its path below the log's prefix: `tile/0/x001/x234/067`, and `.p/5` behind it while it is 5 wide.
    // contracts/log.md G4.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = match self.kind {
            TileKind::Entries => "tile/entries".to_owned(),
            TileKind::Hashes(level) => format!("tile/{level}"),
        };
        let mut groups = vec![format!("{:03}", self.index % 1_000)];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1_000));
            rest /= 1_000;
        }
        for group in groups.iter().rev() {
            path.push('/');
            path.push_str(group);
        }
        if !self.is_full() {
            path.push_str(&format!(".p/{}", self.width));
        }
        path
    }

    /// Reads a path.
    ///
    /// # Errors
    /// [`TileError::Path`] for every other spelling than [`Tile::path`]'s.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        let read = || {
            let (kind, place) = path.strip_prefix("tile/")?.split_once('/')?;
            let kind = match kind {
                "entries" => TileKind::Entries,
                level => TileKind::Hashes(level.parse().ok()?),
            };
            let (groups, width) = match place.split_once(".p/") {
                Some((groups, width)) => (groups, width.parse().ok()?),
                None => (place, 256),
            };
            let number = groups.split('/').map(|group| group.trim_start_matches('x')).collect::<String>();
            Self::new(kind, number.parse().ok()?, width)
        };
        // Whatever a lenient parser makes of another spelling, it is not spelled like this again.
        read().filter(|tile| tile.path() == path).ok_or(TileError::Path)
    }

    /// The hashes of the tile's bytes; `None` when there are more or fewer than it is wide.
    pub(super) fn hashes<E>(
        &self,
        read: impl Fn(&Self) -> Result<Vec<u8>, E>,
    ) -> Result<Option<Vec<Hash>>, NodeError<E>> {
        let bytes = read(self).map_err(NodeError::Read)?;
        let (hashes, odd) = bytes.as_chunks::<32>();
        let is_whole = hashes.len() == usize::from(self.width) && odd.is_empty();
        Ok(is_whole.then(|| hashes.to_vec()))
    }

    /// Every tile of a tree, as wide as it is in it, those of one kind in order.
    // contracts/log.md G5: what a tile above holds are full tiles below.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        let kinds = core::iter::once(TileKind::Entries).chain((0..=LEVEL_MAX).map(TileKind::Hashes));
        kinds.flat_map(move |kind| {
            let hashes = size >> kind.shift();
            let full = (0..hashes / WIDTH).map(move |index| Self { kind, index, width: 256 });
            full.chain(Self::in_tree(kind, hashes / WIDTH, size))
        })
    }

    /// The tiles that are full in a tree of one size and were not in a tree of another, smaller one.
    pub fn filled_between(before: u64, now: u64) -> impl Iterator<Item = Self> {
        let kinds = core::iter::once(TileKind::Entries).chain((0..=LEVEL_MAX).map(TileKind::Hashes));
        kinds.flat_map(move |kind| {
            let full = |size: u64| (size >> kind.shift()) / WIDTH;
            (full(before)..full(now)).map(move |index| Self { kind, index, width: 256 })
        })
    }

    /// A tile, as wide as it is in a tree of this size; `None` when that tree has nothing of it.
    #[must_use]
    pub fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(kind.shift()).unwrap_or(0);
        let width = hashes.saturating_sub(index.saturating_mul(WIDTH)).min(WIDTH);
        Self::new(kind, index, u16::try_from(width).ok()?)
    }
}

impl TileKind {
    /// Each hash of it is of `2^shift` leaves.
    const fn shift(self) -> u32 {
        match self {
            Self::Entries => 0,
            #[expect(clippy::as_conversions, reason = "widening: eight times any level fits")]
            Self::Hashes(level) => HEIGHT * level as u32,
        }
    }
}

/// Entries as a bundle holds them: each behind its length in two bytes.
///
/// # Errors
/// [`TileError::Entry`] for one that is too long.
pub fn bundle_of<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, TileError> {
    let mut bundle = Vec::new();
    for entry in entries {
        let len = u16::try_from(entry.len()).map_err(|_| TileError::Entry)?;
        bundle.extend_from_slice(&len.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// The entries of a bundle of this width.
///
/// # Errors
/// [`TileError::Width`] when it holds more, fewer, or bytes that are none.
// contracts/log.md G6.
pub fn entries_of(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let (mut rest, mut entries) = (bundle, Vec::new());
    for _ in 0..width {
        let (len, behind) = rest.split_first_chunk().ok_or(TileError::Width)?;
        let (entry, behind) = behind.split_at_checked(u16::from_be_bytes(*len).into()).ok_or(TileError::Width)?;
        entries.push(entry);
        rest = behind;
    }
    if rest.is_empty() { Ok(entries) } else { Err(TileError::Width) }
}

/// Reads tiles of a tree of one size, and makes hashes of subtrees out of them.
#[derive(Debug)]
pub struct TileNodes<R> {
    size: u64,
    read: R,
}

/// Why a subtree's hash cannot be had from tiles.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError<E> {
    /// The tree has no such subtree.
    #[error("no such subtree")]
    Range,
    /// The tile is not as wide as it must be.
    #[error("{}: not as wide as it must be", .0.path())]
    Width(Tile),
    /// The tile could not be read.
    #[error(transparent)]
    Read(E),
}

impl<R, E> TileNodes<R>
where
    R: Fn(&Tile) -> Result<Vec<u8>, E>,
{
    /// Reads tiles by the given function.
    pub const fn new(size: u64, read: R) -> Self {
        Self { size, read }
    }
}

impl<R, E> Nodes for TileNodes<R>
where
    R: Fn(&Tile) -> Result<Vec<u8>, E>,
{
    type Error = NodeError<E>;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error> {
        // The tile in which the subtree's leaves, or full tiles of them, stand side by side.
        let (above, within) = (level / HEIGHT, level % HEIGHT);
        let kind = u8::try_from(above).map(TileKind::Hashes).map_err(|_| NodeError::Range)?;
        let first = index.checked_mul(1 << within).ok_or(NodeError::Range)?;
        let tile = Tile::in_tree(kind, first / WIDTH, self.size).ok_or(NodeError::Range)?;
        let from = usize::try_from(first % WIDTH).map_err(|_| NodeError::Range)?;
        let place = from..from + (1 << within);
        if place.end > usize::from(tile.width()) {
            return Err(NodeError::Range);
        }
        let hashes = tile.hashes(&self.read)?.ok_or(NodeError::Width(tile))?;
        Ok(subtree_root(hashes.get(place).ok_or(NodeError::Width(tile))?))
    }
}
