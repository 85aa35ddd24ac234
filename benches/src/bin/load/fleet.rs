//! All connections, in one thread: it costs less for each delivery than any server does, so that it is never the
//! generator's limit that is measured.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use benches::{TEXT, encode_masked};
use mio::{Events, Interest, Poll, Token};

use crate::Failure;
use crate::connection::{Connection, Heard, TextPong};
use crate::options::Target;

/// How many connections are opened at once: less than a server's queue of those it has not accepted.
const AT_ONCE: usize = 100;
/// How much is read at once.
const SCRATCH: usize = 256 * 1024;
/// The room of connections of which some do not read: that of a few segments on this machine.
const LITTLE: usize = 32 * 1024;
/// How long the poll waits when there is nothing else to do.
pub(crate) const WAIT: Duration = Duration::from_millis(5);

/// The place of a connection in the fleet.
pub(crate) type Place = usize;

pub(crate) struct Fleet {
    target: Target,
    pong: TextPong,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// How many were ever opened.
    opened: u64,
    scratch: Vec<u8>,
    /// How much the kernel keeps for a connection that does not read; as it likes, unless told.
    room: Option<usize>,
    /// Places of which nothing is read.
    silent: Vec<bool>,
}

impl Fleet {
    pub(crate) fn new(target: &Target) -> Result<Self, Failure> {
        rlimit::increase_nofile_limit(u64::MAX)?;
        Ok(Self {
            pong: target.pong()?,
            target: target.clone(),
            poll: Poll::new()?,
            events: Events::with_capacity(8192),
            connections: Vec::new(),
            opened: 0,
            scratch: vec![0; SCRATCH],
            room: None,
            silent: Vec::new(),
        })
    }

    /// Leaves the kernel little room for what comes. It would keep megabytes for a client that does not read, and the
    /// server would notice late.
    pub(crate) fn leave_little_room(&mut self) {
        self.room = Some(LITTLE);
    }

    /// Opens a connection to each path, after those that are there, waits until the server has agreed to all, and
    /// greets it as it was told to.
    pub(crate) fn open<'a>(&mut self, paths: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
        let paths: Vec<&str> = paths.collect();
        let first = self.connections.len();
        for batch in paths.chunks(AT_ONCE) {
            let from = self.connections.len();
            for path in batch {
                let connection = self.connect(self.connections.len(), path)?;
                self.connections.push(connection);
                self.silent.push(false);
            }
            self.await_handshakes(from)?;
        }
        for greeting in self.target.sub.clone() {
            self.greet(first, greeting.as_bytes())?;
        }
        self.settle()
    }

    fn greet(&mut self, first: Place, greeting: &[u8]) -> Result<(), Failure> {
        for place in first..self.connections.len() {
            self.send_text(place, greeting);
            if place % AT_ONCE == 0 {
                self.pump(Duration::ZERO, |_, _| ())?;
            }
        }
        self.settle()
    }

    fn await_handshakes(&mut self, from: Place) -> Result<(), Failure> {
        let deadline = Instant::now() + self.target.patience();
        while let Some(late) = self.connections[from..].iter().position(Connection::is_opening) {
            if Instant::now() > deadline {
                return Err(format!("connection {} was not answered", from + late).into());
            }
            let mut refused = None;
            self.pump(WAIT, |place, heard| refused = refused.take().or_else(|| refusal(place, &heard)))?;
            if let Some(refused) = refused {
                return Err(refused.into());
            }
        }
        Ok(())
    }

    /// Closes a connection and opens another in its place. The server's answer is told by [`Fleet::pump`].
    pub(crate) fn reopen(&mut self, place: Place, path: &str) -> Result<(), Failure> {
        self.connections[place] = self.connect(place, path)?;
        self.silent[place] = false;
        Ok(())
    }

    fn connect(&mut self, place: Place, path: &str) -> io::Result<Connection> {
        let address = self.target.addr[place % self.target.addr.len()];
        let mut connection = Connection::open(address, path, self.opened, self.room)?;
        self.opened += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(connection.stream(), Token(place), interest)?;
        Ok(connection)
    }

    /// Hears what comes for as long as the server was to be given before it is measured.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + Duration::from_millis(self.target.settle);
        while Instant::now() < end {
            self.pump(WAIT, |_, _| ())?;
        }
        Ok(())
    }

    /// Waits until something comes, at most so long, and tells of everything that has come.
    pub(crate) fn pump(
        &mut self,
        wait: Duration,
        mut tell: impl FnMut(Place, Heard<'_>),
    ) -> Result<(), Failure> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            let Token(place) = event.token();
            let connection = &mut self.connections[place];
            if event.is_writable() {
                connection.flush();
            }
            if event.is_readable() && !self.silent[place] {
                connection
                    .read(&mut self.scratch, &self.pong, event.is_read_closed(), |heard| tell(place, heard));
            }
        }
        Ok(())
    }

    /// Stops reading from a connection, or reads again, at once what has come meanwhile.
    pub(crate) fn silence(&mut self, place: Place, silent: bool, mut tell: impl FnMut(Place, Heard<'_>)) {
        self.silent[place] = silent;
        if !silent {
            self.connections[place].read(&mut self.scratch, &self.pong, true, |heard| tell(place, heard));
        }
    }

    /// Sends bytes that are whole frames.
    pub(crate) fn send(&mut self, place: Place, frames: &[u8]) {
        self.connections[place].send(frames);
    }

    pub(crate) fn send_text(&mut self, place: Place, text: &[u8]) {
        let mut frame = Vec::new();
        encode_masked(TEXT, text, &mut frame);
        self.send(place, &frame);
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// How many of them the server has closed.
    pub(crate) fn closed(&self) -> usize {
        self.connections.iter().filter(|connection| !connection.is_open() && !connection.is_opening()).count()
    }

    pub(crate) fn is_open(&self, place: Place) -> bool {
        self.connections[place].is_open()
    }
}

/// Why a handshake ended, if what was heard is its end.
fn refusal(place: Place, heard: &Heard<'_>) -> Option<String> {
    match heard {
        Heard::Refused(answer) => {
            let answer = String::from_utf8_lossy(answer);
            Some(format!("connection {place} was refused: {}", answer.lines().next().unwrap_or_default()))
        }
        Heard::Closed(code) => Some(format!("connection {place} was closed at once ({code:?})")),
        Heard::Opened | Heard::Data(_) => None,
    }
}
