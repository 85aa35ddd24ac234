//! `RedisLayer` and `channels_redis.core`: who hears whom.

use channel_layer::{Format, Mailbox};

use super::pair::{Pair, Plan, channel, group, heard, literal, now, received, said, text};
use super::{groups, values, with_python};

const JSON: Plan = Plan { format: Format::Json, prefix: "shop", random_prefix_length: 4, ..Plan::CORE };

/// In the middle of a rotation: each side writes with a key that the other has as its second.
const ENCRYPTED: Plan = Plan { rust_keys: &["new", "old"], python_keys: &["old", "new"], ..Plan::CORE };

const TWO_HOSTS: Plan = Plan { hosts: 2, ..Plan::CORE };
const FOUR_HOSTS: Plan = Plan { hosts: 4, ..Plan::CORE };

const SENTINELS: Plan = Plan { hosts: 2, sentinels: true, ..Plan::CORE };

with_python! {
    groups_reach_both_sides_behind_sentinels: groups::reach_both_sides(SENTINELS);
    values_pass: values::pass_both_ways(Plan::CORE);
    values_pass_as_json: values::pass_both_ways(JSON);
    values_pass_encrypted: values::pass_both_ways(ENCRYPTED);
    tuples_come_as_lists: values::tuples_come_as_lists(Plan::CORE);
    typed_events_pass: values::typed_events_pass_both_ways(Plan::CORE);
    typed_events_pass_as_json: values::typed_events_pass_both_ways(JSON);
    a_megabyte_passes: values::a_megabyte_passes_both_ways(Plan::CORE);
    groups_reach_both_sides: groups::reach_both_sides(Plan::CORE);
    groups_reach_both_sides_as_json: groups::reach_both_sides(JSON);
    groups_reach_both_sides_encrypted: groups::reach_both_sides(ENCRYPTED);
    groups_reach_both_sides_of_two_hosts: groups::reach_both_sides(TWO_HOSTS);
    groups_reach_both_sides_of_four_hosts: groups::reach_both_sides(FOUR_HOSTS);
    a_group_may_be_pythons_alone: groups::may_be_pythons_alone(Plan::CORE);
    direct_sends_reach_every_channel_of_two_hosts: groups::direct_sends_reach_every_channel(TWO_HOSTS);
    direct_sends_reach_every_channel_of_four_hosts: groups::direct_sends_reach_every_channel(FOUR_HOSTS);
    normal_channels_are_queues: normal_channels(Plan::CORE);
    normal_channels_are_spread_over_four_hosts: normal_channels(FOUR_HOSTS);
}

async fn normal_channels(plan: Plan) {
    let pair = plan.start();
    let (to_rust, to_python) = (channel("to.rust"), channel("to.python"));
    let words: Vec<_> = (0..8).map(|number| format!("job {number}")).collect();
    for words in &words {
        pair.python.send(to_rust.as_str(), &literal(words)).await;
        pair.rust.send(&to_python, said(words)).await.unwrap();
    }
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for _ in &words {
        here.push(text(&received(&*pair.rust, &to_rust).await));
        there.push(pair.python.receive(to_python.as_str()).await);
    }
    if plan.hosts > 1 {
        // Between hosts there is no order.
        here.sort();
        there.sort();
    }
    assert_eq!(here, words);
    assert_eq!(there, words.iter().map(|words| literal(words)).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn a_process_is_one_member() {
    let pair = Plan::CORE.start();
    let room = group("room");
    let there = pair.python_channel().await;
    let mut here = Vec::new();
    for _ in 0..500 {
        here.push(pair.mailbox().await);
    }
    pair.join(&room, &there, &here).await;
    assert_eq!(members(&pair).await, 2, "one name for Python's channel and one for our process");

    pair.python.group_send("room", &literal("from Python")).await;
    pair.rust.group_send(&room, said("from Rust")).await.unwrap();
    for expected in ["from Python", "from Rust"] {
        for mailbox in &mut here {
            assert_eq!(text(&heard(mailbox).await), expected);
        }
        assert_eq!(pair.python.receive(there.as_str()).await, literal(expected));
    }

    let last = here.pop().unwrap();
    drop(here);
    assert_eq!(members(&pair).await, 2, "a process stays a member as long as one of its mailboxes is");
    drop::<Mailbox>(last);
    pair.until("leaving with the last mailbox", async || members(&pair).await == 1).await;
    pair.python.group_discard("room", there.as_str()).await;
    assert_eq!(members(&pair).await, 0);
}

async fn members(pair: &Pair) -> usize {
    pair.redis("ZCARD asgi:group:room").await
}

/// Any program may make any channel a member, by its name.
#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn either_side_adds_the_others_channels() {
    let pair = Plan::CORE.start();
    let room = group("room");
    let (there, mut here) = (pair.python_channel().await, pair.mailbox().await);
    pair.python.group_add("room", here.name().as_str()).await;
    pair.rust.group_add(&room, &there).await.unwrap();
    pair.python.group_send("room", &literal("from Python")).await;
    pair.rust.group_send(&room, said("from Rust")).await.unwrap();
    for expected in ["from Python", "from Rust"] {
        assert_eq!(text(&heard(&mut here).await), expected);
        assert_eq!(pair.python.receive(there.as_str()).await, literal(expected));
    }
    pair.rust.group_discard(&room, &there).await.unwrap();
    pair.rust.group_discard(&room, here.name()).await.unwrap();
    assert_eq!(members(&pair).await, 0);
}

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn a_normal_channel_may_be_a_member() {
    let pair = Plan::CORE.start();
    let (to_rust, to_python) = (channel("to.rust"), channel("to.python"));
    pair.python.group_add("room", to_rust.as_str()).await;
    pair.rust.group_add(&group("room"), &to_python).await.unwrap();
    pair.python.group_send("room", &literal("from Python")).await;
    pair.rust.group_send(&group("room"), said("from Rust")).await.unwrap();
    for expected in ["from Python", "from Rust"] {
        assert_eq!(received(&*pair.rust, &to_rust).await, said(expected), "without the layer's own key");
        assert_eq!(pair.python.receive(to_python.as_str()).await, literal(expected));
    }
}

/// Names, types, scores and TTLs: whoever wrote a key, the other could have.
#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn keys_look_as_python_leaves_them() {
    let pair = Plan { prefix: "shop", expiry: 30, ..Plan::CORE }.start();
    let (there, here) = (pair.python_channel().await, pair.mailbox().await);
    let begin = now();
    pair.python.send("by.python", &literal("x")).await;
    pair.rust.send(&channel("by.rust"), said("x")).await.unwrap();
    pair.rust.send(&there, said("x")).await.unwrap();
    pair.python.group_add("by.python", there.as_str()).await;
    pair.rust.group_add(&group("by.rust"), here.name()).await.unwrap();
    pair.rust.group_add(&group("for.python"), &there).await.unwrap();

    let mut keys: Vec<String> = pair.redis("KEYS *").await;
    keys.sort();
    let remote = format!("shop{}", there.as_str().split_inclusive('!').next().unwrap());
    let groups = ["shop:group:by.python", "shop:group:by.rust", "shop:group:for.python"];
    let queues = ["shopby.python", "shopby.rust", &remote];
    assert_eq!(keys, [&groups[..], &queues].concat());
    for key in &keys {
        let ttl: i64 = pair.redis(&format!("TTL {key}")).await;
        let full = if queues.contains(&key.as_str()) { 30 } else { 86_400 };
        assert!((full - 5..=full).contains(&ttl), "{key} lives for {ttl} s");
        let entries: Vec<(Vec<u8>, f64)> = pair.redis(&format!("ZRANGE {key} 0 -1 WITHSCORES")).await;
        assert_eq!(entries.len(), 1, "{key}");
        let score = entries[0].1;
        assert!((begin - 0.001..=now() + 0.001).contains(&score), "{key} has the score {score}");
    }
    // Only the random prefix tells who wrote a message.
    let bodies = ["shopby.python", "shopby.rust"].map(async |key| {
        let entries: Vec<Vec<u8>> = pair.redis(&format!("ZRANGE {key} 0 -1")).await;
        entries[0][12..].to_vec()
    });
    let [by_python, by_rust] = bodies;
    assert_eq!(by_python.await, by_rust.await);
}

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn a_flush_here_is_one_there() {
    let pair = Plan::CORE.start();
    let there = pair.python_channel().await;
    pair.join(&group("room"), &there, &[pair.mailbox().await]).await;
    pair.python.send(there.as_str(), &literal("lost")).await;
    pair.python.send("normal", &literal("lost")).await;
    pair.rust.flush().await.unwrap();
    assert_eq!(pair.redis::<usize>("DBSIZE").await, 0);
    pair.rust.send(&there, said("after")).await.unwrap();
    assert_eq!(pair.python.receive(there.as_str()).await, literal("after"));
}

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn a_flush_there_leaves_our_mailboxes_open() {
    let pair = Plan::CORE.start();
    let mut here = pair.mailbox().await;
    pair.rust.group_add(&group("room"), here.name()).await.unwrap();
    pair.rust.send(&channel("normal"), said("lost")).await.unwrap();
    pair.python.flush().await;
    assert_eq!(pair.redis::<usize>("DBSIZE").await, 0);
    pair.python.send(here.name().as_str(), &literal("direct")).await;
    assert_eq!(text(&heard(&mut here).await), "direct");
}
