//! TLS in front of TCP.

use nuncio_transport::web_tls;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::config::Tls;
use crate::error::NodeError;

/// Reads chain and key.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, NodeError> {
    let key = std::fs::read(&tls.key).map(Zeroizing::new).map_err(NodeError::io("read", tls.key.display()))?;
    Ok(TlsAcceptor::from(web_tls(&tls.cert, (&tls.key, &key))?))
}
