//! A2A's own SDK at both ends, unmodified, with two agents and their letters between them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use a2a::event::StreamResponse;
use a2a::{
    A2AError, AgentCapabilities, AgentCard, AgentInterface, Artifact, CancelTaskRequest, GetTaskRequest, Message, Part,
    Role, SendMessageRequest, SendMessageResponse, Task, TaskArtifactUpdateEvent, TaskState, TaskStatus,
    TaskStatusUpdateEvent,
};
use a2a_client::agent_card::AgentCardResolver;
use a2a_client::client::SendMessageExt as _;
use a2a_client::{A2AClient, A2AClientFactory, Transport};
use a2a_server::agent_card::agent_card_router;
use a2a_server::jsonrpc::jsonrpc_router;
use a2a_server::task_store::InMemoryTaskStore;
use a2a_server::{AgentExecutor, DefaultRequestHandler, ExecutorContext, StaticAgentCard};
use nuncio::{Agent, Config};
use nuncio_bridge::{Bridge, Front, Guard, allow, expose_a2a, serve_fronts};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes too long")
}

type Events = Pin<Box<dyn Stream<Item = Result<StreamResponse, A2AError>> + Send>>;

/// Says what it was asked word by word, or works until it is cancelled.
struct Echo;

impl AgentExecutor for Echo {
    fn execute(&self, asked: ExecutorContext) -> Events {
        let text = asked.message.as_ref().and_then(Message::text).unwrap_or_default().to_owned();
        let mut events = vec![StreamResponse::Task(task(&asked)), status(&asked, TaskState::Working)];
        if text == "work" {
            let events = events.into_iter().map(Ok).collect::<Vec<_>>();
            return Box::pin(tokio_stream::iter(events).chain(tokio_stream::pending()));
        }
        let words: Vec<&str> = text.split(' ').collect();
        events.extend(words.iter().enumerate().map(|(no, word)| artifact(&asked, no, word, no + 1 == words.len())));
        events.push(status(&asked, TaskState::Completed));
        Box::pin(tokio_stream::iter(events.into_iter().map(Ok).collect::<Vec<_>>()))
    }

    fn cancel(&self, asked: ExecutorContext) -> Events {
        Box::pin(tokio_stream::once(Ok(status(&asked, TaskState::Canceled))))
    }
}

fn state_of(state: TaskState) -> TaskStatus {
    TaskStatus { state, message: None, timestamp: None }
}

fn task(of: &ExecutorContext) -> Task {
    let (id, context_id) = of.task_info();
    let status = state_of(TaskState::Submitted);
    Task { id, context_id, status, artifacts: None, history: None, metadata: None }
}

fn status(of: &ExecutorContext, state: TaskState) -> StreamResponse {
    let (task_id, context_id) = of.task_info();
    StreamResponse::StatusUpdate(TaskStatusUpdateEvent { task_id, context_id, status: state_of(state), metadata: None })
}

fn artifact(of: &ExecutorContext, no: usize, word: &str, last: bool) -> StreamResponse {
    let (task_id, context_id) = of.task_info();
    let artifact = Artifact {
        artifact_id: "words".into(),
        name: None,
        description: None,
        parts: vec![Part::text(word)],
        metadata: None,
        extensions: None,
    };
    let (append, last_chunk) = (Some(no > 0), Some(last));
    StreamResponse::ArtifactUpdate(TaskArtifactUpdateEvent {
        task_id,
        context_id,
        artifact,
        append,
        last_chunk,
        metadata: None,
    })
}

/// The agent of the SDK; gives back where its card stands.
async fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let capabilities = AgentCapabilities { streaming: Some(true), ..AgentCapabilities::default() };
    let card = AgentCard {
        name: "echo".to_owned(),
        description: "Says what it is told.".to_owned(),
        version: "1".to_owned(),
        supported_interfaces: vec![AgentInterface::new(format!("{url}/rpc"), "JSONRPC")],
        capabilities: capabilities.clone(),
        default_input_modes: vec!["text/plain".to_owned()],
        default_output_modes: vec!["text/plain".to_owned()],
        skills: Vec::new(),
        provider: None,
        documentation_url: None,
        icon_url: None,
        security_schemes: None,
        security_requirements: None,
        signatures: None,
    };
    let handler = DefaultRequestHandler::new(Echo, InMemoryTaskStore::new()).with_capabilities(capabilities);
    let app = agent_card_router(Arc::new(StaticAgentCard::new(card)));
    let app = app.nest("/rpc", jsonrpc_router(Arc::new(handler)));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

struct Two {
    _dir: tempfile::TempDir,
    _ends: [(Agent, Bridge); 2],
    client: A2AClient<Box<dyn Transport>>,
}

async fn open(home: &Path) -> (Agent, Bridge) {
    let config = Config::new(home).listen(([127, 0, 0, 1], 0).into());
    let config = if Bridge::offers(home).unwrap() { config.serve_calls() } else { config };
    let agent = Agent::open(config).await.unwrap();
    let bridge = Bridge::start(agent.clone(), home).await.unwrap();
    (agent, bridge)
}

impl Two {
    async fn new(scopes: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (near, home) = (dir.path().join("near"), dir.path().join("far"));
        std::fs::create_dir(&home).unwrap();
        let service = "echo".parse().unwrap();
        expose_a2a(&home, &service, &serve().await).unwrap();
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        allow(&home, &service, "near", &scopes).unwrap();
        let (near, far) = (open(&near).await, open(&home).await);
        near.0.add_peer(&far.0.invitation().await.unwrap(), Some("far")).await.unwrap();
        far.0.add_peer(&near.0.invitation().await.unwrap(), Some("near")).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let guard = Guard::new(address, Some("h".parse().unwrap()), "secret".to_owned().into());
        let stopping = CancellationToken::new();
        let app = Front::new(near.1.line(far.0.id(), service), guard, stopping.clone()).router();
        tokio::spawn(serve_fronts(listener, app, stopping));
        let (resolver, url) = (AgentCardResolver::new(None), format!("http://{address}/h/secret"));
        let card = within(resolver.resolve(&url)).await.unwrap();
        assert!(card.supported_interfaces.iter().all(|it| it.url.starts_with(&format!("http://{address}/"))));
        let client = A2AClientFactory::builder().build().create_from_card(&card).await.unwrap();
        Self { _dir: dir, _ends: [near, far], client }
    }
}

fn asking(text: &str) -> SendMessageRequest {
    let message = Message::new(Role::User, vec![Part::text(text)]);
    SendMessageRequest { message, configuration: None, metadata: None, tenant: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_s_client_and_agent_meet_in_sealed_letters() {
    let two = Two::new(&["tools.read", "tools.write"]).await;
    let SendMessageResponse::Task(done) = within(two.client.send_text("hello there")).await.unwrap() else { panic!() };
    assert_eq!(done.status.state, TaskState::Completed);
    let words: Vec<_> = done.artifacts.iter().flatten().flat_map(|it| &it.parts).filter_map(Part::as_text).collect();
    assert_eq!(words, ["hello", "there"]);
    let asked = GetTaskRequest { id: done.id.clone(), history_length: None, tenant: None };
    assert_eq!(within(two.client.get_task(&asked)).await.unwrap().status.state, TaskState::Completed);
    let unknown = GetTaskRequest { id: "none".into(), history_length: None, tenant: None };
    assert_eq!(within(two.client.get_task(&unknown)).await.unwrap_err().code, a2a::error_code::TASK_NOT_FOUND);
    // What it says comes in its order, each once.
    let stream = within(two.client.send_streaming_message(&asking("a b c"))).await.unwrap();
    let events: Vec<String> = within(stream.map(|event| told(&event.unwrap())).collect()).await;
    assert_eq!(events, ["Submitted", "Working", "a", "b", "c", "Completed"]);
}

fn told(event: &StreamResponse) -> String {
    match event {
        StreamResponse::Task(task) => format!("{:?}", task.status.state),
        StreamResponse::StatusUpdate(update) => format!("{:?}", update.status.state),
        StreamResponse::ArtifactUpdate(update) => update.artifact.parts[0].as_text().unwrap().to_owned(),
        StreamResponse::Message(message) => message.text().unwrap_or_default().to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_on_is_cancelled_and_what_is_not_allowed_is_not_begun() {
    let two = Two::new(&["tools.read", "tools.write"]).await;
    let mut stream = within(two.client.send_streaming_message(&asking("work"))).await.unwrap();
    let StreamResponse::Task(task) = within(stream.next()).await.unwrap().unwrap() else { panic!() };
    assert_eq!(told(&within(stream.next()).await.unwrap().unwrap()), "Working");
    let cancel = CancelTaskRequest { id: task.id, metadata: None, tenant: None };
    assert_eq!(within(two.client.cancel_task(&cancel)).await.unwrap().status.state, TaskState::Canceled);
    assert_eq!(told(&within(stream.next()).await.unwrap().unwrap()), "Canceled");

    let two = Two::new(&["tools.read"]).await;
    let denied = within(two.client.send_text("hello")).await.unwrap_err();
    assert!(denied.to_string().contains("it needs the scope tools.write"), "{denied}");
}
