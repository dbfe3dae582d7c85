//! `[chat]` of `gateway.toml`.
//!
//! ```toml
//! [chat]
//! url = "https://api.provider.example/v1/chat/completions"
//! key_file = "provider.key"        # a file that its owner alone reads; or key_env = "PROVIDER_KEY"
//! scope = "chat.complete"          # the scope that a person needs
//! models = ["small", "large"]      # those that may be asked
//! members = ["top_k"]              # of a body, beside those that providers have in common; need not be said
//! estimate = 4096                  # tokens that are reserved where a body says no most
//! timeout_s = 120
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::HeaderValue;
use nuncio_proto::token::Scope;
use reqwest::Url;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::config::{patience, scope};
use super::asked::decides;
use crate::config::{Others, is_local, read_private};

/// Tokens that are reserved where neither body nor file says how many.
const ESTIMATE: u64 = 4_096;

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatTable {
    url: String,
    key_file: Option<PathBuf>,
    key_env: Option<String>,
    scope: String,
    models: BTreeSet<String>,
    #[serde(default)]
    members: BTreeSet<String>,
    estimate: Option<u64>,
    timeout_s: Option<u64>,
}

/// The table as it is meant.
#[derive(Debug)]
pub(crate) struct ChatRoute {
    pub(crate) url: Url,
    /// The whole value of the field, which is not printed.
    pub(crate) key: HeaderValue,
    pub(crate) scope: Scope,
    pub(crate) models: BTreeSet<String>,
    pub(crate) members: BTreeSet<String>,
    pub(crate) patience: Duration,
    pub(crate) estimate: u64,
}

impl ChatTable {
    /// `beside` is where files stand that it names, if it does not say where.
    pub(crate) fn check(self, beside: &Path) -> Result<ChatRoute, String> {
        if self.models.is_empty() {
            return Err("`models` names those that may be asked; none is no provider".to_owned());
        }
        if let Some(name) = self.members.iter().find(|name| decides(name)) {
            return Err(format!("`members`: {name} would be another way to say what decides here"));
        }
        let key = match (self.key_file, self.key_env) {
            (Some(file), None) => {
                read_private(&beside.join(file), Others::MayNotRead).map_err(|error| error.to_string())?
            }
            (None, Some(name)) => {
                std::env::var(&name).map_err(|_| format!("`key_env`: {name} is not in the environment"))?
            }
            _ => return Err("one of `key_file` and `key_env` is wanted; a key does not stand in this file".to_owned()),
        };
        Ok(ChatRoute {
            url: provider(&self.url)?,
            key: field(&Zeroizing::new(key))?,
            scope: scope("scope", &self.scope)?,
            models: self.models,
            members: self.members,
            patience: patience(self.timeout_s)?,
            estimate: self.estimate.unwrap_or(ESTIMATE).max(1),
        })
    }
}

fn provider(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`url`: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`url` has a secret in it: put it into a file, and the file into `key_file`".to_owned());
    }
    let local = url.host_str().is_some_and(is_local);
    if url.scheme() == "https" || (url.scheme() == "http" && local) {
        return Ok(url);
    }
    Err("`url` is https, or http on this machine: the key goes there".to_owned())
}

fn field(key: &Zeroizing<String>) -> Result<HeaderValue, String> {
    let key = key.trim();
    let whole = Zeroizing::new(format!("Bearer {key}"));
    let value = HeaderValue::from_str(&whole).ok().filter(|_| !key.is_empty() && !key.contains(char::is_whitespace));
    let mut value = value.ok_or("the key is one word of one line, without `Bearer`")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KEY: &str = "sk-very-secret";

    fn read(text: &str, mode: u32) -> Result<ChatRoute, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("provider.key");
        std::fs::write(&path, format!("{KEY}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        toml::from_str::<ChatTable>(text).map_err(|error| error.to_string())?.check(dir.path())
    }

    fn said(url: &str, more: &str) -> String {
        format!("url = \"{url}\"\nscope = \"chat.complete\"\nmodels = [\"small\"]\n{more}")
    }

    #[test]
    fn a_key_stands_in_a_private_file_and_is_not_printed() {
        let good = said("https://api.example/v1/chat/completions", "key_file = \"provider.key\"");
        let route = read(&good, 0o600).unwrap();
        assert_eq!(route.key.to_str().unwrap(), format!("Bearer {KEY}"));
        assert!(!format!("{route:?}").contains(KEY));
        let open = read(&good, 0o644).unwrap_err();
        assert!(open.contains("chmod") && !open.contains(KEY), "{open}");
    }

    #[test]
    fn a_provider_is_named_whole_and_over_tls() {
        let file = "key_file = \"provider.key\"";
        for (url, more) in [
            ("http://api.example/v1", file),
            ("https://user:word@api.example/v1", file),
            ("nonsense", file),
            ("https://api.example/v1", ""),
            ("https://api.example/v1", "key = \"sk-1\""),
            ("https://api.example/v1", "key_env = \"NO_SUCH_VARIABLE_OF_ANYBODY\""),
            ("https://api.example/v1", "key_file = \"provider.key\"\nkey_env = \"PATH\""),
            ("https://api.example/v1", "key_file = \"none.key\""),
            ("https://api.example/v1", "key_file = \"provider.key\"\nmembers = [\"Max_Tokens\"]"),
            ("https://api.example/v1", "key_file = \"provider.key\"\ntimeout_s = 9999"),
        ] {
            assert!(read(&said(url, more), 0o600).is_err(), "{url} {more}");
        }
        assert!(read(&said("http://127.0.0.1:1/v1", file), 0o600).is_ok());
        let none = "url = \"https://a.example\"\nscope = \"c\"\nmodels = []\nkey_file = \"provider.key\"";
        assert!(read(none, 0o600).is_err());
    }
}
