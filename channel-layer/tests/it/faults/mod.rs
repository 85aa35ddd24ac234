//! What happens to the Redis layers when Redis is hurt: every fault on a real server, with load running.

mod asleep;
mod memberships;
mod proxy;
pub(crate) mod trial;

use std::time::Duration;

use channel_layer::{ChannelLayer, Delivery, GroupName, LayerError, Message, Missed};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use self::proxy::Proxy;
use self::trial::{BACK, BOUND, Kind, Trial, until};
use crate::redis_server::RedisServer;

/// How long it takes to notice that a connection is silent, while Redis may just be slow.
const NOTICED: Duration = Duration::from_secs(9);

/// Makes a test of each fault for each layer.
macro_rules! on_both_layers {
    ($($fault:ident),+ $(,)?) => {
        mod core {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fault() { super::$fault(crate::faults::trial::Kind::Core).await; })+
        }
        mod pub_sub {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fault() { super::$fault(crate::faults::trial::Kind::PubSub).await; })+
        }
    };
}
pub(crate) use on_both_layers;

on_both_layers!(
    a_restart,
    a_kill,
    a_pause,
    killed_connections,
    killed_subscriptions,
    silent_connections,
    a_loss_on_a_dead_connection,
    an_outage_of_twenty_seconds,
    a_full_redis,
    a_password_that_changes,
    a_wrong_password_at_the_start,
    no_redis_at_the_start,
);

async fn a_restart(kind: Kind) {
    let mut trial = Trial::start(kind).await;
    trial.server.shut_down();
    trial.server.start_again();
    trial.is_back().await;
    until("every mailbox is told", BACK, async || trial.all_told()).await;
    trial.finish().await;
}

async fn a_kill(kind: Kind) {
    let mut trial = Trial::start(kind).await;
    trial.server.kill();
    sleep(Duration::from_millis(700)).await;
    assert!(trial.failures() > 0, "nobody was told that Redis is away");
    trial.server.start_again();
    trial.is_back().await;
    until("every mailbox is told", BACK, async || trial.all_told()).await;
    trial.finish().await;
}

async fn a_pause(kind: Kind) {
    let trial = Trial::start(kind).await;
    trial.server.pause();
    sleep(Duration::from_secs(5)).await;
    assert!(trial.failures() > 0, "nobody was told that Redis is away");
    trial.server.resume();
    trial.is_back().await;
    trial.finish().await;
}

async fn killed_connections(kind: Kind) {
    let trial = Trial::start(kind).await;
    for _ in 0..3 {
        let killed: u64 = trial.server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert!(killed > 0, "there were no connections");
        trial.is_back().await;
    }
    // A subscription is a connection of another type.
    let told = || kind == Kind::PubSub || trial.all_told();
    until("every mailbox is told", BACK, async || told()).await;
    trial.finish().await;
}

async fn killed_subscriptions(kind: Kind) {
    let trial = Trial::start(kind).await;
    for _ in 0..3 {
        let killed: u64 = trial.server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(killed > 0, kind == Kind::PubSub, "{killed} subscriptions were killed");
        trial.is_back().await;
    }
    until("every mailbox is told", BACK, async || trial.all_told() == (kind == Kind::PubSub)).await;
    trial.finish().await;
}

/// Connections that nobody has closed, but that are dead: only the silence tells.
async fn silent_connections(kind: Kind) {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.url().replace("redis://", ""));
    let trial = Trial::start_at(kind, server, &proxy.url()).await;
    proxy.cut();
    trial.all_hear(Instant::now(), NOTICED).await;
    until("every mailbox is told", NOTICED, async || trial.all_told()).await;
    trial.finish().await;
}

/// What had left the queue when its connection died was heard by nobody; what comes next comes behind the word of that.
async fn a_loss_on_a_dead_connection(kind: Kind) {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.url().replace("redis://", ""));
    let (receiver, sender) = (kind.layer(&proxy.url()), kind.layer(&server.url()));
    let mut mailbox = receiver.new_channel("specific").await.unwrap();
    receiver.group_add(&other_group(), mailbox.name()).await.unwrap();
    sends(sender.as_ref()).await.unwrap();
    assert!(matches!(mailbox.recv().await, Delivery::Message(_)));
    proxy.cut();
    let sending = tokio::spawn(async move {
        while sends(sender.as_ref()).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let mut next = async || timeout(NOTICED, mailbox.recv()).await.expect("nothing comes any more");
    assert_eq!(next().await, Delivery::Missed(Missed::Unknown));
    assert!(matches!(next().await, Delivery::Message(_)));
    sending.abort();
}

async fn an_outage_of_twenty_seconds(kind: Kind) {
    let mut trial = Trial::start(kind).await;
    trial.server.kill();
    sleep(Duration::from_secs(20)).await;
    trial.server.start_again();
    trial.is_back().await;
    until("every mailbox is told", BACK, async || trial.all_told()).await;
    trial.finish().await;
}

/// Only what is stored can be refused for want of memory: pub/sub goes on.
async fn a_full_redis(kind: Kind) {
    let trial = Trial::start(kind).await;
    let _: () = trial.server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let _: () = trial.server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(trial.failures() > 0, kind == Kind::Core, "{} sends failed", trial.failures());
    let _: () = trial.server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    trial.is_back().await;
    trial.finish().await;
}

async fn a_password_that_changes(kind: Kind) {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let url = server.url().replace("://", "://:right@");
    let trial = Trial::start_at(kind, server, &url).await;
    set_password(&trial.server, "wrong");
    for connections in ["normal", "pubsub"] {
        let _: u64 = trial.server.command(&["CLIENT", "KILL", "TYPE", connections]);
    }
    sleep(Duration::from_millis(1500)).await;
    assert!(trial.failures() > 0, "nobody was told that Redis is closed to us");
    set_password(&trial.server, "right");
    trial.is_back().await;
    until("every mailbox is told", BACK, async || trial.all_told()).await;
    trial.finish().await;
}

async fn a_wrong_password_at_the_start(kind: Kind) {
    let server = RedisServer::start_with(&["--requirepass", "wrong"]);
    let url = server.url().replace("://", "://:right@");
    starts_without(kind, server, &url, |server| set_password(server, "right")).await;
}

async fn no_redis_at_the_start(kind: Kind) {
    let server = RedisServer::absent(&[]);
    let url = server.url();
    starts_without(kind, server, &url, RedisServer::start_again).await;
}

/// Starts while Redis cannot be used: whoever wants something is told so soon, and after it was mended all is well.
async fn starts_without(kind: Kind, mut server: RedisServer, url: &str, mend: impl FnOnce(&mut RedisServer)) {
    let tasks = Handle::current().metrics().num_alive_tasks();
    let layers = [kind.layer(url), kind.layer(url)];
    for _ in 0..2 {
        for layer in &layers {
            is_told_soon(layer.as_ref()).await;
        }
    }
    mend(&mut server);
    let started = Instant::now();
    for layer in &layers {
        until("a mailbox in a group", BACK, async || joins(layer.as_ref()).await.is_ok()).await;
        until("a send", BACK, async || sends(layer.as_ref()).await.is_ok()).await;
    }
    assert!(started.elapsed() < BACK, "it took {:?}", started.elapsed());
    Trial::start_between(layers, server, tasks).await.finish().await;
}

async fn is_told_soon(layer: &dyn ChannelLayer) {
    let start = Instant::now();
    let sent = sends(layer).await;
    assert!(matches!(sent, Err(LayerError::Unavailable(_))), "a send ended with {sent:?}");
    assert!(start.elapsed() < BOUND, "a send took {:?}", start.elapsed());
    let start = Instant::now();
    let joined = joins(layer).await;
    assert!(matches!(joined, Err(LayerError::Unavailable(_))), "a join ended with {joined:?}");
    assert!(start.elapsed() < BOUND, "a join took {:?}", start.elapsed());
}

async fn sends(layer: &dyn ChannelLayer) -> Result<(), LayerError> {
    let message = Message::new(&std::collections::BTreeMap::from([("type", "trial.other")]))?;
    layer.group_send(&other_group(), message).await
}

async fn joins(layer: &dyn ChannelLayer) -> Result<(), LayerError> {
    let mailbox = layer.new_channel("specific").await?;
    layer.group_add(&other_group(), mailbox.name()).await
}

fn other_group() -> GroupName {
    GroupName::new("other").expect("it is a good name")
}

fn set_password(server: &RedisServer, password: &str) {
    let _: () = server.command(&["CONFIG", "SET", "requirepass", password]);
}
