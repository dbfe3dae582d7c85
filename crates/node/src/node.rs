//! A node that runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nuncio_contracts::registry::time;
use nuncio_proto::ids::AgentId;
use nuncio_store::WriterStats;
use nuncio_transport::{CloseCode, Link, LinkConfig, SERVED_BY_NODES};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::error::NodeError;
use crate::page::Page;
use crate::routes::{Served, TABLE, router};
use crate::serve::{self, Hall};
use crate::service::Service;
use crate::{calendars, cosigner, home, keys};

/// The owner's socket, in the home.
pub const OWNER_SOCKET: &str = "node.sock";

/// The folder of the log's files, in the home.
pub const LOG_FOLDER: &str = "log";

/// The file with the key that the log is verified by, in the home.
pub const LOG_KEY: &str = "log.pub";

/// How often addresses that are quiet are forgotten, and what is over in the directory.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// A node that runs. It serves until [`Node::stop`].
pub struct Node {
    service: Arc<Service>,
    page: Arc<Page>,
    tcp: Option<SocketAddr>,
    quic: Option<SocketAddr>,
    owner: PathBuf,
    link: Option<Arc<Link>>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Node {
    /// Opens the home and the doors. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A home, a policy or an address that cannot be used; [`NodeError::PlainTcp`].
    pub async fn start(config: Config) -> Result<Self, NodeError> {
        if config.tcp.is_none() && config.quic.is_none() {
            return Err(NodeError::Deaf);
        }
        // Whatever can fail without the home fails first.
        let tls = config.tls.as_ref().map(serve::acceptor).transpose()?;
        let tcp = match config.tcp {
            Some(address) => Some(serve::bind_tcp(address, tls.is_some()).await?),
            None => None,
        };
        let (store, identity) = home::open(&config.home, &config.kek)?;
        let service =
            Arc::new(Service::open(Arc::new(store), identity, &config.policy, &config.home.join(LOG_FOLDER))?);
        let view = Arc::clone(&service.scribe.view().borrow());
        if let Err(error) =
            cosigner::check_start(&service.policy().witnesses, &view, service.identity().signing()).await
        {
            service.scribe.close();
            return Err(error.into());
        }
        let key = service.scribe.view().borrow().key().to_string();
        std::fs::write(config.home.join(LOG_KEY), format!("{key}\n")).map_err(NodeError::io("write", LOG_KEY))?;
        #[cfg(test)]
        service.scribe.leave_records(config.records_stay);
        service.scribe.records_wait();
        let link = config.quic.map(|address| link(address, &service)).transpose()?;
        let owner = config.home.join(OWNER_SOCKET);
        let owners = serve::bind_owner(&owner)?;

        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let listening = tcp.as_ref().map(TcpListener::local_addr).transpose();
        let listening = listening.map_err(NodeError::io("listen on", "TCP"))?;
        let page = Arc::new(Page::new(listening, tls.is_some(), &service.policy().service.issuer));
        let (own, closes, runs) = (Arc::clone(&service), closing.clone(), tasks.clone());
        let served = Served { service: own, page: Arc::clone(&page), table: TABLE, closing: closes, tasks: runs };
        let patience = Duration::from_millis(time::REQUEST_PATIENCE);
        let hall = Hall { router: router(served), closing: closing.clone(), tasks: tasks.clone(), patience };
        let mut node = Self { service, page, tcp: listening, quic: None, owner, link, closing, tasks };
        if let Some(listener) = tcp {
            node.tasks.spawn(serve::serve_tcp(listener, tls, Arc::clone(&node.service), hall.clone()));
        }
        if let Some(link) = &node.link {
            node.quic = Some(link.local_addr()?);
            node.tasks.spawn(serve::serve_quic(Arc::clone(link), Arc::clone(&node.service), hall.clone()));
        }
        node.tasks.spawn(serve::serve_owner(owners, hall));
        node.tasks.spawn(cosigner::keep(Arc::clone(&node.service), node.closing.clone()));
        node.tasks.spawn(calendars::keep(Arc::clone(&node.service), node.closing.clone()));
        node.tasks.spawn(forget(Arc::clone(&node.service), node.closing.clone()));
        Ok(node)
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> AgentId {
        self.service.identity().id()
    }

    /// The TCP address.
    #[must_use]
    pub const fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// The UDP address of QUIC.
    #[must_use]
    pub const fn quic_addr(&self) -> Option<SocketAddr> {
        self.quic
    }

    /// The owner's socket.
    #[must_use]
    pub fn owner_socket(&self) -> &Path {
        &self.owner
    }

    /// A link that signs one browser in to the page, once and for some minutes (contracts/txts.md N38).
    ///
    /// # Errors
    /// [`NodeError::NoPage`]; a system without randomness.
    pub fn page_link(&self) -> Result<String, NodeError> {
        self.page.link()
    }

    /// What its store has written since the start.
    #[must_use]
    pub fn writer_stats(&self) -> Arc<WriterStats> {
        self.service.ledger.stats()
    }

    /// Whether its log takes events. One that was found to have lost what it had signed does not.
    #[must_use]
    pub fn takes_events(&self) -> bool {
        self.service.scribe.is_sound()
    }

    /// Reads the policy file again.
    ///
    /// # Errors
    /// What is wrong with it; the former policy stays in force.
    pub async fn reload(&self) -> Result<(), NodeError> {
        self.service.reload().await
    }

    /// Makes the next key the one that signs.
    ///
    /// # Errors
    /// [`NodeError::TooEarly`], unless it is forced.
    pub async fn rotate(&self, force: bool) -> Result<keys::Rotated, NodeError> {
        self.service.rotate(force).await
    }

    #[cfg(test)]
    pub(crate) const fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// As if the disk had failed.
    #[cfg(test)]
    pub(crate) fn close_store_for_test(&self) {
        let _ = self.service.ledger.close();
    }

    /// Takes no new requests, answers those under way, and lets the home go (contracts/txts.md N35).
    ///
    /// # Errors
    /// A store that could not write what it was given.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.closing.cancel();
        self.tasks.close();
        let drained = tokio::time::timeout(Duration::from_millis(time::DRAIN_PATIENCE), self.tasks.wait()).await;
        if drained.is_err() {
            tracing::warn!("some requests were not answered in time");
        }
        if let Some(link) = &self.link {
            link.close(CloseCode::SHUTTING_DOWN, "the node stops").await;
        }
        let _ = std::fs::remove_file(&self.owner);
        let closed = self.service.ledger.close();
        self.service.scribe.close();
        Ok(closed?)
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.id())
    }
}

fn link(address: SocketAddr, service: &Service) -> Result<Arc<Link>, NodeError> {
    let config = LinkConfig { served: SERVED_BY_NODES, ..LinkConfig::new(address) };
    Ok(Arc::new(Link::bind(config, service.identity().signing())?))
}

async fn forget(service: Arc<Service>, closing: CancellationToken) {
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            () = tokio::time::sleep(FORGET_EVERY) => service.forget().await,
        }
    }
}
