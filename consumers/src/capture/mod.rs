//! Change capture: every committed change of a bound table, by whatever writer, told once to those who may see it.
//!
//! Triggers on a bound table write the old and the new row of each change into an outbox, inside the writer's own
//! transaction. So every writer is seen (this program, another one, a shell), what is rolled back is never told, and
//! what is committed is told even when the program dies before it could. A relay reads the outbox after each commit
//! and publishes the changes through the channel layer, in order for each row.
//!
//! | the layer | who relays |
//! |---|---|
//! | ends with the process ([`InMemoryLayer`](crate::InMemoryLayer)) | each process for itself, from its start on |
//! | connects processes (Redis) | one of them at a time; when it dies, another one goes on where it was within two seconds, or some more when its machine is gone |
//!
//! At least once: after a crash the last changes may be told again, with the same keys. Changes that no relay takes
//! away, because none runs, are kept up to a million; then the oldest are dropped, and followers begin anew.
//!
//! # Who is woken, and when
//!
//! On PostgreSQL a notification comes with each commit. On SQLite commits through a [`Db`] and its
//! clones are known at once, and those of other programs within 10 ms, for the file is asked that often.
//!
//! # What writers have to know
//!
//! A table needs a primary key of one column. On SQLite a table that is rebuilt, as Django's migrations do, loses its
//! triggers; they are put back within about a second, and followers begin anew. So do they, on SQLite, when a row with
//! a value of more than 1 MiB is written. What each database cannot do is refused when the table is bound, by a
//! [`CaptureError`] that says why.

mod columns;
mod error;
mod outbox;
mod postgres;
mod relay;
mod seen;
mod sqlite;
mod stats;

use std::sync::Arc;

use channel_layer::ChannelLayer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::binding::{Binding, Bound, Publisher};
use crate::db::Db;

pub use columns::{ColumnError, Columns, time};
pub use error::CaptureError;
pub(crate) use outbox::{Kind, Recorded, Table, columns_of, row_as_json, seen};
pub use seen::{Seen, Transactions, UnknownSnapshot};
pub use stats::CaptureStats;

use outbox::Cursor;
use relay::Relay;
use stats::Counters;

/// The tables of one database whose changes are told over one channel layer. All processes that share the layer bind
/// the same tables, since any of them may be the one that relays.
pub struct Capture {
    db: Db,
    layer: Arc<dyn ChannelLayer>,
    bindings: Vec<Arc<dyn Publisher>>,
}

impl Capture {
    /// Nothing is bound yet.
    #[must_use]
    pub fn new(db: Db, layer: Arc<dyn ChannelLayer>) -> Self {
        Self { db, layer, bindings: Vec::new() }
    }

    /// Binds a table.
    pub fn bind<B: Binding>(&mut self, binding: B) -> Bound<B> {
        let bound = Bound::new(binding, self.db.clone(), Arc::clone(&self.layer));
        self.bindings.push(Arc::new(bound.clone()));
        bound
    }

    /// Installs the triggers of the bound tables, and starts to relay.
    ///
    /// # Errors
    /// [`CaptureError::Unsupported`] for a table that cannot be bound, and what the database says.
    pub async fn start(self) -> Result<Capturing, CaptureError> {
        let tables = self.bindings.iter().map(|binding| binding.table()).collect();
        let cursor = self.layer.shared_as().map_or(Cursor::Own, Cursor::Shared);
        let outbox = outbox::open(&self.db, tables, cursor).await?;
        let (counters, stop) = (Arc::<Counters>::default(), CancellationToken::new());
        let relay = Relay::new(outbox, self.layer, self.bindings, Arc::clone(&counters), stop.clone());
        let task = tokio::sync::Mutex::new(Some(tokio::spawn(relay.run())));
        Ok(Capturing { task, stop, counters })
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").field("bindings", &self.bindings.len()).finish_non_exhaustive()
    }
}

/// A capture at work. It ends when this is dropped; [`stop`](Self::stop) lets it write down where it was.
#[derive(Debug)]
#[must_use = "dropping it ends the capture"]
pub struct Capturing {
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    stop: CancellationToken,
    counters: Arc<Counters>,
}

impl Capturing {
    /// What was told so far, and how full the outbox is.
    #[must_use]
    pub fn stats(&self) -> CaptureStats {
        self.counters.read()
    }

    /// Ends the capture and writes down where it was, so that nothing has to be told again. Called again, it does
    /// nothing.
    pub async fn stop(&self) {
        self.stop.cancel();
        if let Some(task) = self.task.lock().await.take() {
            // A relay that panicked has ended as well.
            let _ = task.await;
        }
    }
}

impl Drop for Capturing {
    /// The relay notes by itself where it was, if its runtime still lives.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
