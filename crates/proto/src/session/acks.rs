//! Acknowledgements, checked against what was really sent (contracts/ratchet.md section 5).

use nuncio_contracts::registry::label;

use super::{AckedTo, OpenError, Opened, Place, Run, Session};
use crate::crypto;
use crate::frame::Nonce;
use crate::header::Ack;
use crate::ids::{Seq, SessionId};

impl Session {
    /// Whether what an acknowledgement tells was sent.
    pub(crate) fn check_ack(&self, opened: Opened) -> Result<Opened, OpenError> {
        let ack = &opened.header.ack;
        // What was sent in a session that is over is sent again elsewhere.
        if ack.next < self.acked || matches!(self.place, Place::Old(_)) {
            return Ok(opened);
        }
        let highest = ack.next.saturating_add(64 - u64::from(ack.above.leading_zeros()) + u64::from(ack.above != 0));
        if highest > self.next_seq {
            return Err(OpenError::Restored);
        }
        let run = self.run_at(ack).ok_or(OpenError::Restored)?;
        let acked = AckedTo { next: ack.next, run, above: ack.above };
        Ok(Opened { acked, ..opened })
    }

    /// The running hash that an acknowledgement tells of. A frame that was given up may be a hole for the peer, where its hash begins anew: mostly the
    /// last of them is.
    fn run_at(&self, ack: &Ack) -> Option<Run> {
        let frames: Vec<_> = self.outstanding.range(..ack.next).collect();
        let begins = frames.iter().enumerate().rev().filter(|(_, (_, frame))| frame.entry.is_none());
        let holes = begins.map(|(at, (seq, _))| (at + 1, run_hole(&self.id, **seq)));
        holes.chain(core::iter::once((0, self.acked_run))).find_map(|(behind, run)| {
            let rest = frames.iter().skip(behind);
            let run = rest.fold(run, |run, (seq, frame)| run_received(&run, **seq, &frame.nonce));
            run.starts_with(&ack.check).then_some(run)
        })
    }
}

pub(super) fn run_received(run: &Run, seq: Seq, nonce: &Nonce) -> Run {
    crypto::sha256(&[run, &seq.to_be_bytes(), nonce])
}

pub(super) fn run_hole(session: &SessionId, seq: Seq) -> Run {
    crypto::sha256(&[label::ACK_CHAIN, &[1], session.as_bytes(), &seq.to_be_bytes()])
}
