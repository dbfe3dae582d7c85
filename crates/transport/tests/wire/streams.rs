//! Kinds of streams, closing, and what a stranger may take.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use nuncio_transport::tuning::{
    CLIENT_WINDOW, GUEST_WINDOW, STRANGER_SEND_WINDOW, STRANGER_STREAMS_MAX, STRANGER_WINDOW, STREAM_WINDOW,
    STREAMS_MAX,
};
use nuncio_transport::{
    CloseCode, CloseReason, Connection, FrameReceiver, FrameSender, Link, LinkConfig, SERVED_BY_NODES, StreamKind,
    TransportError,
};

use crate::support::{ANY, honest_client, id, key, link, pair, soon};

/// Polls once: what can be had without waiting.
async fn at_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A bare client, so that streams can be opened without their first byte.
async fn bare_to(listener: &Link) -> (quinn::Endpoint, quinn::Connection, Connection) {
    let client = honest_client(1);
    let connecting = client.connect(listener.local_addr().unwrap(), "nuncio.invalid").unwrap();
    let (quic, from) = tokio::join!(connecting, listener.accept());
    (client, quic.unwrap(), from.unwrap())
}

#[tokio::test]
async fn a_kind_that_is_not_served_is_reset_and_skipped() {
    let listener = link(2);
    let (_client, quic, from) = bare_to(&listener).await;
    let mut refused = Vec::new();
    for byte in [0, StreamKind::Http.byte(), 0xff] {
        let (mut send, recv) = quic.open_bi().await.unwrap();
        send.write_all(&[byte]).await.unwrap();
        refused.push((send, recv));
    }
    let (mut send, _recv) = quic.open_bi().await.unwrap();
    send.write_all(&[StreamKind::Prekeys.byte()]).await.unwrap();

    let (kind, ..) = soon(from.accept_stream()).await.unwrap();
    assert_eq!(kind, StreamKind::Prekeys);
    // `accept_stream` also carries the refusals out, so it is kept going while they are awaited.
    let serve = tokio::spawn(async move { from.accept_stream().await.map(|_| ()) });
    for (send, mut recv) in refused {
        assert_eq!(soon(send.stopped()).await.unwrap(), Some(CloseCode::UNSUPPORTED_STREAM.into()));
        match recv.read_exact(&mut [0]).await {
            Err(quinn::ReadExactError::ReadError(quinn::ReadError::Reset(code))) => {
                assert_eq!(CloseCode::from(code), CloseCode::UNSUPPORTED_STREAM);
            }
            other => panic!("{other:?}"),
        }
    }
    serve.abort();
}

/// contracts/transport.md T9: what is served is said link by link.
#[tokio::test]
async fn a_node_serves_http_and_nothing_of_an_agent() {
    let node = LinkConfig { served: SERVED_BY_NODES, ..LinkConfig::new(ANY) };
    let listener = Link::bind(node, &key(2)).unwrap();
    let (_client, quic, from) = bare_to(&listener).await;
    let (mut frames, _recv) = quic.open_bi().await.unwrap();
    frames.write_all(&[StreamKind::Frames.byte()]).await.unwrap();
    let (mut http, _recv) = quic.open_bi().await.unwrap();
    http.write_all(&[StreamKind::Http.byte()]).await.unwrap();

    assert_eq!(soon(from.accept_stream()).await.unwrap().0, StreamKind::Http);
    let serve = tokio::spawn(async move { from.accept_stream().await.map(|_| ()) });
    assert_eq!(soon(frames.stopped()).await.unwrap(), Some(CloseCode::UNSUPPORTED_STREAM.into()));
    serve.abort();
}

#[tokio::test]
async fn a_stream_without_its_first_byte_holds_up_no_other() {
    let listener = link(2);
    let (_client, quic, from) = bare_to(&listener).await;
    // Stream 0 becomes visible to the listener when stream 4 does, but says nothing.
    let silent = quic.open_bi().await.unwrap();
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    send.write_all(&[StreamKind::Frames.byte()]).await.unwrap();
    let (kind, mut back, _) = soon(from.accept_stream()).await.unwrap();
    assert_eq!(kind, StreamKind::Frames);
    // What was sent before this byte has come when it has: the silent one was not refused to get here.
    back.write_all(b"x").await.unwrap();
    soon(recv.read_exact(&mut [0])).await.unwrap();
    assert!(at_once(silent.0.stopped()).await.is_none());

    // Left alone, the silent one is refused after a while.
    let serve = tokio::spawn(async move { from.accept_stream().await.map(|_| ()) });
    assert_eq!(soon(silent.0.stopped()).await.unwrap(), Some(CloseCode::PROTOCOL.into()));
    serve.abort();
}

#[tokio::test]
async fn waiting_for_a_stream_can_be_given_up_and_taken_up_again() {
    let pair = pair().await;
    for _ in 0..20 {
        assert!(at_once(pair.from.accept_stream()).await.is_none());
    }
    let (_send, _recv) = pair.to.open(StreamKind::Large).await.unwrap();
    let accepted = loop {
        // Dropped whenever it does not end at once: the first byte that it may have begun to read must not be lost.
        if let Some(accepted) = at_once(pair.from.accept_stream()).await {
            break accepted;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(accepted.unwrap().0, StreamKind::Large);
}

#[tokio::test]
async fn a_stranger_is_bounded_until_it_is_welcome() {
    let pair = pair().await;
    let mut streams = Vec::new();
    for _ in 0..STRANGER_STREAMS_MAX {
        streams.push(pair.to.open(StreamKind::Large).await.unwrap());
    }
    assert!(at_once(pair.to.open(StreamKind::Large)).await.is_none(), "no further stream");

    let mut written = streams.len();
    while let Some(more) = at_once(streams[0].0.write(&[0; 4096])).await {
        written += more.unwrap();
    }
    assert_eq!(written, STRANGER_WINDOW as usize, "no further byte");

    pair.from.welcome();
    soon(pair.to.open(StreamKind::Large)).await.unwrap();
    streams[0].0.write_all(&[0; 4 * STRANGER_WINDOW as usize]).await.unwrap();
}

/// contracts/mailbox.md section 2: a guest has more room on its way in, and no more streams.
#[tokio::test]
async fn a_guest_has_a_window_of_its_own() {
    let pair = pair().await;
    pair.from.welcome_guest();
    let mut streams = Vec::new();
    for _ in 0..STRANGER_STREAMS_MAX {
        streams.push(pair.to.open(StreamKind::Large).await.unwrap());
    }
    assert!(at_once(pair.to.open(StreamKind::Large)).await.is_none(), "no further stream");
    let rest = vec![0; GUEST_WINDOW as usize - streams.len()];
    soon(streams[0].0.write_all(&rest)).await.unwrap();
    assert!(at_once(streams[0].0.write(&[0])).await.is_none(), "no further byte");
}

/// contracts/transport.md T16: a node's client has all streams, and one window for all of them.
#[tokio::test]
async fn a_client_has_one_window_for_all_its_streams() {
    let pair = pair().await;
    pair.from.welcome_client();
    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        streams.push(soon(pair.to.open(StreamKind::Large)).await.unwrap());
    }
    let (each, mut written) = (CLIENT_WINDOW as usize / streams.len() - 1, streams.len());
    for (send, _) in &mut streams {
        soon(send.write_all(&vec![0; each])).await.unwrap();
        written += each;
    }
    assert_eq!(written, CLIENT_WINDOW as usize);
    for (send, _) in &mut streams {
        assert!(at_once(send.write(&[0])).await.is_none(), "no further byte");
    }
}

/// contracts/transport.md T16: a stranger whose machine acknowledges nothing makes us keep little; one that is welcome, more.
#[test]
fn what_is_kept_for_a_stranger_is_bounded() {
    let ours = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let theirs = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let near = ours.block_on(async { link(1) });
    let at = near.local_addr().unwrap();
    // The other end lives until it was heard, and then stands still.
    let (_standing, connection, mut send) = theirs.block_on(async {
        let heard = ours.spawn(async move {
            let connection = soon(near.accept()).await.unwrap();
            let (_, send, _recv) = soon(connection.accept_stream()).await.unwrap();
            (near, connection, send)
        });
        let far = link(2);
        let dialled = far.dial(id(1), at).await.unwrap();
        let stream = dialled.open(StreamKind::Large).await.unwrap();
        let (near, connection, send) = heard.await.unwrap();
        ((near, far, dialled, stream), connection, send)
    });
    let mut fill = || {
        ours.block_on(async {
            let mut written = 0;
            while let Some(more) = at_once(send.write(&[0; 4096])).await {
                written += u64::try_from(more.unwrap()).unwrap();
            }
            written
        })
    };
    let kept = fill();
    assert!((1..=STRANGER_SEND_WINDOW).contains(&kept), "{kept}");
    connection.welcome();
    assert!(kept + fill() > STRANGER_SEND_WINDOW, "who is welcome has more");
}

#[tokio::test]
async fn large_payloads_that_nobody_reads_do_not_hold_up_a_frame() {
    let pair = pair().await;
    pair.from.welcome();
    let mut unread = Vec::new();
    for _ in 1..STREAMS_MAX {
        let mut large = soon(pair.to.open(StreamKind::Large)).await.unwrap();
        soon(large.0.write_all(&vec![0; STREAM_WINDOW as usize - 1])).await.unwrap();
        assert!(at_once(large.0.write(&[0])).await.is_none(), "this one is full");
        unread.push((large, soon(pair.from.accept_stream()).await.unwrap()));
    }
    let (send, _recv) = soon(pair.to.open(StreamKind::Frames)).await.unwrap();
    soon(FrameSender::new(send).send_many(&[Bytes::from(vec![7; 65_536])])).await.unwrap();
    let (_, _send, recv) = soon(pair.from.accept_stream()).await.unwrap();
    let mut got = Vec::new();
    soon(FrameReceiver::new(recv).recv_many(&mut got, 1)).await.unwrap();
    assert_eq!(got.len(), 1);
}

#[tokio::test]
async fn a_close_reaches_the_other_side_with_its_reason() {
    let pair = pair().await;
    pair.from.close(CloseCode::STRANGER, "not on the list");
    let heard = CloseReason::ByPeer { code: CloseCode::STRANGER, reason: "not on the list".into() };
    assert_eq!(pair.to.closed().await, heard);
    assert_eq!(pair.to.close_reason(), Some(heard));
    assert_eq!(pair.from.closed().await, CloseReason::ByUs);
    assert!(matches!(pair.to.open(StreamKind::Frames).await, Err(TransportError::Closed(CloseReason::ByPeer { .. }))));
}

#[tokio::test]
async fn closing_the_link_tells_every_peer_and_takes_no_more() {
    let listener = link(2);
    let addr = listener.local_addr().unwrap();
    let others = [link(1), link(3), link(4)];
    let mut connections = Vec::new();
    for other in &others {
        let (to, from) = tokio::join!(other.dial(id(2), addr), listener.accept());
        connections.push((to.unwrap(), from.unwrap()));
    }
    listener.close(CloseCode::SHUTTING_DOWN, "back soon").await;
    for (to, _from) in &connections {
        let heard = CloseReason::ByPeer { code: CloseCode::SHUTTING_DOWN, reason: "back soon".into() };
        assert_eq!(to.closed().await, heard);
    }
    assert!(listener.accept().await.is_none());
    assert!(listener.dial(id(1), others[0].local_addr().unwrap()).await.is_err());
}

#[tokio::test]
async fn two_links_that_dial_each_other_have_two_connections_that_work() {
    let (one, two) = (link(1), link(2));
    let (to_one, to_two) = (one.local_addr().unwrap(), two.local_addr().unwrap());
    let (a, b, c, d) = tokio::join!(one.dial(id(2), to_two), two.dial(id(1), to_one), one.accept(), two.accept());
    let (a, b, c, d) = (a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap());
    for (from, to) in [(&a, &d), (&d, &a), (&b, &c), (&c, &b)] {
        let (_send, _recv) = from.open(StreamKind::Frames).await.unwrap();
        assert_eq!(to.accept_stream().await.unwrap().0, StreamKind::Frames);
    }
    assert!(a.is(&a.clone()) && !a.is(&c));
}

#[tokio::test]
async fn a_peer_that_moves_keeps_its_connection() {
    let listener = link(2);
    let (client, quic, from) = bare_to(&listener).await;
    let before = from.remote_address();
    client.rebind(std::net::UdpSocket::bind(crate::support::ANY).unwrap()).unwrap();
    let (mut send, _recv) = quic.open_bi().await.unwrap();
    send.write_all(&[StreamKind::Frames.byte()]).await.unwrap();
    soon(from.accept_stream()).await.unwrap();
    assert_ne!(from.remote_address(), before);
    assert_eq!(from.remote_address().port(), client.local_addr().unwrap().port());
}
