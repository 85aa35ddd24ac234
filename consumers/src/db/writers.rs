//! Whose turn it is to write. Who waits for other writers with a connection in hand keeps it from those who read, and
//! from a writer who needs a second one to go on.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Lets so many write at once; clones share the number.
#[derive(Debug, Clone)]
pub(crate) struct Writers {
    turns: Arc<Semaphore>,
    patience: Duration,
}

/// The right to write, until it is dropped.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "it is held, not read")] OwnedSemaphorePermit);

impl Writers {
    /// At most so many; who waits longer for a turn than for a connection fails in the same way.
    pub(super) fn new(turns: u32, patience: Duration) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns.max(1) as usize)), patience }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) -> Result<Turn, Error> {
        let turn = timeout(self.patience, Arc::clone(&self.turns).acquire_owned()).await;
        // It is never closed.
        turn.ok().and_then(Result::ok).map(Turn).ok_or(Error::PoolTimedOut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_waited_for_but_not_for_ever() {
        let writers = Writers::new(1, Duration::from_secs(5));
        let turn = writers.turn().await.unwrap();
        assert!(matches!(writers.turn().await, Err(Error::PoolTimedOut)));
        let (next, ()) = tokio::join!(writers.turn(), async { drop(turn) });
        assert!(next.is_ok());
    }
}
