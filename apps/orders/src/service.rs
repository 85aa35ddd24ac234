//! `Orders`: the one door through which this process writes orders, so that everyone hears of each write in order.

use std::sync::Arc;

use accounts::Db;
use chrono::Utc;
use routing::consumers::{ChannelLayer, Message};
use tokio::sync::Mutex;

use crate::Order;
use crate::event::Written;
use crate::store::{self, Snapshot, StoreError, Visible, Write};

/// The orders of a site; cheap to clone.
///
/// All parts of a process share one: commit and publication happen under its lock, so that of two writes the first to
/// be committed is the first to be heard of.
#[derive(Debug, Clone)]
pub struct Orders {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    layer: Arc<dyn ChannelLayer>,
    publishing: Mutex<()>,
}

impl Orders {
    /// Orders in a database that was brought up to date with [`MIGRATIONS`](crate::MIGRATIONS), whose writes are told
    /// over a channel layer.
    #[must_use]
    pub fn new(db: Db, layer: Arc<dyn ChannelLayer>) -> Self {
        Self { inner: Arc::new(Inner { db, layer, publishing: Mutex::default() }) }
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    pub(crate) async fn snapshot(&self, visible: Visible) -> Result<Snapshot, StoreError> {
        store::snapshot(&self.inner.db, visible).await
    }

    /// Commits a write and tells everyone who sees the order; the order as it is then, or was last.
    pub(crate) async fn write(&self, write: Write) -> Result<Order, StoreError> {
        let inner = Arc::clone(&self.inner);
        // A task of its own, because the client may hang up: a committed write must be told all the same.
        let writing = tokio::spawn(async move { inner.write(write).await });
        writing
            .await
            .unwrap_or_else(|failure| Err(StoreError::Database(sqlx::Error::Protocol(failure.to_string()))))
    }
}

impl Inner {
    async fn write(&self, write: Write) -> Result<Order, StoreError> {
        let turn = self.publishing.lock().await;
        let written = store::write(&self.db, write).await?;
        self.publish(&written).await;
        drop(turn);
        written.after.or(written.before).ok_or(StoreError::NotFound)
    }

    /// Tells of a write. It is committed already, so a layer that fails costs the event and not the write; who hears
    /// later events sees by their revision that one is missing.
    async fn publish(&self, written: &Written) {
        for (group, event) in written.events(Utc::now().timestamp_micros()) {
            let sent = match Message::new(&event) {
                Ok(message) => self.layer.group_send(&group, message).await,
                Err(error) => Err(error),
            };
            if let Err(cause) = sent {
                tracing::error!(%cause, %group, id = event.order.id, "a committed write could not be told");
            }
        }
    }
}
