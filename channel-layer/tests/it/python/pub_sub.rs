//! `RedisPubSubLayer` and `channels_redis.pubsub`.

use channel_layer::{Delivery, Format, Missed};

use super::pair::{Plan, channel, group, heard, literal, received, said, text};
use super::{groups, values, with_python};

const JSON: Plan = Plan { format: Format::Json, prefix: "shop", ..Plan::PUB_SUB };
const ENCRYPTED: Plan = Plan { rust_keys: &["new", "old"], python_keys: &["old", "new"], ..Plan::PUB_SUB };
const TWO_HOSTS: Plan = Plan { hosts: 2, ..Plan::PUB_SUB };
const FOUR_HOSTS: Plan = Plan { hosts: 4, ..Plan::PUB_SUB };

const SENTINELS: Plan = Plan { hosts: 2, sentinels: true, ..Plan::PUB_SUB };

with_python! {
    groups_reach_both_sides_behind_sentinels: groups::reach_both_sides(SENTINELS);
    values_pass: values::pass_both_ways(Plan::PUB_SUB);
    values_pass_as_json: values::pass_both_ways(JSON);
    values_pass_encrypted: values::pass_both_ways(ENCRYPTED);
    tuples_come_as_lists: values::tuples_come_as_lists(Plan::PUB_SUB);
    typed_events_pass: values::typed_events_pass_both_ways(Plan::PUB_SUB);
    a_megabyte_passes: values::a_megabyte_passes_both_ways(Plan::PUB_SUB);
    groups_reach_both_sides: groups::reach_both_sides(Plan::PUB_SUB);
    groups_reach_both_sides_as_json: groups::reach_both_sides(JSON);
    groups_reach_both_sides_encrypted: groups::reach_both_sides(ENCRYPTED);
    groups_reach_both_sides_of_two_hosts: groups::reach_both_sides(TWO_HOSTS);
    groups_reach_both_sides_of_four_hosts: groups::reach_both_sides(FOUR_HOSTS);
    a_group_may_be_pythons_alone: groups::may_be_pythons_alone(Plan::PUB_SUB);
    direct_sends_reach_every_channel_of_two_hosts: groups::direct_sends_reach_every_channel(TWO_HOSTS);
    direct_sends_reach_every_channel_of_four_hosts: groups::direct_sends_reach_every_channel(FOUR_HOSTS);
}

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn a_process_subscribes_once() {
    let pair = Plan::PUB_SUB.start();
    let room = group("room");
    let there = pair.python_channel().await;
    let mut here = Vec::new();
    for _ in 0..500 {
        here.push(pair.mailbox().await);
    }
    pair.join(&room, &there, &here).await;
    pair.python.group_send("room", &literal("from Python")).await;
    pair.rust.group_send(&room, said("from Rust")).await.unwrap();
    for expected in ["from Python", "from Rust"] {
        for mailbox in &mut here {
            assert_eq!(text(&heard(mailbox).await), expected);
        }
        assert_eq!(pair.python.receive(there.as_str()).await, literal(expected));
    }
    assert_eq!(pair.redis::<usize>("DBSIZE").await, 0, "nothing is kept");
    drop(here);
    pair.subscribed(&pair.topic(&room), 1).await;
    pair.python.group_discard("room", there.as_str()).await;
    pair.subscribed(&pair.topic(&room), 0).await;
}

/// A normal channel's name is its topic, without the prefix, from the first receive on.
#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn normal_channels_reach_who_listens() {
    let pair = Plan { prefix: "shop", ..Plan::PUB_SUB }.start();
    let (to_rust, to_python) = (channel("to.rust"), channel("to.python"));
    let sending = async {
        pair.subscribed("to.rust", 1).await;
        pair.python.send("to.rust", &literal("from Python")).await;
        pair.subscribed("to.python", 1).await;
        pair.rust.send(&to_python, said("from Rust")).await.unwrap();
    };
    let (here, there, ()) =
        tokio::join!(received(&*pair.rust, &to_rust), pair.python.receive("to.python"), sending);
    assert_eq!((text(&here), there), ("from Python".to_owned(), literal("from Rust")));
}

/// Python keeps what nobody reads without bound; we keep as many messages as the capacity says, the oldest.
#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn a_mailbox_that_is_behind_is_told_what_it_missed() {
    let pair = Plan { capacity: 3, ..Plan::PUB_SUB }.start();
    let mut here = pair.mailbox().await;
    for number in 0..8 {
        pair.python.send(here.name().as_str(), &literal(&number.to_string())).await;
    }
    pair.until("overflowing", async || pair.rust.losses().overflowed == 5).await;
    for kept in ["0", "1", "2"] {
        assert_eq!(text(&heard(&mut here).await), kept);
    }
    assert_eq!(here.try_recv(), Some(Delivery::Missed(Missed::Count(5))));
    pair.python.send(here.name().as_str(), &literal("alive")).await;
    assert_eq!(text(&heard(&mut here).await), "alive");
}

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn poison_kills_nobody() {
    let pair = Plan::PUB_SUB.start();
    let mut here = pair.mailbox().await;
    pair.rust.group_add(&group("room"), here.name()).await.unwrap();
    let poison = [
        "'no dict'",
        "[1, 2, 3]",
        "{'type': 't', 1: 2}",
        "{'type': 't', 'ext': ExtType(5, b'x')}",
        "{'text': 'no type'}",
        "{'type': None}",
    ];
    for literal in poison {
        pair.python.send(here.name().as_str(), literal).await;
        pair.python.group_send("room", literal).await;
    }
    pair.redis::<()>(&format!("PUBLISH {} garbage", here.name())).await;
    pair.python.send(here.name().as_str(), &literal("alive")).await;
    assert_eq!(text(&heard(&mut here).await), "alive");
    assert_eq!(pair.rust.losses().undecodable, 2 * poison.len() as u64 + 1);
}

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn a_flush_there_leaves_us_subscribed() {
    let pair = Plan::PUB_SUB.start();
    let mut here = pair.mailbox().await;
    pair.rust.group_add(&group("room"), here.name()).await.unwrap();
    pair.python.flush().await;
    pair.python.group_send("room", &literal("after")).await;
    assert_eq!(text(&heard(&mut here).await), "after");
}
