//! An agent that dies without a word.

use std::time::Duration;

use nuncio_transport::{CloseReason, FrameSender, Link, LinkConfig, StreamKind, tuning};
use tokio::runtime::Runtime;

use crate::support::{id, key, link};

#[test]
fn a_restarted_agent_disowns_its_old_connections_at_once() {
    let dialler_runtime = Runtime::new().unwrap();
    let first_life = Runtime::new().unwrap();

    let dialler = dialler_runtime.block_on(async { link(1) });
    let listener = first_life.block_on(async { link(2) });
    let addr = listener.local_addr().unwrap();
    let accepting = first_life.spawn(async move { (listener.accept().await, listener) });
    let to = dialler_runtime.block_on(dialler.dial(id(2), addr)).unwrap();
    let (send, _recv) = dialler_runtime.block_on(to.open(StreamKind::Frames)).unwrap();
    let alive = first_life.block_on(accepting).unwrap();

    // Dies as by SIGKILL: the tasks stop where they are and nobody is told. Values that live on outside are forgotten
    // after the runtime, when there is nobody left to send what their drop would say.
    first_life.shutdown_timeout(Duration::from_secs(5));
    drop(alive);
    assert_eq!(to.close_reason(), None);

    let _second_life = dialler_runtime.block_on(async {
        for _ in 0..500 {
            match Link::bind(LinkConfig::new(addr), &key(2)) {
                Ok(link) => return link,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("the address is still in use");
    });
    let reason = dialler_runtime.block_on(async {
        let mut sender = FrameSender::new(send);
        // A reset answers a packet and is shorter than it, so the packet must not be tiny.
        let _ = sender.send_many(&[bytes::Bytes::from(vec![7; 500])]).await;
        tokio::time::timeout(tuning::IDLE_TIMEOUT / 2, to.closed()).await
    });
    assert_eq!(reason.expect("well before the idle timeout"), CloseReason::Reset);
}
