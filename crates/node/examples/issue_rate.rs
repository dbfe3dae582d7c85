//! How many first tokens a second: `private_key_jwt`, a durable record each, loopback HTTP with keep-alive.
//!
//!     cargo run --release -p nuncio-node --example issue_rate -- [requests] [connections]
//!
//! Client and node share the machine, so the node's own time is counted too, by its threads (Linux).

#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use std::collections::VecDeque;
use std::error::Error;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nuncio_node::{Config, Node, init};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::secret::Key;
use nuncio_proto::testing::jws;
use nuncio_store::Kek;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

type Failed = Box<dyn Error + Send + Sync>;
type Bodies = Arc<Mutex<VecDeque<Bytes>>>;

const ISSUER: &str = "https://txts.example";
/// The name of the node's threads, by which their time is counted.
const NODE: &str = "rate-node";

fn main() -> Result<(), Failed> {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<usize>());
    let (requests, connections) = (numbers.next().unwrap_or(Ok(50_000))?, numbers.next().unwrap_or(Ok(64))?);
    let (folder, node_runtime, client_runtime) = (tempfile::tempdir()?, runtime(NODE)?, runtime("rate-client")?);
    let kek = Kek::from_key(Key::new([7; 32]));
    let (home, policy) = (folder.path().join("home"), folder.path().join("policy.toml"));
    init(&home, &kek)?;
    std::fs::write(&policy, policy_text()?)?;
    let mut config = Config::new(home, kek, policy);
    config.tcp = Some("127.0.0.1:0".parse()?);
    let node = node_runtime.block_on(Node::start(config))?;
    let address = node.tcp_addr().ok_or("no address")?;

    let bodies: VecDeque<Bytes> = (0..requests).map(body).collect();
    let (before, started) = (node_time()?, Instant::now());
    let mut waits = client_runtime.block_on(drive(address, Arc::new(Mutex::new(bodies)), connections))?;
    let (took, worked) = (started.elapsed().as_secs_f64(), node_time()? - before);
    waits.sort_unstable();
    let at = |part: usize| waits.get(waits.len().saturating_sub(1) * part / 100).copied().unwrap_or_default();
    let issued = f64::from(u32::try_from(waits.len())?);
    println!("{issued} tokens over {connections} connections in {took:.2} s: {:.0}/s", issued / took);
    println!("node's own time {worked:.2} s: {:.0}/s on one core", issued / worked);
    println!("p50 {:?}, p99 {:?}", at(50), at(99));
    node_runtime.block_on(node.stop())?;
    Ok(())
}

fn runtime(name: &str) -> Result<Runtime, Failed> {
    Ok(Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()?)
}

fn policy_text() -> Result<String, Failed> {
    let did = AgentId::from_bytes(key().public())?;
    Ok(format!(
        "schema = \"nuncio/policy/1\"\n[service]\ntrust_domain = \"acme.example\"\nissuer = \"{ISSUER}\"\ntransaction_life_s = 3600\n\
         [[client]]\nname = \"gateway\"\ndid = \"{did}\"\nrequests_per_s = 1000000\n\
         [[client.grant]]\nsubject_types = [\"unsigned_json\"]\nsubjects = [\"user:*\"]\nscope = \"travel.book travel.pay\"\n\
         details = {{ trip = \"copy\" }}\n"
    ))
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

/// A whole request, its assertion signed beforehand.
fn body(number: usize) -> Bytes {
    let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() + 290;
    let claims = format!(r#"{{"iss":"gateway","sub":"gateway","aud":"{ISSUER}","jti":"{number}","exp":{exp}}}"#);
    let assertion = jws(&key(), r#"{"alg":"EdDSA"}"#, &claims);
    let urn = "urn:ietf:params:oauth";
    let mut form = String::new();
    for (name, value) in [
        ("grant_type", format!("{urn}:grant-type:token-exchange")),
        ("requested_token_type", format!("{urn}:token-type:txn_token")),
        ("audience", "acme.example".to_owned()),
        ("scope", "travel.book+travel.pay".to_owned()),
        ("subject_token_type", format!("{urn}:token-type:unsigned_json")),
        ("subject_token", "%7B%22sub%22%3A%22user%3Aanna%22%7D".to_owned()),
        ("request_details", "%7B%22trip%22%3A%224711%22%7D".to_owned()),
        ("client_assertion_type", format!("{urn}:client-assertion-type:jwt-bearer")),
        ("client_assertion", assertion),
    ] {
        // Writing to a String does not fail.
        let _ = write!(form, "{name}={value}&");
    }
    Bytes::from(form)
}

/// Sends all bodies, each connection one after the other. How long each waited.
async fn drive(address: SocketAddr, bodies: Bodies, connections: usize) -> Result<Vec<Duration>, Failed> {
    let lines: Vec<_> = (0..connections).map(|_| tokio::spawn(line(address, Arc::clone(&bodies)))).collect();
    let mut waits = Vec::new();
    for line in lines {
        waits.extend(line.await??);
    }
    Ok(waits)
}

async fn line(address: SocketAddr, bodies: Bodies) -> Result<Vec<Duration>, Failed> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let next = || bodies.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let mut waits = Vec::new();
    while let Some(body) = next() {
        let request = hyper::Request::post("/token").header("host", "node");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(Full::new(body))?;
        let started = Instant::now();
        let response = client.send_request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        if status != 200 {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&answer)).into());
        }
        waits.push(started.elapsed());
    }
    Ok(waits)
}

/// Seconds that the node's threads have worked: its runtime, the store's writer, the engine's own.
fn node_time() -> Result<f64, Failed> {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        let (Ok(name), Ok(stat)) =
            (std::fs::read_to_string(task.join("comm")), std::fs::read_to_string(task.join("stat")))
        else {
            continue;
        };
        if name.trim() == "rate-client" || name.trim() == "issue_rate" {
            continue;
        }
        // proc(5): behind the name in parentheses, user and system time are the 12th and 13th.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
        ticks += fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok()).sum::<u32>();
    }
    Ok(f64::from(ticks) / 100.0)
}
