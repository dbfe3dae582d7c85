//! Clients of the web.

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};

/// A client without redirects and proxies: who is asked is who was named.
pub(crate) fn client() -> ClientBuilder {
    // Whoever installed one before keeps it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder().redirect(Policy::none()).no_proxy()
}
