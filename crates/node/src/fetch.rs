//! A small HTTP client: key sets of issuers, decisions, witnesses, calendars. Nothing is fetched that the policy does not name.

use std::time::Duration;

use nuncio_contracts::registry::limit;
use reqwest::redirect::Policy;
use reqwest::{Client, Request, RequestBuilder, Response, header};

/// An answer that is longer is not read to its end.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// What calendars speak.
pub(crate) const TIMESTAMP_TYPE: &str = "application/vnd.opentimestamps.v1";

/// No redirects, no proxy: who is trusted is who was named.
pub(crate) fn client(patience: Duration) -> Result<Client, String> {
    // Whoever installed one before keeps it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::builder().redirect(Policy::none()).timeout(patience).no_proxy();
    client.build().map_err(|error| error.to_string())
}

/// A client with its patience.
#[derive(Clone, Debug)]
pub(crate) struct Fetch(Client);

impl Fetch {
    pub(crate) fn new(patience_ms: u64) -> Result<Self, String> {
        client(Duration::from_millis(patience_ms)).map(Self)
    }

    /// What is there, if the answer is 200.
    pub(crate) async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        self.send(self.0.get(url).build()).await
    }

    /// The answer to JSON, if it is 200.
    pub(crate) async fn post(&self, url: &str, json: String, bearer: Option<&str>) -> Result<Vec<u8>, String> {
        let request = self.0.post(url).header(header::CONTENT_TYPE, "application/json").body(json);
        self.send(match bearer {
            Some(bearer) => request.bearer_auth(bearer).build(),
            None => request.build(),
        })
        .await
    }

    /// The answer to a text, whatever its status.
    pub(crate) async fn post_text(&self, url: &str, text: String, max: usize) -> Result<(u16, Vec<u8>), String> {
        let request = self.0.post(url).header(header::CONTENT_TYPE, "text/plain").body(text).send().await;
        let response = request.map_err(|error| error.without_url().to_string())?;
        Ok((response.status().as_u16(), read(response, max).await?))
    }

    /// What a calendar answers for a digest (contracts/log.md G25).
    pub(crate) async fn post_digest(&self, url: &str, digest: [u8; 32]) -> Result<Vec<u8>, String> {
        let answer = self.timestamp(self.0.post(url).body(digest.to_vec())).await?;
        answer.ok_or_else(|| "the answer is 404".to_owned())
    }

    /// A further timestamp of a calendar; `None` while there is none.
    pub(crate) async fn get_timestamp(&self, url: &str) -> Result<Option<Vec<u8>>, String> {
        self.timestamp(self.0.get(url)).await
    }

    async fn timestamp(&self, request: RequestBuilder) -> Result<Option<Vec<u8>>, String> {
        let request = request.header(header::ACCEPT, TIMESTAMP_TYPE).send().await;
        let response = request.map_err(|error| error.without_url().to_string())?;
        match response.status().as_u16() {
            200 => read(response, limit::TIMESTAMP_ANSWER_LEN_MAX).await.map(Some),
            404 => Ok(None),
            status => Err(format!("the answer is {status}")),
        }
    }

    async fn send(&self, request: reqwest::Result<Request>) -> Result<Vec<u8>, String> {
        let request = request.map_err(|error| error.without_url().to_string())?;
        let response = self.0.execute(request).await.map_err(|error| error.without_url().to_string())?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("the answer is {}", response.status()));
        }
        read(response, ANSWER_LEN_MAX).await
    }
}

async fn read(mut response: Response, max: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
        if bytes.len() + piece.len() > max {
            return Err(format!("the answer is longer than {max} bytes"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
