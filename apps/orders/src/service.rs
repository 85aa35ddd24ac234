//! `Orders`: the table of a site and everyone who watches it.

use std::sync::Arc;

use accounts::{Db, Transaction};
use routing::consumers::binding::{Binding, Bound, Following};
use routing::consumers::capture::{Capture, CaptureError, CaptureStats, Capturing};
use routing::consumers::{ChannelLayer, Context, Result};

use crate::Order;
use crate::binding::OrdersBinding;
use crate::money::Total;
use crate::store::{self, StoreError, Visible, Write};

/// The orders of a site; cheap to clone.
///
/// Whoever writes the table, this process, another one or a shell, each committed write is told to those who see the
/// order.
#[derive(Debug, Clone)]
pub struct Orders {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    bound: Bound<OrdersBinding>,
    capturing: Capturing,
}

impl Orders {
    /// Orders in a database that was brought up to date with [`MIGRATIONS`](crate::MIGRATIONS), whose writes are told
    /// over a channel layer from now on.
    ///
    /// # Errors
    /// When the table cannot be bound.
    pub async fn open(db: Db, layer: Arc<dyn ChannelLayer>) -> Result<Self, CaptureError> {
        let mut capture = Capture::new(db.clone(), layer);
        let bound = capture.bind(OrdersBinding::new(db.clone()));
        let capturing = capture.start().await?;
        Ok(Self { inner: Arc::new(Inner { db, bound, capturing }) })
    }

    /// What was captured so far.
    #[must_use]
    pub fn capture_stats(&self) -> CaptureStats {
        self.inner.capturing.stats()
    }

    /// Ends the telling of writes, and remembers where it was.
    pub async fn close(&self) {
        self.inner.capturing.stop().await;
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    /// Passes the writes that a client may see on to it, from the moment of the transaction on that comes with it.
    pub(crate) async fn follow(&self, ctx: &mut Context) -> Result<(Following, Transaction)> {
        let bound = &self.inner.bound;
        let groups = bound.binding().subscriptions(ctx.scope())?;
        bound.follow(ctx, groups).await
    }

    /// The sum over what somebody sees.
    pub(crate) async fn sum(&self, visible: Visible) -> Result<Total, StoreError> {
        let mut transaction = self.inner.db.begin_read().await?;
        store::sum(&mut transaction, visible).await
    }

    /// Commits a write; the order as it is then, or was last.
    pub(crate) async fn write(&self, write: Write) -> Result<Order, StoreError> {
        store::write(&self.inner.db, write).await
    }
}
