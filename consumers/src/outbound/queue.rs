//! What is unsent on one socket, in order: pieces of bytes, what they count, and those frames of which a newer one of
//! the same key takes the place.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::slow_reader::{COUNTERS, count};

use super::{UNSENT_BYTES, UNSENT_FRAMES, UNSENT_KEYS};

/// The most pieces that may be unsent when the protocol adds one: as many as frames of every kind, and as many again.
pub(super) const UNSENT_PIECES: usize = 2 * (UNSENT_FRAMES + UNSENT_KEYS);

/// What makes two frames the same thing at different times: the relay that they come from, and what it calls them.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct FrameKey {
    pub(crate) relay: u64,
    pub(crate) text: String,
}

/// A finished frame that a newer one of its key may replace.
#[derive(Debug)]
pub(crate) struct LatestFrame {
    pub(crate) key: Arc<FrameKey>,
    pub(crate) wire: Bytes,
}

/// Bytes that belong to some frames; they are counted as sent with the last byte.
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) counts: Counts,
}

/// What a piece counts towards.
pub(super) enum Counts {
    /// So many frames, towards the limits of the socket.
    Frames(usize),
    /// The same, of a relay: newer ones may push them out.
    Relayed(usize),
    /// One frame, towards limits of its own: where there is one of each thing at most, the socket is not full.
    Latest(Arc<FrameKey>),
}

/// Whether so much that is unsent makes a socket full.
pub(super) fn fills(frames: usize, bytes: usize) -> bool {
    frames >= UNSENT_FRAMES || bytes >= UNSENT_BYTES
}

#[derive(Default)]
#[repr(C)]
pub(super) struct Queue {
    pieces: VecDeque<Piece>,
    frames: usize,
    bytes: usize,
    /// The first piece has left in part, so it must leave whole.
    is_front_started: bool,
    /// There while frames are, or were a moment ago, that newer ones may replace. Most sockets never have it.
    latest: Option<Box<Latest>>,
}

/// Where the frames stand that newer ones may replace, and what they count.
#[derive(Default)]
struct Latest {
    /// The place of each key's newest frame, counted from the first piece that was there when this was made.
    places: HashMap<Arc<FrameKey>, usize>,
    /// How many pieces have left since then.
    departed: usize,
    frames: usize,
    /// Of the frames and the texts of their keys.
    bytes: usize,
    superseded: u64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_full(&self) -> bool {
        fills(self.frames, self.bytes)
    }

    /// The same for relayed frames alone. It looks at each piece.
    pub(super) fn is_full_of_relayed(&self) -> bool {
        let relayed = self.pieces.iter().map(|piece| match piece.counts {
            Counts::Relayed(frames) => (frames, piece.bytes.len()),
            Counts::Frames(_) | Counts::Latest(_) => (0, 0),
        });
        let (frames, bytes) = relayed.fold((0, 0), |sum, piece| (sum.0 + piece.0, sum.1 + piece.1));
        fills(frames, bytes)
    }

    /// How many pieces there are.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether the protocol may add something of its own, which counts as no frame.
    pub(super) fn has_room_for_protocol(&self) -> bool {
        self.pieces.len() < UNSENT_PIECES && self.bytes < 2 * UNSENT_BYTES
    }

    /// How many frames newer ones have replaced since the queue was last empty.
    #[cfg(test)]
    pub(super) fn superseded(&self) -> u64 {
        self.latest.as_ref().map_or(0, |latest| latest.superseded)
    }

    pub(super) fn push(&mut self, bytes: Bytes, frames: usize) {
        self.push_counted(bytes, frames, Counts::Frames(frames));
    }

    pub(super) fn push_relayed(&mut self, bytes: Bytes, frames: usize) {
        self.push_counted(bytes, frames, Counts::Relayed(frames));
    }

    fn push_counted(&mut self, bytes: Bytes, frames: usize, counts: Counts) {
        self.frames += frames;
        self.bytes += bytes.len();
        self.pieces.push_back(Piece { bytes, counts });
    }

    /// Makes room by dropping the oldest relayed frames that have not begun to leave; how many.
    pub(super) fn drop_oldest(&mut self) -> usize {
        let mut dropped = 0;
        let mut place = usize::from(self.is_front_started);
        while self.is_full() && place < self.pieces.len() {
            let Counts::Relayed(frames) = self.pieces[place].counts else {
                place += 1;
                continue;
            };
            let piece = self.pieces.remove(place);
            self.bytes -= piece.map_or(0, |piece| piece.bytes.len());
            self.frames -= frames;
            dropped += frames;
            if let Some(latest) = &mut self.latest {
                latest.close_gap(place);
            }
        }
        dropped
    }

    /// Queues what is left of a frame that has begun to leave; nothing may stand before it.
    pub(super) fn push_started(&mut self, bytes: Bytes) {
        self.push(bytes, 1);
        self.is_front_started = true;
    }

    /// Puts a frame in the place of the one of its key that has not begun to leave, or else at the end. False when
    /// there is no room: like the queue itself, it takes the frame that fills it whole.
    pub(super) fn put_latest(&mut self, key: &Arc<FrameKey>, wire: &Bytes) -> bool {
        let latest = self.latest.get_or_insert_default();
        let place = latest.places.get(key).map(|place| place - latest.departed);
        let place = place.filter(|place| *place > 0 || !self.is_front_started);
        let older = place.and_then(|place| self.pieces.get_mut(place));
        let freed = older.as_ref().map_or(0, |older| older.bytes.len());
        if latest.bytes - freed >= UNSENT_BYTES || (older.is_none() && latest.frames >= UNSENT_KEYS) {
            return false;
        }
        latest.bytes += wire.len();
        latest.bytes -= freed;
        if let Some(older) = older {
            older.bytes = wire.clone();
            latest.superseded += 1;
            count(&COUNTERS.superseded, 1);
        } else {
            latest.places.insert(Arc::clone(key), latest.departed + self.pieces.len());
            latest.frames += 1;
            latest.bytes += key.text.len();
            self.pieces.push_back(Piece { bytes: wire.clone(), counts: Counts::Latest(Arc::clone(key)) });
        }
        true
    }

    /// From here on nothing takes the place of what is queued already.
    pub(super) fn seal(&mut self) {
        if let Some(latest) = &mut self.latest {
            latest.places.clear();
        }
    }

    /// Fills slices with what comes first; how many.
    pub(super) fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(&piece.bytes);
        }
        slices.len().min(self.pieces.len())
    }

    /// Takes written bytes off the front.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.is_front_started = false;
        while let Some(piece) = self.pieces.front_mut() {
            let length = piece.bytes.len();
            if written < length {
                piece.bytes.advance(written);
                self.is_front_started = written > 0;
                match (&piece.counts, &mut self.latest) {
                    (Counts::Latest(_), Some(latest)) => latest.bytes -= written,
                    _ => self.bytes -= written,
                }
                return;
            }
            written -= length;
            self.pop();
        }
    }

    /// Takes the first piece out.
    pub(super) fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        if let Counts::Frames(frames) | Counts::Relayed(frames) = piece.counts {
            self.frames -= frames;
            self.bytes -= piece.bytes.len();
        }
        if let Some(latest) = &mut self.latest {
            latest.depart(&piece);
        }
        Some(piece)
    }

    /// Drops what has not begun to leave.
    pub(super) fn keep_started(&mut self) {
        let started = self.is_front_started.then(|| self.pieces.pop_front()).flatten();
        *self = Self::default();
        if let Some(piece) = started {
            self.push_started(piece.bytes);
        }
    }

    /// Takes everything out; how many bytes that were.
    pub(super) fn take_bytes(&mut self) -> usize {
        std::mem::take(self).pieces.iter().map(|piece| piece.bytes.len()).sum()
    }

    /// Gives back what an empty queue does not need, which is everything: what has just been used elsewhere costs less to
    /// take than what this socket has kept.
    pub(super) fn shrink(&mut self) {
        if self.latest.is_some() || self.pieces.capacity() > 0 {
            *self = Self::default();
        }
    }
}

impl Latest {
    /// The piece at this place, counted from the front, is gone.
    fn close_gap(&mut self, place: usize) {
        let gone = self.departed + place;
        self.places.values_mut().filter(|place| **place > gone).for_each(|place| *place -= 1);
    }

    /// The first piece has left.
    fn depart(&mut self, piece: &Piece) {
        if let Counts::Latest(key) = &piece.counts {
            self.frames -= 1;
            self.bytes -= piece.bytes.len() + key.text.len();
            if self.places.get(key) == Some(&self.departed) {
                self.places.remove(key);
            }
        }
        self.departed += 1;
    }
}

impl Drop for Latest {
    fn drop(&mut self) {
        if self.superseded > 0 {
            let superseded = self.superseded;
            tracing::debug!(superseded, "a slow client was spared frames that newer ones replaced");
        }
    }
}
