//! Changes of the file that its owner did not make by hand: whole or not at all, and with the comments that stand there.

use std::io::{self, Write as _};
use std::path::Path;

use nuncio_proto::call::ServiceName;
use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::{ConfigError, FILE, Others, Services, read_private};

/// Offers a service: `mcp` is a program with its arguments, or one `http://` or `https://` address. What is there of its name keeps who may.
///
/// # Errors
/// The file was not what this program reads, or would not be.
pub fn expose(home: &Path, name: &ServiceName, mcp: &[String]) -> Result<(), ConfigError> {
    edit(home, name, |service| {
        let _ = (service.remove("mcp"), service.remove("mcp_url"), service.remove("a2a"), service.remove("webhooks"));
        match mcp {
            [url] if url.starts_with("http://") || url.starts_with("https://") => service.insert("mcp_url", value(url)),
            program => service.insert("mcp", value(program.iter().collect::<Array>())),
        };
    })
}

/// Offers an agent that speaks A2A, under whose address its card stands: `http://` or `https://`. What is there of its name keeps who may.
///
/// # Errors
/// As [`expose`].
pub fn expose_a2a(home: &Path, name: &ServiceName, url: &str) -> Result<(), ConfigError> {
    edit(home, name, |service| {
        let _ = (service.remove("mcp"), service.remove("mcp_url"));
        service.insert("a2a", value(url));
    })
}

/// Says what a peer may of a service, in the stead of what was said of it; nothing takes it out.
///
/// # Errors
/// The file was not what this program reads, or would not be.
pub fn allow(home: &Path, name: &ServiceName, peer: &str, scopes: &[String]) -> Result<(), ConfigError> {
    edit(home, name, |service| {
        let peers = service.entry("peers").or_insert_with(|| Item::Table(Table::new()));
        let Some(peers) = peers.as_table_like_mut() else { return };
        if scopes.is_empty() {
            peers.remove(peer);
        } else {
            peers.insert(peer, value(scopes.iter().collect::<Array>()));
        }
    })
}

/// Offers a service no more: all that is said of it goes. `false` where nothing was.
///
/// # Errors
/// The file was not what this program reads.
pub fn withdraw(home: &Path, name: &ServiceName) -> Result<bool, ConfigError> {
    let mut document = open(home)?;
    let services = document.get_mut("services").and_then(Item::as_table_like_mut);
    let was = services.is_some_and(|services| services.remove(name.as_str()).is_some());
    save(home, &document)?;
    Ok(was)
}

fn edit(home: &Path, name: &ServiceName, change: impl FnOnce(&mut Table)) -> Result<(), ConfigError> {
    let mut document = open(home)?;
    let services = document.entry("services").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let inline = || ConfigError::Service {
        path: home.join(FILE),
        service: name.to_string(),
        what: "it is written in one line: write it as [services.NAME], so that it can be changed".to_owned(),
    };
    let services = services.as_table_mut().ok_or_else(inline)?;
    let service = services.entry(name.as_str()).or_insert_with(|| Item::Table(Table::new()));
    change(service.as_table_mut().ok_or_else(inline)?);
    save(home, &document)
}

fn open(home: &Path) -> Result<DocumentMut, ConfigError> {
    let path = home.join(FILE);
    let text = match read_private(&path, Others::MayNotWrite) {
        Err(ConfigError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    Services::parse(&path, &text, std::env::vars_os())?;
    text.parse().map_err(|error: toml_edit::TomlError| ConfigError::Line {
        path,
        line: 1,
        what: error.message().to_owned(),
    })
}

/// Written beside, synced, and put in its place: a crash leaves the old file or the new one.
fn save(home: &Path, document: &DocumentMut) -> Result<(), ConfigError> {
    let (path, text) = (home.join(FILE), document.to_string());
    Services::parse(&path, &text, std::env::vars_os())?;
    let write = || -> io::Result<()> {
        // A temporary file is its owner's alone (0600) from its first moment.
        let mut file = tempfile::Builder::new().prefix(FILE).tempfile_in(home)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        std::fs::File::open(home)?.sync_all()
    };
    write().map_err(|source| ConfigError::File { path, source })
}
