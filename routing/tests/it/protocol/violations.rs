//! Frames that the protocol forbids: each ends its socket with 1002, and what came before it still counts.

use super::{fate, noisy};
use crate::support::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, RSV2, RSV3, Site, TEXT, fragments, frame, header,
};

async fn is_forbidden(site: &mut Site, frames: &[Vec<u8>]) {
    assert_eq!(fate(site, frames).await, 1002, "{frames:x?}");
}

#[tokio::test]
async fn reserved_bits() {
    let mut site = noisy().await;
    for bits in [RSV1, RSV2, RSV3, RSV1 | RSV2, RSV1 | RSV3, RSV2 | RSV3, RSV1 | RSV2 | RSV3] {
        for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
            is_forbidden(&mut site, &[frame(FIN | bits | opcode, b"")]).await;
        }
        is_forbidden(&mut site, &[frame(TEXT, b"a"), frame(FIN | bits | CONTINUATION, b"b")]).await;
    }
}

#[tokio::test]
async fn reserved_opcodes() {
    let mut site = noisy().await;
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        for payload in ["", "payload"] {
            is_forbidden(&mut site, &[frame(FIN | opcode, payload)]).await;
            is_forbidden(&mut site, &[frame(opcode, payload)]).await;
            is_forbidden(&mut site, &[frame(TEXT, "begun"), frame(FIN | opcode, payload)]).await;
        }
    }
}

#[tokio::test]
async fn frames_without_a_mask() {
    let mut site = noisy().await;
    for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
        is_forbidden(&mut site, &[[header(FIN | opcode, 0, 2), vec![0x03, 0xe8]].concat()]).await;
        is_forbidden(&mut site, &[header(FIN | opcode, 0, 0)]).await;
    }
}

#[tokio::test]
async fn control_frames_in_pieces() {
    let mut site = noisy().await;
    for opcode in [PING, PONG, CLOSE] {
        is_forbidden(&mut site, &[frame(opcode, b"")]).await;
        is_forbidden(&mut site, &fragments(opcode, &[b"a", b"b"])).await;
    }
}

#[tokio::test]
async fn pieces_that_belong_to_nothing() {
    let mut site = noisy().await;
    for head in [CONTINUATION, FIN | CONTINUATION] {
        is_forbidden(&mut site, &[frame(head, b"a")]).await;
        let mut after_a_message = fragments(TEXT, &[b"", b""]);
        after_a_message.push(frame(head, b"a"));
        let mut client = site.open("/echo").await;
        client.send_apart(after_a_message).await;
        client.expect(TEXT, b"").await;
        assert_eq!(client.closed().await.0, 1002);
        assert_eq!(site.ended().await, 1002);
    }
}

#[tokio::test]
async fn a_message_within_a_message() {
    let mut site = noisy().await;
    for first in [TEXT, BINARY] {
        for second in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
            is_forbidden(&mut site, &[frame(first, b"a"), frame(second, b"b")]).await;
        }
    }
}

#[tokio::test]
async fn what_came_before_is_answered_even_when_all_came_at_once() {
    let mut site = noisy().await;
    for bad in [frame(FIN | RSV1 | TEXT, b"x"), frame(FIN | 0xB, b""), frame(FIN | CONTINUATION, b"")] {
        let mut client = site.open("/echo").await;
        let good = [frame(FIN | TEXT, b"good"), frame(FIN | BINARY, b"too")].concat();
        client.send([good, bad, frame(FIN | PING, b"unheard")].concat()).await;
        client.expect(TEXT, b"good").await;
        client.expect(BINARY, b"too").await;
        assert_eq!(client.closed().await.0, 1002);
        assert_eq!(site.ended().await, 1002);
    }
}
