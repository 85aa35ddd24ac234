//! Groups with members on both sides.

use super::pair::{Pair, Plan, group, heard, literal, said, text};

/// Members on both sides hear what either side sends, and only as long as they are members.
pub(super) async fn reach_both_sides(plan: Plan) {
    let pair = plan.start();
    // The servers of a group and of a channel depend on their names, so with several there have to be several.
    for number in 0..4 * plan.hosts {
        one_reaches_both_sides(&pair, &format!("room-{number}")).await;
    }
}

async fn one_reaches_both_sides(pair: &Pair, name: &str) {
    let room = group(name);
    let there = [pair.python_channel().await, pair.python_channel().await];
    let mut here = [pair.mailbox().await, pair.mailbox().await];
    for channel in &there {
        pair.join(&room, channel, &here).await;
    }

    pair.python.group_send(name, &literal("from Python")).await;
    pair.rust.group_send(&room, said("from Rust")).await.unwrap();
    for expected in ["from Python", "from Rust"] {
        for channel in &there {
            assert_eq!(pair.python.receive(channel.as_str()).await, literal(expected), "{name}");
        }
        for mailbox in &mut here {
            assert_eq!(text(&heard(mailbox).await), expected, "{name}");
        }
    }

    pair.python.group_discard(name, there[1].as_str()).await;
    pair.rust.group_discard(&room, here[1].name()).await.unwrap();
    pair.python.group_send(name, &literal("for those who stay")).await;
    pair.rust.group_send(&room, said("for those who stay too")).await.unwrap();
    for expected in ["for those who stay", "for those who stay too"] {
        assert_eq!(pair.python.receive(there[0].as_str()).await, literal(expected), "{name}");
        assert_eq!(text(&heard(&mut here[0]).await), expected, "{name}");
    }
    // What comes next is the first that those who left hear.
    pair.python.send(here[1].name().as_str(), &literal("direct")).await;
    assert_eq!(text(&heard(&mut here[1]).await), "direct");
    pair.rust.send(&there[1], said("direct")).await.unwrap();
    assert_eq!(pair.python.receive(there[1].as_str()).await, literal("direct"), "{name}");
}

/// A group whose members are all in Python is one to send to.
pub(super) async fn may_be_pythons_alone(plan: Plan) {
    let pair = plan.start();
    let there = pair.python_channel().await;
    let room = group("room");
    pair.join(&room, &there, &[]).await;
    pair.rust.group_send(&room, said("hello")).await.unwrap();
    assert_eq!(pair.python.receive(there.as_str()).await, literal("hello"));
}

/// Channels on all servers hear direct sends from the other side, wherever Python's hash puts them.
pub(super) async fn direct_sends_reach_every_channel(plan: Plan) {
    let pair = plan.start();
    for number in 0..6 * plan.hosts {
        let (there, mut here) = (pair.python_channel().await, pair.mailbox().await);
        let words = format!("number {number}");
        pair.python.send(here.name().as_str(), &literal(&words)).await;
        assert_eq!(text(&heard(&mut here).await), words);
        pair.rust.send(&there, said(&words)).await.unwrap();
        assert_eq!(pair.python.receive(there.as_str()).await, literal(&words));
    }
}
