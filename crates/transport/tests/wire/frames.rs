//! Framing over a real stream, and what breaks it.

use bytes::Bytes;
use nuncio_transport::tuning::FRAME_LEN_MAX;
use nuncio_transport::{CloseCode, FrameReceiver, FrameSender, RecvStream, SendStream, StreamKind, TransportError};

use crate::support::{Pair, pair, soon};

/// The two ends of one stream of frames, from dialler to listener.
async fn stream() -> (Pair, SendStream, RecvStream) {
    let pair = pair().await;
    let (send, _) = pair.to.open(StreamKind::Frames).await.unwrap();
    let (_, _, recv) = pair.from.accept_stream().await.unwrap();
    (pair, send, recv)
}

/// Frames of many lengths; each begins with its number and is filled with it.
fn numbered(count: u32) -> Vec<Bytes> {
    let body = |number: u32| {
        let len = match number % 997 {
            0 => FRAME_LEN_MAX,
            1 => 16_384 + number as usize % 5,
            _ => 4 + number as usize % 300,
        };
        let mut frame = number.to_be_bytes().to_vec();
        frame.resize(len, number as u8);
        Bytes::from(frame)
    };
    (0..count).map(body).collect()
}

#[tokio::test]
async fn ten_thousand_frames_come_in_order() {
    let (_pair, send, recv) = stream().await;
    let frames = numbered(10_000);
    let sent = frames.clone();
    let sending = tokio::spawn(async move {
        let mut sender = FrameSender::new(send);
        for batch in sent.chunks(33) {
            sender.send_many(batch).await.unwrap();
        }
        sender.finish().unwrap();
    });
    let mut receiver = FrameReceiver::new(recv);
    let mut got = Vec::new();
    loop {
        let before = got.len();
        let count = receiver.recv_many(&mut got, 64).await.unwrap();
        assert!(count <= 64 && got.len() - before == count);
        if count == 0 {
            break;
        }
    }
    assert!(got == frames, "{} frames came", got.len());
    sending.await.unwrap();
}

#[tokio::test]
async fn a_length_out_of_bounds_stops_the_stream_after_the_frames_before_it() {
    let over = (FRAME_LEN_MAX as u32 + 1) | 0x8000_0000;
    for bad in [&over.to_be_bytes()[..], &[0], &[0x40, 1], &[0x80, 0, 0, 1], &[0xff; 8]] {
        let (_pair, mut send, recv) = stream().await;
        send.write_all(&[&[2, b'o', b'k'][..], bad].concat()).await.unwrap();
        let mut receiver = FrameReceiver::new(recv);
        let mut got = Vec::new();
        assert_eq!(receiver.recv_many(&mut got, 9).await.unwrap(), 1);
        assert_eq!(got, ["ok"]);
        for _ in 0..2 {
            let again = soon(receiver.recv_many(&mut got, 9)).await;
            assert!(matches!(again, Err(TransportError::FrameLen { .. })), "{bad:?}: {again:?}");
        }
        assert_eq!(soon(send.stopped()).await.unwrap(), Some(CloseCode::PROTOCOL.into()));
    }
}

#[tokio::test]
async fn a_stream_that_ends_in_a_frame_is_told_from_one_that_ends_after_it() {
    let (_pair, mut send, recv) = stream().await;
    send.write_all(&[3, b'o', b'k']).await.unwrap();
    send.finish().unwrap();
    let ended = FrameReceiver::new(recv).recv_many(&mut Vec::new(), 1).await;
    assert!(matches!(ended, Err(TransportError::FrameTruncated)), "{ended:?}");
}

#[tokio::test]
async fn our_own_frame_out_of_bounds_sends_nothing_of_its_batch() {
    let (_pair, send, recv) = stream().await;
    let (mut sender, mut receiver) = (FrameSender::new(send), FrameReceiver::new(recv));
    for bad in [Bytes::new(), Bytes::from(vec![0; FRAME_LEN_MAX + 1])] {
        let refused = sender.send_many(&[Bytes::from_static(b"before"), Bytes::from(vec![7; 20_000]), bad]).await;
        assert!(matches!(refused, Err(TransportError::FrameLen { .. })), "{refused:?}");
    }
    soon(sender.send_many(&[Bytes::from_static(b"after")])).await.unwrap();
    let mut got = Vec::new();
    receiver.recv_many(&mut got, 9).await.unwrap();
    assert_eq!(got, ["after"]);
}

#[tokio::test]
async fn a_send_that_is_dropped_half_way_breaks_no_frame() {
    let (_pair, send, recv) = stream().await;
    let frames = numbered(3000);
    let sent = frames.clone();
    let mut sender = FrameSender::new(send);
    // Nobody reads yet, so flow control stops the batch somewhere inside a frame.
    let gave_up = tokio::select! {
        biased;
        done = sender.send_many(&sent[..2000]) => panic!("{done:?}"),
        () = tokio::task::yield_now() => true,
    };
    assert!(gave_up);
    let sending = tokio::spawn(async move {
        sender.send_many(&sent[2000..]).await.unwrap();
        sender.finish().unwrap();
    });
    let mut receiver = FrameReceiver::new(recv);
    let mut got = Vec::new();
    while receiver.recv_many(&mut got, 100).await.unwrap() > 0 {}
    assert!(got == frames, "{} frames came", got.len());
    sending.await.unwrap();
}

#[tokio::test]
async fn a_sender_is_told_that_nobody_reads() {
    let (_pair, send, recv) = stream().await;
    let mut receiver = FrameReceiver::new(recv);
    receiver.stop(CloseCode::BUSY);
    let mut sender = FrameSender::new(send);
    let refused = loop {
        if let Err(error) = sender.send_many(&[Bytes::from_static(b"frame")]).await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert!(matches!(refused, TransportError::StreamStopped(CloseCode::BUSY)), "{refused:?}");
}
