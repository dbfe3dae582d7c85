//! A node in a folder of its own, agents by number, and requests that can be bent.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::testing::jws;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{Circumstances, Denial, Genuine, Grant, KeySet, Scope, Thumbprint};
use nuncio_store::Kek;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::audit::{Deed, Record};
use crate::entropy;
use crate::jose::AwsLc;
use crate::{Config, Node, NodeError, Tls, init};

pub(crate) const DOMAIN: &str = "acme.example";
pub(crate) const ISSUER: &str = "https://txts.acme.example";
pub(crate) const LOGIN: &str = "https://login.example";
const TYPE: &str = "urn:ietf:params:oauth:token-type:";
const LOOPBACK: &str = "127.0.0.1:0";

pub(crate) const GATEWAY: u8 = 1;
pub(crate) const PLANNER: u8 = 2;
pub(crate) const BOOKING: u8 = 3;
pub(crate) const PAYMENT: u8 = 4;
pub(crate) const OPERATOR: u8 = 5;
/// Signs access tokens.
pub(crate) const LOGIN_KEY: u8 = 9;

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

pub(crate) fn agent(number: u8) -> AgentId {
    AgentId::from_bytes(key(number).public()).unwrap()
}

pub(crate) fn jkt(number: u8) -> Thumbprint {
    Thumbprint::of_agent(&agent(number))
}

pub(crate) fn now_s() -> u64 {
    entropy::now().0 / 1_000
}

pub(crate) fn name(number: u8) -> &'static str {
    ["nobody", "gateway", "planner", "booking", "payment", "operator"][usize::from(number)]
}

pub(crate) fn jwk(number: u8) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(&key(number).public()) })
}

/// The policy that most tests run under: four workloads in a row, and an operator.
pub(crate) fn policy() -> String {
    let client = |number: u8, rest: &str| {
        format!("[[client]]\nname = \"{}\"\ndid = \"{}\"\n{rest}\n", name(number), agent(number))
    };
    let grant = |types: &str, receivers: &str, rest: &str| {
        format!(
            "[[client.grant]]\nsubject_types = [{types}]\nsubjects = [\"user:*\"]\nscope = \"travel.book travel.pay\"\n\
             receivers = [{receivers}]\n{rest}\n"
        )
    };
    let copies = "details = { trip = \"copy\", amount = \"copy\" }\ncontext = { req_ip = \"copy\" }\n";
    [
        "schema = \"nuncio/policy/1\"\noperators = [\"operator\"]\n".to_owned(),
        format!(
            "[service]\ntrust_domain = \"{DOMAIN}\"\nissuer = \"{ISSUER}\"\ntransaction_life_s = 3600\nhops_max = 6\n"
        ),
        format!(
            "[[issuer]]\nissuer = \"{LOGIN}\"\njwks_file = \"login.json\"\naudience = [\"https://api.acme.example\"]\n\
             types = [\"access_token\", \"jwt\"]\nsubject_prefix = \"user:\"\n"
        ),
        client(GATEWAY, "agentic_ctx = { agent = \"gateway\" }"),
        grant("\"access_token\", \"jwt\", \"self_signed\", \"txn_token\"", "\"planner\"", copies),
        client(PLANNER, ""),
        grant("\"txn_token\"", "\"booking\", \"gateway\"", copies),
        client(BOOKING, ""),
        grant("\"txn_token\"", "\"*\"", ""),
        client(PAYMENT, ""),
        grant("\"txn_token\"", "\"*\"", "hops_max = 2"),
        client(OPERATOR, ""),
    ]
    .concat()
}

/// A node, its home, and what is needed to start it again.
pub(crate) struct Fixture {
    pub(crate) node: Option<Node>,
    pub(crate) folder: TempDir,
    pub(crate) http: reqwest::Client,
    pub(crate) tcp: SocketAddr,
    /// Records are left where tests find them, and become no events.
    pub(crate) records_stay: bool,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(&policy()).await
    }

    pub(crate) async fn with(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let jwks = json!({ "keys": [jwk(LOGIN_KEY)] });
        std::fs::write(folder.path().join("login.json"), jwks.to_string()).unwrap();
        std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
        init(&folder.path().join("home"), &kek()).unwrap();
        // Before any client of the library's own, so that tests do not depend on their order.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut fixture = Self { node: None, folder, http, tcp: LOOPBACK.parse().unwrap(), records_stay: true };
        fixture.start().await;
        fixture
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(self.home(), kek(), self.folder.path().join("policy.toml"));
        (config.tcp, config.quic) = (LOOPBACK.parse().ok(), LOOPBACK.parse().ok());
        config.records_stay = self.records_stay;
        config
    }

    pub(crate) async fn try_start(&self) -> Result<Node, NodeError> {
        Node::start(self.config()).await
    }

    pub(crate) async fn start(&mut self) {
        let node = self.try_start().await.unwrap();
        self.tcp = node.tcp_addr().unwrap();
        self.node = Some(node);
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    pub(crate) async fn stop(&mut self) {
        self.node.take().unwrap().stop().await.unwrap();
    }

    /// A node with a certificate in the place of this one, where it listens, and a client that trusts it as `localhost`.
    pub(crate) async fn with_certificate(&mut self) -> (Node, SocketAddr, reqwest::Client) {
        self.stop().await;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let tls = Tls { cert: self.folder.path().join("cert.pem"), key: self.folder.path().join("key.pem") };
        std::fs::write(&tls.cert, made.cert.pem()).unwrap();
        std::fs::write(&tls.key, made.signing_key.serialize_pem()).unwrap();
        let mut config = self.config();
        config.tls = Some(tls);
        let node = Node::start(config).await.unwrap();
        let address = node.tcp_addr().unwrap();
        let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let trusting = reqwest::Client::builder().no_proxy().tls_certs_only([root]).resolve("localhost", address);
        (node, address, trusting.build().unwrap())
    }

    /// Stops the node and reads its records, the first first.
    pub(crate) async fn all_records(&mut self) -> Vec<Record> {
        self.stop().await;
        let mut records = crate::ledger::records(&self.home(), &kek()).unwrap();
        records.sort_by_key(|record| record.at);
        records
    }

    /// The same, without what the owner did.
    pub(crate) async fn records(&mut self) -> Vec<Record> {
        let is_asked = |record: &Record| !matches!(record.deed, Deed::Rotate | Deed::Policy);
        self.all_records().await.into_iter().filter(is_asked).collect()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.tcp)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let response = self.http.get(self.url(path)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Sends a form as it is.
    pub(crate) async fn post(&self, path: &str, form: &Params) -> Answer {
        self.send(path, form, &[]).await
    }

    pub(crate) async fn send(&self, path: &str, form: &Params, headers: &[(&str, &str)]) -> Answer {
        let request = self.http.post(self.url(path)).header("content-type", "application/x-www-form-urlencoded");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.body(form.encode()).send().await.unwrap()).await
    }

    /// Asks as a client.
    pub(crate) async fn ask(&self, as_whom: u8, form: Params) -> Answer {
        self.post("/token", &form.asserted(as_whom)).await
    }

    /// A token as it should be, or why not.
    pub(crate) async fn token(&self, as_whom: u8, form: Params) -> String {
        let answer = self.ask(as_whom, form).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        answer.json["access_token"].as_str().unwrap().to_owned()
    }

    /// A gateway's first token for itself.
    pub(crate) async fn begun(&self) -> String {
        self.token(GATEWAY, Params::begin()).await
    }

    /// A token, replaced from each to the next.
    pub(crate) async fn handed(&self, path: &[u8]) -> String {
        let mut token = self.begun().await;
        for pair in path.windows(2) {
            token = self.token(pair[0], Params::replace(&token, pair[1])).await;
        }
        token
    }

    pub(crate) async fn keys(&self) -> KeySet {
        KeySet::parse(self.get("/jwks").await.1.as_bytes()).unwrap()
    }

    /// Opens a token as its receiver would.
    pub(crate) async fn open(&self, token: &str) -> Genuine {
        Genuine::open(token.as_bytes(), &self.keys().await, &AwsLc).unwrap()
    }
}

/// Checks a token as its receiver would, for a letter of this peer.
pub(crate) fn check<'t>(token: &'t Genuine, peer: u8, me: u8, payload: &[u8]) -> Result<Grant<'t>, Denial> {
    token.check(&Circumstances {
        now: UnixMillis(now_s() * 1_000),
        domain: DOMAIN,
        peer: &jkt(peer),
        to: &agent(me).into(),
        revoked: &std::collections::BTreeSet::new(),
        wanted: &Scope::parse("travel.pay").unwrap(),
        content: payload,
        first_seen_from: None,
    })
}

/// The body of a token, not verified.
pub(crate) fn body(token: &str) -> Value {
    let segment = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(segment.as_bytes()).unwrap()).unwrap()
}

pub(crate) fn kek() -> Kek {
    Kek::from_key(nuncio_proto::secret::Key::new([7; 32]))
}

pub(crate) fn write_policy(folder: &Path, policy: &str) {
    std::fs::write(folder.join("policy.toml"), policy).unwrap();
}

/// An answer of the node.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) json: Value,
}

impl Answer {
    async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let json = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null);
        Self { status, headers, json }
    }

    /// Status and error code.
    pub(crate) fn error(&self) -> (u16, &str) {
        assert!(self.json.get("access_token").is_none(), "a refusal with a token");
        (self.status, self.json["error"].as_str().unwrap_or(""))
    }
}

/// Parameters of a request, in order, also twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// What every token request has.
    pub(crate) fn exchange(subject_type: &str, subject_token: &str) -> Self {
        Self::none()
            .with("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .with("requested_token_type", &format!("{TYPE}txn_token"))
            .with("audience", DOMAIN)
            .with("scope", "travel.book travel.pay")
            .with("subject_token_type", &format!("{TYPE}{subject_type}"))
            .with("subject_token", subject_token)
    }

    /// A request that begins a transaction with an access token.
    pub(crate) fn begin() -> Self {
        Self::exchange("access_token", &access_token(&json!({})))
    }

    pub(crate) fn replace(token: &str, next: u8) -> Self {
        Self::exchange("txn_token", token).with("resource", &agent(next).to_string())
    }

    pub(crate) fn renew(token: &str) -> Self {
        Self::exchange("txn_token", token)
    }

    /// Adds a parameter.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a parameter away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(there, _)| there != name);
        self
    }

    /// Puts another value in a parameter's place.
    pub(crate) fn set(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// With a fresh assertion of a client.
    pub(crate) fn asserted(self, as_whom: u8) -> Self {
        self.with_assertion(&assertion(as_whom, &json!({})))
    }

    pub(crate) fn with_assertion(self, assertion: &str) -> Self {
        self.with("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .with("client_assertion", assertion)
    }

    pub(crate) fn encode(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| format!("{}={}", percent(name), percent(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// An assertion of a client, with some of its claims replaced; `null` takes one away.
pub(crate) fn assertion(as_whom: u8, bent: &Value) -> String {
    let claims = json!({
        "iss": name(as_whom), "sub": name(as_whom), "aud": ISSUER, "jti": unique(), "iat": now_s(), "exp": now_s() + 60,
    });
    jws(&key(as_whom), r#"{"alg":"EdDSA"}"#, &bend(claims, bent).to_string())
}

/// An access token of the login service.
pub(crate) fn access_token(bent: &Value) -> String {
    let claims = json!({
        "iss": LOGIN, "sub": "anna", "aud": "https://api.acme.example", "exp": now_s() + 3_000,
        "scope": "travel.book travel.pay travel.cancel",
    });
    jws(&key(LOGIN_KEY), r#"{"alg":"EdDSA","typ":"at+jwt"}"#, &bend(claims, bent).to_string())
}

pub(crate) fn bend(mut claims: Value, bent: &Value) -> Value {
    for (name, value) in bent.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

pub(crate) fn unique() -> String {
    BASE64URL_NOPAD.encode(&entropy::random::<16>().unwrap())
}
