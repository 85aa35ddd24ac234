//! The one queue through which everything leaves a socket, in order and under one lock: what the consumer sends,
//! what relays pass on, and what the protocol itself says (pongs, closes).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use channel_layer::Missed;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The most frames that may be unsent before a socket counts as full.
pub const UNSENT_FRAMES: usize = 256;

/// The most bytes that may be unsent before a socket counts as full: 1 MiB.
pub const UNSENT_BYTES: usize = 1 << 20;

/// The most pieces that one write gathers.
const PIECES_PER_WRITE: usize = 32;

/// The outbound queue of one socket; clones are handles to the same queue.
///
/// It counts as full with [`UNSENT_FRAMES`] or [`UNSENT_BYTES`] unsent. A consumer's own send then waits; a relayed
/// frame is missed, counted and told to the consumer; and a socket that stays full for 10 seconds is closed with
/// 1013.
#[derive(Clone, Default)]
pub struct Outbound(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    room: Notify,
}

#[derive(Default)]
struct State {
    backlog: VecDeque<Piece>,
    frames: usize,
    bytes: usize,
    /// The first piece has left in part, so it must leave whole.
    is_front_started: bool,
    /// What relays passed on while the handler that joined them still runs; it follows what the handler sends.
    held: Option<Held>,
    writer: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// The connection's task, which is woken when a write can go on.
    task: Option<Waker>,
    full_since: Option<Instant>,
    missed: Option<Missed>,
    phase: Phase,
}

/// What is kept back, within the same limits as the backlog.
#[derive(Default)]
struct Held {
    pieces: VecDeque<Piece>,
    frames: usize,
    bytes: usize,
}

impl Held {
    /// Keeps a piece back if there is room; like the backlog, it takes the piece that fills it whole.
    fn keep(&mut self, piece: Piece) -> bool {
        let has_room = self.frames < UNSENT_FRAMES && self.bytes < UNSENT_BYTES;
        if has_room {
            self.frames += piece.frames;
            self.bytes += piece.bytes.len();
            self.pieces.push_back(piece);
        }
        has_room
    }
}

/// Bytes that belong to some frames; they are counted as sent with the last byte.
struct Piece {
    bytes: Bytes,
    frames: usize,
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
            state.writer = Some(Box::new(writer));
            state.wake();
        }
    }

    /// Queues a finished frame of the consumer's own; the connection's task writes it at the end of its turn, so
    /// that what one handler sends in one go is one write.
    pub(crate) fn push(&self, wire: &Bytes) -> Result<(), NotQueued> {
        let mut state = self.0.state.lock();
        match state.phase {
            Phase::Open if state.full_since.is_some() => Err(NotQueued::Full),
            Phase::Open => {
                state.append(Piece { bytes: wire.clone(), frames: 1 });
                Ok(())
            }
            Phase::Finishing | Phase::Gone => Err(NotQueued::Gone),
        }
    }

    /// Queues finished frames from elsewhere and writes them at once, without waking the connection's task, if
    /// nothing stands before them. False when the socket has ended.
    pub(crate) fn pass_on(&self, wire: &Bytes, frames: usize) -> bool {
        let mut state = self.0.state.lock();
        if state.phase != Phase::Open {
            return false;
        }
        if state.full_since.is_some() {
            state.miss(Missed::Count(frames as u64));
            return true;
        }
        let piece = Piece { bytes: wire.clone(), frames };
        if let Some(held) = &mut state.held {
            if !held.keep(piece) {
                state.miss(Missed::Count(frames as u64));
            }
            return true;
        }
        let is_first = state.backlog.is_empty();
        state.append(piece);
        if is_first {
            state.write_for_task(&self.0.room);
        }
        true
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
            if state.frames + frames >= UNSENT_FRAMES || state.bytes + wire.len() >= UNSENT_BYTES {
                break;
            }
            wire.extend_from_slice(piece);
            frames += 1;
        }
        let taken = wire.len();
        state.append(Piece { bytes: wire.freeze(), frames });
        if is_first {
            state.write_for_task(&self.0.room);
        }
        Ok(taken)
    }

    /// Queues the last frame of a demultiplexer's stream behind all others, even after the frames have ended.
    pub(crate) fn last_words(&self, wire: &Bytes) {
        let mut state = self.0.state.lock();
        if state.phase != Phase::Gone {
            state.append(Piece { bytes: wire.clone(), frames: 1 });
            state.write_for_task(&self.0.room);
        }
    }

    /// Notes that frames were lost before they came here, and wakes the connection's task to tell the consumer.
    pub(crate) fn miss(&self, missed: Missed) {
        self.0.state.lock().miss(missed);
    }

    /// How many frames were missed since the last call.
    pub(crate) fn take_missed(&self) -> Option<Missed> {
        self.0.state.lock().missed.take()
    }

    /// Keeps back what relays pass on until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.0.state.lock().held.get_or_insert_default();
    }

    /// Lets go what was kept back.
    pub(crate) fn release(&self) {
        let mut state = self.0.state.lock();
        for piece in state.held.take().into_iter().flat_map(|held| held.pieces) {
            state.append(piece);
        }
    }

    /// Since when the socket has been full.
    pub(crate) fn full_since(&self) -> Option<Instant> {
        self.0.state.lock().full_since
    }

    /// Waits until there may be room again.
    pub(crate) async fn room(&self) {
        let room = self.0.room.notified();
        if self.full_since().is_some() {
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
        let keep = usize::from(state.is_front_started);
        state.backlog.truncate(keep);
        state.bytes = state.backlog.iter().map(|piece| piece.bytes.len()).sum();
        state.frames = state.backlog.iter().map(|piece| piece.frames).sum();
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
        let polled = state.poll_write(cx, &self.0.room);
        if let Poll::Ready(Err(_)) = &polled {
            state.abandon(&self.0.room);
        }
        polled
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
            state.append(Piece { bytes: Bytes::copy_from_slice(wire), frames: 0 });
        }
    }

    /// A writer for the protocol's own frames, which takes its place in the same queue.
    #[must_use]
    pub fn protocol_writer(&self) -> ProtocolWriter {
        ProtocolWriter(self.clone())
    }
}

impl State {
    fn append(&mut self, piece: Piece) {
        self.frames += piece.frames;
        self.bytes += piece.bytes.len();
        self.backlog.push_back(piece);
        if self.is_full() && self.full_since.is_none() {
            self.full_since = Some(Instant::now());
            // The task watches how long this lasts.
            self.wake();
        }
    }

    fn is_full(&self) -> bool {
        self.frames >= UNSENT_FRAMES || self.bytes >= UNSENT_BYTES
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

    /// Writes on behalf of the connection's task: when the socket takes no more, that task is woken later.
    fn write_for_task(&mut self, room: &Notify) {
        let task = self.task.clone();
        let waker = task.as_ref().unwrap_or(Waker::noop());
        if let Poll::Ready(Err(_)) = self.poll_write(&mut Context::from_waker(waker), room) {
            self.abandon(room);
            self.wake();
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, room: &Notify) -> Poll<io::Result<()>> {
        if self.phase == Phase::Gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Some(writer) = &mut self.writer else { return Poll::Pending };
        while !self.backlog.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES_PER_WRITE];
            for (slice, piece) in pieces.iter_mut().zip(&self.backlog) {
                *slice = IoSlice::new(&piece.bytes);
            }
            let pieces = &pieces[..self.backlog.len().min(PIECES_PER_WRITE)];
            let written = match Pin::new(&mut *writer).poll_write_vectored(cx, pieces) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            self.bytes -= written;
            let (frames, is_front_started) = advance(&mut self.backlog, written);
            self.frames -= frames;
            self.is_front_started = is_front_started;
            if self.full_since.is_some() && self.frames < UNSENT_FRAMES && self.bytes < UNSENT_BYTES {
                self.full_since = None;
                room.notify_waiters();
            }
        }
        if self.backlog.capacity() > PIECES_PER_WRITE {
            self.backlog = VecDeque::new();
        }
        Pin::new(writer).poll_flush(cx)
    }

    fn abandon(&mut self, room: &Notify) {
        *self = Self { phase: Phase::Gone, missed: self.missed, task: self.task.take(), ..Self::default() };
        room.notify_waiters();
    }
}

/// Takes written bytes off the front; how many frames they completed, and whether they began another piece.
fn advance(backlog: &mut VecDeque<Piece>, mut written: usize) -> (usize, bool) {
    let mut frames = 0;
    while let Some(piece) = backlog.front_mut() {
        if written < piece.bytes.len() {
            piece.bytes.advance(written);
            return (frames, written > 0);
        }
        written -= piece.bytes.len();
        frames += piece.frames;
        backlog.pop_front();
    }
    (frames, false)
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Outbound")
            .field("frames", &state.frames)
            .field("bytes", &state.bytes)
            .finish_non_exhaustive()
    }
}

/// Writes pongs and close frames into a socket's outbound queue, behind what is queued already.
#[derive(Debug)]
pub struct ProtocolWriter(Outbound);

impl AsyncWrite for ProtocolWriter {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.0.state.lock();
        match state.phase {
            Phase::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            // A peer that pings and never reads gets no pongs beyond the limit. Who asks is the connection's
            // task, which is woken in any case when the backlog moves.
            // Once the frames have ended there is no limit, for all that comes then is the close frame.
            Phase::Open if state.bytes >= 2 * UNSENT_BYTES => Poll::Pending,
            _ => {
                state.append(Piece { bytes: Bytes::copy_from_slice(bytes), frames: 0 });
                Poll::Ready(Ok(bytes.len()))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
