//! A trust domain: its node, and agents that its policy names.

use std::time::Duration;

use nuncio::{Agent, AgentId, AuditPolicy, Config, Error, Inbox, Invitation, Message, Rule, Scope, Subject};
use nuncio_node::Node;
use nuncio_proto::secret::Key;
use nuncio_store::Kek;
use tempfile::TempDir;

pub(crate) const DOMAIN: &str = "acme.example";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

/// A domain with agents that its policy names in a row: each may hand on to every other.
pub(crate) struct Domain {
    pub(crate) dir: TempDir,
    pub(crate) node: Option<Node>,
    pub(crate) invitation: Invitation,
    /// How its members audit.
    pub(crate) audit: AuditPolicy,
}

pub(crate) struct Member {
    pub(crate) agent: Agent,
    pub(crate) inbox: Inbox,
}

impl Domain {
    pub(crate) async fn new(names: &[&str]) -> (Self, Vec<Member>) {
        Self::signing("EdDSA", names).await
    }

    pub(crate) async fn signing(algorithm: &str, names: &[&str]) -> (Self, Vec<Member>) {
        Self::with(algorithm, names, AuditPolicy::default()).await
    }

    /// Its node runs, and its agents have homes and do not.
    pub(crate) async fn with_homes(algorithm: &str, names: &[&str], audit: AuditPolicy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ids: Vec<AgentId> =
            names.iter().map(|name| nuncio::init(&Config::new(dir.path().join(name))).unwrap().0).collect();
        let clients: String = names.iter().zip(&ids).map(|(name, id)| client(name, id)).collect();
        let policy = format!(
            "schema = \"nuncio/policy/1\"\noperators = [\"{}\"]\n[service]\ntrust_domain = \"{DOMAIN}\"\n\
             issuer = \"https://txts.acme.example\"\ntransaction_life_s = 3600\nhops_max = 6\nalgorithm = \"{algorithm}\"\n{clients}",
            names[0]
        );
        std::fs::write(dir.path().join("policy.toml"), policy).unwrap();
        nuncio_node::init(&dir.path().join("node"), &kek()).unwrap();
        let mut domain = Self {
            node: None,
            invitation: "nuncio:did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd".parse().unwrap(),
            dir,
            audit,
        };
        domain.start("127.0.0.1:0").await;
        domain
    }

    pub(crate) async fn with(algorithm: &str, names: &[&str], audit: AuditPolicy) -> (Self, Vec<Member>) {
        let domain = Self::with_homes(algorithm, names, audit).await;
        let mut members = Vec::new();
        for name in names {
            members.push(domain.member(name).await);
        }
        for one in &members {
            for other in &members {
                if one.agent.id() != other.agent.id() {
                    one.agent.add_peer(&other.agent.invitation().await.unwrap(), None).await.unwrap();
                }
            }
        }
        (domain, members)
    }

    pub(crate) async fn start(&mut self, quic: &str) {
        let mut config =
            nuncio_node::Config::new(self.dir.path().join("node"), kek(), self.dir.path().join("policy.toml"));
        config.quic = quic.parse().ok();
        let node = Node::start(config).await.unwrap();
        self.invitation = Invitation {
            agent: node.id(),
            endpoints: vec![node.quic_addr().unwrap().to_string()],
            mailbox: None,
            bundle_hash: None,
            knock: None,
        };
        self.node = Some(node);
    }

    pub(crate) async fn stop(&mut self) {
        self.node.take().unwrap().stop().await.unwrap();
    }

    pub(crate) async fn member(&self, name: &str) -> Member {
        self.member_at(name, "127.0.0.1:0").await
    }

    pub(crate) async fn member_at(&self, name: &str, address: &str) -> Member {
        let rule = Rule { content_type: None, from: None, scope: scope("travel.book") };
        let config = Config::new(self.dir.path().join(name)).listen(address.parse().unwrap()).rule(rule);
        let agent = Agent::open(config.trust(DOMAIN, self.invitation.clone()).audit(self.audit)).await.unwrap();
        let inbox = agent.inbox().await.unwrap();
        Member { agent, inbox }
    }
}

pub(crate) fn client(name: &str, id: &AgentId) -> String {
    format!(
        "[[client]]\nname = \"{name}\"\ndid = \"{id}\"\n[[client.grant]]\nsubject_types = [\"self_signed\", \"txn_token\"]\n\
         subjects = [\"user:*\"]\nscope = \"travel.book travel.pay\"\nreceivers = [\"*\"]\ndetails = {{ trip = \"copy\" }}\n"
    )
}

pub(crate) fn kek() -> Kek {
    Kek::from_key(Key::new([7; 32]))
}

impl Member {
    pub(crate) async fn next(&mut self) -> nuncio::Incoming {
        tokio::time::timeout(PATIENCE, self.inbox.next()).await.expect("a letter in time").unwrap()
    }

    pub(crate) async fn outcome(&self, to: AgentId, message: Message) -> Result<(), Error> {
        let id = self.agent.send(to, message).await?;
        tokio::time::timeout(PATIENCE, self.agent.delivered(to, id)).await.expect("an end in time")
    }
}

pub(crate) async fn begin(member: &Member, scopes: &str) -> nuncio::Transaction {
    member.agent.begin(Subject::SelfSigned("user:anna".to_owned()), &scope(scopes), None).await.unwrap()
}

pub(crate) fn said(result: Result<(), Error>) -> String {
    result.unwrap_err().to_string()
}
