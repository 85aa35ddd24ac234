//! A relay over an outbox that follows a script.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use channel_layer::{ChannelName, Delivery, GroupName, InMemoryLayer, LayerError, Losses, Mailbox, Message};
use parking_lot::Mutex;

use super::*;
use crate::binding::Publication;
use crate::capture::Columns;
use crate::capture::outbox::{Batch, Depth, Kind, Table};

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
    /// Another process has the turn, and has told what this one has not.
    is_lost: bool,
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
        let mut steps = self.0.lock();
        if mem::take(&mut steps.is_lost) {
            steps.unpublished.clear();
            return Err(CaptureError::TurnLost);
        }
        steps.done.push("tidy");
        Ok(Depth { rows: 7 })
    }

    async fn mend(&mut self) -> Result<Vec<String>, CaptureError> {
        Ok(mem::take(&mut self.0.lock().mended))
    }

    async fn wait(&mut self) {
        sleep(Duration::from_secs(1)).await;
    }
}

/// Tells the name of a row to the group of the same name; a row called "bad" cannot be told, and "worse" panics.
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
            Some("worse") => panic!("a binding panics"),
            Some(name) => Ok(vec![(group(), said(name))]),
        }
    }

    fn reset(&self) -> Result<Publication, LayerError> {
        Ok((group(), said("reset")))
    }
}

/// A layer that may be away.
#[derive(Debug, Clone, Default)]
struct Unreliable {
    layer: InMemoryLayer,
    is_away: Arc<AtomicBool>,
}

impl Unreliable {
    fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }
}

#[async_trait]
impl ChannelLayer for Unreliable {
    async fn new_channel(&self, prefix: &str) -> Result<Mailbox, LayerError> {
        self.layer.new_channel(prefix).await
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<(), LayerError> {
        self.layer.send(channel, message).await
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message, LayerError> {
        self.layer.receive(channel).await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        self.layer.group_add(group, channel).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        self.layer.group_discard(group, channel).await
    }

    async fn group_send(&self, group: &GroupName, message: Message) -> Result<(), LayerError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(LayerError::Unavailable("a test".to_owned()));
        }
        self.layer.group_send(group, message).await
    }

    async fn flush(&self) -> Result<(), LayerError> {
        self.layer.flush().await
    }

    async fn close(&self) -> Result<(), LayerError> {
        self.layer.close().await
    }

    fn group_expiry(&self) -> Duration {
        self.layer.group_expiry()
    }

    fn losses(&self) -> Losses {
        self.layer.losses()
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
    layer: &(impl ChannelLayer + Clone),
) -> (Mailbox, Arc<Counters>, CancellationToken) {
    let mailbox = layer.new_channel("test").await.unwrap();
    layer.group_add(&group(), mailbox.name()).await.unwrap();
    let (counters, stop) = (Arc::<Counters>::default(), CancellationToken::new());
    let relay = Relay::new(
        Box::new(script.clone()),
        Arc::new(layer.clone()),
        vec![Arc::new(Names(script.clone()))],
        counters.clone(),
        stop.clone(),
    );
    tokio::spawn(relay.run());
    (mailbox, counters, stop)
}

async fn hear(mailbox: &mut Mailbox) -> String {
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

#[tokio::test(start_paused = true)]
async fn a_binding_that_panics_ends_no_relay() {
    let script = Script::default();
    script.0.lock().reads.push_back(Ok(vec![named("one"), named("worse"), named("two")]));
    let (mut mailbox, counters, _stop) = relay(&script, &InMemoryLayer::default()).await;
    for expected in ["one", "reset", "two"] {
        assert_eq!(hear(&mut mailbox).await, expected);
    }
    assert!(counters.read().is_relaying);
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_turn_while_the_layer_was_away_tells_nothing_more() {
    let (script, layer) = (Script::default(), Unreliable::default());
    {
        let mut steps = script.0.lock();
        steps.turns.extend([Ok(true), Ok(false), Ok(true)]);
        steps.reads.extend([Ok(vec![named("old"), named("older")]), Ok(vec![named("new")])]);
    }
    layer.set_away(true);
    let (mut mailbox, counters, _stop) = relay(&script, &layer).await;
    sleep(Duration::from_secs(5)).await;
    assert!(counters.read().is_relaying, "it tries for as long as it has the turn");
    script.0.lock().is_lost = true;
    sleep(Duration::from_secs(1)).await;
    layer.set_away(false);
    assert_eq!(hear(&mut mailbox).await, "new");
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_could_not_be_told_in_one_turn_is_told_in_the_next() {
    let (script, layer) = (Script::default(), Unreliable::default());
    script.0.lock().mended.push("names".to_owned());
    layer.set_away(true);
    let (mut mailbox, ..) = relay(&script, &layer).await;
    sleep(Duration::from_secs(5)).await;
    script.0.lock().is_lost = true;
    layer.set_away(false);
    script.0.lock().reads.push_back(Ok(vec![named("one")]));
    for expected in ["reset", "one"] {
        assert_eq!(hear(&mut mailbox).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_of_a_batch_notes_what_was_told() {
    let script = Script::default();
    script.0.lock().reads.push_back(Ok((0..100).map(|_| named("one")).collect()));
    script.0.lock().delay = Duration::from_millis(10);
    let (mut mailbox, _counters, stop) = relay(&script, &InMemoryLayer::default()).await;
    for _ in 0..5 {
        assert_eq!(hear(&mut mailbox).await, "one");
    }
    stop.cancel();
    sleep(Duration::from_secs(5)).await;
    assert!(mailbox.try_recv().is_some(), "what had begun is told");
    assert_eq!(mailbox.try_recv(), None);
    assert_eq!(script.0.lock().done, ["advance", "tidy"]);
    assert_eq!(script.0.lock().unpublished.len(), 94);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_neither_for_a_layer_that_is_away_nor_long_for_a_binding() {
    for (is_away, delay, within) in [(true, 10, 10), (false, 3_600_000, 2_010)] {
        let (script, layer) = (Script::default(), Unreliable::default());
        script.0.lock().reads.push_back(Ok((0..3).map(|_| named("one")).collect()));
        script.0.lock().delay = Duration::from_millis(10);
        let (mut mailbox, _counters, stop) = relay(&script, &layer).await;
        hear(&mut mailbox).await;
        script.0.lock().delay = Duration::from_millis(delay);
        hear(&mut mailbox).await;
        layer.set_away(is_away);
        sleep(Duration::from_secs(5)).await;
        stop.cancel();
        sleep(Duration::from_millis(within)).await;
        assert!(script.0.lock().done.ends_with(&["advance", "tidy"]), "{:?}", script.0.lock().done);
        assert_eq!(script.0.lock().unpublished.len(), 1);
    }
}
