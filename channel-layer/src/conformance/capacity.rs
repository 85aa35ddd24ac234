//! Clauses about how many unread messages a channel holds.

use std::sync::Arc;

use super::Backend;
use super::tools::{
    Verdict, channel, ensure, hears, holds, layer, message, receive, refuses, room_for, send, settle,
};
use crate::{Capacities, ChannelLayer, LayerError, Limits, Mailbox};

pub(super) async fn a_full_channel_refuses_until_it_is_read(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, room_for(3)).await;
    let (channel, other) = (channel("test-channel"), channel("other-channel"));
    send(&layer, &channel, &["1", "2", "3"]).await?;
    refuses(&layer, &channel).await?;
    let refused = layer.losses().refused;
    ensure!(refused == 1, "one message was refused, and {refused} were counted");
    send(&layer, &other, &["x"]).await?;
    let first = receive(&layer, &channel).await?;
    ensure!(first == "1", "{first} came before 1");
    send(&layer, &channel, &["4"]).await?;
    refuses(&layer, &channel).await?;
    holds(&layer, &channel, &["2", "3", "4"]).await
}

pub(super) async fn the_default_capacity_is_100(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let channel = channel("test-channel");
    for n in 0..100 {
        send(&layer, &channel, &[&n.to_string()]).await?;
    }
    refuses(&layer, &channel).await
}

pub(super) async fn the_first_matching_pattern_counts(backend: &dyn Backend) -> Verdict {
    let capacities = Capacities::new(3).with("one", 1)?.with("o[mn]*", 2)?.with("on*", 4)?;
    let layer = layer(backend, Limits::default().capacity(capacities)).await;
    for (name, room) in [("one", 1), ("one.more", 2), ("omen", 2), ("One", 3), ("done", 3)] {
        let channel = channel(name);
        for _ in 0..room {
            send(&layer, &channel, &["fits"]).await?;
        }
        refuses(&layer, &channel).await?;
    }
    Ok(())
}

pub(super) async fn patterns_see_the_full_name(backend: &dyn Backend) -> Verdict {
    let capacities = Capacities::new(4).with("tiny.*!?*", 1)?.with("small*", 2)?.with("roomy", 1)?;
    let layer = layer(backend, Limits::default().capacity(capacities)).await;
    for (prefix, room) in [("tiny", 1), ("small", 2), ("roomy", 4)] {
        let mut mailbox = layer.new_channel(prefix).await?;
        overfill(&layer, &mut mailbox, room).await?;
    }
    Ok(())
}

pub(super) async fn each_mailbox_has_its_own_room(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, room_for(3)).await;
    let mut first = layer.new_channel("specific").await?;
    let mut second = layer.new_channel("specific").await?;
    for mailbox in [&first, &second] {
        send(&layer, mailbox.name(), &["1", "2", "3"]).await?;
    }
    hears(&mut first, &["1", "2", "3"]).await?;
    hears(&mut second, &["1", "2", "3"]).await
}

pub(super) async fn a_full_mailbox_loses_nothing_silently(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, room_for(3)).await;
    let mut mailbox = layer.new_channel("specific").await?;
    overfill(&layer, &mut mailbox, 3).await?;
    let losses = layer.losses();
    ensure!(losses.refused + losses.overflowed == 2, "two messages were lost, and {losses:?} were counted");
    send(&layer, mailbox.name(), &["after"]).await?;
    hears(&mut mailbox, &["after"]).await
}

/// Sends two messages too many to a mailbox, and checks that it gets those that fit. Where a queue stands between
/// sender and mailbox, the sender cannot know that the mailbox is full; then the mailbox must know.
async fn overfill(layer: &Arc<dyn ChannelLayer>, mailbox: &mut Mailbox, room: usize) -> Verdict {
    let mut missed = 2;
    for n in 1..=room + 2 {
        match layer.send(mailbox.name(), message(&n.to_string())).await {
            Err(LayerError::ChannelFull(name)) if name == *mailbox.name() && n > room => missed -= 1,
            verdict => verdict?,
        }
    }
    settle().await;
    let mut expected: Vec<_> = (1..=room).map(|n| n.to_string()).collect();
    if missed > 0 {
        expected.push(format!("missed {missed}"));
    }
    hears(mailbox, &expected.iter().map(String::as_str).collect::<Vec<_>>()).await
}
