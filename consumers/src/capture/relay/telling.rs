//! What a change becomes, and how it is sent.

use std::panic::AssertUnwindSafe;

use channel_layer::{GroupName, LayerError, Message};
use chrono::Utc;
use futures_util::FutureExt;
use tokio::time::sleep;

use super::super::outbox::{Kind, Recorded};
use super::super::stats::count;
use super::{FIRST_PAUSE, LONGEST_PAUSE, Relay, Trouble, unless};
use crate::Error;
use crate::binding::{Publication, Publisher};

impl Relay {
    pub(super) async fn tell(&mut self, change: &Recorded) -> Result<(), Trouble> {
        count(&self.counters.changes);
        if change.kind == Kind::ResetAll {
            for table in self.bindings.keys().cloned().collect::<Vec<_>>() {
                self.reset(&table).await?;
            }
            return Ok(());
        }
        if change.kind == Kind::Reset {
            return self.reset(&change.table).await;
        }
        let Some(bindings) = self.bindings.get(&change.table).cloned() else {
            count(&self.counters.unknown);
            tracing::warn!(
                table = change.table,
                "a table has triggers but is not bound here: its change is told nobody"
            );
            return Ok(());
        };
        self.revision = Utc::now().timestamp_micros().max(self.revision + 1);
        for binding in bindings {
            // A row that lets one binding panic must not end the relay for all tables: the next process would die of it.
            let publications = AssertUnwindSafe(binding.publications(change, self.revision)).catch_unwind();
            match publications.await.unwrap_or_else(|_| Err(Error::defect("the binding panicked"))) {
                Ok(publications) => self.send_all(&*binding, publications).await?,
                Err(cause) => {
                    tracing::error!(
                        ?cause,
                        table = change.table,
                        "a change cannot be told: its followers begin anew"
                    );
                    self.reset_one(&*binding).await?;
                }
            }
        }
        Ok(())
    }

    /// Lets all followers of a table begin anew.
    pub(super) async fn reset(&mut self, table: &str) -> Result<(), Trouble> {
        for binding in self.bindings.get(table).cloned().unwrap_or_default() {
            self.reset_one(&*binding).await?;
        }
        Ok(())
    }

    async fn reset_one(&mut self, binding: &dyn Publisher) -> Result<(), Trouble> {
        count(&self.counters.resets);
        let Ok((group, reset)) = binding.reset() else { return Ok(()) };
        self.send(&group, reset).await.map(drop)
    }

    /// Sends what a binding has to say. The layer may be away: what was committed waits for it, in its order.
    async fn send_all(
        &mut self,
        binding: &dyn Publisher,
        publications: Vec<Publication>,
    ) -> Result<(), Trouble> {
        for (group, message) in publications {
            if let Err(cause) = self.send(&group, message).await? {
                tracing::error!(%cause, %group, "a change cannot be told: its followers begin anew");
                self.reset_one(binding).await?;
            }
            // Whoever hears this must not be overrun.
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    /// Sends one message, however long the layer is away, as long as the turn is ours; the inner error is of a message
    /// that no layer takes.
    async fn send(&mut self, group: &GroupName, message: Message) -> Result<Result<(), LayerError>, Trouble> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.layer.group_send(group, message.clone()).await {
                Ok(()) => break,
                Err(LayerError::Closed) => return Err(Trouble::Closed),
                Err(cause) if !cause.is_transient() => return Ok(Err(cause)),
                Err(cause) => {
                    count(&self.counters.failures);
                    tracing::warn!(%cause, %group, "a change could not be told: trying again for ever");
                    unless(&self.stop, sleep(pause)).await?;
                    // Another process may have the turn by now, and have told what came after this.
                    self.tidy().await?;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        count(&self.counters.messages);
        Ok(Ok(()))
    }
}
