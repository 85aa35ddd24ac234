//! The yardstick: a server that does nothing for a message but write(2) its frame to each open socket. No queues, no
//! tasks, nothing allocated for a delivery, one thread.
//!
//! `raw --port P`: a frame that comes goes, unmasked and framed once, to every socket with the same path; what comes in
//! one turn of the loop goes out in one write for each socket. Paths are whatever clients ask for: `/`, `/group/7`.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use benches::{BINARY, CLOSE, PING, PONG, TEXT, answer, encode, head, parse};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// Stands for the listener among the tokens of connections.
const LISTENER: Token = Token(usize::MAX);
/// How much is read at once.
const SCRATCH: usize = 256 * 1024;
/// A client that lets more than this wait is cut off.
const BACKLOG: usize = 64 * 1024 * 1024;

struct Connection {
    stream: TcpStream,
    /// The group, once the request has come.
    group: Option<usize>,
    /// The beginning of a request or a frame.
    rest: Vec<u8>,
    /// What the client would not take yet.
    unsent: Vec<u8>,
}

/// Those who asked for the same path.
#[derive(Default)]
struct Group {
    members: Vec<usize>,
    /// The frames of this turn.
    frames: Vec<u8>,
}

struct Server {
    listener: TcpListener,
    poll: Poll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    groups: Vec<Group>,
    /// Those that have frames in this turn.
    due: Vec<usize>,
    paths: HashMap<String, usize>,
    scratch: Vec<u8>,
}

fn main() -> io::Result<()> {
    let option = |name| std::env::args().skip_while(|arg| arg != name).nth(1);
    let port = option("--port").and_then(|port| port.parse().ok()).ok_or(ErrorKind::InvalidInput)?;
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut server = Server {
        listener,
        poll,
        connections: Vec::new(),
        free: Vec::new(),
        groups: Vec::new(),
        due: Vec::new(),
        paths: HashMap::new(),
        scratch: vec![0; SCRATCH],
    };
    let mut events = Events::with_capacity(8192);
    loop {
        server.turn(&mut events)?;
    }
}

impl Server {
    /// Reads everything that has come, then writes what it comes to.
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        match self.poll.poll(events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in events.iter() {
            if event.token() == LISTENER {
                self.accept()?;
                continue;
            }
            let Token(place) = event.token();
            if event.is_writable() && !self.connections[place].as_mut().is_none_or(Connection::flush) {
                self.end(place);
            }
            if event.is_readable() && !self.read(place) {
                self.end(place);
            }
        }
        self.write();
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => continue,
            };
            stream.set_nodelay(true)?;
            let place = self.free.pop().unwrap_or(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(place), interest)?;
            let connection = Connection { stream, group: None, rest: Vec::new(), unsent: Vec::new() };
            if place == self.connections.len() {
                self.connections.push(Some(connection));
            } else {
                self.connections[place] = Some(connection);
            }
        }
    }

    /// Reads what has come from a connection; whether it goes on.
    fn read(&mut self, place: usize) -> bool {
        let Some(connection) = &mut self.connections[place] else { return true };
        loop {
            match connection.stream.read(&mut self.scratch) {
                Ok(0) => return false,
                Ok(count) => connection.rest.extend_from_slice(&self.scratch[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.join(place);
        self.take(place)
    }

    /// Answers the request, when all of it has come, and makes the connection a member.
    fn join(&mut self, place: usize) {
        let Some(connection) = &mut self.connections[place] else { return };
        if connection.group.is_some() {
            return;
        }
        let Some(request) = head(&connection.rest) else { return };
        let path = String::from_utf8_lossy(request).split(' ').nth(1).unwrap_or("/").to_owned();
        let (answer, length) = (answer(request), request.len());
        connection.rest.drain(..length);
        connection.send(&answer);
        let group = *self.paths.entry(path).or_insert_with(|| {
            self.groups.push(Group::default());
            self.groups.len() - 1
        });
        connection.group = Some(group);
        self.groups[group].members.push(place);
    }

    /// Takes the whole frames of a connection for its group; whether it goes on.
    fn take(&mut self, place: usize) -> bool {
        let Some(connection) = &mut self.connections[place] else { return true };
        let Some(group) = connection.group else { return true };
        let (mut used, mut payload) = (0, Vec::new());
        let (mut pongs, mut goes_on) = (Vec::new(), true);
        let frames = &mut self.groups[group].frames;
        let was_empty = frames.is_empty();
        while let Some(frame) = parse(&connection.rest[used..]) {
            used += frame.length;
            payload.clear();
            frame.append_payload(&mut payload);
            match frame.opcode {
                TEXT | BINARY => encode(frame.opcode, &payload, frames),
                PING => encode(PONG, &payload, &mut pongs),
                CLOSE => {
                    goes_on = false;
                    break;
                }
                _ => {}
            }
        }
        connection.rest.drain(..used);
        if was_empty && !frames.is_empty() {
            self.due.push(group);
        }
        goes_on && connection.send(&pongs)
    }

    /// Writes the frames of this turn to the members of their groups.
    fn write(&mut self) {
        for group in std::mem::take(&mut self.due) {
            let frames = std::mem::take(&mut self.groups[group].frames);
            let connections = &mut self.connections;
            let mut takes = |place: usize| connections[place].as_mut().is_none_or(|one| one.send(&frames));
            let broken: Vec<usize> =
                self.groups[group].members.iter().copied().filter(|place| !takes(*place)).collect();
            broken.into_iter().for_each(|place| self.end(place));
            self.groups[group].frames = frames;
            self.groups[group].frames.clear();
        }
    }

    fn end(&mut self, place: usize) {
        let Some(connection) = self.connections[place].take() else { return };
        if let Some(group) = connection.group {
            self.groups[group].members.retain(|member| *member != place);
        }
        self.free.push(place);
    }
}

impl Connection {
    /// Writes, at once if the client takes it; whether the connection goes on.
    fn send(&mut self, bytes: &[u8]) -> bool {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return self.flush();
        }
        match write(&mut self.stream, bytes) {
            Ok(written) => self.unsent.extend_from_slice(&bytes[written..]),
            Err(_) => return false,
        }
        true
    }

    fn flush(&mut self) -> bool {
        if self.unsent.is_empty() {
            return true;
        }
        let Ok(written) = write(&mut self.stream, &self.unsent) else { return false };
        self.unsent.drain(..written);
        self.unsent.len() <= BACKLOG
    }
}

/// Writes until all is written or the client takes no more; how much it took.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
