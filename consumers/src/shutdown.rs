//! The orderly end of many connections.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Ends connections in order: each closes with 1012, runs its `disconnect` and leaves its groups. Handlers that run
/// at that moment are waited for, up to a deadline.
///
/// A server holds one and hands clones to its connections; who runs our routers under another server holds one too.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(Arc<Parts>);

/// In one allocation: the clone of a token takes the token's lock, and each connection has several clones of us.
#[derive(Debug, Default)]
struct Parts {
    draining: Arc<Signal>,
    cut: Arc<Signal>,
    connections: TaskTracker,
}

/// To ask a token whether it is cancelled takes its lock, and each connection asks whenever it is woken.
#[derive(Debug, Default)]
struct Signal {
    is_given: AtomicBool,
    token: CancellationToken,
}

impl Signal {
    fn give(&self) {
        self.is_given.store(true, Ordering::Release);
        self.token.cancel();
    }

    fn is_given(&self) -> bool {
        self.is_given.load(Ordering::Acquire)
    }
}

impl Shutdown {
    /// A handle that nobody has used yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every connection to end, and waits until all have. Handlers and requests that still run after `deadline` are
    /// dropped where they stand (the one case in which that happens), and `disconnect` has half a second more.
    pub async fn drain(&self, deadline: Duration) {
        let Parts { draining, cut, connections } = &*self.0;
        draining.give();
        connections.close();
        if tokio::time::timeout(deadline, connections.wait()).await.is_err() {
            tracing::warn!(left = connections.len(), "handlers over the deadline are dropped");
            cut.give();
            let last = tokio::time::timeout(Duration::from_secs(1), connections.wait()).await;
            if last.is_err() {
                tracing::error!(left = connections.len(), "connections did not end in time");
            }
        }
    }

    /// Whether the end has begun; new connections are then refused.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_given()
    }

    /// Waits until the end begins.
    pub async fn draining(&self) {
        self.0.draining.token.cancelled().await;
    }

    /// Waits until the deadline of the end has passed: what still runs is to be dropped.
    pub async fn overdue(&self) {
        self.0.cut.token.cancelled().await;
    }

    /// Runs a connection as a task of its own, which [`drain`](Self::drain) waits for.
    pub fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        self.0.connections.spawn(connection);
    }

    /// The same, but its first turn is taken in the calling task: most connections are answered in it, and then neither task
    /// has to wake the other for that. A panic ends the connection alone.
    pub async fn begin(&self, connection: impl Future<Output = ()> + Send + 'static) {
        // It counts before its first turn, in which it may ask whether the end has begun.
        let mut connection = Box::pin(self.0.connections.track_future(connection));
        let begun = poll_fn(|cx| {
            Poll::Ready(catch_unwind(AssertUnwindSafe(|| connection.as_mut().poll(cx).is_pending())))
        });
        if begun.await.unwrap_or_default() {
            tokio::spawn(connection);
        }
    }

    /// What a demultiplexer's streams get. They do not drain by themselves, for the demultiplexer tells them the
    /// end; but at the deadline their handlers are dropped too.
    pub(crate) fn of_streams(&self) -> Self {
        let cut = Arc::clone(&self.0.cut);
        Self(Arc::new(Parts { draining: Arc::clone(&cut), cut, connections: TaskTracker::new() }))
    }

    /// Whether the deadline of the end has passed.
    pub(crate) fn is_overdue(&self) -> bool {
        self.0.cut.is_given()
    }

    pub(crate) fn draining_token(&self) -> &CancellationToken {
        &self.0.draining.token
    }

    pub(crate) fn cut_token(&self) -> &CancellationToken {
        &self.0.cut.token
    }
}
