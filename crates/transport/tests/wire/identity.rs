//! Who the other end is, and what a dialler may conclude.

use bytes::Bytes;
use nuncio_transport::{CloseReason, FrameReceiver, FrameSender, StreamKind, TransportError};

use crate::support::*;

// TLS alerts (RFC 8446 section 6), so that a case refused for another reason than its own is seen.
const BAD_CERTIFICATE: u8 = 42;
const HANDSHAKE_FAILURE: u8 = 40;
const DECRYPT_ERROR: u8 = 51;
const CERTIFICATE_REQUIRED: u8 = 116;
const NO_APPLICATION_PROTOCOL: u8 = 120;

#[tokio::test]
async fn frames_go_both_ways_between_proved_peers() {
    let pair = pair().await;
    assert_eq!((pair.to.peer(), pair.from.peer()), (id(2), id(1)));

    let (send, recv) = pair.to.open(StreamKind::Frames).await.unwrap();
    let (mut send, mut recv) = (FrameSender::new(send), FrameReceiver::new(recv));
    send.send_many(&[Bytes::from_static(b"there")]).await.unwrap();

    let (kind, back, there) = pair.from.accept_stream().await.unwrap();
    assert_eq!(kind, StreamKind::Frames);
    let (mut back, mut there) = (FrameSender::new(back), FrameReceiver::new(there));
    let mut got = Vec::new();
    there.recv_many(&mut got, 8).await.unwrap();
    back.send_many(&[Bytes::from_static(b"and back")]).await.unwrap();
    recv.recv_many(&mut got, 8).await.unwrap();
    assert_eq!(got, ["there", "and back"]);
}

#[tokio::test]
async fn a_dialler_refuses_another_agent_and_does_not_show_itself() {
    let (dialler, listener) = (link(1), link(2));
    let addr = listener.local_addr().unwrap();
    match dialler.dial(id(3), addr).await {
        Err(TransportError::WrongPeer { expected, found }) => assert_eq!((expected, found), (id(3), id(2))),
        other => panic!("{other:?}"),
    }
    // The listener never had a connection from agent 1: the first that it has is agent 4's.
    let other = link(4);
    let (_to, from) = tokio::join!(other.dial(id(2), addr), listener.accept());
    assert_eq!(from.unwrap().peer(), id(4));
}

#[tokio::test]
async fn a_server_that_presents_a_key_it_does_not_hold_is_refused() {
    let server = bare_server(claim(spki(&key(2).public()), 9), b"nuncio/1");
    let addr = server.local_addr().unwrap();
    let serving = tokio::spawn(async move { server.accept().await.unwrap().await.map(|_| ()) });
    match link(1).dial(id(2), addr).await {
        Err(TransportError::Closed(CloseReason::Tls { alert })) => assert_eq!(alert, DECRYPT_ERROR),
        other => panic!("{other:?}"),
    }
    assert!(serving.await.unwrap().is_err());
}

/// Dials `listener` and says how it ended: what the dialler saw first, and why it was closed.
async fn refusal(listener: &nuncio_transport::Link, client: quinn::Endpoint) -> (bool, CloseReason) {
    let addr = listener.local_addr().unwrap();
    match client.connect(addr, "nuncio.invalid").unwrap().await {
        Ok(quic) => (true, soon(quic.closed()).await.into()),
        Err(error) => (false, error.into()),
    }
}

#[tokio::test]
async fn a_listener_refuses_every_key_that_is_not_a_proved_agent() {
    let listener = link(2);
    let mine = key(1).public();
    let mut weak = [0; 32];
    weak[0] = 1;
    let mut p256 = spki(&mine);
    p256[8] = 0x71;
    let with = |presented: Vec<u8>| Present { key: Some(claim(presented, 1)), raw: true };
    let cases = [
        ("no key, raw keys offered", CERTIFICATE_REQUIRED, Present { key: None, raw: true }),
        ("no key, X.509 offered", HANDSHAKE_FAILURE, Present { key: None, raw: false }),
        ("an X.509 certificate's place", HANDSHAKE_FAILURE, Present { key: Some(honest(1)), raw: false }),
        ("another agent's key", DECRYPT_ERROR, with(spki(&key(3).public()))),
        ("a point of small order", BAD_CERTIFICATE, with(spki(&weak))),
        ("no point", BAD_CERTIFICATE, with(spki(&[0xff; 32]))),
        ("another algorithm's name", BAD_CERTIFICATE, with(p256)),
        ("a byte too many", BAD_CERTIFICATE, with([spki(&mine), vec![0]].concat())),
        ("a byte too few", BAD_CERTIFICATE, with(spki(&mine)[..43].to_vec())),
        ("nothing", BAD_CERTIFICATE, with(Vec::new())),
    ];
    for (what, alert, present) in cases {
        let (_, reason) = refusal(&listener, bare_client(present, b"nuncio/1")).await;
        assert_eq!(reason, CloseReason::Tls { alert }, "{what}");
    }
    // None of them became a connection: the first is the honest one's.
    let client = honest_client(1);
    let connecting = client.connect(listener.local_addr().unwrap(), "nuncio.invalid").unwrap();
    let (quic, from) = tokio::join!(connecting, listener.accept());
    assert_eq!(from.unwrap().peer(), id(1));
    drop(quic);
}

#[tokio::test]
async fn nothing_counts_as_accepted_before_the_peers_first_byte() {
    // A client whose key is refused still sees its handshake complete: TLS 1.3 lets the client finish first.
    let listener = link(2);
    let impostor = Present { key: Some(claim(spki(&key(3).public()), 1)), raw: true };
    let (connected, reason) = refusal(&listener, bare_client(impostor, b"nuncio/1")).await;
    assert!(connected, "connect() says yes, which is why it proves nothing");
    assert_eq!(reason, CloseReason::Tls { alert: DECRYPT_ERROR });
    until("the refused handshake is forgotten", || listener.stats().handshakes_under_way == 0).await;
}

#[tokio::test]
async fn another_protocol_is_refused_in_the_handshake() {
    let refused = CloseReason::Tls { alert: NO_APPLICATION_PROTOCOL };

    let client = bare_client(Present { key: Some(honest(1)), raw: true }, b"nuncio/2");
    assert_eq!(refusal(&link(2), client).await, (false, refused.clone()));

    let server = bare_server(honest(2), b"h3");
    let addr = server.local_addr().unwrap();
    let serving = tokio::spawn(async move { server.accept().await.unwrap().await.map(|_| ()) });
    match link(1).dial(id(2), addr).await {
        Err(TransportError::Closed(reason)) => assert_eq!(reason, refused),
        other => panic!("{other:?}"),
    }
    assert!(serving.await.unwrap().is_err());
}

#[tokio::test]
async fn nothing_can_be_resumed_so_nothing_travels_before_the_handshake() {
    let listener = link(2);
    let addr = listener.local_addr().unwrap();
    let client = honest_client(1);
    for _ in 0..3 {
        let connecting = match client.connect(addr, "nuncio.invalid").unwrap().into_0rtt() {
            Ok(_) => panic!("0-RTT was possible"),
            Err(connecting) => connecting,
        };
        let (quic, from) = tokio::join!(connecting, listener.accept());
        let (quic, from) = (quic.unwrap(), from.unwrap());
        // A round trip after the handshake: a ticket would have come by now.
        let (mut send, mut recv) = quic.open_bi().await.unwrap();
        send.write_all(&[1]).await.unwrap();
        let (_, mut back, _) = from.accept_stream().await.unwrap();
        back.write_all(b"x").await.unwrap();
        recv.read_exact(&mut [0]).await.unwrap();
    }
}

#[tokio::test]
async fn a_dead_address_is_told_as_such() {
    let silent = std::net::UdpSocket::bind(ANY).unwrap();
    let tuning = nuncio_transport::Tuning { dial_timeout: std::time::Duration::from_millis(200), ..Default::default() };
    let dialled = link_with(1, tuning).dial(id(2), silent.local_addr().unwrap()).await;
    assert!(matches!(dialled, Err(TransportError::Closed(CloseReason::TimedOut))), "{dialled:?}");
}

#[tokio::test]
async fn the_key_exchange_is_hybrid_and_a_weaker_curve_is_refused() {
    use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519MLKEM768};
    let me = || Present { key: Some(honest(1)), raw: true };

    // Both halves work with an end that takes nothing but the hybrid.
    let server = bare_server_of(only(&[X25519MLKEM768]), honest(2), b"nuncio/1");
    let addr = server.local_addr().unwrap();
    let dialler = link(1);
    let (dialled, served) = tokio::join!(dialler.dial(id(2), addr), async { server.accept().await.unwrap().await });
    served.unwrap();
    assert_eq!(dialled.unwrap().peer(), id(2));
    let listener = link(2);
    let client = bare_client_of(only(&[X25519MLKEM768]), me(), b"nuncio/1");
    let connecting = client.connect(listener.local_addr().unwrap(), "nuncio.invalid").unwrap();
    let (quic, from) = tokio::join!(connecting, listener.accept());
    assert_eq!(from.unwrap().peer(), id(1));
    drop(quic);

    let client = bare_client_of(only(&[SECP256R1]), me(), b"nuncio/1");
    assert_eq!(refusal(&listener, client).await, (false, CloseReason::Tls { alert: HANDSHAKE_FAILURE }));
}
