//! Clauses about what ends with time: unread messages, and memberships that nobody renews.

use tokio::time::sleep;

use super::Backend;
use super::tools::{
    EXPIRY, STEP, Verdict, channel, ensure, group, group_send, hears, holds, layer, member, receive, refuses,
    room_for, send,
};
use crate::Limits;

pub(super) async fn the_earliest_message_expires(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default().expiry(EXPIRY)).await;
    let channel = channel("test-channel");
    send(&layer, &channel, &["1"]).await?;
    sleep(STEP).await;
    send(&layer, &channel, &["2"]).await?;
    sleep(STEP).await;
    send(&layer, &channel, &["3"]).await?;
    holds(&layer, &channel, &["2", "3"]).await
}

pub(super) async fn messages_in_time_all_arrive(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default().expiry(EXPIRY)).await;
    let channel = channel("test-channel");
    let mut mailbox = layer.new_channel("specific").await?;
    for turn in ["1", "2", "3"] {
        send(&layer, &channel, &[turn]).await?;
        send(&layer, mailbox.name(), &[turn]).await?;
        sleep(EXPIRY / 5).await;
    }
    holds(&layer, &channel, &["1", "2", "3"]).await?;
    hears(&mut mailbox, &["1", "2", "3"]).await
}

pub(super) async fn a_channel_that_expired_is_empty(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default().expiry(EXPIRY)).await;
    let channel = channel("test-channel");
    send(&layer, &channel, &["1", "2"]).await?;
    sleep(STEP * 2).await;
    holds(&layer, &channel, &[]).await?;
    send(&layer, &channel, &["3"]).await?;
    holds(&layer, &channel, &["3"]).await
}

pub(super) async fn a_receiver_outwaits_the_expiry(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default().expiry(EXPIRY)).await;
    let (channel, other) = (channel("test-channel"), channel("other-channel"));
    send(&layer, &channel, &["1"]).await?;
    let first = receive(&layer, &channel).await?;
    ensure!(first == "1", "{first} came before 1");
    let (received, sent) = tokio::join!(receive(&layer, &channel), async {
        sleep(STEP * 2).await;
        // Whatever forgets old channels when another is used must not forget this one.
        send(&layer, &other, &["x", "y"]).await?;
        send(&layer, &channel, &["2"]).await
    });
    sent?;
    let second = received?;
    ensure!(second == "2", "the receiver that waited got {second} instead of 2");
    Ok(())
}

pub(super) async fn expired_messages_make_room(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, room_for(2).expiry(EXPIRY)).await;
    let channel = channel("test-channel");
    send(&layer, &channel, &["1", "2"]).await?;
    refuses(&layer, &channel).await?;
    sleep(STEP * 2).await;
    send(&layer, &channel, &["3", "4"]).await?;
    refuses(&layer, &channel).await?;
    holds(&layer, &channel, &["3", "4"]).await
}

pub(super) async fn group_messages_expire(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default().expiry(EXPIRY)).await;
    let group = group("test-group");
    let mut mailbox = member(&layer, &group, "specific").await?;
    group_send(&layer, &group, &["1"]).await?;
    sleep(STEP).await;
    group_send(&layer, &group, &["2"]).await?;
    sleep(STEP).await;
    group_send(&layer, &group, &["3"]).await?;
    hears(&mut mailbox, &["missed 1", "2", "3"]).await
}

pub(super) async fn each_member_expires_for_itself(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default().expiry(EXPIRY)).await;
    let group = group("test-group");
    let mut first = member(&layer, &group, "specific").await?;
    let mut second = member(&layer, &group, "specific").await?;
    send(&layer, first.name(), &["old"]).await?;
    sleep(STEP * 2).await;
    group_send(&layer, &group, &["1", "2", "3"]).await?;
    hears(&mut first, &["missed 1", "1", "2", "3"]).await?;
    hears(&mut second, &["1", "2", "3"]).await
}

pub(super) async fn a_mailbox_is_told_what_expired(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default().expiry(EXPIRY)).await;
    let mut mailbox = layer.new_channel("specific").await?;
    send(&layer, mailbox.name(), &["1", "2"]).await?;
    sleep(STEP * 2).await;
    hears(&mut mailbox, &["missed 2"]).await?;
    let losses = layer.losses();
    ensure!(losses.expired == 2, "two messages expired, and {losses:?} were counted");
    send(&layer, mailbox.name(), &["3"]).await?;
    hears(&mut mailbox, &["3"]).await
}

pub(super) async fn a_membership_ends(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default().group_expiry(EXPIRY)).await;
    ensure!(layer.group_expiry() == EXPIRY, "the layer says {:?} of {EXPIRY:?}", layer.group_expiry());
    let group = group("test-group");
    let mut early = member(&layer, &group, "specific").await?;
    sleep(STEP).await;
    let mut late = member(&layer, &group, "specific").await?;
    group_send(&layer, &group, &["1"]).await?;
    sleep(STEP).await;
    group_send(&layer, &group, &["2"]).await?;
    hears(&mut early, &["1"]).await?;
    hears(&mut late, &["1", "2"]).await
}

pub(super) async fn adding_again_renews_a_membership(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default().group_expiry(EXPIRY)).await;
    let group = group("test-group");
    let mut mailbox = member(&layer, &group, "specific").await?;
    sleep(STEP).await;
    layer.group_add(&group, mailbox.name()).await?;
    sleep(STEP).await;
    group_send(&layer, &group, &["1"]).await?;
    hears(&mut mailbox, &["1"]).await
}

pub(super) async fn a_membership_that_ended_may_begin_again(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default().group_expiry(EXPIRY)).await;
    let group = group("test-group");
    let mut mailbox = member(&layer, &group, "specific").await?;
    sleep(STEP * 2).await;
    group_send(&layer, &group, &["1"]).await?;
    hears(&mut mailbox, &[]).await?;
    layer.group_add(&group, mailbox.name()).await?;
    group_send(&layer, &group, &["2"]).await?;
    hears(&mut mailbox, &["2"]).await
}
