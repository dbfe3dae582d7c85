//! Agents by number, links on loopback, and bare QUIC ends that can be told to misbehave.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_transport::{Connection, Link, LinkConfig, Tuning};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

pub fn id(number: u8) -> AgentId {
    AgentId::from_bytes(key(number).public()).unwrap()
}

pub fn link(number: u8) -> Link {
    link_with(number, Tuning::default())
}

pub fn link_with(number: u8, tuning: Tuning) -> Link {
    Link::bind(LinkConfig { tuning, ..LinkConfig::new(ANY) }, &key(number)).unwrap()
}

/// Agent 1 has dialled agent 2.
pub struct Pair {
    _links: (Link, Link),
    pub to: Connection,
    pub from: Connection,
}

pub async fn pair() -> Pair {
    let (dialler, listener) = (link(1), link(2));
    let addr = listener.local_addr().unwrap();
    let (to, from) = tokio::join!(dialler.dial(id(2), addr), listener.accept());
    Pair { _links: (dialler, listener), to: to.unwrap(), from: from.unwrap() }
}

/// Waits for a condition that other tasks bring about; the bound is only there so that a failure ends.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}

/// Waits for what must come; the bound is only there so that a failure ends.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("this never came")
}

pub fn spki(public: &[u8]) -> Vec<u8> {
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    [prefix.as_slice(), public].concat()
}

/// Says `presented` and signs with `signer`'s key.
pub fn claim(presented: Vec<u8>, signer: u8) -> Arc<CertifiedKey> {
    let pkcs8 = key(signer).to_pkcs8_der();
    let signer = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice())).unwrap();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(presented)], signer))
}

pub fn honest(number: u8) -> Arc<CertifiedKey> {
    claim(spki(&key(number).public()), number)
}

/// What a bare client presents.
#[derive(Debug)]
pub struct Present {
    pub key: Option<Arc<CertifiedKey>>,
    pub raw: bool,
}

impl ResolvesClientCert for Present {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.key.clone()
    }

    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

/// A bare QUIC client with its own idea of ALPN and of what to present.
pub fn bare_client(present: Present, alpn: &[u8]) -> quinn::Endpoint {
    bare_client_of(aws_lc_rs::default_provider(), present, alpn)
}

/// A bare QUIC client with its own idea of cryptography, too.
pub fn bare_client_of(provider: CryptoProvider, present: Present, alpn: &[u8]) -> quinn::Endpoint {
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnyone))
        .with_client_cert_resolver(Arc::new(present));
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.enable_early_data = true;
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut endpoint = quinn::Endpoint::client(ANY).unwrap();
    endpoint.set_default_client_config(config);
    endpoint
}

pub fn honest_client(number: u8) -> quinn::Endpoint {
    bare_client(Present { key: Some(honest(number)), raw: true }, b"nuncio/1")
}

/// A bare QUIC server that presents `key` and takes whoever dials.
pub fn bare_server(key: Arc<CertifiedKey>, alpn: &[u8]) -> quinn::Endpoint {
    bare_server_of(aws_lc_rs::default_provider(), key, alpn)
}

/// A bare QUIC server with its own idea of cryptography, too.
pub fn bare_server_of(provider: CryptoProvider, key: Arc<CertifiedKey>, alpn: &[u8]) -> quinn::Endpoint {
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(TrustAnyone))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    tls.alpn_protocols = vec![alpn.to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    quinn::Endpoint::server(config, ANY).unwrap()
}

/// The usual provider with these key exchanges alone.
pub fn only(groups: &[&'static dyn SupportedKxGroup]) -> CryptoProvider {
    CryptoProvider { kx_groups: groups.to_vec(), ..aws_lc_rs::default_provider() }
}

#[derive(Debug)]
struct TrustAnyone;

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for TrustAnyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
