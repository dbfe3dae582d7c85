//! What contracts/README.md calls each refusal.

use nuncio_contracts::registry::code;
use nuncio_proto::bundle::BundleError;
use nuncio_proto::codec::CodecError;
use nuncio_proto::crypto::CryptoError;
use nuncio_proto::deposit::DepositError;
use nuncio_proto::frame::FrameError;
use nuncio_proto::handshake::HandshakeError;
use nuncio_proto::identity::IdentityError;
use nuncio_proto::ids::IdError;
use nuncio_proto::invitation::NotInvitation;
use nuncio_proto::letter::LetterError;
use nuncio_proto::permit::{NotAllowed, NotPermit};
use nuncio_proto::ratchet::RatchetError;
use nuncio_proto::replay::ReplayError;
use nuncio_proto::session::OpenError;
use nuncio_proto::snapshot::SnapshotError;
use nuncio_proto::token::Denial;

/// The name of a refusal.
pub(crate) trait Name {
    fn name(&self) -> &'static str;
}

impl Name for CodecError {
    fn name(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too-long",
            Self::Malformed | Self::NotCanonical => "codec",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for CryptoError {
    fn name(&self) -> &'static str {
        match self {
            Self::NotAuthentic => "not-authentic",
            Self::BadSignature => "bad-signature",
            Self::BadPublicKey => "bad-key",
            Self::AllZero => "all-zero",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for IdError {
    fn name(&self) -> &'static str {
        match self {
            Self::NotDidKey => "not-did-key",
            Self::NotBase58 => "not-base58",
            Self::NotEd25519 => "not-ed25519",
            Self::Key(why) => why.name(),
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for NotInvitation {
    fn name(&self) -> &'static str {
        "not-invitation"
    }
}

impl Name for NotPermit {
    fn name(&self) -> &'static str {
        match self {
            Self::Codec(why) => why.name(),
            Self::Id(why) => why.name(),
            Self::Crypto(why) => why.name(),
            Self::Line => "not-permit",
            Self::Service => "service",
            Self::Links => "links",
            Self::Scope => "scope",
            Self::Wider => "wider",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for NotAllowed {
    fn name(&self) -> &'static str {
        match self {
            Self::Giver => "giver",
            Self::Holder => "holder",
            Self::Service => "service",
            Self::Over => "over",
            Self::Revoked => "revoked",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for BundleError {
    fn name(&self) -> &'static str {
        match self {
            Self::Codec(why) => why.name(),
            Self::Id(why) => why.name(),
            Self::Crypto(why) => why.name(),
            Self::Version => "version",
            Self::NotNow => "not-now",
            Self::Endpoints => "endpoints",
            Self::OneTime => "one-time",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for DepositError {
    fn name(&self) -> &'static str {
        match self {
            Self::Codec(why) => why.name(),
            Self::Agent(why) => why.name(),
            Self::Recipients => "recipients",
            Self::Frame => "frame",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for IdentityError {
    fn name(&self) -> &'static str {
        match self {
            Self::Codec(why) => why.name(),
            Self::Id(why) => why.name(),
            Self::Crypto(why) => why.name(),
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for FrameError {
    fn name(&self) -> &'static str {
        match self {
            Self::Codec(why) => why.name(),
            Self::Version(_) => "version",
            Self::Kind(_) => "kind",
            Self::Length => "length",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for HandshakeError {
    fn name(&self) -> &'static str {
        match self {
            Self::Codec(why) => why.name(),
            Self::Version => "version",
            Self::Crypto(why) => why.name(),
            Self::Id(why) => why.name(),
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for LetterError {
    fn name(&self) -> &'static str {
        match self {
            Self::Codec(why) => why.name(),
            Self::Malformed => "malformed",
            Self::UnknownExtension(_) => "unknown-extension",
            Self::Expired => "expired",
            Self::Future => "future",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for ReplayError {
    fn name(&self) -> &'static str {
        match self {
            Self::Replayed(_) => "replayed",
            Self::TooFar(_) => "too-far",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for RatchetError {
    fn name(&self) -> &'static str {
        match self {
            Self::SkipTooFar(_) => "skip-too-far",
            Self::NoRoom => "no-room",
            Self::Spent => "spent",
            Self::Contradiction => "contradiction",
            Self::Exhausted => "exhausted",
            Self::Crypto(why) => why.name(),
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for OpenError {
    fn name(&self) -> &'static str {
        match self {
            Self::Crypto(why) => why.name(),
            Self::Replay(why) => why.name(),
            Self::Ratchet(why) => why.name(),
            Self::UnknownTag => "unknown-tag",
            Self::Malformed => "malformed",
            Self::Restored => "restored",
            Self::Parted => "parted",
            Self::HeldFull => "held-full",
            Self::ChainsFull => "chains-full",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for SnapshotError {
    fn name(&self) -> &'static str {
        match self {
            Self::Codec(why) => why.name(),
            Self::Newer(_) => "newer",
            Self::Id(why) => why.name(),
            other => panic!("{other} has no name"),
        }
    }
}

/// The registry's names of its codes.
impl Name for Denial {
    fn name(&self) -> &'static str {
        match self.code() {
            code::TOKEN_MISSING => "token_missing",
            code::TOKEN_MALFORMED => "token_malformed",
            code::TOKEN_ALGORITHM => "token_algorithm",
            code::TOKEN_TYPE => "token_type",
            code::TOKEN_KEY => "token_key",
            code::TOKEN_SIGNATURE => "token_signature",
            code::TOKEN_AUDIENCE => "token_audience",
            code::TOKEN_EXPIRED => "token_expired",
            code::TOKEN_EARLY => "token_early",
            code::TOKEN_LIFE => "token_life",
            code::TOKEN_SENDER => "token_sender",
            code::TOKEN_RECEIVER => "token_receiver",
            code::TOKEN_HOPS => "token_hops",
            code::TOKEN_REVOKED => "token_revoked",
            code::TOKEN_SCOPE => "token_scope",
            code::TOKEN_PAYLOAD => "token_payload",
            other => panic!("{other} is no code of a token"),
        }
    }
}
