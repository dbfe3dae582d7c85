//! What a peer counts.

/// What happened since the start; for status and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Letters sealed, control letters included.
    pub sealed: u64,
    /// Letters opened, control letters included.
    pub opened: u64,
    /// Letters that came again and were not delivered again.
    pub duplicates: u64,
    /// Frames sent again.
    pub resent: u64,
    /// Acknowledgements sent alone.
    pub acks_alone: u64,
    /// DH turns of a receiving ratchet.
    pub turns: u64,
    /// Handshakes begun or answered.
    pub handshakes: u64,
    /// Re-keys completed.
    pub rekeys: u64,
    /// Letters of ours sealed again in another session.
    pub sealed_again: u64,
}
