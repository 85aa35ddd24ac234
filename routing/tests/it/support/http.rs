//! An HTTP client of raw bytes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::patiently;

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// A good handshake for a path, with further headers that end in a line break each.
pub(crate) fn upgrade_request(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

pub(crate) async fn connect(addr: SocketAddr) -> TcpStream {
    let stream = patiently(TcpStream::connect(addr)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// What a request on a connection of its own is answered with.
pub(crate) async fn ask(addr: SocketAddr, request: &str) -> Answer {
    let mut stream = connect(addr).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    read_answer(&mut stream, &mut Vec::new()).await
}

/// Reads an answer with the body that its head announces; what comes behind it stays in `unread`.
pub(crate) async fn read_answer(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Answer {
    let end = loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        assert_ne!(patiently(stream.read_buf(unread)).await.unwrap(), 0, "an answer comes whole");
    };
    let head: Vec<u8> = unread.drain(..end + 4).collect();
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: String::new() };
    let length: usize = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    while unread.len() < length {
        assert_ne!(patiently(stream.read_buf(unread)).await.unwrap(), 0, "a body comes whole");
    }
    answer.body = String::from_utf8(unread.drain(..length).collect()).unwrap();
    answer
}
