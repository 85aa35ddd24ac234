//! The one queue through which everything leaves a socket, in order and under one lock: what the consumer sends,
//! what relays pass on, and what the protocol itself says (pongs, closes).

mod protocol;
mod queue;
mod turn;
mod writer;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use channel_layer::Missed;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::SlowReader;
use crate::slow_reader::{COUNTERS, count};
pub use protocol::ProtocolWriter;
use queue::{Counts, Queue};
pub(crate) use queue::{FrameKey, LatestFrame};
use writer::Writer;

/// The most frames that may be unsent before a socket counts as full.
pub const UNSENT_FRAMES: usize = 256;

/// The most bytes that may be unsent before a socket counts as full: 1 MiB.
pub const UNSENT_BYTES: usize = 1 << 20;

/// The most frames of relays [by the latest](crate::Relaying::latest_by) that may be unsent on a socket, which is one of
/// each key.
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

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    room: Notify,
}

#[derive(Default)]
struct State {
    backlog: Queue,
    /// What relays passed on while the handler that joined them still runs; it follows what the handler sends,
    /// and is kept back within the limits of the backlog.
    held: Option<Box<Queue>>,
    writer: Option<Writer>,
    /// The connection's task, which is woken when a write can go on.
    task: Option<Waker>,
    full_since: Option<Instant>,
    missed: Option<Missed>,
    phase: Phase,
    slow_reader: SlowReader,
    /// What is queued waits for the end of a [`turn`].
    waits_for_others: bool,
    /// How often something of the backlog has left.
    moves: u32,
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
        self.attach_writer(Writer::Other(Box::new(writer)));
    }

    /// As [`attach`](Self::attach), for a plain TCP connection, to which it writes with less on the way.
    pub fn attach_tcp(&self, writer: OwnedWriteHalf) {
        self.attach_writer(Writer::Tcp(writer));
    }

    fn attach_writer(&self, writer: Writer) {
        let mut state = self.0.state.lock();
        if state.phase != Phase::Gone {
            state.writer = Some(writer);
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

    /// Queues finished frames from elsewhere and writes them at once, without waking the connection's task, if
    /// nothing stands before them. False when the socket has ended.
    pub(crate) fn pass_on(&self, wire: &Bytes, frames: usize) -> bool {
        let mut state = self.0.state.lock();
        state.stop_waiting(&self.0.room);
        if state.phase != Phase::Open {
            return false;
        }
        if state.held.is_none() && state.backlog.is_empty() {
            state.write_through(wire, frames, &self.0.room);
        } else {
            state.queue_relayed(wire.clone(), frames);
        }
        true
    }

    /// As [`pass_on`](Self::pass_on), for frames of which only the latest of each key is wanted: `wire` is all of them
    /// in one piece. Those that cannot leave at once take the places of older ones that have not begun to.
    pub(crate) fn pass_on_latest(&self, wire: &Bytes, frames: &[LatestFrame]) {
        let mut state = self.0.state.lock();
        let state = &mut *state;
        state.stop_waiting(&self.0.room);
        if state.phase != Phase::Open {
            return;
        }
        if state.held.is_none() && state.backlog.is_empty() {
            return state.write_latest(wire, frames, &self.0.room);
        }
        let queue = state.held.as_deref_mut().unwrap_or(&mut state.backlog);
        let missed = frames.iter().filter(|frame| !queue.put_latest(&frame.key, &frame.wire)).count();
        state.miss_latest(missed);
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
            let (unsent, bytes) = (state.backlog.frames() + frames, state.backlog.bytes() + wire.len());
            if unsent >= UNSENT_FRAMES || bytes >= UNSENT_BYTES {
                break;
            }
            wire.extend_from_slice(piece);
            frames += 1;
        }
        let taken = wire.len();
        state.append(wire.freeze(), frames);
        if is_first {
            state.write_for_task(&self.0.room);
        }
        Ok(taken)
    }

    /// Queues the last frame of a demultiplexer's stream behind all others, even after the frames have ended.
    pub(crate) fn last_words(&self, wire: &Bytes) {
        let mut state = self.0.state.lock();
        if state.phase != Phase::Gone {
            state.append(wire.clone(), 1);
            state.write_for_task(&self.0.room);
        }
    }

    /// Notes that frames were lost before they came here, and wakes the connection's task to tell the consumer. What is
    /// relayed from here on is kept back until it has been told, so that a client hears of the loss first.
    pub(crate) fn miss(&self, missed: Missed) {
        let mut state = self.0.state.lock();
        if state.phase == Phase::Open {
            state.held.get_or_insert_default();
        }
        state.miss(missed);
    }

    /// How many frames were missed since the last call.
    pub(crate) fn take_missed(&self) -> Option<Missed> {
        self.0.state.lock().missed.take()
    }

    /// Keeps back what relays pass on until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.0.state.lock().held.get_or_insert_default();
    }

    /// Lets go what was kept back, unless the consumer is still to be told of a loss.
    pub(crate) fn release(&self) {
        let mut state = self.0.state.lock();
        if state.missed.is_some() {
            // The handler that is told of a loss is yet to run, and comes before what was kept back.
            return;
        }
        let Some(held) = state.held.take() else { return };
        // Nothing that came meanwhile may stand before what the handler has sent.
        state.backlog.seal();
        let mut missed = 0;
        for piece in held.into_pieces() {
            match piece.counts {
                Counts::Frames(frames) => state.append(piece.bytes, frames),
                Counts::Relayed(frames) => state.backlog.push_relayed(piece.bytes, frames),
                Counts::Latest(key) => missed += usize::from(!state.backlog.put_latest(&key, &piece.bytes)),
            }
        }
        state.miss_latest(missed);
        state.watch();
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
        if self.full().is_some() {
            room.await;
        }
    }

    /// Ends the sending of frames: from here on only the protocol writes.
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
        self.0.state.lock().abandon(&self.0.room);
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
        state.poll_write(cx, &self.0.room)
    }

    /// Writes what is queued and then ends the writing half, so that the peer sees the end of the stream.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_flush(cx))?;
        let mut state = self.0.state.lock();
        state.writer.as_mut().map_or(Poll::Ready(Ok(())), |writer| Pin::new(writer).poll_shutdown(cx))
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

    /// Queues relayed frames behind what was kept back, or else behind the backlog, if there is room or can be made.
    fn queue_relayed(&mut self, bytes: Bytes, frames: usize) {
        let drops_oldest = self.slow_reader == SlowReader::DropOldest;
        let queue = self.held.as_deref_mut().unwrap_or(&mut self.backlog);
        let dropped = if drops_oldest { queue.drop_oldest() } else { 0 };
        // Like any queue here, it takes the piece that fills it whole.
        let has_room = !queue.is_full();
        if has_room {
            queue.push_relayed(bytes, frames);
        }
        count(&COUNTERS.oldest, dropped);
        let refused = if has_room { 0 } else { frames };
        count(&COUNTERS.newest, refused);
        if dropped + refused > 0 {
            self.miss(Missed::Count((dropped + refused) as u64));
        }
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

    /// Writes frames at once of which only the latest of each key is wanted; nothing stands before them. What the
    /// socket does not take is queued, frame by frame.
    fn write_latest(&mut self, wire: &Bytes, frames: &[LatestFrame], room: &Notify) {
        self.backlog.push(wire.clone(), 0);
        self.write_for_task(room);
        if self.backlog.is_empty() {
            return;
        }
        let sent = wire.len() - self.backlog.take_bytes();
        let (mut start, mut missed) = (0, 0);
        for LatestFrame { key, wire } in frames {
            let end = start + wire.len();
            if sent <= start {
                missed += usize::from(!self.backlog.put_latest(key, wire));
            } else if sent < end {
                self.backlog.push_started(wire.slice(sent - start..));
            }
            start = end;
        }
        self.miss_latest(missed);
    }

    fn miss_latest(&mut self, missed: usize) {
        if missed > 0 {
            count(&COUNTERS.newest, missed);
            self.miss(Missed::Count(missed as u64));
        }
    }

    fn miss(&mut self, missed: Missed) {
        self.missed = Some(self.missed.map_or(missed, |before| before.and(missed)));
        self.wake();
    }

    fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    /// Writes frames before which nothing stands. Only what the socket does not take at once costs a place in the queue
    /// and wakes the connection's task, which then waits for the socket.
    fn write_through(&mut self, wire: &Bytes, frames: usize, room: &Notify) {
        let written = match self.writer.as_mut().map(|writer| writer.write_now(wire)) {
            Some(Poll::Ready(Ok(written @ 1..))) => written,
            Some(Poll::Ready(Ok(_) | Err(_))) => {
                self.abandon(room);
                return self.wake();
            }
            Some(Poll::Pending) | None => 0,
        };
        let mut nobody = Context::from_waker(Waker::noop());
        let is_flushed = |writer: &mut Writer| Pin::new(writer).poll_flush(&mut nobody).is_ready();
        if written == wire.len() && self.writer.as_mut().is_some_and(is_flushed) {
            return;
        }
        self.backlog.push_relayed(wire.clone(), frames);
        self.backlog.advance(written);
        self.watch();
        self.wake();
    }

    /// Writes on behalf of the connection's task: when the socket takes no more, that task is woken later.
    fn write_for_task(&mut self, room: &Notify) {
        let task = self.task.clone();
        let waker = task.as_ref().unwrap_or(Waker::noop());
        if let Poll::Ready(Err(_)) = self.poll_write(&mut Context::from_waker(waker), room) {
            self.wake();
        }
    }

    /// Writes what is queued as far as the socket takes it; whatever is left for a broken one is given up.
    fn poll_write(&mut self, cx: &mut Context<'_>, room: &Notify) -> Poll<io::Result<()>> {
        let polled = self.poll_write_backlog(cx, room);
        if let Poll::Ready(Err(_)) = &polled {
            self.abandon(room);
        }
        polled
    }

    fn poll_write_backlog(&mut self, cx: &mut Context<'_>, room: &Notify) -> Poll<io::Result<()>> {
        if self.phase == Phase::Gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Some(writer) = &mut self.writer else { return Poll::Pending };
        while !self.backlog.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES_PER_WRITE];
            let count = self.backlog.gather(&mut pieces);
            let written = match Pin::new(&mut *writer).poll_write_vectored(cx, &pieces[..count]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            self.moves = self.moves.wrapping_add(1);
            self.backlog.advance(written);
            if self.full_since.is_some() && !self.backlog.is_full() {
                self.full_since = None;
                room.notify_waiters();
            }
        }
        self.backlog.shrink();
        Pin::new(writer).poll_flush(cx)
    }

    fn abandon(&mut self, room: &Notify) {
        let Self { missed, task, slow_reader, .. } = std::mem::take(self);
        *self = Self { phase: Phase::Gone, missed, task, slow_reader, ..Self::default() };
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
