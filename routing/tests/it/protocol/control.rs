//! Pings and pongs, alone and in the middle of messages.

use super::{fate, noisy};
use crate::support::{BINARY, CONTINUATION, FIN, PING, PONG, TEXT, frame};

#[tokio::test]
async fn a_ping_is_answered_with_its_own_payload() {
    let mut client = noisy().await.open("/echo").await;
    for size in 0..=125 {
        let payload = vec![size; size.into()];
        client.send(frame(FIN | PING, &payload)).await;
        client.expect(PONG, &payload).await;
    }
    assert!(client.has_heard_noise());
}

#[tokio::test]
async fn many_pings_at_once_are_answered_in_order() {
    let mut client = noisy().await.open("/echo").await;
    let pings: Vec<u8> = (0..100).flat_map(|n| frame(FIN | PING, [n])).collect();
    client.send(&pings).await;
    for n in 0..100 {
        client.expect(PONG, [n]).await;
    }
    client.send_apart(pings.chunks(1)).await;
    for n in 0..100 {
        client.expect(PONG, [n]).await;
    }
}

#[tokio::test]
async fn a_control_frame_over_125_bytes_breaks_the_protocol() {
    let mut site = noisy().await;
    for opcode in [PING, PONG] {
        assert_eq!(fate(&mut site, [frame(FIN | opcode, [0; 126])]).await, 1002);
    }
}

#[tokio::test]
async fn a_pong_that_nobody_asked_for_is_ignored() {
    let mut client = noisy().await.open("/echo").await;
    client.send(frame(FIN | PONG, b"")).await;
    client.send(frame(FIN | PONG, b"unasked")).await;
    client.say("and on").await;
    client.expect(TEXT, "and on").await;
}

#[tokio::test]
async fn a_ping_between_fragments_is_answered_before_the_message() {
    let mut client = noisy().await.open("/echo").await;
    for opcode in [TEXT, BINARY] {
        client.send(frame(opcode, b"a")).await;
        for n in 0..3 {
            client.send(frame(FIN | PING, [n])).await;
            client.send(frame(FIN | PONG, b"")).await;
            client.expect(PONG, [n]).await;
            client.send(frame(CONTINUATION, b"b")).await;
        }
        client.send(frame(FIN | CONTINUATION, b"c")).await;
        client.expect(opcode, b"abbbc").await;
    }
}
