//! A peer is its key: RFC 7250 raw public keys in TLS 1.3, both ways.
//!
//! ```text
//!   dialler                                          listener
//!   ClientHello: raw keys only, nuncio/1  ─────────▶ AnyPeer will judge the dialler's key
//!   ExactPeer: is it the key I dialled?   ◀───────── raw key, signature
//!   raw key, signature                    ─────────▶ any sound Ed25519 key; who is welcome is decided above
//! ```
//!
//! The dialler checks first, so it never shows its key to an agent that it did not mean.

use std::sync::{Arc, OnceLock};

use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, PeerMisbehaved,
    SignatureScheme,
};

use crate::error::TransportError;
use crate::tuning::ALPN;

/// DER of a SubjectPublicKeyInfo up to the key, for Ed25519 without parameters (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// TLS wants a name; ours is never sent, because the key is the name.
pub(crate) const SERVER_NAME: &str = "nuncio.invalid";

/// This agent's key in the forms that TLS takes.
pub(crate) struct Identity {
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
}

impl Identity {
    pub(crate) fn new(key: &SigningKey) -> Result<Self, TransportError> {
        let pkcs8 = key.to_pkcs8_der();
        let signer = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))
            .map_err(TransportError::Identity)?;
        let spki = CertificateDer::from([SPKI_PREFIX.as_slice(), &key.public()].concat());
        Ok(Self { provider: Arc::new(provider()), key: Arc::new(CertifiedKey::new(vec![spki], signer)) })
    }

    /// 32 bytes of the system's randomness.
    pub(crate) fn random(&self) -> Result<[u8; 32], TransportError> {
        let mut bytes = [0; 32];
        let filled = self.provider.secure_random.fill(&mut bytes);
        filled.map_err(|_| TransportError::Identity(Error::FailedToGetRandomBytes))?;
        Ok(bytes)
    }

    /// TLS for those who dial us.
    pub(crate) fn server(&self) -> Result<Arc<QuicServerConfig>, TransportError> {
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            // contracts/transport.md T2: TLS 1.3, no other.
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TransportError::Identity)?
            .with_client_cert_verifier(Arc::new(AnyPeer(self.provider.signature_verification_algorithms)))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // contracts/transport.md T7: no tickets, so there is nothing to resume and no 0-RTT.
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        quic_server(config)
    }

    /// TLS to dial exactly `peer`; the verifier afterwards tells who answered.
    pub(crate) fn client(&self, peer: AgentId) -> Result<(Arc<QuicClientConfig>, Arc<ExactPeer>), TransportError> {
        let verifier = Arc::new(ExactPeer {
            expected: peer,
            presented: OnceLock::new(),
            algorithms: self.provider.signature_verification_algorithms,
        });
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TransportError::Identity)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Ok((quic_client(config)?, verifier))
    }
}

/// aws-lc, narrowed to what the contract names.
fn provider() -> CryptoProvider {
    CryptoProvider {
        // contracts/transport.md T3: the hybrid first, so that today's handshakes stay closed to tomorrow's computers.
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        ..aws_lc_rs::default_provider()
    }
}

fn quic_server(config: rustls::ServerConfig) -> Result<Arc<QuicServerConfig>, TransportError> {
    let config =
        QuicServerConfig::try_from(config).map_err(|e| TransportError::Identity(Error::General(e.to_string())))?;
    Ok(Arc::new(config))
}

fn quic_client(config: rustls::ClientConfig) -> Result<Arc<QuicClientConfig>, TransportError> {
    let config =
        QuicClientConfig::try_from(config).map_err(|e| TransportError::Identity(Error::General(e.to_string())))?;
    Ok(Arc::new(config))
}

/// Whose key a finished handshake proved.
pub(crate) fn proved(quic: &quinn::Connection) -> Result<AgentId, Error> {
    let identity = quic.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    match identity.as_deref().map(Vec::as_slice) {
        Some([key]) => agent(key),
        _ => Err(Error::NoCertificatesPresented),
    }
}

/// The agent of a SubjectPublicKeyInfo.
// contracts/transport.md T4: exactly the 44 bytes of RFC 8410, and a key that is a canonical point of full order.
fn agent(spki: &[u8]) -> Result<AgentId, Error> {
    let malformed = Error::InvalidCertificate(CertificateError::BadEncoding);
    let key = spki.strip_prefix(&SPKI_PREFIX).and_then(|key| <[u8; 32]>::try_from(key).ok());
    AgentId::from_bytes(key.ok_or(malformed.clone())?).map_err(|_| malformed)
}

/// One raw key and nothing beside it.
fn sole(key: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<AgentId, Error> {
    if others.is_empty() { agent(key) } else { Err(Error::InvalidCertificate(CertificateError::BadEncoding)) }
}

fn verify_signature(
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    // contracts/transport.md T5: Ed25519 signs the handshake, nothing else.
    if signature.scheme != SignatureScheme::ED25519 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(key.as_ref()), signature, algorithms)
}

/// The dialler's check: the key must be the agent that was dialled.
#[derive(Debug)]
pub(crate) struct ExactPeer {
    expected: AgentId,
    presented: OnceLock<AgentId>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ExactPeer {
    /// The key that was presented instead of the expected one.
    pub(crate) fn other(&self) -> Option<AgentId> {
        self.presented.get().copied().filter(|presented| *presented != self.expected)
    }
}

impl ServerCertVerifier for ExactPeer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let sole = sole(end_entity, intermediates)?;
        let presented = *self.presented.get_or_init(|| sole);
        // contracts/transport.md T6: the key dialled, or no connection and no key of ours shown.
        if presented != self.expected {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The listener's check: some agent, proved; which ones are welcome is decided above.
#[derive(Debug)]
struct AnyPeer(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyPeer {
    // contracts/transport.md T6: a dialler without a key is refused.
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        sole(end_entity, intermediates).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
