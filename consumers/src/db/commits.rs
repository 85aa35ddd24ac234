//! Word of commits within the process: who waits for changes of a file need not ask again and again.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells, after each commit through a [`Db`](super::Db) of SQLite and its clones, everyone who listens.
#[derive(Debug, Clone, Default)]
pub struct Commits(Arc<watch::Sender<()>>);

impl Commits {
    /// Something was committed.
    pub(crate) fn tell(&self) {
        self.0.send_replace(());
    }

    /// Hears of every commit from now on; several at once may be heard of as one.
    #[must_use]
    pub fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
