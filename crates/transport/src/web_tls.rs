//! TLS of the web, in front of TCP: a configured certificate, TLS 1.3 alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;

/// Why a certificate and its key are not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebTlsError {
    /// A file that cannot be read, or holds no PEM of what it should.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The key is not the certificate's, or of a kind that TLS 1.3 does not know.
    #[error(transparent)]
    Refused(#[from] rustls::Error),
}

/// What a server over TCP shows: the chain of a PEM file, and the key that the caller has read out of another. It speaks HTTP/1.1.
///
/// # Errors
/// [`WebTlsError`].
pub fn web_tls(chain: &Path, (key, key_pem): (&Path, &[u8])) -> Result<Arc<ServerConfig>, WebTlsError> {
    let unread = |path: &Path| {
        let path = path.to_owned();
        |source| WebTlsError::File { path, source }
    };
    let certificates = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect).map_err(unread(chain))?;
    let private = PrivateKeyDer::from_pem_slice(key_pem).map_err(unread(key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(certificates, private)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
