//! A trust domain whose node runs, an issuer of logins, a gateway, and an agent behind it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nuncio::{Agent, AgentId, Config, ContentType, Incoming, Invitation, Message, Rule, Scope};
use nuncio_bridge::{Bridge, Gateway, GatewayConfig};
use nuncio_node::Node;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::secret::Key;
use nuncio_proto::token;
use nuncio_store::Kek;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const DOMAIN: &str = "acme.example";
const LOGIN: &str = "https://login.example";

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The token of a login, with members of one's own.
pub(crate) fn login(members: &Value) -> String {
    let mut all = json!({
        "iss": LOGIN, "aud": "acme", "sub": "anna", "client_id": "app", "jti": now_s().to_string(), "iat": now_s(), "exp": now_s() + 600,
        "scope": "profile travel.plan chat.complete tools.read tools.write",
    });
    let own = members.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(own);
    token::sign(&key(), "at+jwt", &all.to_string())
}

pub(crate) struct Scene {
    pub(crate) dir: TempDir,
    pub(crate) node: Node,
    pub(crate) gateway: Gateway,
    pub(crate) agent: Agent,
    pub(crate) bridge: Arc<Bridge>,
    pub(crate) planner: Agent,
    /// What the planner serves.
    far: Bridge,
    pub(crate) client: reqwest::Client,
}

fn policy(gate: &AgentId, planner: &AgentId, service: &str) -> String {
    format!(
        "schema = \"nuncio/policy/1\"\n[service]\n{service}\ntrust_domain = \"{DOMAIN}\"\nissuer = \"https://txts.acme.example\"\ntransaction_life_s = 3600\n\
         [[issuer]]\nissuer = \"{LOGIN}\"\njwks_file = \"login.json\"\naudience = [\"acme\"]\ntypes = [\"access_token\"]\nsubject_prefix = \"user:\"\n\
         [[client]]\nname = \"gate\"\ndid = \"{gate}\"\nrequests_per_s = 100000\n[[client.grant]]\nsubject_types = [\"access_token\", \"txn_token\"]\n\
         subjects = [\"user:anna\", \"user:ben\"]\nscope = \"travel.plan chat.complete tools.read tools.write\"\nreceivers = [\"planner\"]\n\
         [[client]]\nname = \"planner\"\ndid = \"{planner}\"\n"
    )
}

fn made(home: &Path) -> AgentId {
    nuncio::init(&Config::new(home)).unwrap().0
}

async fn domain(dir: &Path, service: &str) -> (Node, Invitation) {
    let (gate, planner) = (made(&dir.join("gate")), made(&dir.join("planner")));
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": data_encoding::BASE64URL_NOPAD.encode(&key().public()) });
    std::fs::write(dir.join("login.json"), json!({ "keys": [jwk] }).to_string()).unwrap();
    std::fs::write(dir.join("policy.toml"), policy(&gate, &planner, service)).unwrap();
    let kek = || Kek::from_key(Key::new([7; 32]));
    nuncio_node::init(&dir.join("node"), &kek()).unwrap();
    let mut config = nuncio_node::Config::new(dir.join("node"), kek(), dir.join("policy.toml"));
    config.quic = "127.0.0.1:0".parse().ok();
    let node = Node::start(config).await.unwrap();
    let endpoints = vec![node.quic_addr().unwrap().to_string()];
    let invitation = Invitation { agent: node.id(), endpoints, mailbox: None, bundle_hash: None, knock: None };
    (node, invitation)
}

impl Scene {
    /// With a file that says this beside where it listens.
    pub(crate) async fn new(file: &str) -> Self {
        Self::with(file, |_| ()).await
    }

    /// `prepare` is given the home of the agent behind the gateway before it starts.
    pub(crate) async fn with(file: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::of("", file, prepare).await
    }

    /// Whose token service's policy says this too.
    pub(crate) async fn of(service: &str, file: &str, prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (node, invitation) = domain(dir.path(), service).await;
        prepare(&dir.path().join("planner"));
        let config = |name: &str| Config::new(dir.path().join(name)).listen(([127, 0, 0, 1], 0).into());
        let needs =
            Rule { content_type: Some(ContentType::TEXT), from: None, scope: Scope::parse("travel.plan").unwrap() };
        let planner = config("planner").trust(DOMAIN, invitation.clone()).rule(needs);
        let planner =
            if Bridge::offers(&dir.path().join("planner")).unwrap() { planner.serve_calls() } else { planner };
        let planner = Agent::open(planner).await.unwrap();
        let agent = Agent::open(config("gate").trust(DOMAIN, invitation)).await.unwrap();
        agent.add_peer(&planner.invitation().await.unwrap(), Some("planner")).await.unwrap();
        planner.add_peer(&agent.invitation().await.unwrap(), Some("gate")).await.unwrap();
        let bridge = Arc::new(Bridge::start(agent.clone(), &dir.path().join("gate")).await.unwrap());
        let far = Bridge::start(planner.clone(), &dir.path().join("planner")).await.unwrap();
        let gateway = started(&dir.path().join("gate"), &agent, &bridge, file).await;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { dir, node, gateway, agent, bridge, planner, far, client }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("gate")
    }

    /// Another gateway of the same agent.
    pub(crate) async fn again(mut self, file: &str) -> Self {
        self.gateway.stop().await;
        self.gateway = started(&self.dir.path().join("gate"), &self.agent, &self.bridge, file).await;
        self
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.gateway.address());
        self.client.post(url).header("content-type", "application/json").bearer_auth(token).body(body)
    }

    /// The status, and the body as JSON.
    pub(crate) async fn ask(&self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let response = within(self.post(path, token, body.to_string()).send()).await.unwrap();
        let status = response.status().as_u16();
        let text = within(response.bytes()).await.unwrap();
        (status, serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    /// Answers the next letter; gives it back.
    pub(crate) async fn answer(&self, inbox: &mut nuncio::Inbox, text: &str) -> Incoming {
        let letter = within(inbox.next()).await.unwrap();
        let answer = Message::text(text).reply_to(letter.id);
        self.planner.send(letter.from, answer).await.unwrap();
        self.planner.done(letter.no).await.unwrap();
        letter
    }

    pub(crate) async fn stop(self) {
        self.gateway.stop().await;
        self.bridge.stop().await;
        self.far.stop().await;
        self.agent.shutdown().await.unwrap();
        self.planner.shutdown().await.unwrap();
        self.node.stop().await.unwrap();
    }
}

/// A file that its owner alone reads.
pub(crate) fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

async fn started(home: &Path, agent: &Agent, bridge: &Arc<Bridge>, file: &str) -> Gateway {
    let path = home.join(nuncio_bridge::GATEWAY_FILE);
    std::fs::write(&path, format!("listen = \"127.0.0.1:0\"\n{file}")).unwrap();
    Gateway::start(agent.clone(), Arc::clone(bridge), GatewayConfig::load(&path).unwrap()).await.unwrap()
}
