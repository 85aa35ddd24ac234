//! `RedisLayer` and `channels_redis.core` at the edges of a queue: full, too old, poisoned, shared.

use std::collections::BTreeMap;
use std::sync::Mutex;

use channel_layer::LayerError;

use super::pair::{Pair, Plan, channel, group, heard, hex, literal, now, received, said, text};

/// A packed `{'type': 'said', 'text': 'x'}`, after a random prefix.
const SAID_X: &str = "0102030405060708090a0b0c82a474797065a473616964a474657874a178";

/// What no reader can make a message of: too short for a prefix, garbage, no map, a number as a key, an extension,
/// bytes that go on after the map, text that is no UTF-8.
const POISON: &[&str] = &[
    "0102",
    "0102030405060708090a0b0cc1c1c1",
    "0102030405060708090a0b0c93010203",
    "0102030405060708090a0b0c82a474797065a1740102",
    "0102030405060708090a0b0c82a474797065a174a161d40500",
    "0102030405060708090a0b0c81a474797065a17400",
    "0102030405060708090a0b0c82a474797065a174a161a1ff",
];

/// What Python lets its users send though nobody can read it, and what has no `type`, which Python's consumers die of.
const SENT_POISON: &[&str] = &[
    "{'type': 't', 1: 2}",
    "{'type': 't', 'map': {1: 2}}",
    "{'type': 't', 'ext': ExtType(5, b'x')}",
    "{'type': 't', 'at': Timestamp(1, 0)}",
    "{'text': 'no type'}",
    "{'type': 7}",
];

const SMALL: Plan = Plan { capacity: 3, ..Plan::CORE };

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn a_full_queue_is_full_for_both() {
    let pair = SMALL.start();
    let jobs = channel("jobs");
    pair.python.send("jobs", &literal("1")).await;
    pair.rust.send(&jobs, said("2")).await.unwrap();
    pair.python.send("jobs", &literal("3")).await;
    let refused = pair.rust.send(&jobs, said("4")).await.unwrap_err();
    assert!(matches!(&refused, LayerError::ChannelFull(full) if *full == jobs), "{refused}");
    assert_eq!(pair.python.try_send("jobs", &literal("4")).await.unwrap_err().class, "ChannelFull");

    assert_eq!(text(&received(&*pair.rust, &jobs).await), "1");
    pair.python.send("jobs", &literal("5")).await;
    assert_eq!(pair.python.receive("jobs").await, literal("2"));
    pair.rust.send(&jobs, said("6")).await.unwrap();
    assert_eq!(pair.python.try_send("jobs", &literal("7")).await.unwrap_err().class, "ChannelFull");
    for left in ["3", "5", "6"] {
        assert_eq!(text(&received(&*pair.rust, &jobs).await), left);
    }
    assert_eq!(pair.rust.losses().refused, 1);
}

/// All channels of a process in Python share the capacity of its queue.
#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn a_full_process_is_full_for_senders_here() {
    let pair = SMALL.start();
    let (one, other) = (pair.python_channel().await, pair.python_channel().await);
    pair.rust.group_add(&group("room"), &one).await.unwrap();
    for number in ["1", "2", "3"] {
        pair.rust.send(&one, said(number)).await.unwrap();
    }
    let refused = pair.rust.send(&other, said("4")).await.unwrap_err();
    assert!(matches!(refused, LayerError::ChannelFull(_)), "{refused}");
    pair.rust.group_send(&group("room"), said("5")).await.unwrap();
    assert_eq!((pair.rust.losses().refused, pair.rust.losses().overflowed), (1, 1));
    for number in ["1", "2", "3"] {
        assert_eq!(pair.python.receive(one.as_str()).await, literal(number));
    }
    pair.rust.group_send(&group("room"), said("6")).await.unwrap();
    assert_eq!(pair.python.receive(one.as_str()).await, literal("6"));
}

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn either_side_trims_what_is_too_old() {
    let pair = Plan { expiry: 5, ..Plan::CORE }.start();
    pair.plant("asgiby.rust", now() - 7.0, &hex(SAID_X)).await;
    pair.plant("asgiby.python", now() - 7.0, &hex(SAID_X)).await;
    pair.rust.send(&channel("by.rust"), said("young")).await.unwrap();
    pair.python.send("by.python", &literal("young")).await;
    for key in ["asgiby.rust", "asgiby.python"] {
        assert_eq!(pair.redis::<usize>(&format!("ZCARD {key}")).await, 1, "{key}");
    }
    assert_eq!(pair.python.receive("by.rust").await, literal("young"));
    assert_eq!(text(&received(&*pair.rust, &channel("by.python")).await), "young");
}

/// Python delivers a message of any age that it finds; we look at its age.
#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn what_is_too_old_is_not_delivered() {
    let pair = Plan { expiry: 5, ..Plan::CORE }.start();
    pair.plant("asgijobs", now() - 7.0, &hex(SAID_X)).await;
    pair.plant("asgijobs", now() - 1.0, &hex(&SAID_X.replace("a178", "a179"))).await;
    assert_eq!(text(&received(&*pair.rust, &channel("jobs")).await), "y");
    assert_eq!(pair.rust.losses().expired, 1);
}

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn poison_in_a_process_queue_kills_nobody() {
    let pair = Plan::CORE.start();
    let mut here = [pair.mailbox().await, pair.mailbox().await];
    let key = format!("asgi{}!", here[0].name().as_str().split('!').next().unwrap());
    for poison in POISON {
        pair.plant(&key, now(), &hex(poison)).await;
    }
    for literal in SENT_POISON {
        pair.python.send(here[0].name().as_str(), literal).await;
    }
    for mailbox in &mut here {
        pair.python.send(mailbox.name().as_str(), &literal("alive")).await;
        assert_eq!(text(&heard(mailbox).await), "alive");
    }
    assert_eq!(pair.rust.losses().undecodable, (POISON.len() + SENT_POISON.len()) as u64);
}

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn poison_in_a_normal_channel_kills_nobody() {
    let pair = Plan::CORE.start();
    for poison in POISON {
        pair.plant("asgijobs", now(), &hex(poison)).await;
    }
    for literal in SENT_POISON {
        pair.python.send("jobs", literal).await;
    }
    pair.python.send("jobs", &literal("alive")).await;
    assert_eq!(text(&received(&*pair.rust, &channel("jobs")).await), "alive");
    assert_eq!(pair.rust.losses().undecodable, (POISON.len() + SENT_POISON.len()) as u64);
}

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn a_message_under_a_key_we_lack_is_counted() {
    let pair = Plan { rust_keys: &["ours"], python_keys: &["theirs", "ours"], ..Plan::CORE }.start();
    let (there, here) = (pair.python_channel().await, pair.mailbox().await);
    pair.rust.send(&there, said("readable")).await.unwrap();
    assert_eq!(pair.python.receive(there.as_str()).await, literal("readable"));
    pair.python.send(here.name().as_str(), &literal("unreadable")).await;
    pair.until("counting", async || pair.rust.losses().undecodable == 1).await;
}

/// In the queue of a process a message must say for whom it is, and that must be somebody who is there.
#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn a_message_for_nobody_is_counted() {
    let pair = Plan::CORE.start();
    let (mut here, gone) = (pair.mailbox().await, pair.mailbox().await);
    let (remote, gone_name) = (here.name().as_str().split('!').next().unwrap(), gone.name().clone());
    pair.plant(&format!("asgi{remote}!"), now(), &hex(SAID_X)).await;
    drop(gone);
    pair.python.send(gone_name.as_str(), &literal("too late")).await;
    pair.python.send(here.name().as_str(), &literal("alive")).await;
    assert_eq!(text(&heard(&mut here).await), "alive");
    assert_eq!((pair.rust.losses().unroutable, pair.rust.losses().undecodable), (2, 0));
}

#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn a_shared_channel_serves_each_message_once() {
    const MESSAGES: usize = 120;
    let pair = Plan { capacity: 1000, ..Plan::CORE }.start();
    let heard: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let (by_rust, by_python) = (Mutex::new(0), Mutex::new(0));
    let note = |literal: String, reader: &Mutex<usize>| {
        *heard.lock().unwrap().entry(literal).or_default() += 1;
        *reader.lock().unwrap() += 1;
    };
    let rust = async {
        loop {
            note(literal(&text(&received(&*pair.rust, &channel("jobs")).await)), &by_rust);
        }
    };
    let python = async {
        loop {
            note(pair.python.receive("jobs").await, &by_python);
        }
    };
    let senders = async {
        for number in 0..MESSAGES / 2 {
            pair.rust.send(&channel("jobs"), said(&format!("rust {number}"))).await.unwrap();
            pair.python.send("jobs", &literal(&format!("python {number}"))).await;
        }
        pair.until("reading all", async || heard.lock().unwrap().len() == MESSAGES).await;
    };
    tokio::select! { () = rust => {}, () = python => {}, () = senders => {} }
    assert!(heard.lock().unwrap().values().all(|times| *times == 1), "{:?}", heard.lock().unwrap());
    let (by_rust, by_python) = (*by_rust.lock().unwrap(), *by_python.lock().unwrap());
    assert!(by_rust > 0 && by_python > 0, "{by_rust} were read here and {by_python} in Python");
    pair.until("an empty queue", async || {
        pair.redis::<usize>("EXISTS asgijobs asgijobs$inflight").await == 0
    })
    .await;
}

/// Python's readers keep what they have just popped in a set that they share; to us it does not exist.
#[tokio::test]
#[ignore = "needs Python's channels_redis: run cargo xtask test"]
async fn what_python_has_in_flight_stays_pythons() {
    let pair = Plan::CORE.start();
    let score = 1_795_236_596.582_017;
    pair.plant("asgijobs$inflight", score, &hex(SAID_X)).await;
    for number in 0..3 {
        let words = format!("job {number}");
        pair.rust.send(&channel("jobs"), said(&words)).await.unwrap();
        assert_eq!(text(&received(&*pair.rust, &channel("jobs")).await), words);
    }
    assert_eq!(in_flight(&pair).await, [(hex(SAID_X), score)]);
    assert_eq!(pair.python.receive("jobs").await, literal("x"), "its next reader finds it");
}

async fn in_flight(pair: &Pair) -> Vec<(Vec<u8>, f64)> {
    pair.redis("ZRANGE asgijobs$inflight 0 -1 WITHSCORES").await
}
