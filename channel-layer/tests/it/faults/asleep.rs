//! A process that does not take its messages for a while: what is lost of them is told when it wakes.

use std::ops::Range;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use channel_layer::{
    Capacities, ChannelLayer, ChannelName, Delivery, GroupName, Limits, Mailbox, Message, Missed,
};
use channel_layer::{Format, RedisConfig, RedisLayer};
use tokio::time::{sleep, timeout};

use super::memberships::score;
use crate::redis_server::RedisServer;

const CAPACITY: u64 = 20;
const EXPIRY: Duration = Duration::from_secs(2);

/// How long nothing more comes at the end.
const SILENCE: Duration = Duration::from_millis(700);

/// A process that has fallen asleep, with a mailbox.
struct Sleeper {
    name: ChannelName,
    wake: mpsc::Sender<()>,
    heard: JoinHandle<Vec<Delivery>>,
}

impl Sleeper {
    /// Its runtime has one thread, which does nothing until it is woken; then it reads what comes. It may have joined the
    /// group itself.
    fn new(layer: RedisConfig, joins: bool) -> Self {
        let (wake, woken) = mpsc::channel();
        let (asleep, is_asleep) = mpsc::channel();
        let heard = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let layer = RedisLayer::new(layer).unwrap();
                let mut mailbox = mailbox(&layer, joins).await;
                // The poller waits at Redis, and will be handed the first message while it sleeps.
                sleep(Duration::from_millis(200)).await;
                asleep.send(mailbox.name().clone()).unwrap();
                woken.recv().unwrap();
                all(&mut mailbox).await
            })
        });
        let name = is_asleep.recv().unwrap();
        Self { name, wake, heard }
    }

    /// What it hears when it wakes.
    fn wake(self) -> Vec<Delivery> {
        self.wake.send(()).unwrap();
        self.heard.join().unwrap()
    }
}

/// A mailbox that has joined the group, or not.
async fn mailbox(layer: &RedisLayer, joins: bool) -> Mailbox {
    let mailbox = layer.new_channel("specific").await.unwrap();
    if joins {
        layer.group_add(&group(), mailbox.name()).await.unwrap();
    }
    mailbox
}

async fn all(mailbox: &mut Mailbox) -> Vec<Delivery> {
    let mut heard = Vec::new();
    while let Ok(delivery) = timeout(SILENCE, mailbox.recv()).await {
        heard.push(delivery);
    }
    heard
}

/// What a process hears that slept while so many messages came, and for so long after them.
async fn heard_after(
    messages: u64,
    sleeping: Duration,
    config: impl Fn(&str) -> RedisConfig,
) -> Vec<Delivery> {
    let server = RedisServer::start();
    let sleeper = Sleeper::new(config(&server.url()), true);
    let sender = RedisLayer::new(config(&server.url())).unwrap();
    send(&sender, 0..messages).await;
    sleep(sleeping).await;
    sleeper.wake()
}

async fn send(sender: &RedisLayer, numbers: Range<u64>) {
    for number in numbers {
        sender.group_send(&group(), message(number)).await.unwrap();
    }
}

fn usual(url: &str) -> RedisConfig {
    config(url, CAPACITY)
}

fn config(url: &str, capacity: u64) -> RedisConfig {
    let capacity = Capacities::new(capacity.try_into().unwrap());
    RedisConfig::new([url]).limits(Limits::default().capacity(capacity).expiry(EXPIRY))
}

fn group() -> GroupName {
    GroupName::new("g").unwrap()
}

fn message(number: u64) -> Message {
    Message::new(&serde_json::json!({"type": "trial.message", "number": number})).unwrap()
}

#[tokio::test]
async fn who_has_slept_while_its_queue_overflowed_is_told() {
    for (capacity, format) in [(20, Format::Msgpack), (3, Format::Msgpack), (3, Format::Json)] {
        let config = |url: &str| config(url, capacity).format(format);
        // One has already been handed over; then the queue is full, and the last one is lost.
        let heard = heard_after(capacity + 2, Duration::ZERO, config).await;
        assert!(heard.contains(&Delivery::Missed(Missed::Unknown)), "{heard:?}");
        assert!(heard.contains(&Delivery::Message(message(0))), "{heard:?}");
        assert!(!heard.contains(&Delivery::Message(message(capacity + 1))), "nothing was lost: {heard:?}");
    }
}

/// A queue that is taken from bit by bit may overflow again before its first word was read.
#[tokio::test]
async fn each_loss_has_its_word_where_it_was_lost() {
    for format in [Format::Msgpack, Format::Json] {
        let server = RedisServer::start();
        let _: u64 = server.command(&["ZADD", "asgi:group:g", &score(0), "specific.asleep!waterway.x"]);
        let sender = RedisLayer::new(config(&server.url(), 3).format(format)).unwrap();
        send(&sender, 0..6).await;
        let _: Vec<Vec<u8>> = server.command(&["ZPOPMIN", "asgispecific.asleep!", "2"]);
        send(&sender, 6..9).await;
        let queue: Vec<Vec<u8>> = server.command(&["ZRANGE", "asgispecific.asleep!", "0", "-1"]);
        let are_words: Vec<bool> = queue.iter().map(|entry| entry.starts_with(b"waterway.lost")).collect();
        assert_eq!(are_words, [false, true, false, true], "{format:?}");
    }
}

/// Whoever drops may have a clock that is behind that of who sent last; and not every member there is the process' own.
#[tokio::test]
async fn a_word_is_the_last_of_its_queue() {
    for format in [Format::Msgpack, Format::Json] {
        let server = RedisServer::start();
        let now: u64 = score(0).parse().unwrap();
        for (age, member) in [(1, "specific.asleep!waterway.x"), (5, "specific.asleep!y")] {
            let _: u64 = server.command(&["ZADD", "asgi:group:g", &score(age), member]);
        }
        for (ahead, entry) in [(1, "one"), (2, "two"), (9, "three")] {
            let score = format!("{}.123456", now + ahead);
            let _: u64 = server.command(&["ZADD", "asgispecific.asleep!", &score, entry]);
        }
        let sender = RedisLayer::new(config(&server.url(), 3).format(format)).unwrap();
        send(&sender, 0..5).await;
        let queue: Vec<String> = server.command(&["ZRANGE", "asgispecific.asleep!", "0", "-1"]);
        assert_eq!((queue.len(), &queue[2][..]), (4, "three"), "{format:?}: {queue:?}");
        assert!(queue[3].starts_with("waterway.lost"), "{format:?}: {queue:?}");
    }
}

/// Others, Python among them, leave no word of what they have dropped.
#[tokio::test]
async fn who_finds_its_queue_full_is_told_that_something_may_be_lost() {
    let heard = heard_after(CAPACITY + 1, Duration::ZERO, usual).await;
    let mut expected: Vec<_> = (0..=CAPACITY).map(|number| Delivery::Message(message(number))).collect();
    // Whether the first one was handed over before the queue was full, nobody can know.
    expected.insert(expected.len() - 1, Delivery::Missed(Missed::Unknown));
    expected.push(Delivery::Missed(Missed::Unknown));
    assert_eq!(heard, expected);
}

/// As a Django view does that knows a consumer's channel name: the member is none of the process' own.
#[tokio::test]
async fn who_was_made_a_member_by_others_is_told_too() {
    let server = RedisServer::start();
    let sleeper = Sleeper::new(usual(&server.url()), false);
    let sender = RedisLayer::new(usual(&server.url())).unwrap();
    sender.group_add(&group(), &sleeper.name).await.unwrap();
    send(&sender, 0..CAPACITY + 2).await;
    let heard = sleeper.wake();
    assert!(heard.contains(&Delivery::Missed(Missed::Unknown)), "{heard:?}");
    assert!(!heard.contains(&Delivery::Message(message(CAPACITY + 1))), "nothing was lost: {heard:?}");
}

#[tokio::test]
async fn who_has_slept_longer_than_messages_last_is_told() {
    // Redis itself drops a queue that nobody has sent to for so long.
    let heard = heard_after(3, EXPIRY + Duration::from_millis(1200), usual).await;
    assert!(heard.contains(&Delivery::Missed(Missed::Unknown)), "{heard:?}");
    assert!(!heard.iter().any(|delivery| matches!(delivery, Delivery::Message(_))), "{heard:?}");
}

#[tokio::test]
async fn who_has_slept_and_lost_nothing_is_told_nothing() {
    let messages = CAPACITY - 2;
    let heard = heard_after(messages, Duration::from_millis(300), usual).await;
    let sent: Vec<_> = (0..messages).map(|number| Delivery::Message(message(number))).collect();
    assert_eq!(heard, sent);
}
