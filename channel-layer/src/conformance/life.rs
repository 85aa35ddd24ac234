//! Clauses about the end of things: dropped mailboxes, flushed and closed layers.

use std::sync::Arc;

use tokio::time::timeout;

use super::Backend;
use super::tools::{
    ARRIVAL, Verdict, channel, ensure, group, group_send, hears, holds, layer, member, message, send, settle,
};
use crate::{LayerError, Limits};

pub(super) async fn a_dropped_mailbox_leaves_every_group(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let groups = [group("one"), group("two"), group("three")];
    let mut stays = layer.new_channel("specific").await?;
    let leaves = layer.new_channel("specific").await?;
    for group in &groups {
        layer.group_add(group, leaves.name()).await?;
        layer.group_add(group, stays.name()).await?;
    }
    drop(leaves);
    settle().await;
    for group in &groups {
        group_send(&layer, group, &["hello"]).await?;
    }
    hears(&mut stays, &["hello", "hello", "hello"]).await?;
    let unroutable = layer.losses().unroutable;
    ensure!(unroutable == 0, "{unroutable} messages still went to a mailbox that was gone");
    Ok(())
}

pub(super) async fn messages_to_a_dropped_mailbox_are_counted(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let mailbox = layer.new_channel("specific").await?;
    let name = mailbox.name().clone();
    drop(mailbox);
    settle().await;
    send(&layer, &name, &["1", "2"]).await?;
    settle().await;
    let unroutable = layer.losses().unroutable;
    ensure!(unroutable == 2, "2 messages went nowhere, and {unroutable} were counted");
    Ok(())
}

pub(super) async fn a_dropped_mailbox_has_no_heir(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let group = group("test-group");
    let mailbox = member(&layer, &group, "specific").await?;
    let name = mailbox.name().clone();
    send(&layer, &name, &["unread"]).await?;
    drop(mailbox);
    let mut heir = layer.new_channel("specific").await?;
    ensure!(*heir.name() != name, "the name {name} was used again");
    send(&layer, &name, &["late"]).await?;
    group_send(&layer, &group, &["for the dead"]).await?;
    hears(&mut heir, &[]).await
}

pub(super) async fn flush_spares_nothing_but_mailboxes(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let (channel, group) = (channel("test-channel"), group("test-group"));
    let mut mailbox = member(&layer, &group, "specific").await?;
    layer.group_add(&group, &channel).await?;
    send(&layer, &channel, &["lost"]).await?;
    send(&layer, mailbox.name(), &["lost"]).await?;
    settle().await;
    layer.flush().await?;
    group_send(&layer, &group, &["lost"]).await?;
    holds(&layer, &channel, &[]).await?;
    hears(&mut mailbox, &[]).await?;
    layer.group_add(&group, mailbox.name()).await?;
    group_send(&layer, &group, &["1"]).await?;
    send(&layer, mailbox.name(), &["2"]).await?;
    send(&layer, &channel, &["3"]).await?;
    hears(&mut mailbox, &["1", "2"]).await?;
    holds(&layer, &channel, &["3"]).await
}

pub(super) async fn a_closed_layer_refuses(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let (channel, group) = (channel("test-channel"), group("test-group"));
    let waiting = tokio::spawn({
        let (layer, channel) = (Arc::clone(&layer), channel.clone());
        async move { layer.receive(&channel).await }
    });
    settle().await;
    layer.close().await?;
    let Ok(Ok(waited)) = timeout(ARRIVAL, waiting).await else {
        ensure!(false, "a receiver waits on after the layer was closed");
        return Ok(());
    };
    for verdict in [
        waited.map(drop),
        layer.receive(&channel).await.map(drop),
        layer.send(&channel, message("x")).await,
        layer.group_send(&group, message("x")).await,
        layer.group_add(&group, &channel).await,
    ] {
        ensure!(matches!(verdict, Err(LayerError::Closed)), "after the layer was closed: {verdict:?}");
    }
    Ok(())
}
