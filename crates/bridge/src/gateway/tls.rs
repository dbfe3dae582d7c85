//! TLS in front of the gateway; its key is its owner's alone.

use nuncio_transport::web_tls;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::config::TlsFiles;
use crate::config::{Others, read_private};

/// Reads chain and key.
///
/// # Errors
/// Why they cannot be used, for people.
pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, String> {
    let key = read_private(&files.key, Others::MayNotRead).map(Zeroizing::new).map_err(|error| error.to_string())?;
    let config = web_tls(&files.cert, (&files.key, key.as_bytes())).map_err(|error| error.to_string())?;
    Ok(TlsAcceptor::from(config))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = TlsFiles { cert: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
        std::fs::write(&files.cert, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        let with = |mode| {
            std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(mode)).unwrap();
            acceptor(&files).map(drop)
        };
        assert!(with(0o644).unwrap_err().contains("chmod"));
        with(0o600).unwrap();
    }
}
