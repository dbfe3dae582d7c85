//! How the loop begins: what it holds at first, and what goes on from before.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use governor::{Quota, RateLimiter};
use nuncio_contracts::registry::limit;
use nuncio_proto::ids::AgentId;
use nuncio_proto::peer::Peer;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Store, Writer};
use nuncio_transport::{Link, LinkConfig};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Actor;
use crate::backlog::Backlog;
use crate::calling::CallBook;
use crate::channels::NEWS_MAX;
use crate::command::Command;
use crate::config::Config;
use crate::connections::{Hurries, Rests};
use crate::entropy::{ClockWatch, Entropy};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::knocks::Door;
use crate::links::{self, Tasks};
use crate::mailbox::Mailboxes;
use crate::missing::Lookout;
use crate::node::Node;
use crate::queries::QueryBook;
use crate::said::SaidRows;
use crate::status::Wire;
use crate::tally::Tallies;
use crate::trust::Trust;
use crate::upkeep;
use crate::wake::{Ticket, Wake};

/// Commands, frames and requests that wait for the actor.
const WAKES_WAITING: usize = 256;
/// Connections of agents that were not added and are heard all the same.
const STRANGERS_A_SECOND: u32 = 20;

impl Actor {
    pub(crate) fn new(
        config: Config,
        store: Arc<Store>,
        peer: Peer,
        tracker: TaskTracker,
        cancel: CancellationToken,
    ) -> Result<(Self, mpsc::Sender<Command>), Error> {
        let (wake_sender, wakes) = mpsc::channel(WAKES_WAITING);
        let (urgent_sender, urgent) = mpsc::unbounded_channel();
        let (command_sender, commands) = mpsc::channel(WAKES_WAITING);
        let listen = config.listen.unwrap_or_else(|| ([0, 0, 0, 0], 0).into());
        let link = Arc::new(Link::bind(LinkConfig::new(listen), peer.identity().signing())?);
        let tasks = Tasks { wakes: wake_sender, urgent: urgent_sender.clone(), tracker };
        let writer = spawn_writer(&store, urgent_sender, &config)?;
        tasks.tracker.spawn(upkeep::keep(Arc::clone(&store), tasks.wakes.clone(), cancel.clone()));
        let trust = trust_of(&config, &link, &peer);
        let said = SaidRows::load(&store)?;
        let second = core::num::NonZeroU32::MIN;
        let strangers = core::num::NonZeroU32::new(STRANGERS_A_SECOND).unwrap_or(second);
        let burst = core::num::NonZeroU32::new(limit::BUNDLES_BURST).unwrap_or(second);
        let mut actor = Self {
            config,
            peer,
            store,
            writer: Some(writer),
            backlog: Backlog::default(),
            entropy: Entropy::new(),
            clock: ClockWatch::default(),
            link,
            tasks,
            cancel,
            wakes,
            urgent,
            commands,
            next_link: 0,
            next_request: 0,
            links: BTreeMap::new(),
            dialling: BTreeMap::new(),
            hurries: Hurries::default(),
            starts_due: BTreeSet::new(),
            rests: Rests::default(),
            arrived: BTreeMap::new(),
            problems: HashMap::new(),
            stranger_rate: RateLimiter::direct(Quota::per_second(strangers)),
            stranger_frame_rate: RateLimiter::direct(Quota::per_second(strangers)),
            stranger_bundle_rate: RateLimiter::direct(Quota::per_second(second).allow_burst(burst)),
            bundle_rate: RateLimiter::keyed(Quota::per_second(second).allow_burst(burst)),
            bundle_requests: HashMap::new(),
            refused: BTreeMap::new(),
            wire: Wire::default(),
            letters_failed: 0,
            events_wait: None,
            arrivals: watch::Sender::new(0),
            inboxes: Vec::new(),
            handed_out: None,
            deliveries: HashMap::new(),
            failing: HashSet::new(),
            requests: HashMap::new(),
            held: BTreeSet::new(),
            payloads_out: HashMap::new(),
            payloads_due: UnixMillis::NEVER,
            giving: BTreeMap::new(),
            payloads_in: HashMap::new(),
            trust,
            mail: Mailboxes::default(),
            tallies: Tallies::default(),
            said,
            lookout: Lookout::default(),
            calls: CallBook::default(),
            queries: QueryBook::default(),
            door: Door::default(),
            channel_news: broadcast::Sender::new(NEWS_MAX),
            events: Arc::default(),
            recounting: None,
            stopping: None,
            failed: false,
        };
        actor.go_on()?;
        Ok((actor, command_sender))
    }

    /// Takes up what was left before the start.
    fn go_on(&mut self) -> Result<(), Error> {
        self.peer.accept_strangers(self.config.accept_strangers);
        self.peer.serve_calls(self.config.serve_calls);
        self.hear_knocks(self.config.hear_knocks);
        self.resume_trust()?;
        self.resume_audit()?;
        self.resume_mailbox()?;
        self.resume()?;
        self.resume_calls()?;
        self.resume_knocks()?;
        if self.hears_peers() {
            self.open_doors();
        }
        Ok(())
    }

    /// Takes connections, and dials those for whom something waits.
    pub(crate) fn open_doors(&mut self) {
        if self.config.listen.is_some() {
            self.tasks.tracker.spawn(links::listen(Arc::clone(&self.link), self.tasks.clone()));
        }
        self.open_mailbox();
        let waited_for: BTreeSet<AgentId> = self.peer.outbox().map(|(to, ..)| to).collect();
        waited_for.into_iter().for_each(|peer| self.dial(peer));
    }
}

fn spawn_writer(
    store: &Arc<Store>,
    urgent: mpsc::UnboundedSender<Wake>,
    config: &Config,
) -> Result<Writer<Ticket>, Error> {
    let failures = urgent.clone();
    let trace = config.trace.clone();
    // The actor ends last; a wake that comes after is of no use to anybody.
    Ok(Writer::spawn_traced(
        Arc::clone(store),
        move |durable| drop(urgent.send(Wake::Durable(durable))),
        move |error| drop(failures.send(Wake::StoreFailed(error))),
        move |ops| trace.iter().for_each(|trace| trace.see(ops)),
    )?)
}

fn trust_of(config: &Config, link: &Arc<Link>, peer: &Peer) -> Option<Trust> {
    let known = config.trust.as_ref()?;
    let node = Node::new(Arc::clone(link), known.node.agent, known.node.endpoints.clone());
    let exchange = Exchange::new(node, known.domain.clone(), peer.id(), peer.identity().signing().clone());
    Some(Trust::new(Arc::new(exchange), known.node.agent))
}
