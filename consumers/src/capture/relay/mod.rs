//! The relay: reads what was committed and publishes it through the channel layer, for ever and whatever happens to
//! the database or the layer.

mod telling;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use channel_layer::ChannelLayer;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::CaptureError;
use super::outbox::{Outbox, Recorded};
use super::stats::{Counters, Relaying, count};
use crate::binding::Publisher;

/// How long a process waits until it asks again whether it may relay: failover takes no longer than two seconds, and
/// when a machine is gone some seconds more, which the database needs to notice it.
const TURN: Duration = Duration::from_millis(500);

/// How often the cursor is written down and the triggers are looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// After so many changes the outbox is tidied at once, so that it stays short under load.
const CHANGES_BETWEEN: usize = 2048;

/// After so many, the cursor is written down this soon, and in the middle of a batch after however many: a crash then
/// repeats little, and processes that crash one after the other still get on, however slow the layer is.
const CHANGES_AT_RISK: usize = 64;
const RISK: Duration = Duration::from_millis(200);

/// The waits after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long the end may take: first of the change that is being told, then of writing down where the relay is.
const LAST_CHANGE: Duration = Duration::from_secs(2);
const LAST_TIDYING: Duration = Duration::from_secs(2);

pub(super) struct Relay {
    outbox: Box<dyn Outbox>,
    layer: Arc<dyn ChannelLayer>,
    /// By table.
    bindings: HashMap<String, Vec<Arc<dyn Publisher>>>,
    counters: Arc<Counters>,
    stop: CancellationToken,
    /// The revision of the last change, in microseconds since 1970.
    revision: i64,
    /// How many changes of the batch at hand were told.
    at: usize,
    /// When the outbox was last tidied, and how many changes were told since.
    tidied: Instant,
    told: usize,
    /// When the triggers were last looked at, and the tables whose followers have yet to hear that theirs had gone.
    mended: Instant,
    resets: Vec<String>,
}

/// Why the relay had to stop for a moment.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The layer is closed for good.
    #[error("the channel layer is closed")]
    Closed,
    /// Nothing is wrong.
    #[error("the relay was told to stop")]
    Stopped,
}

impl Relay {
    pub(super) fn new(
        outbox: Box<dyn Outbox>,
        layer: Arc<dyn ChannelLayer>,
        bindings: Vec<Arc<dyn Publisher>>,
        counters: Arc<Counters>,
        stop: CancellationToken,
    ) -> Self {
        let mut by_table = HashMap::<_, Vec<_>>::new();
        for binding in bindings {
            by_table.entry(binding.table().name).or_default().push(binding);
        }
        let bindings = by_table;
        let now = Instant::now();
        Self {
            outbox,
            layer,
            bindings,
            counters,
            stop,
            revision: 0,
            at: 0,
            tidied: now,
            told: 0,
            mended: now,
            resets: Vec::new(),
        }
    }

    /// Relays until it is stopped, or the layer is closed.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        let mut pause = FIRST_PAUSE;
        loop {
            let ended = tokio::select! {
                ended = self.relay(&mut pause) => ended,
                () = overdue(&stop) => Err(Trouble::Stopped),
            };
            self.note();
            match ended {
                Err(Trouble::Capture(cause)) => {
                    count(&self.counters.failures);
                    tracing::warn!(%cause, "relaying changes failed: trying again for ever");
                }
                Err(Trouble::Closed | Trouble::Stopped) => break,
                Ok(never) => match never {},
            }
            if unless(&stop, sleep(pause)).await.is_err() {
                break;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if !matches!(timeout(LAST_TIDYING, self.outbox.tidy()).await, Ok(Ok(_))) {
            tracing::debug!(
                "where the relay was could not be written down: the last changes may be told again"
            );
        }
    }

    /// Relays as long as all goes well.
    async fn relay(&mut self, pause: &mut Duration) -> Result<Infallible, Trouble> {
        while !self.outbox.take_turn().await? {
            unless(&self.stop, sleep(TURN)).await?;
        }
        let _relaying = Relaying::begin(&self.counters);
        tracing::debug!("this process relays changes");
        self.mend().await?;
        loop {
            let batch = self.outbox.read().await?;
            *pause = FIRST_PAUSE;
            let told = self.tell_in_time(&batch.changes).await?;
            if self.stop.is_cancelled() {
                return Err(Trouble::Stopped);
            }
            let is_behind = told < batch.changes.len();
            if self.is_untidy(is_behind) {
                self.keep_house().await?;
            }
            if !batch.has_more && !is_behind {
                unless(&self.stop, self.outbox.wait()).await?;
            }
        }
    }

    /// Tells changes from the first on, but for so long only that what was told can be written down, and none after a
    /// stop; how many.
    async fn tell_in_time(&mut self, changes: &[Recorded]) -> Result<usize, Trouble> {
        let began = Instant::now();
        while let Some(change) = changes.get(self.at)
            && (self.at == 0 || began.elapsed() < RISK)
            && !self.stop.is_cancelled()
        {
            self.tell(change).await?;
            self.at += 1;
        }
        Ok(self.note())
    }

    /// Notes how much of the batch was told, whatever has ended it.
    fn note(&mut self) -> usize {
        let told = mem::take(&mut self.at);
        if told > 0 {
            self.outbox.advance(told);
            self.told += told;
        }
        told
    }

    fn is_untidy(&self, is_behind: bool) -> bool {
        let age = self.tidied.elapsed();
        // Who keeps up is not held up for the sake of a crash, which would repeat no more than a second.
        let is_risky = is_behind || self.told >= CHANGES_AT_RISK;
        age >= HOUSEKEEPING || self.told >= CHANGES_BETWEEN || (is_risky && age >= RISK)
    }

    async fn keep_house(&mut self) -> Result<(), Trouble> {
        self.tidy().await?;
        (self.tidied, self.told) = (Instant::now(), 0);
        if self.mended.elapsed() >= HOUSEKEEPING {
            self.mend().await?;
            // It may have waited for locks, and what was committed meanwhile goes first.
            self.mended = Instant::now();
            self.tidied = self.mended;
        }
        Ok(())
    }

    /// Writes down where it is, which only who has the turn can do.
    async fn tidy(&mut self) -> Result<(), Trouble> {
        let depth = self.outbox.tidy().await?;
        self.counters.waiting.store(depth.rows, Ordering::Relaxed);
        Ok(())
    }

    /// Puts triggers back that have gone, and lets followers of their tables begin anew.
    async fn mend(&mut self) -> Result<(), Trouble> {
        for table in self.outbox.mend().await? {
            tracing::warn!(table, "the triggers of a bound table had gone and were put back");
            self.resets.push(table);
        }
        // The outbox names each once, so it is told even when the turn ends in between.
        while let Some(table) = self.resets.last().cloned() {
            self.reset(&table).await?;
            self.resets.pop();
        }
        Ok(())
    }
}

/// Waits, unless the relay is to stop.
async fn unless(stop: &CancellationToken, wait: impl Future<Output = ()>) -> Result<(), Trouble> {
    stop.run_until_cancelled(wait).await.ok_or(Trouble::Stopped)
}

/// Waits until a change that was being told when the relay was to stop is no longer waited for.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(LAST_CHANGE).await;
}
