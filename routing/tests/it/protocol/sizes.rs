//! Messages of all sizes, up to the limit and over it.

use super::{fate, noisy};
use crate::support::{BINARY, CONTINUATION, FIN, PING, TEXT, fragments, frame, header};

const LIMIT: usize = 1 << 20;

/// Bytes that are text as well, and never the same at two neighbouring offsets.
fn payload(size: usize) -> Vec<u8> {
    (b'!'..=b'~').cycle().take(size).collect()
}

#[tokio::test]
async fn messages_of_every_size_come_back() {
    let mut client = noisy().await.open("/echo").await;
    for size in [0, 1, 125, 126, 127, 128, 65_535, 65_536, LIMIT] {
        for opcode in [TEXT, BINARY] {
            client.send(frame(FIN | opcode, payload(size))).await;
            client.expect(opcode, payload(size)).await;
        }
    }
    assert!(client.has_heard_noise());
}

#[tokio::test]
async fn a_frame_that_announces_too_much_is_not_waited_for() {
    let mut site = noisy().await;
    for opcode in [TEXT, BINARY, PING] {
        for length in [LIMIT as u64 + 1, u64::from(u32::MAX), u64::MAX] {
            let start = [header(FIN | opcode, 0x80, length), vec![0; 4]].concat();
            assert_eq!(fate(&mut site, [start]).await, 1009, "{length}");
        }
    }
}

#[tokio::test]
async fn fragments_may_not_add_up_to_more_than_the_limit() {
    let mut site = noisy().await;
    let whole = payload(LIMIT);
    let mut client = site.open("/echo").await;
    for part in fragments(BINARY, &[&whole[..LIMIT / 2], &whole[LIMIT / 2..]]) {
        client.send(part).await;
    }
    client.expect(BINARY, &whole).await;
    for opcode in [TEXT, BINARY] {
        let parts = fragments(opcode, &[&whole[..LIMIT / 2], &whole[LIMIT / 2..], b"!"]);
        assert_eq!(fate(&mut site, parts).await, 1009);
    }
    let endless = std::iter::repeat_n(frame(CONTINUATION, payload(1 << 16)), 17);
    assert_eq!(fate(&mut site, std::iter::once(frame(TEXT, b"")).chain(endless)).await, 1009);
}
