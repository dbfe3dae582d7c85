//! An agent of A2A behind an address: which of its paths are asked, and with what beside the message (contracts/call.md section 8).
//!
//! ```text
//!   card    ─► GET  address/.well-known/…
//!   message ─► POST origin{path}             where {path} is one of the card's JSON-RPC interfaces
//! ```

use std::collections::BTreeSet;
use std::io::Read as _;
use std::time::Duration;

use nuncio_proto::call::Head;
use nuncio_proto::token::VerifyingKey;
use reqwest::{Method, Response, Url};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::super::{Ask, NotHanded};
use super::{Address, EITHER, Known};
use crate::a2a::{self, Seen};
use crate::config::Speaks;
use crate::message::Body;

/// How long a card is believed of what it has.
const FRESH: Duration = Duration::from_secs(60);
/// How long of what it has not, or that there is none: who asks for that has nothing fetched meanwhile.
const FRESH_NO: Duration = Duration::from_secs(5);

/// Paths at which the agent speaks JSON-RPC, or why they are not known; and since when. One at a time asks.
pub(super) type Interfaces = tokio::sync::Mutex<Option<(Instant, Result<BTreeSet<String>, String>)>>;

impl Address {
    /// Whether it is an agent that speaks A2A.
    pub(super) fn is_agent(&self) -> bool {
        matches!(self.upstream.speaks, Speaks::A2a { .. })
    }

    /// The keys by which its card's signatures count.
    pub(super) fn card_keys(&self) -> &[VerifyingKey] {
        if let Speaks::A2a { card_keys, .. } = &self.upstream.speaks { card_keys } else { &[] }
    }

    /// What a message is to be asked with, and where.
    // contracts/call.md X32, X33.
    pub(super) async fn target(&self, ask: &Ask) -> Result<(Method, Url), NotHanded> {
        let url = &self.upstream.url;
        if !self.is_agent() {
            return Ok((Method::POST, url.clone()));
        }
        if let Some(card) = a2a::asks_card(&ask.message.head).filter(|_| ask.envelope.is_card()) {
            return Ok((Method::GET, behind(url, card)));
        }
        let path = ask.message.head.get(":path").unwrap_or_default();
        if !self.has_interface(path).await.map_err(NotHanded::NotStarted)? {
            return Err(NotHanded::Id("the agent's card has no interface of JSON-RPC under that path"));
        }
        url.join(path)
            .ok()
            .filter(|target| target.origin() == url.origin())
            .map(|target| (Method::POST, target))
            .ok_or(NotHanded::Id("the path leads to another place than the agent's"))
    }

    async fn has_interface(&self, path: &str) -> Result<bool, String> {
        let mut interfaces = self.interfaces.lock().await;
        if let Some((since, known)) = interfaces.as_ref() {
            let has = known.as_ref().map(|paths| paths.contains(path));
            let fresh = if has == Ok(true) { FRESH } else { FRESH_NO };
            if since.elapsed() < fresh {
                return has.map_err(Clone::clone);
            }
        }
        let paths = timeout(self.base.bounds.patience, self.paths()).await;
        let paths = paths.unwrap_or_else(|_| Err("it does not come".to_owned()));
        let paths = paths.map_err(|why| format!("the agent's card cannot be had: {why}"));
        let has = paths.as_ref().map(|paths| paths.contains(path)).map_err(Clone::clone);
        *interfaces = Some((Instant::now(), paths));
        has
    }

    /// Those that the card names.
    async fn paths(&self) -> Result<BTreeSet<String>, String> {
        let mut why = "there is none".to_owned();
        for card in a2a::CARDS {
            let url = behind(&self.upstream.url, card);
            let request = self.request(Method::GET, url, &Known::default(), &Head::of([("accept", EITHER)]));
            let mut response = self.send(request).await?;
            if !response.status().is_success() {
                why = format!("the agent answered {}", response.status());
                continue;
            }
            let mut bytes = Vec::new();
            while let Some(piece) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
                bytes.extend_from_slice(&piece);
                if bytes.len() > a2a::CARD_LEN_MAX {
                    return Err("it is too long".to_owned());
                }
            }
            match a2a::check(&bytes, self.card_keys()) {
                Seen::Broken => return Err("it is signed, and not by a key of `card_keys`".to_owned()),
                Seen::Good { bare: Some(bare), .. } => bytes = bare,
                Seen::Good { .. } | Seen::Unchecked => {}
            }
            let card: Value = serde_json::from_slice(&bytes).map_err(|_| "it is no JSON".to_owned())?;
            return Ok(a2a::paths(&card));
        }
        Err(why)
    }
}

/// What is seen of the signatures of a card; `None` of what is none. Blocks where it is in a file.
pub(super) fn seen(card: &Body, keys: &[VerifyingKey]) -> Option<Seen> {
    let (max, mut bytes) = (u64::try_from(a2a::CARD_LEN_MAX).ok()?, Vec::new());
    card.reader().ok()?.take(max.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= a2a::CARD_LEN_MAX).then(|| a2a::check(&bytes, keys))
}

/// A place behind an address.
fn behind(url: &Url, path: &str) -> Url {
    let mut url = url.clone();
    let whole = format!("{}{path}", url.path().trim_end_matches('/'));
    url.set_path(&whole);
    url
}

/// What goes to an agent beside a message.
// contracts/call.md X36.
pub(super) fn fields(ask: &Ask) -> Head {
    let mut fields = a2a::fields(ask.message.head.iter());
    fields.set("accept", if ask.envelope.is_card() { "application/json" } else { EITHER });
    fields
}

/// What of an agent's answer travels beside it.
pub(super) fn told(response: &Response) -> Head {
    let all = response.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    Head::of(all.filter(|(name, _)| a2a::FIELDS.contains(name)))
}
