//! Clauses about groups: who gets what is sent to one, and what happens when a member is full.

use super::Backend;
use super::tools::{
    Verdict, channel, ensure, group, group_send, hears, holds, layer, member, next, room_for, send, settle,
};
use crate::{Capacities, Limits};

pub(super) async fn a_group_reaches_its_members_and_nobody_else(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let group = group("test-group");
    let mut first = member(&layer, &group, "test-gr-chn-1").await?;
    let mut second = member(&layer, &group, "test-gr-chn-2").await?;
    let mut third = member(&layer, &group, "test-gr-chn-3").await?;
    let mut stranger = layer.new_channel("test-gr-chn-4").await?;
    layer.group_discard(&group, second.name()).await?;
    group_send(&layer, &group, &["hello"]).await?;
    hears(&mut first, &["hello"]).await?;
    hears(&mut second, &[]).await?;
    hears(&mut third, &["hello"]).await?;
    hears(&mut stranger, &[]).await
}

pub(super) async fn members_of_one_prefix_all_hear(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let group = group("test-group");
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(member(&layer, &group, "test-gr-chn").await?);
    }
    group_send(&layer, &group, &["hello"]).await?;
    for mailbox in &mut members {
        hears(mailbox, &["hello"]).await?;
    }
    Ok(())
}

pub(super) async fn a_group_keeps_order(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let group = group("test-group");
    let mut first = member(&layer, &group, "specific").await?;
    let mut second = member(&layer, &group, "specific").await?;
    group_send(&layer, &group, &["1", "2", "3"]).await?;
    send(&layer, first.name(), &["between"]).await?;
    group_send(&layer, &group, &["4", "5"]).await?;
    hears(&mut first, &["1", "2", "3", "between", "4", "5"]).await?;
    hears(&mut second, &["1", "2", "3", "4", "5"]).await
}

pub(super) async fn an_empty_group_is_no_error(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let (never, left) = (group("never-joined"), group("all-left"));
    let mailbox = member(&layer, &left, "specific").await?;
    layer.group_discard(&left, mailbox.name()).await?;
    for group in [never, left] {
        group_send(&layer, &group, &["nobody", "hears this"]).await?;
    }
    Ok(())
}

pub(super) async fn discarding_a_stranger_is_no_error(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let group = group("test-group");
    let mut mailbox = layer.new_channel("specific").await?;
    layer.group_discard(&group, mailbox.name()).await?;
    layer.group_discard(&group, &channel("normal")).await?;
    layer.group_add(&group, mailbox.name()).await?;
    group_send(&layer, &group, &["hello"]).await?;
    hears(&mut mailbox, &["hello"]).await
}

pub(super) async fn adding_twice_is_adding_once(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let group = group("test-group");
    let mut mailbox = member(&layer, &group, "specific").await?;
    layer.group_add(&group, mailbox.name()).await?;
    group_send(&layer, &group, &["once"]).await?;
    hears(&mut mailbox, &["once"]).await?;
    layer.group_discard(&group, mailbox.name()).await?;
    group_send(&layer, &group, &["never"]).await?;
    hears(&mut mailbox, &[]).await
}

pub(super) async fn groups_are_independent(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let (one, other) = (group("one"), group("other"));
    let mut both = member(&layer, &one, "specific").await?;
    layer.group_add(&other, both.name()).await?;
    let mut single = member(&layer, &other, "specific").await?;
    group_send(&layer, &one, &["to one"]).await?;
    group_send(&layer, &other, &["to other"]).await?;
    hears(&mut both, &["to one", "to other"]).await?;
    hears(&mut single, &["to other"]).await?;
    layer.group_discard(&one, both.name()).await?;
    group_send(&layer, &one, &["nobody"]).await?;
    group_send(&layer, &other, &["still here"]).await?;
    hears(&mut both, &["still here"]).await?;
    hears(&mut single, &["still here"]).await
}

pub(super) async fn a_normal_channel_may_be_a_member(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let (group, channel) = (group("test-group"), channel("worker"));
    let mut mailbox = member(&layer, &group, "specific").await?;
    layer.group_add(&group, &channel).await?;
    layer.group_add(&group, &channel).await?;
    group_send(&layer, &group, &["1", "2"]).await?;
    holds(&layer, &channel, &["1", "2"]).await?;
    layer.group_discard(&group, &channel).await?;
    group_send(&layer, &group, &["3"]).await?;
    holds(&layer, &channel, &[]).await?;
    hears(&mut mailbox, &["1", "2", "3"]).await
}

pub(super) async fn a_full_member_troubles_nobody_else(backend: &dyn Backend) -> Verdict {
    let capacities = Capacities::new(3).with("roomy*", 100)?;
    let layer = layer(backend, Limits::default().capacity(capacities)).await;
    let group = group("test-group");
    let mut slow = member(&layer, &group, "slow").await?;
    let mut roomy = member(&layer, &group, "roomy").await?;
    group_send(&layer, &group, &["1", "2", "3", "4", "5"]).await?;
    settle().await;
    hears(&mut slow, &["1", "2", "3", "missed 2"]).await?;
    hears(&mut roomy, &["1", "2", "3", "4", "5"]).await?;
    let overflowed = layer.losses().overflowed;
    ensure!(overflowed == 2, "a member missed 2 messages, and {overflowed} were counted");
    Ok(())
}

pub(super) async fn what_was_missed_is_told_in_its_place(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, room_for(3)).await;
    let group = group("test-group");
    let mut mailbox = member(&layer, &group, "specific").await?;
    group_send(&layer, &group, &["1", "2", "3", "lost"]).await?;
    settle().await;
    let first = next(&mut mailbox).await?;
    ensure!(first == "1", "{first} came before 1");
    group_send(&layer, &group, &["5", "lost", "lost"]).await?;
    settle().await;
    hears(&mut mailbox, &["2", "3", "missed 1", "5", "missed 2"]).await?;
    group_send(&layer, &group, &["8"]).await?;
    hears(&mut mailbox, &["8"]).await
}

pub(super) async fn a_half_full_member_gets_what_fits(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, room_for(3)).await;
    let group = group("test-group");
    let mut busy = member(&layer, &group, "busy").await?;
    let mut idle = member(&layer, &group, "idle").await?;
    send(&layer, busy.name(), &["own"]).await?;
    group_send(&layer, &group, &["1", "2", "3"]).await?;
    settle().await;
    hears(&mut busy, &["own", "1", "2", "missed 1"]).await?;
    hears(&mut idle, &["1", "2", "3"]).await
}

pub(super) async fn a_full_normal_member_is_counted(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, room_for(3)).await;
    let (group, channel) = (group("test-group"), channel("worker"));
    layer.group_add(&group, &channel).await?;
    group_send(&layer, &group, &["1", "2", "3", "4", "5"]).await?;
    holds(&layer, &channel, &["1", "2", "3"]).await?;
    let losses = layer.losses();
    ensure!(losses.overflowed == 2, "a channel missed 2 messages, and {losses:?} were counted");
    Ok(())
}
