//! What Redis knows of who is in a group: renewed while a process lives, taken back when it ends, and forgotten soon
//! when it has died.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use channel_layer::{
    ChannelLayer, Delivery, Format, GroupName, LayerError, Limits, Mailbox, Message, RedisConfig,
};
use channel_layer::{Missed, RedisLayer};
use tokio::time::{Instant, sleep, timeout};

use super::trial::{BACK, BOUND, Kind, until};
use crate::redis_server::RedisServer;

super::on_both_layers!(
    what_is_renewed_outlives_group_expiry,
    a_renewal_that_fails_ends_no_membership,
    a_close_takes_a_thousand_memberships_back,
    a_close_without_redis_does_not_hang,
    a_host_that_is_away_keeps_nobody_out_of_groups_on_others,
);

/// How long a membership lasts here; a process renews its own three times as often.
const GROUP_EXPIRY: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_dead_process_is_forgotten_within_a_minute_but_python_is_not() {
    let server = RedisServer::start();
    let config = RedisConfig::new([server.url()]);
    for (config, way) in [(config.clone(), "in one script"), (config.format(Format::Json), "in two")] {
        let _: () = server.command(&["FLUSHALL"]);
        let layer = RedisLayer::new(config).unwrap();
        for (age, member) in [
            (55, "specific.dead!waterway.x"),
            (55, "specific.python!y"),
            (20, "specific.alive!waterway.z"),
            (90_000, "specific.gone!q"),
        ] {
            let _: u64 = server.command(&["ZADD", "asgi:group:g", &score(age), member]);
        }
        layer.group_send(&group("g"), message(1)).await.unwrap();
        let mut members: Vec<String> = server.command(&["ZRANGE", "asgi:group:g", "0", "-1"]);
        members.sort();
        assert_eq!(members, ["specific.alive!waterway.z", "specific.python!y"], "{way}");
        let mut queues: Vec<String> = server.command(&["KEYS", "asgispecific.*"]);
        queues.sort();
        assert_eq!(queues, ["asgispecific.alive!", "asgispecific.python!"], "{way}");
    }
}

async fn what_is_renewed_outlives_group_expiry(kind: Kind) {
    let server = RedisServer::start();
    let [sender, receiver] = layers(kind, &server);
    let mut mailbox = member(receiver.as_ref()).await;
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < GROUP_EXPIRY + GROUP_EXPIRY / 2 {
        receiver.group_add(&group("g"), mailbox.name()).await.unwrap();
        sender.group_send(&group("g"), message(number)).await.unwrap();
        assert_eq!(next(&mut mailbox).await, Delivery::Message(message(number)));
        number += 1;
        sleep(Duration::from_millis(300)).await;
    }
    if kind == Kind::Core {
        let own: Vec<(String, f64)> = server.command(&["ZRANGE", "asgi:group:g", "0", "-1", "WITHSCORES"]);
        assert_eq!(own.len(), 1, "a process is one member: {own:?}");
        assert!(own[0].1 > score(2).parse().unwrap(), "the process itself renews more often: {own:?}");
    }
}

async fn a_renewal_that_fails_ends_no_membership(kind: Kind) {
    let mut server = RedisServer::start();
    let [sender, receiver] = layers(kind, &server);
    let mut mailbox = member(receiver.as_ref()).await;
    server.kill();
    let outage = Instant::now();
    let mut failures = 0;
    while outage.elapsed() < GROUP_EXPIRY {
        let renewed = timeout(BOUND, receiver.group_add(&group("g"), mailbox.name())).await;
        match renewed.expect("a renewal takes too long") {
            Ok(()) => {}
            Err(LayerError::Unavailable(_)) => failures += 1,
            Err(error) => panic!("a renewal ended with {error:?}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
    // A subscription needs no renewal: it is made again by itself.
    assert_eq!(failures > 0, kind == Kind::Core, "{failures} renewals failed");
    server.start_again();
    assert_eq!(next(&mut mailbox).await, Delivery::Missed(Missed::Unknown));
    until("a send", BACK, async || sender.group_send(&group("g"), message(1)).await.is_ok()).await;
    // A renewal may have found out, and then whoever receives.
    let mut delivery = next(&mut mailbox).await;
    if delivery == Delivery::Missed(Missed::Unknown) {
        delivery = next(&mut mailbox).await;
    }
    assert_eq!(delivery, Delivery::Message(message(1)));
}

async fn a_close_takes_a_thousand_memberships_back(kind: Kind) {
    let server = RedisServer::start();
    let [layer, _] = layers(kind, &server);
    let mailbox = layer.new_channel("specific").await.unwrap();
    for number in 0..1000 {
        layer.group_add(&group(&format!("g{number}")), mailbox.name()).await.unwrap();
    }
    let groups = async || match kind {
        Kind::Core => server.command::<Vec<String>>(&["KEYS", "asgi:group:*"]).len(),
        Kind::PubSub => server.command::<Vec<String>>(&["PUBSUB", "CHANNELS"]).len(),
    };
    assert_eq!(groups().await, 1000);
    let start = Instant::now();
    layer.close().await.unwrap();
    assert_eq!(groups().await, 0);
    assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());
    drop(mailbox);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(groups().await, 0, "a closed layer does nothing more");
}

async fn a_close_without_redis_does_not_hang(kind: Kind) {
    let server = RedisServer::start();
    let [layer, _] = layers(kind, &server);
    let _mailbox = member(layer.as_ref()).await;
    server.pause();
    let closed = timeout(BOUND, layer.close()).await.expect("closing takes too long");
    assert!(matches!(closed, Err(LayerError::Unavailable(_))), "it ended with {closed:?}");
    let sent = layer.group_send(&group("g"), message(1)).await;
    assert!(matches!(sent, Err(LayerError::Closed)), "a send ended with {sent:?}");
}

async fn a_host_that_is_away_keeps_nobody_out_of_groups_on_others(kind: Kind) {
    let (one, mut other) = (RedisServer::start(), RedisServer::start());
    let layer = kind.layer(&format!("{},{}", one.url(), other.url()));
    let mut mailbox = layer.new_channel("specific").await.unwrap();
    other.kill();
    let (mut joined, mut refused) = (Vec::new(), Vec::new());
    for number in 0..40 {
        let group = group(&format!("g{number}"));
        match layer.group_add(&group, mailbox.name()).await {
            Ok(()) if refused.is_empty() => {}
            Ok(()) => joined.push(group),
            Err(LayerError::Unavailable(_)) => refused.push(group),
            Err(error) => panic!("a join ended with {error:?}"),
        }
    }
    assert!(joined.len() > 4, "after a join was refused, {} were not; {} were", joined.len(), refused.len());
    while mailbox.try_recv().is_some() {}
    let sent = layer.group_send(&joined[0], message(1)).await;
    // In the core layer the queue of our process is on one of the hosts too, perhaps on the one that is away.
    if kind == Kind::PubSub || sent.is_ok() {
        sent.unwrap();
        assert_eq!(next(&mut mailbox).await, Delivery::Message(message(1)));
    }
    other.start_again();
    until("the other groups", BACK, async || layer.group_add(&refused[0], mailbox.name()).await.is_ok())
        .await;
}

/// Two layers on one server, as of two processes.
fn layers(kind: Kind, server: &RedisServer) -> [Arc<dyn ChannelLayer>; 2] {
    [(); 2].map(|()| kind.layer_with(&server.url(), Limits::default().group_expiry(GROUP_EXPIRY)))
}

async fn member(layer: &dyn ChannelLayer) -> Mailbox {
    let mailbox = layer.new_channel("specific").await.unwrap();
    layer.group_add(&group("g"), mailbox.name()).await.unwrap();
    mailbox
}

async fn next(mailbox: &mut Mailbox) -> Delivery {
    timeout(Duration::from_secs(3), mailbox.recv()).await.expect("a delivery comes")
}

/// A score as of so many seconds ago.
pub(super) fn score(age: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    (now.as_secs() - age).to_string()
}

fn message(number: u64) -> Message {
    Message::new(&serde_json::json!({"type": "trial.message", "number": number})).unwrap()
}

fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}
