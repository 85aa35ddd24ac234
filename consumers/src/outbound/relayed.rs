//! What relays pass on to a socket: when it is written at once, when it is kept back, and what is lost for want of room.

use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use channel_layer::Missed;

use super::queue::{Counts, Queue};
use super::writer::Writer;
use super::{LatestFrame, Outbound, Phase, Shared, State, note_room};
use crate::SlowReader;
use crate::slow_reader::{COUNTERS, count};

/// What is kept back while a handler that has begun a relay still runs, and behind a loss until the consumer was told of it.
/// It has the same limits as the backlog.
#[derive(Default)]
pub(super) struct Held {
    queue: Queue,
    /// The handler that now runs has begun a relay.
    is_for_handler: bool,
    /// How many pieces stand before the first loss of which the consumer was not told, if there is one.
    before_loss: Option<usize>,
}

impl Outbound {
    /// Has the processor fetch what it takes to write to this socket, and waits for none of it.
    pub(crate) fn fetch(&self) {
        let descriptor = self.0.tcp.get().map(|tcp| tcp.as_ref().as_raw_fd());
        black_box((Arc::strong_count(&self.0), self.0.state.is_locked(), descriptor));
    }

    /// Queues finished frames from elsewhere and writes them at once, without waking the connection's task, if
    /// nothing stands before them. False when the socket has ended.
    pub(crate) fn pass_on(&self, wire: &Bytes, frames: usize) -> bool {
        let mut state = self.0.state.lock();
        state.stop_waiting(&self.0);
        if state.phase != Phase::Open {
            return false;
        }
        if state.held.is_none() && state.backlog.is_empty() {
            state.write_through(wire, frames, &self.0);
        } else {
            state.queue_relayed(wire.clone(), frames, &self.0);
        }
        true
    }

    /// As [`pass_on`](Self::pass_on), for frames of which only the latest of each key is wanted: `wire` is all of them
    /// in one piece. Those that cannot leave at once take the places of older ones that have not begun to.
    pub(crate) fn pass_on_latest(&self, wire: &Bytes, frames: &[LatestFrame]) {
        let mut state = self.0.state.lock();
        let state = &mut *state;
        state.stop_waiting(&self.0);
        if state.phase != Phase::Open {
            return;
        }
        if state.held.is_none() && state.backlog.is_empty() {
            return state.write_latest(wire, frames, &self.0);
        }
        let queue = state.relayed_queue();
        let missed = frames.iter().filter(|frame| !queue.put_latest(&frame.key, &frame.wire)).count();
        state.miss_latest(missed);
    }

    /// Notes that frames were lost before they came here.
    pub(crate) fn miss(&self, missed: Missed) {
        self.0.state.lock().miss(missed);
    }

    /// How many frames were missed since the last call. The consumer is told next, and then [`release`](Self::release) lets
    /// go what stands behind.
    pub(crate) fn take_missed(&self) -> Option<Missed> {
        let mut state = self.0.state.lock();
        if let Some(held) = &mut state.held {
            held.before_loss = None;
        }
        state.missed.take()
    }

    /// Keeps back what relays pass on until [`release`](Self::release): the handler that now runs begins a relay. What was
    /// kept back before it began comes before what it sends.
    pub(crate) fn hold(&self) {
        let mut state = self.0.state.lock();
        if state.held.as_ref().is_some_and(|held| !held.is_for_handler) {
            state.release();
        }
        state.held.get_or_insert_default().is_for_handler = true;
    }

    /// Lets go what was kept back, but not what stands behind a loss of which the consumer is still to be told.
    pub(crate) fn release(&self) {
        self.0.state.lock().release();
    }
}

impl State {
    /// Writes frames before which nothing stands. Only what the socket does not take at once costs a place in the queue
    /// and wakes the connection's task, which then waits for the socket.
    fn write_through(&mut self, wire: &Bytes, frames: usize, shared: &Shared) {
        let mut nobody = Context::from_waker(Waker::noop());
        let mut writer = Writer::of(shared, &mut self.other);
        let written = match writer.as_mut().map(|writer| writer.write_now(wire)) {
            Some(Poll::Ready(Ok(written @ 1..))) => written,
            Some(Poll::Ready(Ok(_) | Err(_))) => {
                self.abandon(shared);
                return self.wake();
            }
            Some(Poll::Pending) | None => 0,
        };
        if written == wire.len() && writer.is_some_and(|mut writer| writer.poll_flush(&mut nobody).is_ready())
        {
            return;
        }
        self.backlog.push_relayed(wire.clone(), frames);
        self.backlog.advance(written);
        self.watch();
        self.wake();
    }

    /// Queues relayed frames behind what was kept back, or else behind the backlog, if there is room or can be made.
    fn queue_relayed(&mut self, bytes: Bytes, frames: usize, shared: &Shared) {
        let dropped = if self.slow_reader == SlowReader::DropOldest { self.drop_oldest() } else { 0 };
        if dropped > 0 {
            count(&COUNTERS.oldest, dropped);
            self.tell_missed(Missed::Count(dropped as u64));
        }
        // Like any queue here, it takes the piece that fills it whole.
        // What is let go does not ask for room. So there is none while the backlog is full of what has been.
        let is_full = match &self.held {
            None => self.backlog.is_full(),
            Some(held) => held.queue.is_full() || self.backlog.is_full_of_relayed(),
        };
        if is_full {
            count(&COUNTERS.newest, frames);
            self.miss(Missed::Count(frames as u64));
        } else {
            self.relayed_queue().push_relayed(bytes, frames);
        }
        note_room(&self.backlog, &mut self.full_since, &shared.room);
        self.watch();
    }

    /// Where relayed frames go that cannot leave at once.
    fn relayed_queue(&mut self) -> &mut Queue {
        self.held.as_mut().map_or(&mut self.backlog, |held| &mut held.queue)
    }

    /// Drops the oldest relayed frames where there is no room for one more; how many.
    fn drop_oldest(&mut self) -> usize {
        let Some(held) = &mut self.held else { return self.backlog.drop_oldest() };
        let (pieces, mut dropped) = (held.queue.len(), held.queue.drop_oldest());
        if let Some(before) = &mut held.before_loss {
            // Perhaps some stood behind the loss. Then what is let go next is less than it might be.
            *before = before.saturating_sub(pieces - held.queue.len());
        }
        if self.backlog.is_full_of_relayed() {
            dropped += self.backlog.drop_oldest();
        }
        dropped
    }

    fn release(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        // Nothing that came meanwhile may stand before what the handler has sent.
        self.backlog.seal();
        let mut missed = 0;
        for _ in 0..held.before_loss.unwrap_or(usize::MAX) {
            let Some(piece) = held.queue.pop() else { break };
            match piece.counts {
                Counts::Frames(frames) => self.backlog.push(piece.bytes, frames),
                Counts::Relayed(frames) => self.backlog.push_relayed(piece.bytes, frames),
                Counts::Latest(key) => missed += usize::from(!self.backlog.put_latest(&key, &piece.bytes)),
            }
        }
        if held.before_loss.is_some() {
            held.before_loss = Some(0);
            held.is_for_handler = false;
            self.held = Some(held);
        }
        self.miss_latest(missed);
        self.watch();
    }

    /// Writes frames at once of which only the latest of each key is wanted; nothing stands before them. What the
    /// socket does not take is queued, frame by frame.
    fn write_latest(&mut self, wire: &Bytes, frames: &[LatestFrame], shared: &Shared) {
        self.backlog.push(wire.clone(), 0);
        self.write_for_task(shared);
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

    /// Notes a loss of them, for which nothing is kept back: they are no sequence in which it has its place.
    fn miss_latest(&mut self, missed: usize) {
        if missed > 0 {
            count(&COUNTERS.newest, missed);
            self.tell_missed(Missed::Count(missed as u64));
        }
    }

    /// Notes a loss behind all that is queued. What is relayed from here on is kept back until the consumer has been told,
    /// so that a client hears of the loss first.
    fn miss(&mut self, missed: Missed) {
        if self.phase == Phase::Open {
            let held = self.held.get_or_insert_default();
            held.before_loss.get_or_insert(held.queue.len());
        }
        self.tell_missed(missed);
    }

    /// Notes a loss, and wakes the connection's task to tell the consumer.
    fn tell_missed(&mut self, missed: Missed) {
        self.missed = Some(self.missed.map_or(missed, |before| before.and(missed)));
        self.wake();
    }
}
