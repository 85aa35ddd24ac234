//! What a capture has done, as numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use serde::Serialize;

/// What a capture has done since it was started, and how full its outbox is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CaptureStats {
    /// This process is the one that relays at the moment.
    pub is_relaying: bool,
    /// Changes that were read from the outbox and told.
    pub changes: u64,
    /// Messages that they became: one for each group that hears of a change.
    pub messages: u64,
    /// How often followers had to begin anew, because changes were lost or not to be told one by one.
    pub resets: u64,
    /// Changes of tables that are not bound in this process, which it could tell nobody.
    pub unknown: u64,
    /// How often the database failed the relay, or the channel layer did.
    pub failures: u64,
    /// Changes in the outbox when it was last looked at, a second ago or less: those not yet told, and those that
    /// some other relay has still to tell.
    pub waiting: i64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    is_relaying: AtomicBool,
    pub(super) changes: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) resets: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) waiting: AtomicI64,
}

impl Counters {
    pub(super) fn read(&self) -> CaptureStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CaptureStats {
            is_relaying: self.is_relaying.load(Ordering::Relaxed),
            changes: count(&self.changes),
            messages: count(&self.messages),
            resets: count(&self.resets),
            unknown: count(&self.unknown),
            failures: count(&self.failures),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}

/// Lets the numbers say that this process relays, until it is dropped: however the turn ends.
#[derive(Debug)]
pub(super) struct Relaying(Arc<Counters>);

impl Relaying {
    pub(super) fn begin(counters: &Arc<Counters>) -> Self {
        counters.is_relaying.store(true, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }
}

impl Drop for Relaying {
    fn drop(&mut self) {
        self.0.is_relaying.store(false, Ordering::Relaxed);
    }
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_ends_in_a_panic_is_over() {
        let counters = Arc::<Counters>::default();
        let turn = std::panic::catch_unwind(|| {
            let _relaying = Relaying::begin(&counters);
            assert!(!counters.read().is_relaying, "this is the panic");
        });
        assert!(turn.is_err() && !counters.read().is_relaying);
    }
}
