//! A transparency log's formats, as C2SP and RFC 6962 give them (contracts/log.md): tree, proofs, tiles, notes, checkpoints, receipts, policies, timestamps.
//!
//! ```text
//!   entry ─► leaf hash ─► Frontier ─► root ─► Checkpoint ─► signed note
//!                │                     ▲
//!                └─► tiles ─► proofs ──┘      Receipt = index + proof + signed note
//! ```
//!
//! Nothing here knows what an entry says, where a tile is kept, or who asks for it.

mod checkpoint;
mod cosignature;
mod edge;
mod note;
mod policy;
mod proof;
mod receipt;
mod tile;
mod timestamp;
mod tree;
mod witness;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use cosignature::{cosign, cosigned_at};
pub use edge::{Edge, Filled};
pub use note::{KeyKind, Note, NoteError, NoteKey, NoteSignature};
pub use policy::{Cosigned, LineError, Policy, PolicyError, PolicyWitness};
pub use proof::{Nodes, ProofError, consistency_proof, inclusion_proof, root_of, verify_consistency, verify_inclusion};
pub use receipt::{Receipt, ReceiptError};
pub use tile::{NodeError, Tile, TileError, TileKind, TileNodes, bundle_of, entries_of};
pub use timestamp::{Attestation, Attested, Detached, Operation, Timestamp, TimestampError, blinded};
pub use tree::{Frontier, Hash, leaf_hash, node_hash, subtree_root};
pub use witness::{AddCheckpoint, REQUEST_LEN_MAX, WitnessError, read_lines};
