//! What relays pass on to a socket: when it is written at once, when it is kept back, and what is lost for want of room.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use channel_layer::Missed;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

use super::queue::Counts;
use super::writer::Writer;
use super::{LatestFrame, Outbound, Phase, State};
use crate::SlowReader;
use crate::slow_reader::{COUNTERS, count};

impl Outbound {
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

    /// Notes that frames were lost before they came here.
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

    /// Lets go what was kept back, unless the consumer is still to be told of a loss.
    pub(crate) fn release(&self) {
        let mut state = self.0.state.lock();
        if state.missed.is_some() {
            // The handler that is told of a loss is yet to run, and comes before what was kept back.
            return;
        }
        state.is_loss_untold = false;
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
}

impl State {
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

    /// Queues relayed frames behind what was kept back, or else behind the backlog, if there is room or can be made.
    fn queue_relayed(&mut self, bytes: Bytes, frames: usize) {
        let (dropped, has_room) = self.room_for_relayed();
        if has_room {
            self.held.as_deref_mut().unwrap_or(&mut self.backlog).push_relayed(bytes, frames);
        } else {
            count(&COUNTERS.newest, frames);
            self.miss(Missed::Count(frames as u64));
        }
        if dropped > 0 {
            count(&COUNTERS.oldest, dropped);
            self.tell_missed(Missed::Count(dropped as u64));
        }
        self.watch();
    }

    /// How many relayed frames were dropped to make room for another, and whether there is any. Like any queue here, one
    /// takes the piece that fills it whole.
    fn room_for_relayed(&mut self) -> (usize, bool) {
        let drops_oldest = self.slow_reader == SlowReader::DropOldest;
        // What is kept back for a loss has no room beside a backlog that is full: there may be one loss after another.
        let backlog = (self.held.is_none() || self.is_loss_untold).then_some(&mut self.backlog);
        let (mut dropped, mut has_room) = (0, true);
        for queue in backlog.into_iter().chain(self.held.as_deref_mut()) {
            if drops_oldest {
                dropped += queue.drop_oldest();
            }
            has_room &= !queue.is_full();
        }
        (dropped, has_room)
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
            self.held.get_or_insert_default();
            self.is_loss_untold = true;
        }
        self.tell_missed(missed);
    }

    /// Notes a loss, and wakes the connection's task to tell the consumer.
    fn tell_missed(&mut self, missed: Missed) {
        self.missed = Some(self.missed.map_or(missed, |before| before.and(missed)));
        self.wake();
    }
}
