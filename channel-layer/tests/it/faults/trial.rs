//! A trial: a Redis server, two layers on it as of two processes, and a load between them that notes everything that
//! is sent and heard, so that afterwards it can be told whether a fault was weathered as promised.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use channel_layer::{
    Capacities, ChannelLayer, ChannelName, Delivery, GroupName, LayerError, Limits, Mailbox, Message, Missed,
    RedisConfig, RedisLayer, RedisPubSubLayer,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::redis_server::RedisServer;

/// How many mailboxes there are, and how many groups they share.
const MEMBERS: usize = 50;
const GROUPS: usize = 20;

/// How many mailboxes are sent to directly.
const DIRECT: usize = 5;

/// The streams of messages: one to each group, one to each of some mailboxes, one to a normal channel.
const STREAMS: usize = GROUPS + DIRECT + 1;
const NORMAL: usize = STREAMS - 1;

/// How often each stream sends; all together that is a message every 1.5 ms.
const PERIOD: Duration = Duration::from_millis(40);

/// The longest that a send may take, and what a busy machine adds.
pub(crate) const BOUND: Duration = Duration::from_millis(3_000 + 500);

/// How long after Redis is back every receiver hears again.
pub(crate) const BACK: Duration = Duration::from_secs(2);

/// Which of the two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Core,
    PubSub,
}

impl Kind {
    pub(crate) fn layer(self, url: &str) -> Arc<dyn ChannelLayer> {
        self.layer_with(url, Limits::default())
    }

    /// A layer on one server, or on several with commas between, with room for all that piles up during a fault.
    pub(crate) fn layer_with(self, url: &str, limits: Limits) -> Arc<dyn ChannelLayer> {
        self.layer_of(RedisConfig::new(url.split(',')).limits(limits.capacity(Capacities::new(100_000))))
    }

    pub(crate) fn layer_of(self, config: RedisConfig) -> Arc<dyn ChannelLayer> {
        let bad = "the address is good";
        match self {
            Self::Core => Arc::new(RedisLayer::new(config).expect(bad)),
            Self::PubSub => Arc::new(RedisPubSubLayer::new(config).expect(bad)),
        }
    }
}

/// Whether a message may come twice: replicas run behind, and one that takes over may still have what its master had
/// already handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeats {
    Never,
    Possible,
}

/// What is sent: a stream's messages are numbered.
#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(tag = "type", rename = "trial.message")]
struct Numbered {
    stream: usize,
    number: u64,
}

struct Sent {
    at: Instant,
    took: Duration,
    message: Numbered,
    outcome: Result<(), LayerError>,
}

/// What a receiver heard: a number of a stream, or that it missed nobody knows what.
struct Heard {
    at: Instant,
    by: usize,
    what: Option<Numbered>,
}

#[derive(Default)]
struct Log {
    sent: Mutex<Vec<Sent>>,
    heard: Mutex<Vec<Heard>>,
}

pub(crate) struct Trial {
    pub(crate) server: RedisServer,
    layers: [Arc<dyn ChannelLayer>; 2],
    log: Arc<Log>,
    is_running: Arc<AtomicBool>,
    senders: JoinSet<()>,
    receivers: JoinSet<()>,
    /// The tasks that lived before the layers were made.
    tasks: usize,
}

impl Trial {
    /// A trial whose load runs undisturbed already.
    pub(crate) async fn start(kind: Kind) -> Self {
        let server = RedisServer::start();
        let url = server.url();
        Self::start_at(kind, server, &url).await
    }

    /// A trial whose layers reach the server by this address.
    pub(crate) async fn start_at(kind: Kind, server: RedisServer, url: &str) -> Self {
        let tasks = Handle::current().metrics().num_alive_tasks();
        let layers = [kind.layer(url), kind.layer(url)];
        Self::start_between(layers, server, tasks).await
    }

    /// A trial whose layers reach the server in this way.
    pub(crate) async fn start_by(kind: Kind, server: RedisServer, config: &RedisConfig) -> Self {
        let tasks = Handle::current().metrics().num_alive_tasks();
        let config = config.clone().limits(Limits::default().capacity(Capacities::new(100_000)));
        let layers = [kind.layer_of(config.clone()), kind.layer_of(config)];
        Self::start_between(layers, server, tasks).await
    }

    /// A trial between a sending layer and a receiving one.
    pub(crate) async fn start_between(
        layers: [Arc<dyn ChannelLayer>; 2],
        server: RedisServer,
        tasks: usize,
    ) -> Self {
        let mut trial = Self {
            server,
            layers,
            log: Arc::default(),
            is_running: Arc::new(AtomicBool::new(true)),
            senders: JoinSet::new(),
            receivers: JoinSet::new(),
            tasks,
        };
        let names = trial.receive().await;
        trial.load(&names);
        trial.all_hear(Instant::now(), Duration::from_secs(5)).await;
        trial
    }

    /// Opens the mailboxes and listens at them.
    async fn receive(&mut self) -> Vec<ChannelName> {
        let layer = &self.layers[1];
        let mut names = Vec::new();
        for member in 0..MEMBERS {
            let mailbox = layer.new_channel("specific").await.expect("Redis is there");
            layer.group_add(&group(member % GROUPS), mailbox.name()).await.expect("Redis is there");
            names.push(mailbox.name().clone());
            self.receivers.spawn(listen(mailbox, member, Arc::clone(&self.log)));
        }
        self.receivers.spawn(work(Arc::clone(layer), Arc::clone(&self.log)));
        names
    }

    fn load(&mut self, names: &[ChannelName]) {
        for stream in 0..STREAMS {
            let target = match stream {
                ..GROUPS => Target::Group(group(stream)),
                NORMAL => Target::Channel(normal()),
                _ => Target::Channel(names[stream - GROUPS].clone()),
            };
            let (layer, log) = (Arc::clone(&self.layers[0]), Arc::clone(&self.log));
            self.senders.spawn(send(layer, stream, target, log, Arc::clone(&self.is_running)));
        }
    }

    /// Waits until every receiver has heard what was sent to it since then.
    pub(crate) async fn all_hear(&self, since: Instant, bound: Duration) {
        let start = Instant::now();
        loop {
            let deaf = self.log.deaf(since);
            if deaf.is_empty() {
                return;
            }
            assert!(start.elapsed() < bound, "after {bound:?} still nothing is heard of {deaf:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Redis is back: everything works again soon.
    pub(crate) async fn is_back(&self) {
        self.all_hear(Instant::now(), BACK).await;
    }

    /// How many sends have failed so far.
    pub(crate) fn failures(&self) -> usize {
        self.log.sent.lock().iter().filter(|sent| sent.outcome.is_err()).count()
    }

    /// Whether every mailbox was told that it missed something.
    pub(crate) fn all_told(&self) -> bool {
        let heard = self.log.heard.lock();
        let told = heard.iter().filter(|heard| heard.what.is_none()).map(|heard| heard.by);
        told.collect::<HashSet<_>>().len() == MEMBERS
    }

    /// Lets the load run undisturbed for a while, ends it, and judges.
    pub(crate) async fn finish(self) {
        self.finish_with(Repeats::Never).await;
    }

    /// The same, where a replica has taken over.
    pub(crate) async fn finish_after_failover(self) {
        self.finish_with(Repeats::Possible).await;
    }

    async fn finish_with(mut self, repeats: Repeats) {
        // Sends that began during the fault may fail yet.
        let start = Instant::now();
        let calm = start + Duration::from_millis(100);
        sleep(Duration::from_millis(700)).await;
        self.is_running.store(false, Ordering::Relaxed);
        while self.senders.join_next().await.is_some() {}
        let settled = || self.log.lost().iter().all(|(sent, _)| *sent < calm);
        let deadline = Instant::now() + Duration::from_secs(2);
        while !settled() && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(settled(), "messages are lost though nothing is wrong");
        self.log.judge(calm, repeats);
        self.leaves_nothing().await;
    }

    /// Ends the layers, which leave no task behind.
    async fn leaves_nothing(mut self) {
        for layer in &self.layers {
            layer.close().await.expect("Redis is there");
        }
        self.receivers.shutdown().await;
        drop(self.layers);
        let alive = || Handle::current().metrics().num_alive_tasks();
        let deadline = Instant::now() + Duration::from_secs(5);
        while alive() > self.tasks {
            assert!(Instant::now() < deadline, "{} tasks are left of {}", alive(), self.tasks);
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Log {
    /// The receivers that have heard nothing of what was sent to them after a point in time.
    fn deaf(&self, since: Instant) -> Vec<(usize, usize)> {
        let first: BTreeMap<usize, u64> = {
            let sent = self.sent.lock();
            let after = sent.iter().rev().filter(|sent| sent.at >= since && sent.outcome.is_ok());
            after.map(|sent| (sent.message.stream, sent.message.number)).collect()
        };
        let heard: HashSet<_> = {
            let heard = self.heard.lock();
            let recent = heard.iter().rev().take_while(|heard| heard.at >= since);
            let numbers = recent.filter_map(|heard| heard.what.map(|what| (heard.by, what)));
            let is_new = |what: &Numbered| first.get(&what.stream).is_some_and(|&first| what.number >= first);
            numbers.filter(|(_, what)| is_new(what)).map(|(by, what)| (what.stream, by)).collect()
        };
        let all = (0..STREAMS).flat_map(|stream| receivers(stream).map(move |by| (stream, by)));
        all.filter(|pair| !heard.contains(pair)).collect()
    }

    /// The messages that were sent but not heard: when, and by whom.
    fn lost(&self) -> Vec<(Instant, usize)> {
        let heard = self.heard.lock();
        let heard: HashSet<_> =
            heard.iter().filter_map(|h| h.what.map(|what| (what.stream, what.number, h.by))).collect();
        let sent = self.sent.lock();
        let accepted = sent.iter().filter(|sent| sent.outcome.is_ok());
        let expected = accepted
            .flat_map(|sent| receivers(sent.message.stream).map(move |by| (sent.at, sent.message, by)));
        let is_lost =
            |(_, what, by): &(_, Numbered, usize)| !heard.contains(&(what.stream, what.number, *by));
        expected.filter(is_lost).map(|(at, _, by)| (at, by)).collect()
    }

    fn judge(&self, calm: Instant, repeats: Repeats) {
        for Sent { at, took, outcome, .. } in self.sent.lock().iter() {
            assert!(
                matches!(outcome, Ok(()) | Err(LayerError::Unavailable(_))),
                "a send ended with {outcome:?}"
            );
            assert!(*took <= BOUND, "a send took {took:?}: {outcome:?}");
            assert!(*at < calm || outcome.is_ok(), "after the fault a send ended with {outcome:?}");
        }
        self.judge_order(repeats);
        self.judge_losses();
    }

    /// Nothing comes twice, and what was sent without an error comes in order.
    fn judge_order(&self, repeats: Repeats) {
        let accepted: HashSet<_> = {
            let sent = self.sent.lock();
            let accepted = sent.iter().filter(|sent| sent.outcome.is_ok());
            accepted.map(|sent| (sent.message.stream, sent.message.number)).collect()
        };
        let (mut seen, mut last) = (HashSet::new(), BTreeMap::new());
        for Heard { by, what, .. } in self.heard.lock().iter() {
            let Some(Numbered { stream, number }) = *what else { continue };
            if !seen.insert((stream, number, *by)) {
                assert!(
                    repeats == Repeats::Possible,
                    "message {number} of stream {stream} came twice to {by}"
                );
                continue;
            }
            if accepted.contains(&(stream, number)) {
                let before = last.insert((stream, *by), number);
                assert!(before < Some(number), "of stream {stream}, {number} came after {before:?} to {by}");
            }
        }
    }

    /// Whoever lost a message was told so after it was sent, not only before. (A normal channel has nobody to tell.)
    fn judge_losses(&self) {
        let mut told = BTreeMap::new();
        for heard in self.heard.lock().iter().filter(|heard| heard.what.is_none()) {
            told.insert(heard.by, heard.at);
        }
        for (at, by) in self.lost().into_iter().filter(|(_, by)| *by < MEMBERS) {
            let told = told.get(&by);
            assert!(
                told.is_some_and(|told| *told >= at),
                "{by} lost a message and was last told {:?} before",
                told.map(|told| at.duration_since(*told))
            );
        }
    }
}

enum Target {
    Group(GroupName),
    Channel(ChannelName),
}

/// Sends a stream.
async fn send(
    layer: Arc<dyn ChannelLayer>,
    stream: usize,
    target: Target,
    log: Arc<Log>,
    is_running: Arc<AtomicBool>,
) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while is_running.load(Ordering::Relaxed) {
        period.tick().await;
        number += 1;
        let message = Numbered { stream, number };
        let packed = Message::new(&message).expect("numbers are a message");
        let at = Instant::now();
        let outcome = match &target {
            Target::Group(group) => layer.group_send(group, packed).await,
            Target::Channel(channel) => layer.send(channel, packed).await,
        };
        log.sent.lock().push(Sent { at, took: at.elapsed(), message, outcome });
    }
}

/// Notes what a mailbox hears.
async fn listen(mut mailbox: Mailbox, by: usize, log: Arc<Log>) {
    loop {
        let what = match mailbox.recv().await {
            Delivery::Message(message) => Some(*message.decode::<Numbered>().expect("it was numbered")),
            Delivery::Missed(Missed::Unknown) => None,
            missed @ Delivery::Missed(Missed::Count(_)) => panic!("there was room, but {missed:?}"),
        };
        log.heard.lock().push(Heard { at: Instant::now(), by, what });
    }
}

/// Notes what comes to the normal channel; trouble with Redis ends no receive.
async fn work(layer: Arc<dyn ChannelLayer>, log: Arc<Log>) {
    loop {
        match layer.receive(&normal()).await {
            Ok(message) => {
                let what = Some(*message.decode::<Numbered>().expect("it was numbered"));
                log.heard.lock().push(Heard { at: Instant::now(), by: MEMBERS, what });
            }
            Err(LayerError::Closed) => return,
            Err(error) => panic!("a receiver of a normal channel got {error:?}"),
        }
    }
}

/// Who hears a stream.
fn receivers(stream: usize) -> impl Iterator<Item = usize> {
    (0..=MEMBERS).filter(move |&by| match stream {
        ..GROUPS => by < MEMBERS && by % GROUPS == stream,
        NORMAL => by == MEMBERS,
        _ => by == stream - GROUPS,
    })
}

fn group(number: usize) -> GroupName {
    GroupName::new(format!("group.{number}")).expect("it is a good name")
}

fn normal() -> ChannelName {
    ChannelName::new("work").expect("it is a good name")
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, bound: Duration, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(bound, waiting).await.is_ok(), "within {bound:?}, {what} did not come to pass");
}
