//! Hop proofs: the sender's own signature over what it did with a token, for whoever has to show it later (contracts/token.md section 6).

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use nuncio_contracts::registry::text::HOP_PROOF_TYPE;
use nuncio_contracts::registry::{label, limit};

use super::{Algorithm, Denial, Json, Parts, Receiver, Thumbprint, TokenHash, decode, statement};
use crate::crypto::{self, SigningKey};
use crate::ids::{AgentId, LetterId, SessionId};

/// What a hop proof is about: one letter, in one session, with one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop<'a> {
    /// Who sends, and signs.
    pub from: &'a AgentId,
    /// Who receives: a channel where the letter is sealed once for all its members.
    pub to: &'a Receiver,
    /// The session that carries it; the id of its chain where it is sealed once.
    pub session: &'a SessionId,
    /// The letter.
    pub letter: &'a LetterId,
    /// The token.
    pub token: &'a TokenHash,
    /// The letter's content ([`Letter::content`](crate::letter::Letter::content)).
    pub content: &'a [u8],
}

impl Hop<'_> {
    /// The proof, signed with the sender's identity key.
    #[must_use]
    pub fn sign(&self, signer: &SigningKey) -> String {
        statement::sign(signer, HOP_PROOF_TYPE, &self.members())
    }

    /// Whether this is the proof of this very hop.
    ///
    /// # Errors
    /// [`Denial::Proof`].
    pub fn check(&self, proof: &[u8]) -> Result<(), Denial> {
        self.is_proved_by(proof).filter(|proved| *proved).map(drop).ok_or(Denial::Proof)
    }

    fn is_proved_by(&self, proof: &[u8]) -> Option<bool> {
        if proof.len() > limit::HOP_PROOF_LEN_MAX {
            return None;
        }
        let parts = Parts::split_any(proof).ok()?;
        let header = Json::parse_object(&decode(parts.header).ok()?).ok()?;
        let text = |name: &str| header.get(name).and_then(Json::as_text);
        let headed = text("typ") == Some(HOP_PROOF_TYPE)
            && text("alg").and_then(Algorithm::parse) == Some(Algorithm::EdDsa)
            && text("kid") == Some(Thumbprint::of_agent(self.from).to_string().as_str())
            && !header.contains_key("crit")
            && !header.contains_key("b64");
        let signature: [u8; 64] = decode(parts.signature).ok()?.try_into().ok()?;
        crypto::verify_raw(self.from.as_bytes(), parts.signed, &signature).ok()?;
        let said = Json::parse_object(&decode(parts.body).ok()?).ok()?;
        let meant = Json::parse_object(self.members().as_bytes()).ok()?;
        Some(headed && meant.iter().all(|(name, value)| said.get(name) == Some(value)))
    }

    fn members(&self) -> String {
        let content = crypto::sha256(&[label::HOP_PROOF, &[0], self.content]);
        format!(
            r#"{{"iss":"{}","aud":"{}","jti":"{}","sid":"{}","tth":"{}","mh":"{}"}}"#,
            self.from,
            self.to,
            self.letter,
            HEXLOWER.encode(self.session.as_bytes()),
            BASE64URL_NOPAD.encode(self.token),
            BASE64URL_NOPAD.encode(&content)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixMillis;

    #[test]
    fn a_proof_is_of_one_hop_alone() {
        let (signer, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let (from, to) = (AgentId::from_bytes(signer.public()).unwrap(), AgentId::from_bytes(other.public()).unwrap());
        let (session, elsewhere) = (SessionId::from_bytes([3; 32]), SessionId::from_bytes([4; 32]));
        let (letter, later) = (LetterId::new(UnixMillis(1), [5; 10]), LetterId::new(UnixMillis(2), [5; 10]));
        let (sender, to) = (Receiver::Agent(from), Receiver::Agent(to));
        let hop = Hop { from: &from, to: &to, session: &session, letter: &letter, token: &[6; 32], content: b"pay" };
        let proof = hop.sign(&signer);
        assert_eq!(hop.check(proof.as_bytes()), Ok(()));
        for wrong in [
            Hop { from: to.agent().unwrap(), ..hop },
            Hop { to: &sender, ..hop },
            Hop { session: &elsewhere, ..hop },
            Hop { letter: &later, ..hop },
            Hop { token: &[7; 32], ..hop },
            Hop { content: b"pay more", ..hop },
        ] {
            assert_eq!(wrong.check(proof.as_bytes()), Err(Denial::Proof), "{wrong:?}");
        }
        assert_eq!(hop.check(hop.sign(&other).as_bytes()), Err(Denial::Proof));
        assert_eq!(hop.check(statement::sign(&signer, "JWT", &hop.members()).as_bytes()), Err(Denial::Proof));
        for at in 0..proof.len() {
            let mut bytes = proof.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(hop.check(&bytes), Err(Denial::Proof), "byte {at}");
        }
    }
}
