//! The relay: reads what was committed and publishes it through the channel layer, for ever and whatever happens to
//! the database or the layer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use channel_layer::{ChannelLayer, GroupName, LayerError, Message};
use chrono::Utc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::CaptureError;
use super::outbox::{Kind, Outbox, Recorded};
use super::stats::{Counters, count};
use crate::binding::{Publication, Publisher};

/// How long a process waits until it asks again whether it may relay: failover takes no longer than two seconds.
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

/// How long the end may take.
const LAST_TIDYING: Duration = Duration::from_secs(2);

pub(super) struct Relay {
    outbox: Box<dyn Outbox>,
    layer: Arc<dyn ChannelLayer>,
    /// By table.
    bindings: HashMap<String, Vec<Arc<dyn Publisher>>>,
    counters: Arc<Counters>,
    /// The revision of the last change, in microseconds since 1970.
    revision: i64,
    /// When the outbox was last tidied, and how many changes were told since.
    tidied: Instant,
    told: usize,
    /// When the triggers were last looked at.
    mended: Instant,
}

/// Why the relay had to stop for a moment.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The layer is closed for good.
    #[error("the channel layer is closed")]
    Closed,
}

impl Relay {
    pub(super) fn new(
        outbox: Box<dyn Outbox>,
        layer: Arc<dyn ChannelLayer>,
        bindings: Vec<Arc<dyn Publisher>>,
        counters: Arc<Counters>,
    ) -> Self {
        let mut by_table = HashMap::<_, Vec<_>>::new();
        for binding in bindings {
            by_table.entry(binding.table().name).or_default().push(binding);
        }
        let bindings = by_table;
        let now = Instant::now();
        Self { outbox, layer, bindings, counters, revision: 0, tidied: now, told: 0, mended: now }
    }

    /// Relays until it is stopped, or the layer is closed.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let stopped = stop.clone();
        let mut pause = FIRST_PAUSE;
        loop {
            match stopped.run_until_cancelled(self.relay(&mut pause)).await {
                Some(Err(Trouble::Capture(cause))) => {
                    count(&self.counters.failures);
                    tracing::warn!(%cause, "relaying changes failed: trying again for ever");
                }
                Some(Err(Trouble::Closed)) | None => break,
                Some(Ok(never)) => match never {},
            }
            self.counters.is_relaying.store(false, Ordering::Relaxed);
            if stopped.run_until_cancelled(sleep(pause)).await.is_none() {
                break;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.counters.is_relaying.store(false, Ordering::Relaxed);
        if !matches!(timeout(LAST_TIDYING, self.outbox.tidy()).await, Ok(Ok(_))) {
            tracing::debug!(
                "where the relay was could not be written down: the last changes may be told again"
            );
        }
    }

    /// Relays as long as all goes well.
    async fn relay(&mut self, pause: &mut Duration) -> Result<std::convert::Infallible, Trouble> {
        while !self.outbox.take_turn().await? {
            sleep(TURN).await;
        }
        self.counters.is_relaying.store(true, Ordering::Relaxed);
        tracing::debug!("this process relays changes");
        self.mend().await?;
        loop {
            let batch = self.outbox.read().await?;
            *pause = FIRST_PAUSE;
            let told = self.tell_in_time(&batch.changes).await?;
            let is_behind = told < batch.changes.len();
            if self.is_untidy(is_behind) {
                self.keep_house().await?;
            }
            if !batch.has_more && !is_behind {
                self.outbox.wait().await;
            }
        }
    }

    /// Tells changes from the first on, but for so long only that what was told can be written down; how many.
    async fn tell_in_time(&mut self, changes: &[Recorded]) -> Result<usize, Trouble> {
        let began = Instant::now();
        let mut told = 0;
        while let Some(change) = changes.get(told)
            && (told == 0 || began.elapsed() < RISK)
        {
            self.tell(change).await?;
            told += 1;
        }
        if told > 0 {
            self.outbox.advance(told);
            self.told += told;
        }
        Ok(told)
    }

    fn is_untidy(&self, is_behind: bool) -> bool {
        let age = self.tidied.elapsed();
        // Who keeps up is not held up for the sake of a crash, which would repeat no more than a second.
        let is_risky = is_behind || self.told >= CHANGES_AT_RISK;
        age >= HOUSEKEEPING || self.told >= CHANGES_BETWEEN || (is_risky && age >= RISK)
    }

    async fn keep_house(&mut self) -> Result<(), Trouble> {
        let depth = self.outbox.tidy().await?;
        self.counters.waiting.store(depth.rows, Ordering::Relaxed);
        (self.tidied, self.told) = (Instant::now(), 0);
        if self.mended.elapsed() >= HOUSEKEEPING {
            self.mended = Instant::now();
            self.mend().await?;
        }
        Ok(())
    }

    /// Puts triggers back that have gone, and lets followers of their tables begin anew.
    async fn mend(&mut self) -> Result<(), Trouble> {
        for table in self.outbox.mend().await? {
            tracing::warn!(table, "the triggers of a bound table had gone and were put back");
            self.reset(&table).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, change: &Recorded) -> Result<(), Trouble> {
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
            match binding.publications(change, self.revision).await {
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
    async fn reset(&mut self, table: &str) -> Result<(), Trouble> {
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

    /// Sends one message, however long the layer is away; the inner error is of a message that no layer takes.
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
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        count(&self.counters.messages);
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use async_trait::async_trait;
    use channel_layer::{Delivery, GroupName, InMemoryLayer};
    use parking_lot::Mutex;

    use super::super::outbox::{Batch, Depth, Table};
    use super::*;
    use crate::capture::Columns;

    /// What an outbox is to do, step by step; then it says no more.
    #[derive(Clone, Default)]
    struct Script(Arc<Mutex<Steps>>);

    #[derive(Default)]
    struct Steps {
        turns: VecDeque<Result<bool, CaptureError>>,
        reads: VecDeque<Result<Vec<Recorded>, CaptureError>>,
        /// What was read last, and not yet published.
        unpublished: Vec<Recorded>,
        /// What passes before a change is told.
        delay: Duration,
        mended: Vec<String>,
        /// What was read, advanced, and written down.
        done: Vec<&'static str>,
    }

    #[async_trait]
    impl Outbox for Script {
        async fn take_turn(&mut self) -> Result<bool, CaptureError> {
            self.0.lock().turns.pop_front().unwrap_or(Ok(true))
        }

        async fn read(&mut self) -> Result<Batch, CaptureError> {
            let mut steps = self.0.lock();
            if steps.unpublished.is_empty() {
                steps.unpublished = steps.reads.pop_front().unwrap_or_else(|| Ok(Vec::new()))?;
            }
            Ok(Batch { changes: steps.unpublished.clone(), has_more: !steps.reads.is_empty() })
        }

        fn advance(&mut self, told: usize) {
            let mut steps = self.0.lock();
            steps.done.push("advance");
            steps.unpublished.drain(..told);
        }

        async fn tidy(&mut self) -> Result<Depth, CaptureError> {
            self.0.lock().done.push("tidy");
            Ok(Depth { rows: 7 })
        }

        async fn mend(&mut self) -> Result<Vec<String>, CaptureError> {
            Ok(std::mem::take(&mut self.0.lock().mended))
        }

        async fn wait(&mut self) {
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Tells the name of a row to the group of the same name; a row called "bad" cannot be told.
    struct Names(Script);

    #[async_trait]
    impl Publisher for Names {
        fn table(&self) -> Table {
            Table { name: "names".to_owned(), key: "id".to_owned() }
        }

        async fn publications(&self, change: &Recorded, _: i64) -> crate::Result<Vec<Publication>> {
            let Kind::Insert(row) = &change.kind else { return Ok(Vec::new()) };
            let delay = self.0.0.lock().delay;
            sleep(delay).await;
            match row.get("name") {
                Some("bad") | None => Err(crate::Error::defect("bad")),
                Some(name) => Ok(vec![(group(), said(name))]),
            }
        }

        fn reset(&self) -> Result<Publication, LayerError> {
            Ok((group(), said("reset")))
        }
    }

    fn group() -> GroupName {
        GroupName::new("names").unwrap()
    }

    fn said(text: &str) -> Message {
        Message::new(&std::collections::BTreeMap::from([("type", text)])).unwrap()
    }

    fn change(kind: Kind, table: &str) -> Recorded {
        Recorded { key: "k".to_owned(), position: 1, table: table.to_owned(), kind }
    }

    fn named(name: &str) -> Recorded {
        let row = Columns::from_iter([("name".to_owned(), Some(name.to_owned()))]);
        change(Kind::Insert(row), "names")
    }

    /// A relay over a script, and what the group hears.
    async fn relay(
        script: &Script,
        layer: &InMemoryLayer,
    ) -> (channel_layer::Mailbox, Arc<Counters>, CancellationToken) {
        let mailbox = layer.new_channel("test").await.unwrap();
        layer.group_add(&group(), mailbox.name()).await.unwrap();
        let (counters, stop) = (Arc::<Counters>::default(), CancellationToken::new());
        let relay = Relay::new(
            Box::new(script.clone()),
            Arc::new(layer.clone()),
            vec![Arc::new(Names(script.clone()))],
            counters.clone(),
        );
        tokio::spawn(relay.run(stop.clone()));
        (mailbox, counters, stop)
    }

    async fn hear(mailbox: &mut channel_layer::Mailbox) -> String {
        match timeout(Duration::from_secs(60), mailbox.recv()).await.unwrap() {
            Delivery::Message(message) => message.kind().to_owned(),
            Delivery::Missed(missed) => panic!("{missed}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_told_lets_followers_begin_anew_and_the_relay_goes_on() {
        let script = Script::default();
        script.0.lock().reads.extend([
            Ok(vec![named("one"), named("bad")]),
            Ok(vec![change(Kind::Reset, "names"), change(Kind::ResetAll, ""), change(Kind::Reset, "other")]),
            Ok(vec![change(Kind::Insert(Columns::default()), "other"), named("two")]),
        ]);
        let (mut mailbox, counters, _stop) = relay(&script, &InMemoryLayer::default()).await;
        for expected in ["one", "reset", "reset", "reset", "two"] {
            assert_eq!(hear(&mut mailbox).await, expected);
        }
        let stats = counters.read();
        assert_eq!((stats.changes, stats.resets, stats.unknown), (7, 3, 1));
        assert!(stats.is_relaying);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_and_waits_for_a_turn_end() {
        let script = Script::default();
        {
            let mut steps = script.0.lock();
            let failure = || CaptureError::Outbox("gone".to_owned());
            steps.turns.extend([Err(failure()), Ok(false), Ok(false), Ok(true), Ok(true)]);
            steps.reads.extend([Ok(vec![named("one")]), Err(failure()), Ok(vec![named("two")])]);
            steps.mended.push("names".to_owned());
        }
        let (mut mailbox, counters, stop) = relay(&script, &InMemoryLayer::default()).await;
        for expected in ["reset", "one", "two"] {
            assert_eq!(hear(&mut mailbox).await, expected);
        }
        assert_eq!(counters.read().failures, 2);
        sleep(Duration::from_millis(3_500)).await;
        assert_eq!(counters.read().waiting, 7);
        script.0.lock().done.clear();
        stop.cancel();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(script.0.lock().done, ["tidy"], "where it was is written down at the end");
        assert!(!counters.read().is_relaying);
    }

    #[tokio::test(start_paused = true)]
    async fn where_a_slow_relay_is_within_a_batch_is_written_down() {
        let script = Script::default();
        script.0.lock().reads.push_back(Ok((0..100).map(|_| named("one")).collect()));
        script.0.lock().delay = Duration::from_millis(10);
        let (mut mailbox, ..) = relay(&script, &InMemoryLayer::default()).await;
        for _ in 0..50 {
            assert_eq!(hear(&mut mailbox).await, "one");
        }
        assert_eq!(script.0.lock().done, ["advance", "tidy", "advance", "tidy"]);
        for _ in 50..100 {
            assert_eq!(hear(&mut mailbox).await, "one");
        }
        sleep(Duration::from_secs(2)).await;
        assert_eq!(mailbox.try_recv(), None, "each is told once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_layer_that_is_closed_ends_the_relay() {
        let layer = InMemoryLayer::default();
        let script = Script::default();
        let (_mailbox, counters, _stop) = relay(&script, &layer).await;
        layer.close().await.unwrap();
        script.0.lock().reads.push_back(Ok(vec![named("one")]));
        sleep(Duration::from_secs(5)).await;
        assert!(!counters.read().is_relaying);
        assert!(!script.0.lock().done.contains(&"advance"), "it was not told");
    }
}
