//! Text is UTF-8, however it is cut into frames and writes.

use super::{fate, noisy};
use crate::support::{BINARY, FIN, TEXT, fragments, frame};

/// Sequences that are not UTF-8, and why.
const INVALID: [(&str, &[u8]); 19] = [
    ("a continuation alone", b"\x80"),
    ("the last continuation alone", b"\xbf"),
    ("two bytes for ASCII", b"\xc0\xaf"),
    ("two bytes for the last ASCII", b"\xc1\xbf"),
    ("three bytes where one will do", b"\xe0\x80\xaf"),
    ("three bytes where two will do", b"\xe0\x9f\xbf"),
    ("four bytes where one will do", b"\xf0\x80\x80\xaf"),
    ("four bytes where three will do", b"\xf0\x8f\xbf\xbf"),
    ("the first surrogate", b"\xed\xa0\x80"),
    ("the last surrogate", b"\xed\xbf\xbf"),
    ("a pair of surrogates", b"\xed\xa0\xbd\xed\xb8\x80"),
    ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
    ("far beyond U+10FFFF", b"\xf7\xbf\xbf\xbf"),
    ("five bytes", b"\xf8\x88\x80\x80\x80"),
    ("a byte that is never used", b"\xff"),
    ("two bytes cut short", b"\xc3"),
    ("three bytes cut short", b"\xe2\x82"),
    ("four bytes cut short", b"\xf0\x9f\x98"),
    ("an ASCII byte inside", b"\xe2\x28\xa1"),
];

/// Characters of one to four bytes, and the last ones before each border.
const VALID: &str = "κόσμε\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}😀\u{10ffff}";

#[tokio::test]
async fn invalid_text_ends_with_1007_wherever_it_is_cut_into_frames() {
    let mut site = noisy().await;
    let alone = INVALID.map(|(why, bad)| (why, bad.to_vec()));
    let amid = INVALID.map(|(why, bad)| (why, [b"\xce\xba", bad, b"x"].concat()));
    for (why, text) in alone.iter().chain(&amid) {
        for cut in 0..=text.len() {
            let (before, after) = text.split_at(cut);
            let frames = fragments(TEXT, &[before, after]);
            assert_eq!(fate(&mut site, frames).await, 1007, "{why}, cut at {cut}");
        }
    }
}

#[tokio::test]
async fn invalid_text_ends_with_1007_wherever_it_is_cut_into_writes() {
    let mut site = noisy().await;
    for (why, bad) in INVALID {
        let bytes = frame(FIN | TEXT, [b"\xce\xba", bad].concat());
        for cut in 1..bytes.len() {
            let (before, after) = bytes.split_at(cut);
            assert_eq!(fate(&mut site, [before, after]).await, 1007, "{why}, cut at {cut}");
        }
        assert_eq!(fate(&mut site, bytes.chunks(1)).await, 1007, "{why}, in single bytes");
    }
}

#[tokio::test]
async fn a_piece_that_can_become_no_text_is_not_waited_on() {
    let mut site = noisy().await;
    assert_eq!(fate(&mut site, [frame(TEXT, b"\xce\xba\xff")]).await, 1007);
}

#[tokio::test]
async fn valid_text_comes_back_wherever_it_is_cut() {
    let mut client = noisy().await.open("/echo").await;
    for cut in 0..=VALID.len() {
        let (before, after) = VALID.as_bytes().split_at(cut);
        client.send_apart(fragments(TEXT, &[before, b"", after])).await;
        client.expect(TEXT, VALID).await;
    }
    let bytes = frame(FIN | TEXT, VALID);
    for cut in 1..bytes.len() {
        client.send_apart([&bytes[..cut], &bytes[cut..]]).await;
        client.expect(TEXT, VALID).await;
    }
    client.send_apart(fragments(TEXT, &VALID.as_bytes().chunks(1).collect::<Vec<_>>())).await;
    client.expect(TEXT, VALID).await;
}

#[tokio::test]
async fn binary_messages_may_hold_anything() {
    let mut client = noisy().await.open("/echo").await;
    for (_, bad) in INVALID {
        client.send_apart(fragments(BINARY, &[b"\xce", bad])).await;
        client.expect(BINARY, [b"\xce", bad].concat()).await;
    }
}
