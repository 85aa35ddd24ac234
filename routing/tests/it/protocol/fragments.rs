//! Messages in pieces.

use super::noisy;
use crate::support::{BINARY, TEXT, fragments};

const MESSAGE: &str = "Grüße, 世界 𝄞!";

/// The message cut into so many pieces, some of them empty, and not between characters.
fn pieces(count: usize) -> Vec<&'static [u8]> {
    let bytes = MESSAGE.as_bytes();
    let cut = |at: usize| (at * bytes.len() / count).min(bytes.len());
    (0..count).map(|at| &bytes[cut(at)..cut(at + 1)]).collect()
}

#[tokio::test]
async fn pieces_are_put_together() {
    let mut client = noisy().await.open("/echo").await;
    for opcode in [TEXT, BINARY] {
        for count in 1..=MESSAGE.len() * 2 {
            client.send_apart(fragments(opcode, &pieces(count))).await;
            client.expect(opcode, MESSAGE).await;
        }
    }
    assert!(client.has_heard_noise());
}

#[tokio::test]
async fn pieces_may_come_in_one_write() {
    let mut client = noisy().await.open("/echo").await;
    for opcode in [TEXT, BINARY] {
        for count in [1, 2, 3, 10] {
            client.send(fragments(opcode, &pieces(count)).concat()).await;
            client.expect(opcode, MESSAGE).await;
        }
    }
}

#[tokio::test]
async fn pieces_may_come_byte_by_byte() {
    let mut client = noisy().await.open("/echo").await;
    for opcode in [TEXT, BINARY] {
        for count in [1, 2, 7] {
            client.send_apart(fragments(opcode, &pieces(count)).concat().chunks(1)).await;
            client.expect(opcode, MESSAGE).await;
        }
    }
}

#[tokio::test]
async fn messages_of_empty_pieces_are_empty() {
    let mut client = noisy().await.open("/echo").await;
    for opcode in [TEXT, BINARY] {
        client.send_apart(fragments(opcode, &[b"", b"", b""])).await;
        client.expect(opcode, b"").await;
        client.send_apart(fragments(opcode, &[b"", b"middle", b""])).await;
        client.expect(opcode, b"middle").await;
    }
}
