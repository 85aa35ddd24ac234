//! Messages that never reached a reader, counted by cause.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// How many messages were lost since a layer was made, by cause; each counts once per receiver that missed it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Losses {
    /// `send` was refused with `ChannelFull`; the sender knows.
    pub refused: u64,
    /// A group's member was full, or a process received more from Redis than it could pass on; who may have missed
    /// something is told.
    pub overflowed: u64,
    /// Nobody read the message within `expiry`; a mailbox is told.
    pub expired: u64,
    /// The message was for a mailbox that is gone.
    pub unroutable: u64,
    /// The bytes from the backend were no message that can be read here.
    pub undecodable: u64,
}

/// The counters behind [`Losses`].
#[derive(Debug, Default)]
pub(crate) struct LossCounters {
    pub(crate) refused: AtomicU64,
    pub(crate) overflowed: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) unroutable: AtomicU64,
    pub(crate) undecodable: AtomicU64,
}

impl LossCounters {
    pub(crate) fn read(&self) -> Losses {
        Losses {
            refused: self.refused.load(Ordering::Relaxed),
            overflowed: self.overflowed.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            unroutable: self.unroutable.load(Ordering::Relaxed),
            undecodable: self.undecodable.load(Ordering::Relaxed),
        }
    }
}

/// Adds to a counter; counters order nothing, so relaxed is enough.
pub(crate) fn count(counter: &AtomicU64, lost: u64) {
    if lost > 0 {
        // A counter that all share is touched only when there is something to count.
        counter.fetch_add(lost, Ordering::Relaxed);
    }
}
