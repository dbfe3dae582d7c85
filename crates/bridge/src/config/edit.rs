//! Changes of the file that its owner did not make by hand: whole or not at all, and with the comments that stand there.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use nuncio_proto::call::ServiceName;
use nuncio_proto::ids::AgentId;
use nuncio_proto::token::Scope;
use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::{ConfigError, FILE, FILE_LEN_MAX, Others, Runs, ServiceConfig, Services, Speaks, read_private};

/// What is said of a service that is offered. What is there of its name, and not said here, stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offer<'a> {
    /// A program with its arguments, or one `http://` or `https://` address.
    pub mcp: &'a [String],
    /// Where the program runs.
    pub directory: Option<&'a Path>,
    /// Which tools only read.
    pub read: Option<&'a [String]>,
}

impl Offer<'_> {
    /// Whether it is an address.
    #[must_use]
    pub fn is_address(&self) -> bool {
        matches!(self.mcp, [url] if url.starts_with("http://") || url.starts_with("https://"))
    }

    fn write(&self, service: &mut Table) {
        for former in ["mcp", "mcp_url", "directory", "a2a", "webhooks", "native"] {
            service.remove(former);
        }
        match self.mcp {
            [url] if self.is_address() => service.insert("mcp_url", value(url)),
            program => service.insert("mcp", value(program.iter().collect::<Array>())),
        };
        if let Some(directory) = self.directory.filter(|_| !self.is_address()) {
            service.insert("directory", value(directory.to_string_lossy().as_ref()));
        }
        if let Some(read) = self.read {
            service.insert("read", value(read.iter().collect::<Array>()));
        }
    }
}

/// Offers a service: `mcp` is a program with its arguments, or one `http://` or `https://` address. What is there of its name keeps who may.
///
/// # Errors
/// The file was not what this program reads, or would not be.
pub fn expose(home: &Path, name: &ServiceName, mcp: &[String]) -> Result<(), ConfigError> {
    offer(home, name, &Offer { mcp, ..Offer::default() })
}

/// Offers a service, and says more of it.
///
/// # Errors
/// The file was not what this program reads, or would not be.
pub fn offer(home: &Path, name: &ServiceName, offer: &Offer<'_>) -> Result<(), ConfigError> {
    is_of_one_kind(home, name, false)?;
    edit(home, name, |service| offer.write(service))
}

/// What stands of a name is of what was offered first: an MCP server's scopes would mean another thing of an agent that speaks A2A, its lines and permits too.
fn is_of_one_kind(home: &Path, name: &ServiceName, is_a2a: bool) -> Result<(), ConfigError> {
    let services = Services::load(home)?;
    let is_other = |offered: &ServiceConfig| {
        is_a2a != matches!(&offered.runs, Runs::Url(upstream) if upstream.speaks != Speaks::Mcp)
    };
    if !services.get(name).is_some_and(is_other) {
        return Ok(());
    }
    Err(ConfigError::OtherKind(name.clone(), if is_a2a { "MCP" } else { "A2A" }))
}

/// The service as it would stand in the file.
///
/// # Errors
/// The file is not what this program reads, or would not be.
pub(crate) fn drafted(home: &Path, name: &ServiceName, offer: &Offer<'_>) -> Result<ServiceConfig, ConfigError> {
    is_of_one_kind(home, name, false)?;
    draft(home, name, |service| offer.write(service))
}

/// The same of an agent that speaks A2A.
///
/// # Errors
/// As [`drafted`].
pub(crate) fn drafted_a2a(home: &Path, name: &ServiceName, url: &str) -> Result<ServiceConfig, ConfigError> {
    is_of_one_kind(home, name, true)?;
    draft(home, name, |service| write_a2a(service, url))
}

fn draft(home: &Path, name: &ServiceName, write: impl FnOnce(&mut Table)) -> Result<ServiceConfig, ConfigError> {
    let mut document = open(home)?;
    change(home, &mut document, name, write)?;
    let path = home.join(FILE);
    let services = Services::parse(&path, &document.to_string(), std::env::vars_os())?;
    let none = || ConfigError::Service { path, service: name.to_string(), what: "it is not there".to_owned() };
    services.get(name).cloned().ok_or_else(none)
}

/// Offers an agent that speaks A2A, under whose address its card stands: `http://` or `https://`. What is there of its name keeps who may.
///
/// # Errors
/// As [`expose`].
pub fn expose_a2a(home: &Path, name: &ServiceName, url: &str) -> Result<(), ConfigError> {
    is_of_one_kind(home, name, true)?;
    edit(home, name, |service| write_a2a(service, url))
}

fn write_a2a(service: &mut Table, url: &str) {
    for former in ["mcp", "mcp_url", "directory", "native"] {
        service.remove(former);
    }
    service.insert("a2a", value(url));
}

/// Offers what this program itself serves (see [`Natives`](crate::Natives)). What is there of its name keeps who may.
///
/// # Errors
/// As [`expose`].
pub fn expose_native(home: &Path, name: &ServiceName) -> Result<(), ConfigError> {
    is_of_one_kind(home, name, false)?;
    edit(home, name, |service| {
        for former in ["mcp", "mcp_url", "directory", "a2a", "webhooks", "card_keys", "authorization_file"] {
            service.remove(former);
        }
        service.insert("native", value(true));
    })
}

/// Says what a peer may of a service, in the stead of what was said of it; nothing takes it out.
///
/// # Errors
/// The file was not what this program reads, or would not be.
pub fn allow(home: &Path, name: &ServiceName, peer: &str, scopes: &[String]) -> Result<(), ConfigError> {
    edit(home, name, |service| write_allowed(service, peer, scopes))
}

/// Adds to what an agent may of a service; where that is offered no more, nothing.
///
/// # Errors
/// As [`allow`].
pub(crate) fn allow_also(home: &Path, name: &ServiceName, agent: &AgentId, scope: &Scope) -> Result<(), ConfigError> {
    let _turn = turn(home)?;
    let services = Services::load(home)?;
    let Some(offered) = services.get(name) else { return Ok(()) };
    let all = offered.agents.get(agent).map_or_else(|| scope.clone(), |held| held.union(scope));
    let all: Vec<String> = all.iter().map(str::to_owned).collect();
    edit_in_turn(home, name, |service| write_allowed(service, &agent.to_string(), &all))
}

fn write_allowed(service: &mut Table, peer: &str, scopes: &[String]) {
    let peers = service.entry("peers").or_insert_with(|| Item::Table(Table::new()));
    let Some(peers) = peers.as_table_like_mut() else { return };
    if scopes.is_empty() {
        peers.remove(peer);
    } else {
        peers.insert(peer, value(scopes.iter().collect::<Array>()));
    }
}

/// Offers a service no more: all that is said of it goes. `false` where nothing was.
///
/// # Errors
/// The file was not what this program reads.
pub fn withdraw(home: &Path, name: &ServiceName) -> Result<bool, ConfigError> {
    let _turn = turn(home)?;
    let mut document = open(home)?;
    let services = document.get_mut("services").and_then(Item::as_table_like_mut);
    let was = services.is_some_and(|services| services.remove(name.as_str()).is_some());
    save(home, &document)?;
    Ok(was)
}

fn edit(home: &Path, name: &ServiceName, by: impl FnOnce(&mut Table)) -> Result<(), ConfigError> {
    let _turn = turn(home)?;
    edit_in_turn(home, name, by)
}

/// Commands and the agent change the file one after the other, from reading to writing: else one would write back what another has taken out.
pub(super) fn turn(home: &Path) -> Result<File, ConfigError> {
    let locked = File::open(home).and_then(|home| home.lock().map(|()| home));
    locked.map_err(|source| ConfigError::File { path: home.to_owned(), source })
}

fn edit_in_turn(home: &Path, name: &ServiceName, by: impl FnOnce(&mut Table)) -> Result<(), ConfigError> {
    let mut document = open(home)?;
    change(home, &mut document, name, by)?;
    save(home, &document)
}

fn change(
    home: &Path,
    document: &mut DocumentMut,
    name: &ServiceName,
    by: impl FnOnce(&mut Table),
) -> Result<(), ConfigError> {
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
    by(service.as_table_mut().ok_or_else(inline)?);
    Ok(())
}

pub(super) fn open(home: &Path) -> Result<DocumentMut, ConfigError> {
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
pub(super) fn save(home: &Path, document: &DocumentMut) -> Result<(), ConfigError> {
    let (path, text) = (home.join(FILE), document.to_string());
    Services::parse(&path, &text, std::env::vars_os())?;
    put(home, FILE, &text).map_err(|source| ConfigError::File { path, source })
}

/// Puts a file into the home: one that can be read again.
///
/// # Errors
/// It is too long for [`read_private`], or cannot be written; what was there stays.
pub(crate) fn put(home: &Path, name: &str, text: &str) -> io::Result<()> {
    if u64::try_from(text.len()).is_ok_and(|len| len > FILE_LEN_MAX) {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it would have more than {FILE_LEN_MAX} bytes"),
        ));
    }
    // A temporary file is its owner's alone (0600) from its first moment.
    let mut file = tempfile::Builder::new().prefix(name).tempfile_in(home)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(home.join(name)).map_err(|error| error.error)?;
    File::open(home)?.sync_all()
}
