//! TLS in front of TCP: a configured certificate, TLS 1.3.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;
use crate::error::NodeError;

/// Reads chain and key.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, NodeError> {
    let unread =
        |path: &std::path::Path, error: &dyn std::fmt::Display| NodeError::Tls(format!("{}: {error}", path.display()));
    let chain = CertificateDer::pem_file_iter(&tls.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| unread(&tls.cert, &error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| unread(&tls.key, &error))?;
    let failed = |error: rustls::Error| NodeError::Tls(error.to_string());
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(failed)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
