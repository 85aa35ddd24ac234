//! A WebSocket client of raw bytes, which notices every byte that is out of place.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::consumers::noise_number;
use super::{
    Answer, CLOSE, FIN, Got, TEXT, connect, frame, give_way, patiently, read_answer, upgrade_request,
};

pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    /// The last event of the noisy group that was seen.
    noise: Option<u32>,
}

impl Client {
    pub(crate) async fn open(addr: SocketAddr, path: &str) -> Self {
        Self::open_over(connect(addr).await, path).await
    }

    pub(crate) async fn open_over(stream: TcpStream, path: &str) -> Self {
        let (client, answer) = Self::ask(stream, &upgrade_request(path, ""), b"").await;
        assert_eq!(answer.status, 101, "{answer:?}");
        client
    }

    /// Sends a handshake, together with what follows it, and reads the answer.
    pub(crate) async fn ask(mut stream: TcpStream, request: &str, early: &[u8]) -> (Self, Answer) {
        stream.write_all(&[request.as_bytes(), early].concat()).await.unwrap();
        let mut unread = Vec::new();
        let answer = read_answer(&mut stream, &mut unread).await;
        (Self { stream, unread, noise: None }, answer)
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        patiently(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.send(frame(FIN | TEXT, text)).await;
    }

    /// Sends these one after another, and lets the server read in between. A server that has ended reads no more,
    /// which the rest of a test finds out.
    pub(crate) async fn send_apart<B: AsRef<[u8]>>(&mut self, writes: impl IntoIterator<Item = B>) {
        for write in writes {
            if self.stream.write_all(write.as_ref()).await.is_err() {
                return;
            }
            give_way().await;
        }
    }

    /// The next frame that is no noise; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Got> {
        loop {
            let got = self.next_of_all().await?;
            if noise_number(&got).is_none() {
                return Some(got);
            }
        }
    }

    /// The next frame, noise or not.
    pub(crate) async fn next_of_all(&mut self) -> Option<Got> {
        let got = loop {
            if let Some(got) = Got::parse(&mut self.unread) {
                break got;
            }
            if patiently(self.stream.read_buf(&mut self.unread)).await.unwrap() == 0 {
                assert!(self.unread.is_empty(), "the stream ends within a frame");
                return None;
            }
        };
        if let Some(number) = noise_number(&got) {
            assert!(self.noise < Some(number), "events keep their order");
            self.noise = Some(number);
        }
        Some(got)
    }

    pub(crate) async fn expect(&mut self, opcode: u8, payload: impl AsRef<[u8]>) {
        let got = self.next().await.expect("a frame comes");
        let payload = payload.as_ref();
        assert!(got.opcode == opcode && got.payload == payload, "{got:?}, not {opcode:#x} {}", payload.len());
    }

    /// The code and the reason of the close frame, which must come next.
    pub(crate) async fn farewell(&mut self) -> (u16, String) {
        let got = self.next().await.expect("a close frame comes");
        assert_eq!(got.opcode, CLOSE, "{got:?}");
        match &got.payload[..] {
            [] => (1005, String::new()),
            [high, low, reason @ ..] => {
                (u16::from_be_bytes([*high, *low]), str::from_utf8(reason).unwrap().into())
            }
            [_] => panic!("half a code"),
        }
    }

    /// As [`farewell`](Self::farewell); the close is answered, and nothing but the end of the stream may follow it.
    /// The server must go on listening until the client hangs up, lest its last words are lost with a reset.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let farewell = self.farewell().await;
        // Who closed first has said so already, and is not listened to any more.
        self.send(frame(FIN | CLOSE, farewell.0.to_be_bytes())).await;
        assert_eq!(self.next_of_all().await, None, "nothing follows a close frame");
        for _ in 0..2 {
            give_way().await;
            self.send(frame(FIN | TEXT, "too late")).await;
        }
        farewell
    }

    /// Reads until the stream ends in whatever way; how many bytes came.
    pub(crate) async fn drain(&mut self) -> usize {
        let mut bytes = std::mem::take(&mut self.unread).len();
        let mut waste = vec![0; 1 << 16];
        while let Ok(read @ 1..) = patiently(self.stream.read(&mut waste)).await {
            bytes += read;
        }
        bytes
    }

    /// Sends these bytes over and over from a thread of its own, until the server hangs up; false when it has not
    /// within some seconds.
    pub(crate) async fn flood(self, bytes: Vec<u8>) -> bool {
        let mut stream = self.stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let deadline = Instant::now() + Duration::from_secs(6);
        let flooding = tokio::task::spawn_blocking(move || {
            while Instant::now() < deadline && stream.write_all(&bytes).is_ok() {}
            Instant::now() < deadline
        });
        flooding.await.unwrap()
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether the noisy group was heard.
    pub(crate) fn has_heard_noise(&self) -> bool {
        self.noise.is_some()
    }
}
