//! Strangers that never finish: the others are served, the answer is small, memory has a wall.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use nuncio_transport::{Connection, Link, StreamKind, Tuning};
use tokio::net::UdpSocket;

use crate::support::{ANY, honest_client, id, link, link_with, until};

/// First flights of genuine clients, recorded by a socket that never answers: the datagrams of each, in order.
async fn first_flights(count: usize) -> Vec<Vec<Vec<u8>>> {
    let sink = UdpSocket::bind(ANY).await.unwrap();
    let addr = sink.local_addr().unwrap();
    let client = honest_client(1);
    let mut flights: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
    let mut connecting = Vec::new();
    let mut datagram = [0; 2048];
    for _ in 0..count {
        connecting.push(client.connect(addr, "nuncio.invalid").unwrap());
        // A ClientHello with an ML-KEM share takes two datagrams; more are an earlier client's, sent again.
        for _ in 0..2 {
            let len = sink.recv(&mut datagram).await.unwrap();
            let cid_end = 6 + datagram[5] as usize;
            let flight = flights.entry(datagram[6..cid_end].to_vec()).or_default();
            if flight.len() < 2 {
                flight.push(datagram[..len].to_vec());
            }
        }
    }
    let whole: Vec<_> = flights.into_values().filter(|flight| flight.len() == 2).collect();
    assert!(whole.len() > count / 2, "{} flights recorded", whole.len());
    whole
}

/// Sends each flight from a socket of its own and never answers. Gives the sockets and the bytes sent from each.
async fn spoof(flights: &[Vec<Vec<u8>>], to: SocketAddr) -> Vec<(UdpSocket, usize)> {
    let mut sockets = Vec::new();
    for flight in flights {
        let socket = UdpSocket::bind(ANY).await.unwrap();
        let mut sent = 0;
        for datagram in flight {
            sent += socket.send_to(datagram, to).await.unwrap();
        }
        sockets.push((socket, sent));
        if sockets.len().is_multiple_of(50) {
            // Loopback drops what does not fit a socket's buffer; a breath lets the listener read.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    sockets
}

/// A path that lets a listener's Retry through and nothing else: whoever dials over it shows its address, begins a
/// handshake and never ends it.
async fn half_way(to: SocketAddr) -> SocketAddr {
    let (front, back) = (UdpSocket::bind(ANY).await.unwrap(), UdpSocket::bind(ANY).await.unwrap());
    let addr = front.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut there, mut here) = ([0; 2048], [0; 2048]);
        let mut dialler = None;
        loop {
            tokio::select! {
                Ok((len, from)) = front.recv_from(&mut there) => {
                    dialler = Some(from);
                    back.send_to(&there[..len], to).await.unwrap();
                }
                Ok((len, _)) = back.recv_from(&mut here) => {
                    let retry = here[0] & 0xf0 == 0xf0;
                    if let (true, Some(dialler)) = (retry, dialler) {
                        front.send_to(&here[..len], dialler).await.unwrap();
                    }
                }
            }
        }
    });
    addr
}

fn drain(socket: &UdpSocket) -> usize {
    let mut datagram = [0; 65_536];
    let mut received = 0;
    while let Ok(len) = socket.try_recv(&mut datagram) {
        received += len;
    }
    received
}

async fn connect(from: &Link, listener: &Link) -> (Connection, Connection) {
    let addr = listener.local_addr().unwrap();
    let (to, from) = tokio::join!(from.dial(id(2), addr), listener.accept());
    (to.unwrap(), from.unwrap())
}

async fn serves(to: &Connection, from: &Connection) {
    let (mut send, _recv) = to.open(StreamKind::Frames).await.unwrap();
    let (_, _, mut recv) = from.accept_stream().await.unwrap();
    send.write_all(b"still here").await.unwrap();
    let mut got = [0; 10];
    recv.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"still here");
}

#[tokio::test]
async fn half_open_handshakes_are_bounded_and_others_are_served() {
    let tuning = Tuning { handshakes_max: 30, handshake_timeout: Duration::from_secs(3), ..Tuning::default() };
    let listener = link_with(2, tuning);
    let established = connect(&link(1), &listener).await;

    let flooder = honest_client(9);
    let path = half_way(listener.local_addr().unwrap()).await;
    let flood: Vec<_> = (0..300).map(|_| flooder.connect(path, "nuncio.invalid").unwrap()).collect();
    until("the wall is met", || listener.stats().handshakes_refused > 0).await;
    let stats = listener.stats();
    assert!(stats.handshakes_under_way <= tuning.handshakes_max, "{stats:?}");
    assert!(stats.connections <= tuning.handshakes_max + 1, "{stats:?}");
    serves(&established.0, &established.1).await;

    // When the flood's handshakes time out there is room again, although it goes on trying.
    let (newcomer, addr) = (link(3), listener.local_addr().unwrap());
    let dialling = async {
        loop {
            if let Ok(to) = newcomer.dial(id(2), addr).await {
                break to;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (to, from) = tokio::join!(dialling, listener.accept());
    let from = from.unwrap();
    assert_eq!(from.peer(), id(3));
    serves(&to, &from).await;
    drop(flood);
}

#[tokio::test]
async fn one_address_cannot_take_all_handshakes() {
    let tuning = Tuning { per_source_per_s: 4, ..Tuning::default() };
    let listener = link_with(2, tuning);
    let flooder = honest_client(9);
    let path = half_way(listener.local_addr().unwrap()).await;
    let _flood: Vec<_> = (0..100).map(|_| flooder.connect(path, "nuncio.invalid").unwrap()).collect();
    until("the rate is met", || listener.stats().handshakes_refused > 50).await;
    let stats = listener.stats();
    assert!(stats.handshakes_under_way < tuning.handshakes_max / 4, "{stats:?}");
}

#[tokio::test]
async fn an_unshown_address_costs_nothing_and_gets_less_than_it_sent() {
    let listener = link(2);
    let addr = listener.local_addr().unwrap();
    let established = connect(&link(1), &listener).await;
    let accepted = listener.stats().handshakes_accepted;
    // A whole first flight, its first datagram alone, and the second alone.
    let flights = first_flights(400).await.into_iter().enumerate().map(|(number, mut flight)| match number % 3 {
        0 => flight,
        1 => flight.drain(..1).collect(),
        _ => flight.split_off(1),
    });
    let sockets = spoof(&flights.collect::<Vec<_>>(), addr).await;
    until("addresses are asked to show themselves", || listener.stats().handshakes_retried > 100).await;

    let stats = listener.stats();
    assert_eq!((stats.handshakes_accepted, stats.handshakes_under_way), (accepted, 0), "{stats:?}");
    serves(&established.0, &established.1).await;
    let fresh = connect(&link(3), &listener).await;
    serves(&fresh.0, &fresh.1).await;

    let mut answered = 0;
    for (socket, sent) in &sockets {
        let received = drain(socket);
        answered += usize::from(received > 0);
        // contracts/transport.md T14
        assert!(received <= *sent, "{received} bytes for {sent}");
    }
    assert!(answered > sockets.len() / 2, "{answered} were answered at all");
}

#[tokio::test]
async fn garbage_is_not_answered_and_disturbs_nobody() {
    let listener = link(2);
    let addr = listener.local_addr().unwrap();
    let established = connect(&link(1), &listener).await;
    let genuine = first_flights(1).await.remove(0).remove(0);
    let garbage = UdpSocket::bind(ANY).await.unwrap();
    let mut sent = 0;
    for round in 0..400_usize {
        let datagram = match round % 5 {
            // An Initial with its protected part broken, one cut short, one of an unknown version, noise, and a short
            // header for a connection that never was.
            0 => [&genuine[..30], &[round as u8; 1170]].concat(),
            1 => genuine[..round % genuine.len()].to_vec(),
            2 => [&[0xc0, 0xba, 0xbe, 0xba, 0xbe], &genuine[5..]].concat(),
            3 => (0..1200).map(|i| (i * round) as u8).collect(),
            _ => [&[0x40], &[round as u8; 60][..]].concat(),
        };
        sent += garbage.send_to(&datagram, addr).await.unwrap();
        if round % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    serves(&established.0, &established.1).await;
    assert_eq!(listener.stats().handshakes_under_way, 0);
    let received = drain(&garbage);
    assert!(received <= sent, "{received} bytes for {sent}");
    let fresh = connect(&link(3), &listener).await;
    serves(&fresh.0, &fresh.1).await;
}

#[tokio::test]
async fn connections_have_a_wall_and_a_refusal_says_so() {
    let listener = link_with(2, Tuning { connections_max: 2, ..Tuning::default() });
    let addr = listener.local_addr().unwrap();
    let (one, three, four) = (link(1), link(3), link(4));
    let first = connect(&one, &listener).await;
    let second = connect(&three, &listener).await;
    match four.dial(id(2), addr).await {
        Err(nuncio_transport::TransportError::Closed(nuncio_transport::CloseReason::Refused)) => {}
        other => panic!("{other:?}"),
    }
    serves(&first.0, &first.1).await;
    drop(second);
    until("there is room again", || listener.stats().connections < 2).await;
    connect(&four, &listener).await;
}
