//! The opening handshake, as plain bytes on both sides.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The key of every handshake; it need not be random where nobody attacks a cache in between.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What ends the head of a request or of an answer.
const END: &[u8] = b"\r\n\r\n";

/// What a client asks for.
#[must_use]
pub fn request(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
    .into_bytes()
}

/// What a server says to a request.
#[must_use]
pub fn answer(request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8_lossy(request);
    let headers = request.lines().filter_map(|line| line.split_once(':'));
    let mut keys = headers.filter(|(name, _)| name.eq_ignore_ascii_case("Sec-WebSocket-Key"));
    let key = keys.next().map_or("", |(_, key)| key.trim());
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// The head of a request or an answer at the beginning of the bytes, when all of it has come, with its end.
#[must_use]
pub fn head(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(END.len()).position(|window| window == END)?;
    bytes.get(..end + END.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_that_of_the_standard() {
        let answer = String::from_utf8(answer(&request("localhost", "/"))).unwrap();
        assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    }

    #[test]
    fn a_head_is_found_when_it_is_whole() {
        let mut bytes = request("localhost", "/x");
        let length = bytes.len();
        assert_eq!(head(&bytes[..length - 1]), None);
        bytes.extend(b"more");
        assert_eq!(head(&bytes).map(<[u8]>::len), Some(length));
    }
}
