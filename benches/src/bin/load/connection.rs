//! One connection of the many: its handshake, what is left of the bytes that came, and what could not be written yet.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use benches::{CLOSE, PING, PONG, TEXT, encode_masked, head, parse, request};
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

/// Addresses of our own that connections come from in turn: a port is used once for each, and each has 28,000.
const SOURCES: u64 = 500;

/// What a connection tells.
#[derive(Debug)]
pub(crate) enum Heard<'a> {
    /// The server has agreed to the handshake.
    Opened,
    /// A text or binary frame carries this.
    Data(&'a [u8]),
    /// It is over: by this code, or none when the server said nothing.
    Closed(Option<u16>),
    /// The server did not agree; what it said instead.
    Refused(&'a [u8]),
}

/// A text that the server sends as a ping, and the one that it expects as the answer.
pub(crate) type TextPong = Option<(Vec<u8>, Vec<u8>)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    Closed,
}

pub(crate) struct Connection {
    stream: TcpStream,
    state: State,
    /// The beginning of a frame, or of the answer to the handshake.
    rest: Vec<u8>,
    unsent: Vec<u8>,
}

impl Connection {
    /// Connects and asks for a WebSocket. `nth` decides where it comes from. The kernel keeps `room` bytes for it, which
    /// must be known before the server is told of it: what was promised and is not there comes again much later.
    pub(crate) fn open(address: SocketAddr, path: &str, nth: u64, room: Option<usize>) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        if let Some(room) = room {
            socket.set_recv_buffer_size(room)?;
        }
        if address.ip().is_loopback() {
            socket.bind(&SocketAddr::from((source(nth), 0)).into())?;
        }
        socket.connect(&address.into())?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let stream = TcpStream::from_std(socket.into());
        let unsent = request(&address.to_string(), path);
        let mut opening = Self { stream, state: State::Opening, rest: Vec::new(), unsent };
        opening.flush();
        Ok(opening)
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(crate) fn is_opening(&self) -> bool {
        self.state == State::Opening
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Sends whole frames; what the server does not take now goes when it does.
    pub(crate) fn send(&mut self, frames: &[u8]) {
        self.unsent.extend_from_slice(frames);
        self.flush();
    }

    /// Writes what is unsent. A connection that has ended is noticed where it is read.
    pub(crate) fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.unsent.clear(),
            }
        }
    }

    /// Reads everything that has come, into `scratch`, and tells of it. `to_the_end` looks for the end behind it, of which
    /// the poll tells only once, also when it came together with what stands before it.
    pub(crate) fn read(
        &mut self,
        scratch: &mut [u8],
        pong: &TextPong,
        to_the_end: bool,
        mut tell: impl FnMut(Heard<'_>),
    ) {
        // Had a short read left anything it would have come along; what comes now the poll tells.
        let mut is_more = true;
        while is_more && self.state != State::Closed {
            match self.stream.read(scratch) {
                Ok(0) => self.end(None, &mut tell),
                Ok(count) => {
                    self.take(&scratch[..count], pong, &mut tell);
                    is_more = to_the_end || count == scratch.len();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.end(None, &mut tell),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], pong: &TextPong, tell: &mut impl FnMut(Heard<'_>)) {
        if self.rest.is_empty() {
            let used = self.take_whole(bytes, pong, tell);
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            let mut all = std::mem::take(&mut self.rest);
            all.extend_from_slice(bytes);
            let used = self.take_whole(&all, pong, tell);
            if used < all.len() {
                all.drain(..used);
                self.rest = all;
            }
        }
    }

    /// Takes what is whole, and returns how much it was.
    fn take_whole(&mut self, bytes: &[u8], pong: &TextPong, tell: &mut impl FnMut(Heard<'_>)) -> usize {
        let mut used = 0;
        if self.state == State::Opening {
            let Some(answer) = head(bytes) else { return 0 };
            if !answer.starts_with(b"HTTP/1.1 101 ") {
                self.state = State::Closed;
                tell(Heard::Refused(bytes));
                return bytes.len();
            }
            self.state = State::Open;
            used = answer.len();
            tell(Heard::Opened);
        }
        while let Some(frame) = parse(&bytes[used..]) {
            used += frame.length;
            match frame.opcode {
                CLOSE => {
                    self.answer(CLOSE, frame.payload);
                    self.end(frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code)), tell);
                }
                PING => self.answer(PONG, frame.payload),
                PONG => {}
                _ => match pong {
                    Some((ping, pong)) if frame.payload == ping => self.answer(TEXT, pong),
                    _ => tell(Heard::Data(frame.payload)),
                },
            }
        }
        used
    }

    fn answer(&mut self, opcode: u8, payload: &[u8]) {
        encode_masked(opcode, payload, &mut self.unsent);
        self.flush();
    }

    fn end(&mut self, code: Option<u16>, tell: &mut impl FnMut(Heard<'_>)) {
        if self.state != State::Closed {
            self.state = State::Closed;
            tell(Heard::Closed(code));
        }
    }
}

/// 127.0.1.1 and those that follow.
fn source(nth: u64) -> Ipv4Addr {
    let nth = nth % SOURCES;
    let [third, last] = [nth / 250, nth % 250].map(|part| u8::try_from(part + 1).unwrap_or(1));
    Ipv4Addr::new(127, 0, third, last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use benches::{answer, encode};

    use super::*;

    /// A connection to a server that sends these bytes in pieces of so many, and what the connection told.
    fn hear(bytes: &[u8], piece: usize) -> Vec<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut connection = Connection::open(listener.local_addr().unwrap(), "/", 7, None).unwrap();
        let (mut server, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), source(7));
        let pong = Some((b"2".to_vec(), b"3".to_vec()));
        let mut told = Vec::new();
        for piece in bytes.chunks(piece) {
            server.write_all(piece).unwrap();
            connection.read(&mut [0; 1024], &pong, false, |heard| told.push(format!("{heard:?}")));
        }
        server.shutdown(std::net::Shutdown::Write).unwrap();
        let mut tries = 0..1000;
        while connection.state != State::Closed && tries.next().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(1));
            connection.read(&mut [0; 1024], &pong, false, |heard| told.push(format!("{heard:?}")));
        }
        told
    }

    #[test]
    fn frames_are_told_however_they_are_cut() {
        let mut bytes = answer(b"");
        encode(TEXT, b"a", &mut bytes);
        encode(PING, b"p", &mut bytes);
        encode(TEXT, b"2", &mut bytes);
        encode(TEXT, &[b'b'; 200], &mut bytes);
        encode(CLOSE, &1013_u16.to_be_bytes(), &mut bytes);
        let expected = hear(&bytes, bytes.len());
        assert_eq!(expected.len(), 4, "{expected:?}");
        assert_eq!(
            (&*expected[0], &*expected[1], &*expected[3]),
            ("Opened", "Data([97])", "Closed(Some(1013))")
        );
        assert!([1, 2, 7].iter().all(|piece| hear(&bytes, *piece) == expected));
    }

    #[test]
    fn an_end_that_came_with_the_last_frame_is_told_in_one_go() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut connection = Connection::open(listener.local_addr().unwrap(), "/", 7, None).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut bytes = answer(b"");
        encode(TEXT, b"a", &mut bytes);
        server.write_all(&bytes).unwrap();
        server.shutdown(std::net::Shutdown::Write).unwrap();
        let mut told = 0;
        connection.read(&mut [0; 1024], &None, true, |_| told += 1);
        assert_eq!((told, connection.state), (3, State::Closed));
    }

    #[test]
    fn a_refusal_is_told() {
        let told = hear(b"HTTP/1.1 404 Not Found\r\n\r\n", 100);
        assert!(told.len() == 1 && told[0].starts_with("Refused"), "{told:?}");
    }

    #[test]
    fn sources_are_many_and_on_this_machine() {
        let all: std::collections::HashSet<Ipv4Addr> = (0..SOURCES).map(source).collect();
        assert_eq!(all.len(), 500);
        assert!(all.iter().all(Ipv4Addr::is_loopback) && !all.contains(&Ipv4Addr::LOCALHOST));
    }
}
