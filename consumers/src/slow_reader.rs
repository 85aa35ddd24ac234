//! What becomes of a client that reads more slowly than events are relayed to it, and how often that has happened.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What becomes of a socket that is full, with [`UNSENT_FRAMES`](crate::UNSENT_FRAMES) or
/// [`UNSENT_BYTES`](crate::UNSENT_BYTES) unsent, when more is relayed to it. Nobody else is slowed by it, its memory is
/// bounded, and its consumer is told in [`missed`](crate::WebsocketConsumer::missed) how many events were lost.
///
/// A consumer chooses by [`SLOW_READER`](crate::WebsocketConsumer::SLOW_READER). The fourth way, only the latest event of
/// each key, is a matter of what is relayed: [`latest_by`](crate::Relaying::latest_by).
///
/// Whichever it is, a consumer's own sends wait for room, and a client that reads nothing at all is found lost by the
/// server's heartbeat (1006). A socket that may stay full is closed with 1013 when for two minutes nothing has left it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowReader {
    /// It misses the newest events, and after 10 seconds without room its socket is closed with 1013, so that the client
    /// comes back and begins anew.
    #[default]
    Close,
    /// It misses the newest events for as long as it is slow. What it reads is without gaps up to the first loss.
    DropNewest,
    /// It misses the oldest events that have not begun to leave, and gets the newest. What the consumer itself has sent is
    /// not dropped; if that alone fills the queue, the newest are lost.
    DropOldest,
}

/// What slow readers have cost since this process began; for who watches it.
///
/// ```
/// let before = consumers::slow_readers();
/// // later
/// let lost = consumers::slow_readers().newest - before.newest;
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlowReaders {
    /// Sockets that were closed with 1013; those that the heartbeat finds lost first are not among them.
    pub closed: u64,
    /// Events for which a full socket had no room, whatever its policy, or that were over the limits of
    /// [`latest_by`](crate::Relaying::latest_by). What a layer or a relay loses is not among them.
    pub newest: u64,
    /// Events that were dropped as the oldest.
    pub oldest: u64,
    /// Events that a newer one of the same key has replaced; they do not count as missed.
    pub superseded: u64,
}

/// What slow readers have cost this process so far.
#[must_use]
pub fn slow_readers() -> SlowReaders {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    SlowReaders {
        closed: read(&COUNTERS.closed),
        newest: read(&COUNTERS.newest),
        oldest: read(&COUNTERS.oldest),
        superseded: read(&COUNTERS.superseded),
    }
}

/// One for the process: a counter of each socket would be paid for by those that are never slow.
pub(crate) static COUNTERS: Counters = Counters {
    closed: AtomicU64::new(0),
    newest: AtomicU64::new(0),
    oldest: AtomicU64::new(0),
    superseded: AtomicU64::new(0),
};

pub(crate) struct Counters {
    pub(crate) closed: AtomicU64,
    pub(crate) newest: AtomicU64,
    pub(crate) oldest: AtomicU64,
    pub(crate) superseded: AtomicU64,
}

/// Adds to a counter; they order nothing.
pub(crate) fn count(counter: &AtomicU64, lost: usize) {
    counter.fetch_add(lost as u64, Ordering::Relaxed);
}
