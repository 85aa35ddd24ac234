//! The one queue through which everything leaves a socket, in order and under one lock: what the consumer sends,
//! what relays pass on, and what the protocol itself says (pongs, closes).

mod protocol;
mod queue;
mod relayed;
mod turn;
mod writer;

use std::io::{self, IoSlice};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use channel_layer::Missed;
use parking_lot::Mutex;
use rustix::net::{Shutdown, shutdown};
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::SlowReader;
pub use protocol::ProtocolWriter;
pub(crate) use queue::{FrameKey, LatestFrame};
use queue::{Queue, fills};
use relayed::Held;
use writer::Writer;

/// So many unsent frames make a socket full. What a relay passes on in one turn is taken whole if there is room for one.
pub const UNSENT_FRAMES: usize = 256;

/// So many unsent bytes make a socket full: 1 MiB. The frame that fills it is taken whole.
pub const UNSENT_BYTES: usize = 1 << 20;

/// The most frames of relays [by the latest](crate::Relaying::latest_by) that may be unsent on a socket: one of
/// each key, and a second one if the first has begun to leave or a handler has sent something behind it.
pub const UNSENT_KEYS: usize = 1024;

/// The most pieces that one write gathers.
const PIECES_PER_WRITE: usize = 32;

/// The outbound queue of one socket; clones are handles to the same queue.
///
/// It counts as full with [`UNSENT_FRAMES`] or [`UNSENT_BYTES`] unsent. A consumer's own send then waits; relayed
/// frames are missed, counted and told to the consumer, and what else happens is said by its [`SlowReader`].
///
/// Frames of which only the latest of each key is wanted never make a socket full: they have limits of their own,
/// [`UNSENT_KEYS`] and again [`UNSENT_BYTES`], beyond which they are missed. So a client that takes nothing for a while
/// lives on if they are all that it is sent, and it is the heartbeat of the server that finds those who are gone.
#[derive(Clone, Default)]
pub struct Outbound(Arc<Shared>);

/// In this order, and [`State`] too, because a relay goes to thousands of them in a row: what it asks of each stands in one
/// or two lines of the processor's cache.
#[derive(Default)]
#[repr(C)]
struct Shared {
    /// A plain TCP connection. Outside of the lock, so that it can be [fetched](Outbound::fetch) before it is needed.
    tcp: OnceLock<OwnedWriteHalf>,
    state: Mutex<State>,
    room: Notify,
}

#[derive(Default)]
#[repr(C)]
struct State {
    phase: Phase,
    /// What is queued waits for the end of a [`turn`].
    waits_for_others: bool,
    slow_reader: SlowReader,
    /// How often something of the backlog has left.
    moves: u32,
    held: Option<Box<Held>>,
    backlog: Queue,
    /// A socket that is no plain TCP connection.
    other: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// The connection's task, which is woken when a write can go on.
    task: Option<Waker>,
    full_since: Option<Instant>,
    missed: Option<Missed>,
}

/// What is known of a socket that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) since: Instant,
    /// How often something has left, if that lets it live on however long it is full.
    pub(crate) moves: Option<u32>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The close has begun: only the protocol may write.
    Finishing,
    /// Nothing can be written any more.
    Gone,
}

/// Why a frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotQueued {
    Full,
    Gone,
}

impl Outbound {
    /// A queue whose socket is yet to come: frames wait for [`attach`](Self::attach).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the queue the socket's writing half.
    pub fn attach(&self, writer: impl AsyncWrite + Send + Unpin + 'static) {
        let mut state = self.0.state.lock();
        if state.phase != Phase::Gone {
            state.other = Some(Box::new(writer));
            state.wake();
        }
    }

    /// As [`attach`](Self::attach), for a plain TCP connection, to which it writes with less on the way. It is the only one
    /// that the queue ever has, and is kept until the last handle goes.
    pub fn attach_tcp(&self, writer: OwnedWriteHalf) {
        let state = self.0.state.lock();
        if state.phase != Phase::Gone && self.0.tcp.set(writer).is_ok() {
            state.wake();
        }
    }

    /// Queues a finished frame of the consumer's own; it is written when the handler ends or waits, so that what one
    /// handler sends in one go is one write, or with those of other sockets at the end of their [`turn`]. Takes the
    /// bytes if it has queued them.
    pub(crate) fn push(&self, wire: &mut Bytes) -> Result<(), NotQueued> {
        let mut state = self.0.state.lock();
        match state.phase {
            Phase::Open if state.full_since.is_some() => Err(NotQueued::Full),
            Phase::Open => {
                state.append(std::mem::take(wire), 1);
                Ok(())
            }
            Phase::Finishing | Phase::Gone => Err(NotQueued::Gone),
        }
    }

    /// Takes finished frames of a demultiplexer's stream, as many of the pieces as there is room for and each as a
    /// whole, and writes them at once if nothing stands before them. Returns how many bytes it took.
    pub(crate) fn adopt(&self, pieces: &[IoSlice<'_>]) -> Result<usize, NotQueued> {
        let mut state = self.0.state.lock();
        match state.phase {
            Phase::Open if state.full_since.is_some() => return Err(NotQueued::Full),
            Phase::Open => {}
            Phase::Finishing | Phase::Gone => return Err(NotQueued::Gone),
        }
        let is_first = state.backlog.is_empty();
        let mut wire = BytesMut::new();
        let mut frames = 0;
        for piece in pieces {
            if fills(state.backlog.frames() + frames, state.backlog.bytes() + wire.len()) {
                break;
            }
            wire.extend_from_slice(piece);
            frames += 1;
        }
        let taken = wire.len();
        state.append(wire.freeze(), frames);
        if is_first {
            state.write_for_task(&self.0);
        }
        Ok(taken)
    }

    /// Queues the last frame of a demultiplexer's stream behind all others, even after the frames have ended.
    pub(crate) fn last_words(&self, wire: &Bytes) {
        let mut state = self.0.state.lock();
        if state.phase != Phase::Gone {
            state.append(wire.clone(), 1);
            state.write_for_task(&self.0);
        }
    }

    /// How the socket is full, if it is.
    pub(crate) fn full(&self) -> Option<Full> {
        let state = self.0.state.lock();
        let moves = (state.slow_reader != SlowReader::Close).then_some(state.moves);
        state.full_since.map(|since| Full { since, moves })
    }

    /// How often something of the backlog has left so far; `None` when there is none. While there is one, a change says
    /// that the client takes what was sent before.
    #[must_use]
    pub fn progress(&self) -> Option<u32> {
        let state = self.0.state.lock();
        (!state.backlog.is_empty()).then_some(state.moves)
    }

    /// Chooses what becomes of it when it is full.
    pub(crate) fn set_slow_reader(&self, slow_reader: SlowReader) {
        self.0.state.lock().slow_reader = slow_reader;
    }

    /// Waits until there may be room again.
    pub(crate) async fn room(&self) {
        let room = self.0.room.notified();
        let is_full = {
            let state = self.0.state.lock();
            // Once it has ended there will be no room any more, and who waits is to find that out.
            state.phase == Phase::Open && state.full_since.is_some()
        };
        if is_full {
            room.await;
        }
    }

    /// Ends the sending of frames: what is queued still leaves, and from here on only the protocol adds to it.
    pub fn finish(&self) {
        let mut state = self.0.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Finishing;
            self.0.room.notify_waiters();
        }
    }

    /// Ends the sending of frames and drops those that have not begun to leave, so that a close frame is next.
    pub(crate) fn finish_now(&self) {
        self.finish();
        let mut state = self.0.state.lock();
        state.held = None;
        state.backlog.keep_started();
    }

    /// Ends all writing and drops what is unsent.
    pub fn abandon(&self) {
        self.0.state.lock().abandon(&self.0);
    }

    /// Writes what is queued as far as the socket takes it, and registers the calling task, the connection's, to
    /// be woken when it takes more.
    ///
    /// # Errors
    /// When the socket is broken; the queue is then gone.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state.lock();
        if !state.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            state.task = Some(cx.waker().clone());
        }
        state.poll_write(cx, &self.0)
    }

    /// Writes what is queued and then ends the writing half, so that the peer sees the end of the stream.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_flush(cx))?;
        let mut state = self.0.state.lock();
        let writer = Writer::of(&self.0, &mut state.other);
        writer.map_or(Poll::Ready(Ok(())), |mut writer| writer.poll_shutdown(cx))
    }

    /// Queues bytes of the protocol's own, even after the frames have ended.
    pub(crate) fn push_protocol(&self, wire: &[u8]) {
        let mut state = self.0.state.lock();
        if state.phase != Phase::Gone {
            state.append(Bytes::copy_from_slice(wire), 0);
        }
    }

    /// A writer for the protocol's own frames, which takes its place in the same queue.
    #[must_use]
    pub fn protocol_writer(&self) -> ProtocolWriter {
        ProtocolWriter::new(self.clone())
    }
}

impl State {
    fn append(&mut self, bytes: Bytes, frames: usize) {
        self.backlog.push(bytes, frames);
        self.watch();
    }

    /// Notes since when there has been no room.
    fn watch(&mut self) {
        if self.backlog.is_full() && self.full_since.is_none() {
            self.full_since = Some(Instant::now());
            // The task watches how long this lasts.
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    /// Writes on behalf of the connection's task: when the socket takes no more, that task is woken later.
    fn write_for_task(&mut self, shared: &Shared) {
        let task = self.task.clone();
        let waker = task.as_ref().unwrap_or(Waker::noop());
        if let Poll::Ready(Err(_)) = self.poll_write(&mut Context::from_waker(waker), shared) {
            self.wake();
        }
    }

    /// Writes what is queued as far as the socket takes it; whatever is left for a broken one is given up.
    fn poll_write(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<io::Result<()>> {
        let polled = self.poll_write_backlog(cx, shared);
        if let Poll::Ready(Err(_)) = &polled {
            self.abandon(shared);
        }
        polled
    }

    fn poll_write_backlog(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<io::Result<()>> {
        if self.phase == Phase::Gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Some(mut writer) = Writer::of(shared, &mut self.other) else { return Poll::Pending };
        while !self.backlog.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES_PER_WRITE];
            let count = self.backlog.gather(&mut pieces);
            let written = match writer.poll_write(cx, &pieces[..count]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            self.moves = self.moves.wrapping_add(1);
            self.backlog.advance(written);
            note_room(&self.backlog, &mut self.full_since, &shared.room);
        }
        self.backlog.shrink();
        writer.poll_flush(cx)
    }

    fn abandon(&mut self, shared: &Shared) {
        if self.phase != Phase::Gone
            && let Some(tcp) = shared.tcp.get()
        {
            // Other handles keep the connection; the peer is not to wait for the last of them.
            let _ = shutdown(tcp.as_ref(), Shutdown::Write);
        }
        let Self { missed, task, slow_reader, .. } = std::mem::take(self);
        *self = Self { phase: Phase::Gone, missed, task, slow_reader, ..Self::default() };
        shared.room.notify_waiters();
    }
}

/// Tells those who wait when a full backlog has room again.
fn note_room(backlog: &Queue, full_since: &mut Option<Instant>, room: &Notify) {
    if full_since.is_some() && !backlog.is_full() {
        *full_since = None;
        room.notify_waiters();
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Outbound")
            .field("frames", &state.backlog.frames())
            .field("bytes", &state.backlog.bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
