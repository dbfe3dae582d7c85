//! A program's input and output as a session, over an agent that dies and comes again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "memory/agent.rs"]
mod agent;
#[path = "memory/line.rs"]
mod line;
#[path = "memory/server.rs"]
mod server;

use std::time::Duration;

use agent::Agent;
use line::Memory;
use nuncio_bridge::Body;
use nuncio_bridge::shim::{self, ShimError};
use nuncio_proto::call::What;
use server::json_of;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A shim and the program that started it.
struct Program {
    input: DuplexStream,
    output: Lines<BufReader<DuplexStream>>,
    shim: JoinHandle<Result<(), ShimError>>,
    stopping: CancellationToken,
}

impl Program {
    fn start(agent: &Agent) -> Self {
        let (input, stdin) = tokio::io::duplex(1 << 16);
        let (stdout, output) = tokio::io::duplex(1 << 16);
        let stopping = CancellationToken::new();
        let shim = tokio::spawn(shim::run(agent.remote(), stdin, stdout, stopping.clone()));
        Self { input, output: BufReader::new(output).lines(), shim, stopping }
    }

    async fn say(&mut self, line: &str) {
        self.input.write_all(line.as_bytes()).await.unwrap();
        self.input.write_all(b"\n").await.unwrap();
    }

    async fn hear(&mut self) -> Option<String> {
        let line = tokio::time::timeout(Duration::from_secs(20), self.output.next_line()).await;
        line.expect("the shim is silent").unwrap()
    }
}

fn call(id: u32, tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"progressToken":{id}}}}}}}"#
    )
}

#[tokio::test]
async fn bytes_pass_untouched_and_in_order() {
    let odd = r#"{ "result" : "\u00e9 é","id":1.0 ,"jsonrpc":"2.0"}"#;
    let split = "{\"jsonrpc\":\"2.0\",\r\n\"id\":2,\n\"result\":\"a\\nb\"}";
    let mut agent = Agent::new(Memory::new(move |far, say| match say.note.as_slice() {
        b"1.0" => far.answer(&say, odd),
        b"2" => far.answer(&say, split),
        _ => {}
    }));
    agent.start();
    let mut program = Program::start(&agent);
    let asked = r#" {"id":1.0,"b":1,"a":"\u0061", "method":"x","jsonrpc":"2.0"}"#;
    program.say(&format!("{asked}\r")).await;
    program.say("").await;
    assert_eq!(program.hear().await.unwrap(), odd);
    program.say(r#"{"jsonrpc":"2.0","id":2,"method":"x"}"#).await;
    assert_eq!(program.hear().await.unwrap(), split.replace("\r\n", "  ").replace('\n', " "));
    drop(program.input);
    assert!(program.output.next_line().await.unwrap().is_none());
    program.shim.await.unwrap().unwrap();
    let said = agent.memory.said();
    let Body::Bytes(bytes) = &said[0].message.body else { panic!() };
    assert_eq!(bytes, asked.as_bytes());
    assert_eq!(said.iter().map(|say| say.what).collect::<Vec<_>>(), [What::Request, What::Request, What::End]);
    assert!(said.iter().all(|say| say.session == said[0].session && say.session.is_some()));
    assert!(agent.memory.left().is_empty(), "what was written is taken");
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_written() {
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{}"}}"#, "x".repeat(300_000));
    let mut agent = Agent::new(Memory::new(move |far, say| {
        if say.what != What::Request {
            return;
        }
        let stray = nuncio_bridge::Say { id: nuncio::Agent::new_letter_id().unwrap(), ..say.clone() };
        far.part(&stray, r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"to":"nobody"}}"#);
        far.answer(&stray, long.as_str());
        far.answer(&say, r#"{"jsonrpc":"2.0","id":1,"result":"first"}"#);
        far.answer(&say, r#"{"jsonrpc":"2.0","id":1,"result":"second"}"#);
        far.part(&say, r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"late":true}}"#);
        far.aside(say.session, r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#);
    }));
    agent.start();
    let mut program = Program::start(&agent);
    program.say(r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#).await;
    assert!(program.hear().await.unwrap().contains("first"));
    assert_eq!(program.hear().await.unwrap(), r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#);
    drop(program.input);
    assert!(program.output.next_line().await.unwrap().is_none());
    program.shim.await.unwrap().unwrap();
    assert!(agent.memory.left().is_empty(), "what is passed over is taken");
}

#[tokio::test]
async fn through_deaths_of_the_agent_nothing_is_lost_and_nothing_comes_twice() {
    let mut agent = Agent::new(server::line());
    agent.start();
    let Program { mut input, mut output, shim: _shim, .. } = Program::start(&agent);
    let deaths = async {
        for death in 0..12 {
            tokio::time::sleep(Duration::from_millis(35 + death * 7)).await;
            agent.kill().await;
            tokio::time::sleep(Duration::from_millis(15)).await;
            agent.start();
        }
    };
    let says = async {
        for id in 0..300 {
            let line = format!("{}\n", call(id, "count", r#"{"n":2}"#));
            input.write_all(line.as_bytes()).await.unwrap();
            if id % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let hears = async {
        let mut answers = Vec::new();
        let mut parts = 0;
        while answers.len() < 300 {
            let line = tokio::time::timeout(Duration::from_secs(20), output.next_line()).await;
            let line = line.expect("the shim is silent").unwrap().unwrap();
            let message: serde_json::Value =
                serde_json::from_str(&line).unwrap_or_else(|_| panic!("no message: {line}"));
            match message["id"].as_u64() {
                Some(id) => answers.push(id),
                None => parts += 1,
            }
        }
        (answers, parts)
    };
    let ((), (mut answers, parts), ()) = tokio::join!(says, hears, deaths);
    answers.sort_unstable();
    assert_eq!(answers, (0..300).collect::<Vec<_>>());
    assert_eq!(parts, 600);
    assert_eq!(agent.memory.said().len(), 300);
    for _ in 0..200 {
        if agent.memory.left().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not taken: {:?}", agent.memory.left());
}

#[tokio::test]
async fn what_was_accepted_without_a_word_is_said_again_as_the_same_message() {
    let mut agent = Agent::new(server::line());
    agent.start();
    let mut program = Program::start(&agent);
    agent.memory.accept_without_a_word(1);
    program.say(&call(1, "add", "{}")).await;
    assert!(program.hear().await.unwrap().contains("\"0\""));
    program.say(&call(2, "add", "{}")).await;
    let second = program.hear().await.unwrap();
    assert!(second.contains("\"1\"") && second.contains("\"id\":2,"), "{second}");
    assert_eq!(agent.memory.said().len(), 2);
    // Nor is it asked again without a letter: its letter may be there, and answered.
    assert_eq!(agent.memory.asked().len(), 2, "each once");
}

#[tokio::test]
async fn what_was_written_is_not_written_again_though_the_agent_has_it_still() {
    let mut agent = Agent::new(server::line());
    agent.start();
    agent.memory.keep();
    let mut program = Program::start(&agent);
    for id in 0..5 {
        program.say(&call(id, "echo", r#"{"text":"on"}"#)).await;
        assert!(program.hear().await.unwrap().contains(&format!("\"id\":{id},")));
        agent.kill().await;
        agent.start();
    }
    assert_eq!(agent.memory.left().len(), 5);
}

#[tokio::test]
async fn a_long_line_goes_on_where_the_agent_died() {
    let mut agent = Agent::new(server::line());
    agent.start();
    let mut program = Program::start(&agent);
    program.say(&call(1, "large", r#"{"bytes":3000000}"#)).await;
    // The pipe is full in the middle of the line.
    tokio::time::sleep(Duration::from_millis(300)).await;
    agent.kill().await;
    agent.start();
    let line = program.hear().await.unwrap();
    let message: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(message["result"]["content"][0]["text"].as_str().unwrap().len(), 3_000_000);
    program.say(&call(2, "echo", r#"{"text":"on"}"#)).await;
    assert!(program.hear().await.unwrap().contains("on"));
}

#[tokio::test]
async fn what_is_no_message_or_too_long_is_answered_and_the_next_is_served() {
    let mut agent = Agent::new(server::line());
    agent.start();
    let mut program = Program::start(&agent);
    for (line, code) in [("{", "-32700"), ("[1]", "-32600"), (&"x".repeat((16 << 20) + 1), "-32044")] {
        program.say(line).await;
        let told: serde_json::Value = serde_json::from_str(&program.hear().await.unwrap()).unwrap();
        assert_eq!((told["error"]["code"].to_string().as_str(), &told["id"]), (code, &serde_json::Value::Null));
    }
    program.say(&call(2, "echo", r#"{"text":"on"}"#)).await;
    assert!(program.hear().await.unwrap().contains("on"));
    assert_eq!(agent.memory.said().len(), 1);
}

#[tokio::test]
async fn failures_are_told_in_the_protocol_s_words() {
    let mut agent = Agent::new(Memory::new(|far, say| far.fail(&say, "it expired")));
    agent.start();
    let mut program = Program::start(&agent);
    program.say(r#"{"jsonrpc":"2.0","id":"a\"b","method":"x"}"#).await;
    let told: serde_json::Value = serde_json::from_str(&program.hear().await.unwrap()).unwrap();
    assert_eq!((&told["id"], &told["error"]["code"]), (&"a\"b".into(), &(-32042).into()));
    agent.memory.refuse("no such service");
    program.say(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#).await;
    program.say(r#"{"jsonrpc":"2.0","id":2,"method":"x"}"#).await;
    let told: serde_json::Value = serde_json::from_str(&program.hear().await.unwrap()).unwrap();
    assert_eq!((&told["id"], &told["error"]["message"]), (&2.into(), &"no such service".into()));
}

/// contracts/call.md section 4, -32041.
#[tokio::test]
async fn what_cannot_be_read_is_told_as_of_unknown_outcome() {
    let mut agent = Agent::new(Memory::new(|far, say| far.unread(&say, json_of(&say)["method"] == "x")));
    agent.start();
    let mut program = Program::start(&agent);
    for method in ["x", "y"] {
        program.say(&format!(r#"{{"jsonrpc":"2.0","id":"a","method":"{method}"}}"#)).await;
        let told: serde_json::Value = serde_json::from_str(&program.hear().await.unwrap()).unwrap();
        assert_eq!((&told["id"], &told["error"]["code"]), (&"a".into(), &(-32041).into()), "{told}");
    }
}

#[tokio::test]
async fn a_service_s_question_is_answered_under_the_letter_that_asked() {
    let mut agent = Agent::new(server::line());
    agent.start();
    let mut program = Program::start(&agent);
    program.say(&call(1, "ask", "{}")).await;
    assert!(program.hear().await.unwrap().contains("elicitation/create"));
    program.say(r#"{"jsonrpc":"2.0","id":"s-1","result":{"action":"accept","content":{"name":"Ada"}}}"#).await;
    assert!(program.hear().await.unwrap().contains("hello Ada"));
}

#[tokio::test]
async fn the_input_s_end_waits_for_answers_a_moment_and_ends_the_session() {
    let mut agent = Agent::new(server::line());
    agent.start();
    let mut program = Program::start(&agent);
    program.say(&call(1, "slow", r#"{"ms":400}"#)).await;
    program.say(r#"{"jsonrpc":"2.0","id":2,"method":"x","params":["#).await;
    let Program { input, mut output, shim, .. } = program;
    drop(input);
    let mut lines = Vec::new();
    while let Some(line) = output.next_line().await.unwrap() {
        lines.push(line);
    }
    assert!(
        lines.iter().any(|line| line.contains("awake")) && lines.iter().any(|line| line.contains("-32700")),
        "{lines:?}"
    );
    shim.await.unwrap().unwrap();
    assert_eq!(agent.memory.said().pop().unwrap().what, What::End);
    // One that never comes is not waited for, and answered here.
    let mut program = Program::start(&agent);
    program.say(&call(1, "echo", r#"{"text":"on"}"#)).await;
    program.hear().await.unwrap();
    program.say(&call(2, "slow", r#"{"ms":60000}"#)).await;
    let Program { input, mut output, shim, .. } = program;
    drop(input);
    let mut last = String::new();
    while let Some(line) = output.next_line().await.unwrap() {
        last = line;
    }
    let told: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&told["id"], &told["error"]["code"]), (&2.into(), &(-32041).into()), "{told}");
    tokio::time::timeout(Duration::from_secs(5), shim).await.unwrap().unwrap().unwrap();
    assert_eq!(agent.memory.said().pop().unwrap().what, What::End);
}

/// contracts/call.md X27: what is under way when the input's patience is over is that request's answer, and no other comes.
#[tokio::test]
async fn an_answer_that_is_being_written_at_the_input_s_end_stays_the_only_one() {
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{}"}}"#, "x".repeat(300_000));
    let answer = long.clone();
    let mut agent = Agent::new(Memory::new(move |far, say| {
        if say.what == What::Request {
            far.answer(&say, answer.as_str());
        }
    }));
    agent.start();
    let mut program = Program::start(&agent);
    program.say(r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#).await;
    let Program { input, mut output, shim, .. } = program;
    drop(input);
    // Longer than answers may take to come, and not as long as they and the errors together.
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert_eq!(output.next_line().await.unwrap(), Some(long));
    assert_eq!(output.next_line().await.unwrap(), None);
    shim.await.unwrap().unwrap();
}

/// contracts/call.md X27.
#[tokio::test]
async fn what_has_no_answer_is_answered_for_though_the_agent_is_away() {
    let mut agent = Agent::new(Memory::new(|_, _| ()));
    agent.start();
    let mut program = Program::start(&agent);
    for id in 0..12 {
        program.say(&call(id, "count", "{}")).await;
    }
    while agent.memory.said().len() < 12 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    agent.kill().await;
    let Program { input, mut output, shim, .. } = program;
    drop(input);
    let mut told = Vec::new();
    while let Some(line) = output.next_line().await.unwrap() {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["error"]["code"], -32041, "{line}");
        told.push(line["id"].as_u64().unwrap());
    }
    told.sort_unstable();
    assert_eq!(told, (0..12).collect::<Vec<_>>());
    assert!(matches!(shim.await.unwrap(), Err(ShimError::Unheard)));
}

/// contracts/call.md X27.
#[tokio::test]
async fn a_service_that_is_never_heard_is_told_once_answered_for_and_no_good_end() {
    let mut agent = Agent::new(Memory::new(|_, _| ()));
    agent.start();
    let (mut input, stdin) = tokio::io::duplex(1 << 16);
    let (stdout, output) = tokio::io::duplex(1 << 16);
    let (tell, told) = tokio::sync::oneshot::channel();
    let telling = async move { tell.send(()).unwrap_or_default() };
    let shim = tokio::spawn(shim::run_telling(agent.remote(), stdin, stdout, CancellationToken::new(), telling));
    let lines =
        [r#"{"jsonrpc":"2.0","id":"a","method":"initialize"}"#, r#"{"jsonrpc":"2.0","method":"notifications/x"}"#];
    input.write_all(format!("{}\n", lines.join("\n")).as_bytes()).await.unwrap();
    // While the input goes on, so does the shim.
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("nothing is told").unwrap();
    assert!(!shim.is_finished());
    drop(input);
    let mut output = BufReader::new(output).lines();
    let line: serde_json::Value = serde_json::from_str(&output.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!((&line["jsonrpc"], &line["id"], &line["error"]["code"]), (&"2.0".into(), &"a".into(), &(-32041).into()));
    assert!(output.next_line().await.unwrap().is_none());
    assert!(matches!(shim.await.unwrap(), Err(ShimError::Unheard)));
    assert_eq!(agent.memory.said().pop().unwrap().what, What::End, "the service is told all the same");
}

#[tokio::test]
async fn the_service_s_end_and_a_stop_end_the_shim() {
    let mut agent = Agent::new(server::line());
    agent.start();
    let mut program = Program::start(&agent);
    program.say(&call(1, "echo", r#"{"text":"hi"}"#)).await;
    program.hear().await.unwrap();
    let said = agent.memory.said();
    assert_eq!(json_of(&said[0])["id"], 1);
    agent.memory.far().end(said[0].session);
    program.shim.await.unwrap().unwrap();
    let mut other = Program::start(&agent);
    other.say(&call(1, "echo", r#"{"text":"hi"}"#)).await;
    other.hear().await.unwrap();
    other.stopping.cancel();
    other.shim.await.unwrap().unwrap();
    assert_eq!(agent.memory.said().pop().unwrap().what, What::End);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_not_there_is_waited_for_and_then_missed() {
    let agent = Agent::new(server::line());
    let program = Program::start(&agent);
    assert!(matches!(program.shim.await.unwrap(), Err(ShimError::NoAgent(why)) if why.contains("api.sock")));
}

#[tokio::test]
async fn an_agent_that_comes_late_is_waited_for() {
    let mut agent = Agent::new(server::line());
    let mut program = Program::start(&agent);
    program.say(&call(1, "echo", r#"{"text":"late"}"#)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    agent.start();
    assert!(program.hear().await.unwrap().contains("late"));
}
