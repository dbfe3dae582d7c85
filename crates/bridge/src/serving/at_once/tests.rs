//! What is begun in the commit in which it comes, and what is not.

use nuncio::{CallPlace, Config};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::{AgentId, CallSessionId, LetterId};
use nuncio_proto::letter::{Letter, LetterKind};
use nuncio_proto::time::UnixMillis;
use tokio::sync::mpsc;

use super::*;
use crate::config::{allow, expose, expose_a2a};

const SESSION: CallSessionId = CallSessionId::from_bytes([7; 16]);
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#;

struct Scene {
    home: tempfile::TempDir,
    agent: nuncio::Agent,
    serving: Arc<Serving>,
    from: AgentId,
}

impl Scene {
    /// An agent whose peer `near` may call the tool `a`.
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (files, helper) = ("files".parse().unwrap(), "helper".parse().unwrap());
        expose(home.path(), &files, &["true".to_owned()]).unwrap();
        expose_a2a(home.path(), &helper, "http://127.0.0.1:9/").unwrap();
        allow(home.path(), &files, "near", &["tools.write:a".to_owned()]).unwrap();
        allow(home.path(), &helper, "near", &["tools.write".to_owned()]).unwrap();
        let config = Config::new(home.path().join("agent")).listen(([127, 0, 0, 1], 0).into()).serve_calls();
        let agent = nuncio::Agent::open(config).await.unwrap();
        let (serving, from) =
            (Serving::start(agent.clone(), home.path(), crate::native::Natives::default()).unwrap(), agent.id());
        Self { home, agent, serving, from }
    }

    fn begins(&self, alter: impl FnOnce(&mut CallPlace, &mut Letter)) -> Option<String> {
        let service = "files".parse().unwrap();
        let mut place = CallPlace { what: What::Request, service, session: Some(SESSION), head: Default::default() };
        let mut letter = Letter {
            id: LetterId::new(UnixMillis(1), [0; 10]),
            kind: LetterKind::Plain,
            reply_to: None,
            deadline: None,
            content_type: ContentType::JSON,
            payload: CALL.into(),
            extensions: Vec::new(),
        };
        alter(&mut place, &mut letter);
        let coming = Coming { from: self.from, name: Some("near"), token: None, place: &place, letter: &letter };
        self.serving.begins_at_once(&coming)
    }
}

// contracts/call.md X7, X10.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_handed_over_as_it_is_is_begun_as_it_comes() {
    let scene = Scene::new().await;
    assert_eq!(scene.begins(|_, _| {}).as_deref(), Some("tools/call"));
    let none = |what: &str, alter: &dyn Fn(&mut CallPlace, &mut Letter)| {
        assert_eq!(scene.begins(alter), None, "{what}");
    };
    none("it is not allowed", &|_, letter| letter.payload = CALL.replace("\"a\"", "\"b\"").into());
    none("a service that is not offered", &|place, _| place.service = "other".parse().unwrap());
    none("a notice", &|place, _| place.what = What::Notice);
    none("a notification in a request", &|_, letter| letter.payload = CALL.replace("\"id\":1,", "").into());
    none("no message", &|_, letter| letter.payload = b"{}".to_vec());
    none("not as JSON", &|_, letter| letter.content_type = "text/plain".parse().unwrap());
    none("its head says another method", &|place, _| assert!(place.head.set("mcp-method", "tools/list")));
    none("a card of what speaks MCP", &|place, letter| {
        assert!(place.head.set(":method", "GET"));
        assert!(place.head.set(":path", "/.well-known/agent-card.json"));
        letter.payload.clear();
    });
    let hook = |url: &str| {
        let params = format!(r#"{{"configuration":{{"taskPushNotificationConfig":{{"url":"{url}"}}}}}}"#);
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{params}}}"#).into_bytes()
    };
    let helper = |url: &'static str| {
        scene.begins(|place, letter| {
            (place.service, place.session) = ("helper".parse().unwrap(), None);
            letter.payload = hook(url);
        })
    };
    assert_eq!(helper("http://evil.example/"), None, "an address that nobody named");
    assert!(helper("nuncio:callback:07070707070707070707070707070707").is_some());
    scene.agent.shutdown().await.unwrap();
}

// contracts/call.md X9, X11.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_begun_behind_what_waits_nor_while_the_agent_stops() {
    let scene = Scene::new().await;
    let lane = ("files".parse().unwrap(), Of { from: scene.from, session: Some(SESSION) });
    lock(&scene.serving.lanes).insert(lane.clone(), mpsc::unbounded_channel().0);
    assert_eq!(scene.begins(|_, _| {}), None, "a letter of its session waits");
    assert!(scene.begins(|place, _| place.session = None).is_some(), "it stands alone");
    lock(&scene.serving.lanes).remove(&lane);
    assert!(scene.begins(|_, _| {}).is_some());
    scene.serving.stopping.cancel();
    assert_eq!(scene.begins(|_, _| {}), None, "it is for the next start");
    scene.agent.shutdown().await.unwrap();
    drop(scene.home);
}
