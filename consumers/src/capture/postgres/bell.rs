//! Hears of commits: each transaction that changed a bound table notifies once.

use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::postgres::{PgListener, PgPoolOptions};

use super::connection::Server;

/// Where the triggers notify.
pub(super) const CHANNEL: &str = "waterway_outbox";

/// How long it takes at most to begin listening.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A connection that listens. It may miss what is told while it has none, so it is never the only reason to look.
pub(super) struct Bell {
    /// Nothing where nobody notifies.
    server: Option<Server>,
    listener: Option<PgListener>,
}

impl Bell {
    pub(super) fn new(server: &Server) -> Self {
        Self { server: (!server.can_prepare).then(|| server.clone()), listener: None }
    }

    /// Begins to listen. When that fails, [`ring`](Self::ring) tries again.
    pub(super) async fn hang(&mut self) {
        let Some(server) = self.server.as_ref().filter(|_| self.listener.is_none()) else { return };
        let options = server.options();
        // A pool of one, since a listener takes its connection from a pool. The application's has other work to do.
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_WITHIN);
        let pool = pool.max_lifetime(None).idle_timeout(None).connect_lazy_with(options);
        let listen = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            Ok::<_, sqlx::Error>(listener)
        };
        let listener = tokio::time::timeout(CONNECT_WITHIN, listen).await;
        match listener.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => tracing::warn!(%error, "cannot listen for commits; looks for them every second"),
        }
    }

    /// Forgets what rang until now.
    pub(super) fn hush(&mut self) {
        // The listener's buffer has no bound, and is emptied here even when nobody waits for a long time.
        while let Some(listener) = &mut self.listener
            && let Some(rang) = listener.recv().now_or_never()
        {
            self.keep_if(rang.is_ok());
        }
    }

    /// Waits until it rings, or until it may have rung unheard. Without a connection it waits for ever. Safe to
    /// cancel.
    pub(super) async fn ring(&mut self) {
        if self.listener.is_none() {
            self.hang().await;
            if self.listener.is_some() {
                // Something may have been committed before it listened.
                return;
            }
        }
        if let Some(listener) = &mut self.listener {
            // `None` is a connection that was lost and made anew: something may have been missed in between.
            let rang = listener.try_recv().await;
            self.keep_if(rang.is_ok());
            if rang.is_ok() {
                return;
            }
        }
        std::future::pending().await
    }

    /// A listener that failed may fail for ever, so the next one is a new one.
    fn keep_if(&mut self, is_well: bool) {
        if !is_well {
            self.listener = None;
        }
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("listens", &self.listener.is_some()).finish_non_exhaustive()
    }
}
