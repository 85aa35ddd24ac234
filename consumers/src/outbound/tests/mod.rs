//! The order, the limits and the losses of the outbound queue, against a pipe that takes only so much.

mod latest;
mod slow_reader;

use std::time::Duration;

use tokio::io::{AsyncReadExt, DuplexStream};

use super::*;
use crate::Frame;

fn pipe(capacity: usize) -> (Outbound, DuplexStream) {
    let (reader, writer) = tokio::io::duplex(capacity);
    let outbound = Outbound::new();
    outbound.attach(writer);
    (outbound, reader)
}

fn wire(text: &str) -> Bytes {
    Frame::text(text).wire()
}

/// One turn of the connection's task.
async fn flush(outbound: &Outbound) {
    let _ = tokio::time::timeout(Duration::ZERO, std::future::poll_fn(|cx| outbound.poll_flush(cx))).await;
}

async fn read(reader: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    reader.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_relayed_frame_is_written_at_once_and_an_own_one_at_the_end_of_the_turn() {
    let (outbound, mut reader) = pipe(1024);
    flush(&outbound).await;
    assert!(outbound.pass_on(&wire("relayed"), 1));
    assert_eq!(read(&mut reader, 9).await, wire("relayed"));
    outbound.push(&mut wire("own")).unwrap();
    assert!(outbound.pass_on(&wire("behind"), 1));
    let mut byte = [0];
    assert!(tokio::time::timeout(Duration::from_secs(1), reader.read(&mut byte)).await.is_err());
    flush(&outbound).await;
    assert_eq!(read(&mut reader, 13).await, [wire("own"), wire("behind")].concat());
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_socket_cannot_take_waits_in_order() {
    let (outbound, mut reader) = pipe(4);
    flush(&outbound).await;
    let mut expected = Vec::new();
    for n in 0..100 {
        let text = wire(&format!("frame {n}"));
        expected.extend_from_slice(&text);
        if n % 2 == 0 {
            outbound.push(&mut text.clone()).unwrap();
        } else {
            assert!(outbound.pass_on(&text, 1));
        }
    }
    let flushing = outbound.clone();
    tokio::spawn(async move { std::future::poll_fn(|cx| flushing.poll_flush(cx)).await });
    assert_eq!(read(&mut reader, expected.len()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_full_socket_misses_relayed_frames_and_makes_its_consumer_wait() {
    let (outbound, mut reader) = pipe(1);
    flush(&outbound).await;
    for _ in 0..UNSENT_FRAMES {
        outbound.push(&mut wire("x")).unwrap();
    }
    assert!(outbound.full().is_some());
    assert_eq!(outbound.push(&mut wire("x")), Err(NotQueued::Full));
    assert!(outbound.pass_on(&wire("x"), 3));
    assert_eq!((outbound.take_missed(), outbound.take_missed()), (Some(Missed::Count(3)), None));

    let waiting = tokio::spawn({
        let outbound = outbound.clone();
        async move { outbound.room().await }
    });
    let flushing = outbound.clone();
    tokio::spawn(async move { std::future::poll_fn(|cx| flushing.poll_flush(cx)).await });
    read(&mut reader, 3 * UNSENT_FRAMES).await;
    waiting.await.unwrap();
    assert_eq!(outbound.full(), None);
}

#[tokio::test(start_paused = true)]
async fn bytes_count_as_well_as_frames() {
    let (outbound, _reader) = pipe(1);
    outbound.push(&mut Bytes::from(vec![0; UNSENT_BYTES])).unwrap();
    assert_eq!(outbound.push(&mut wire("x")), Err(NotQueued::Full));
}

#[tokio::test(start_paused = true)]
async fn what_relays_pass_on_while_held_follows_what_the_handler_sends() {
    let (outbound, mut reader) = pipe(1024);
    flush(&outbound).await;
    outbound.hold();
    assert!(outbound.pass_on(&wire("later"), 1));
    outbound.push(&mut wire("first")).unwrap();
    outbound.release();
    flush(&outbound).await;
    assert_eq!(read(&mut reader, 14).await, [wire("first"), wire("later")].concat());
}

#[tokio::test(start_paused = true)]
async fn after_the_end_only_the_protocol_writes() {
    use tokio::io::AsyncWriteExt;
    let (outbound, mut reader) = pipe(1024);
    outbound.finish();
    assert_eq!(outbound.push(&mut wire("x")), Err(NotQueued::Gone));
    assert!(!outbound.pass_on(&wire("x"), 1));
    outbound.protocol_writer().write_all(b"close").await.unwrap();
    flush(&outbound).await;
    assert_eq!(read(&mut reader, 5).await, b"close");
}

#[tokio::test(start_paused = true)]
async fn who_is_given_up_gets_nothing_that_was_kept_back() {
    let (outbound, mut reader) = pipe(1024);
    outbound.hold();
    assert!(outbound.pass_on(&wire("kept back"), 1));
    outbound.finish_now();
    outbound.release();
    outbound.push_protocol(b"close");
    flush(&outbound).await;
    outbound.abandon();
    let mut all = Vec::new();
    reader.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"close");
}

#[tokio::test(start_paused = true)]
async fn progress_is_made_by_what_leaves_while_something_waits() {
    let (outbound, mut reader) = pipe(4);
    flush(&outbound).await;
    assert_eq!(outbound.progress(), None);
    outbound.push(&mut wire("sixteen letters!")).unwrap();
    flush(&outbound).await;
    let before = outbound.progress();
    flush(&outbound).await;
    assert_eq!(outbound.progress(), before);
    read(&mut reader, 4).await;
    flush(&outbound).await;
    assert!(before.is_some() && outbound.progress().is_some_and(|after| Some(after) != before));
}

#[tokio::test(start_paused = true)]
async fn a_broken_socket_ends_the_queue_and_wakes_who_waits_for_room() {
    let (outbound, reader) = pipe(1);
    for _ in 0..UNSENT_FRAMES {
        outbound.push(&mut wire("x")).unwrap();
    }
    let waiting = tokio::spawn({
        let outbound = outbound.clone();
        async move { outbound.room().await }
    });
    tokio::task::yield_now().await;
    drop(reader);
    flush(&outbound).await;
    waiting.await.unwrap();
    assert_eq!(outbound.push(&mut wire("x")), Err(NotQueued::Gone));
}

#[tokio::test(start_paused = true)]
async fn a_streams_frames_are_taken_as_far_as_there_is_room_and_each_as_a_whole() {
    let (outbound, mut reader) = pipe(4);
    flush(&outbound).await;
    let frame = wire("x");
    for _ in 0..UNSENT_FRAMES - 2 {
        outbound.push(&mut frame.clone()).unwrap();
    }
    flush(&outbound).await;
    // One frame and a third have left.
    let pieces = [IoSlice::new(&frame); 5];
    assert_eq!(outbound.adopt(&pieces), Ok(3 * frame.len()));
    assert_eq!(outbound.adopt(&pieces), Err(NotQueued::Full));
    read(&mut reader, 4).await;
    flush(&outbound).await;
    assert_eq!(outbound.adopt(&pieces), Ok(frame.len()), "the rest waits for more room");
    let large = vec![0; UNSENT_BYTES];
    let (outbound, _reader) = pipe(1);
    let pieces = [IoSlice::new(&large[1..]), IoSlice::new(&large), IoSlice::new(&large)];
    assert_eq!(outbound.adopt(&pieces), Ok(2 * UNSENT_BYTES - 1), "the piece that fills it is taken whole");
    outbound.finish();
    assert_eq!(outbound.adopt(&pieces), Err(NotQueued::Gone));
}
