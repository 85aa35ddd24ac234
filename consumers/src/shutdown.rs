//! The orderly end of many connections.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Ends connections in order: each closes with 1012, runs its `disconnect` and leaves its groups. Handlers that run
/// at that moment are waited for, up to a deadline.
///
/// A server holds one and hands clones to its connections; who runs our routers under another server holds one too.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
}

impl Shutdown {
    /// A handle that nobody has used yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every connection to end, and waits until all have. Handlers that still run after `deadline` are
    /// dropped where they stand (the one case in which that happens), and `disconnect` has one second more.
    pub async fn drain(&self, deadline: Duration) {
        self.draining.cancel();
        self.connections.close();
        if tokio::time::timeout(deadline, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.connections.len(), "handlers over the deadline are dropped");
            self.cut.cancel();
            let last = tokio::time::timeout(Duration::from_secs(1), self.connections.wait()).await;
            if last.is_err() {
                tracing::error!(left = self.connections.len(), "connections did not end in time");
            }
        }
    }

    /// Whether the end has begun; new connections are then refused.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until the end begins.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Runs a connection as a task of its own, which [`drain`](Self::drain) waits for.
    pub fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        self.connections.spawn(connection);
    }

    /// What a demultiplexer's streams get. They do not drain by themselves, for the demultiplexer tells them the
    /// end; but at the deadline their handlers are dropped too.
    pub(crate) fn of_streams(&self) -> Self {
        Self { draining: self.cut.clone(), cut: self.cut.clone(), connections: TaskTracker::new() }
    }

    pub(crate) fn draining_token(&self) -> CancellationToken {
        self.draining.clone()
    }

    pub(crate) fn cut_token(&self) -> CancellationToken {
        self.cut.clone()
    }
}
