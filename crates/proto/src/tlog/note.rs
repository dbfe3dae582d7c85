//! Signed notes: a text, and lines of signatures below it (C2SP signed-note).

use core::fmt;

use data_encoding::{BASE64, HEXLOWER};
use nuncio_contracts::registry::limit;

use crate::crypto::{self, ML_DSA_PUBLIC_LEN, SigningKey};

/// The name of a key of kind 6 is signed with its length in one byte.
const NAME_LEN_MAX: usize = 255;

/// What a key of a note signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519 over the text: a log's own signature.
    Ed25519,
    /// Ed25519 over a time and the text: a witness's cosignature.
    CosignatureV1,
    /// ML-DSA-44 over names, a time and a head: a witness's cosignature that outlives quantum computers.
    MlDsa44,
}

/// A key that signs notes, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    public: Public,
}

/// The public key, as what it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Public {
    Ed25519([u8; 32]),
    CosignatureV1([u8; 32]),
    MlDsa44(Box<[u8; ML_DSA_PUBLIC_LEN]>),
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// Its id.
    pub id: [u8; 4],
    /// What stands behind the id.
    pub signature: Vec<u8>,
}

/// A text with signatures that nobody has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// Why a note is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Not the form of a note.
    #[error("not a signed note")]
    Malformed,
    /// The key that is asked for has not signed it.
    #[error("the note is not signed by the key that is trusted")]
    Unsigned,
    /// A line of that key does not verify.
    #[error("a signature of the key that is trusted does not verify")]
    Signature,
}

impl KeyKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::CosignatureV1 => 4,
            Self::MlDsa44 => 6,
        }
    }

    const fn of_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Ed25519),
            4 => Some(Self::CosignatureV1),
            6 => Some(Self::MlDsa44),
            _ => None,
        }
    }

    /// Whether its lines are a log's own signature.
    #[must_use]
    pub const fn signs_for_log(self) -> bool {
        matches!(self, Self::Ed25519 | Self::MlDsa44)
    }

    /// Whether its lines are a witness's word.
    #[must_use]
    pub const fn cosigns(self) -> bool {
        matches!(self, Self::CosignatureV1 | Self::MlDsa44)
    }
}

impl Public {
    /// `None` for bytes of another length.
    fn new(kind: KeyKind, bytes: &[u8]) -> Option<Self> {
        Some(match kind {
            KeyKind::Ed25519 => Self::Ed25519(bytes.try_into().ok()?),
            KeyKind::CosignatureV1 => Self::CosignatureV1(bytes.try_into().ok()?),
            KeyKind::MlDsa44 => Self::MlDsa44(Box::new(bytes.try_into().ok()?)),
        })
    }

    const fn kind(&self) -> KeyKind {
        match self {
            Self::Ed25519(_) => KeyKind::Ed25519,
            Self::CosignatureV1(_) => KeyKind::CosignatureV1,
            Self::MlDsa44(_) => KeyKind::MlDsa44,
        }
    }
}

impl NoteKey {
    /// `None` for a name that a note cannot hold, and for a key of another length than its kind has.
    // contracts/log.md G8.
    #[must_use]
    pub fn new(name: &str, kind: KeyKind, public: impl AsRef<[u8]>) -> Option<Self> {
        let is_short = kind != KeyKind::MlDsa44 || name.len() <= NAME_LEN_MAX;
        let public = Public::new(kind, public.as_ref()).filter(|_| is_name(name) && is_short)?;
        Some(Self { name: name.to_owned(), public })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.public.kind()
    }

    /// The public key's bytes.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        match &self.public {
            Public::Ed25519(public) | Public::CosignatureV1(public) => public,
            Public::MlDsa44(public) => public.as_slice(),
        }
    }

    pub(super) const fn typed(&self) -> &Public {
        &self.public
    }

    /// The Ed25519 key, if it is one.
    #[must_use]
    pub const fn ed25519(&self) -> Option<&[u8; 32]> {
        match &self.public {
            Public::Ed25519(public) | Public::CosignatureV1(public) => Some(public),
            Public::MlDsa44(_) => None,
        }
    }

    /// The key's id: the first four bytes of a hash of all that it is.
    // contracts/log.md G8.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = crypto::sha256(&[self.name.as_bytes(), b"\n", &[self.kind().byte()], self.public()]);
        [a, b, c, d]
    }

    /// Reads a verifier key: `name+id+base64(kind ‖ key)`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('+')?;
        let (id, key) = rest.split_once('+')?;
        let key = unbase64(key)?;
        let (kind, public) = key.split_first()?;
        let key = Self::new(name, KeyKind::of_byte(*kind)?, public)?;
        if let Some(public) = key.ed25519() {
            crypto::check_signing_public(public).ok()?;
        }
        Some(key).filter(|key| HEXLOWER.encode(&key.id()) == id)
    }

    /// The line of a signature of this key.
    #[must_use]
    pub fn line(&self, signature: &[u8]) -> NoteSignature {
        NoteSignature { name: self.name.clone(), id: self.id(), signature: signature.to_vec() }
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind().byte()], self.public()].concat();
        write!(f, "{}+{}+{}", self.name, HEXLOWER.encode(&self.id()), BASE64.encode(&key))
    }
}

impl Note {
    /// A text that has no signature yet; `None` for one that no note can hold.
    #[must_use]
    pub fn new(text: String) -> Option<Self> {
        let is_text = text.ends_with('\n') && !text.contains(|c: char| c < ' ' && c != '\n');
        is_text.then_some(Self { text, signatures: Vec::new() })
    }

    /// Reads a note. No signature is checked.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    // contracts/log.md G7.
    pub fn parse(note: &[u8]) -> Result<Self, NoteError> {
        let read = || {
            let note = (note.len() <= limit::NOTE_LEN_MAX).then_some(note)?;
            let note = core::str::from_utf8(note).ok()?;
            // The last empty line is where the text ends; the newline in front of it is the text's.
            let (text, lines) = note.split_at_checked(note.rfind("\n\n")? + 1)?;
            let mut read = Self::new(text.to_owned())?;
            for line in lines.strip_prefix('\n')?.strip_suffix('\n')?.split('\n') {
                read.signatures.push(NoteSignature::parse(line)?);
            }
            (read.signatures.len() <= limit::NOTE_SIGNATURES_MAX).then_some(read)
        };
        read().ok_or(NoteError::Malformed)
    }

    /// What is signed, its last newline with it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines below it.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a line.
    pub fn add(&mut self, signature: NoteSignature) {
        self.signatures.push(signature);
    }

    /// Adds a line in the place of those that its key has there.
    pub fn put(&mut self, signature: NoteSignature) {
        self.signatures.retain(|there| (&there.name, there.id) != (&signature.name, signature.id));
        self.signatures.push(signature);
    }

    /// Signs the text as its log.
    #[must_use]
    pub fn signed(mut self, key: &NoteKey, signer: &SigningKey) -> Self {
        self.signatures.push(key.line(&signer.sign_raw(self.text.as_bytes())));
        self
    }

    /// What a key has signed with, of the first of its lines; every line of it must pass the check.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`], [`NoteError::Signature`].
    // contracts/log.md G9: lines of other keys count for nothing.
    pub(super) fn verified<T>(&self, key: &NoteKey, check: impl Fn(&[u8]) -> Option<T>) -> Result<T, NoteError> {
        let id = key.id();
        let mut first = None;
        for line in self.signatures.iter().filter(|line| line.name == key.name && line.id == id) {
            let checked = check(&line.signature).ok_or(NoteError::Signature)?;
            first = first.or(Some(checked));
        }
        first.ok_or(NoteError::Unsigned)
    }

    /// Checks that a log's key has signed the text.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`], [`NoteError::Signature`].
    pub fn verify(&self, key: &NoteKey) -> Result<(), NoteError> {
        let Public::Ed25519(public) = &key.public else { return Err(NoteError::Unsigned) };
        self.verified(key, |signature| {
            let signature = signature.try_into().ok()?;
            crypto::verify_raw(public, self.text.as_bytes(), signature).ok()
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl NoteSignature {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (name, bytes) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = unbase64(bytes)?;
        let (id, signature) = bytes.split_first_chunk()?;
        let is_line = is_name(name) && !signature.is_empty();
        is_line.then(|| Self { name: name.to_owned(), id: *id, signature: signature.to_vec() })
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "— {} {}", self.name, BASE64.encode(&[self.id.as_slice(), &self.signature].concat()))
    }
}

/// Base64 in its one spelling: the decoder alone would take padded pieces one behind the other.
pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok().filter(|bytes| BASE64.encode(bytes) == text)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c < ' ' || c == '+')
}
