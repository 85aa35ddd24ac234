//! Clauses about the plain way of a message: sent, queued, received, in order.

use super::Backend;
use super::tools::{Verdict, channel, ensure, group, group_send, hears, holds, layer, member, send};
use crate::{Limits, Losses};

pub(super) async fn a_channel_carries_a_message(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let channel = channel("test-channel");
    send(&layer, &channel, &["Ahoy-hoy!"]).await?;
    holds(&layer, &channel, &["Ahoy-hoy!"]).await
}

pub(super) async fn a_mailbox_gets_what_is_sent_to_it(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let mut mailbox = layer.new_channel("specific").await?;
    send(&layer, mailbox.name(), &["local only"]).await?;
    hears(&mut mailbox, &["local only"]).await
}

pub(super) async fn a_channel_keeps_order(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let channel = channel("test-channel");
    send(&layer, &channel, &["1", "2", "3", "4", "5", "6"]).await?;
    holds(&layer, &channel, &["1", "2", "3", "4", "5", "6"]).await
}

pub(super) async fn a_mailbox_keeps_order(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let mut mailbox = layer.new_channel("specific").await?;
    send(&layer, mailbox.name(), &["1", "2", "3", "4", "5", "6"]).await?;
    hears(&mut mailbox, &["1", "2", "3", "4", "5", "6"]).await
}

pub(super) async fn mailboxes_are_read_in_any_order(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let mut first = layer.new_channel("specific").await?;
    let mut second = layer.new_channel("specific").await?;
    send(&layer, first.name(), &["for the first"]).await?;
    send(&layer, second.name(), &["for the second"]).await?;
    hears(&mut second, &["for the second"]).await?;
    hears(&mut first, &["for the first"]).await
}

pub(super) async fn channels_do_not_mix(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let channels = [channel("a"), channel("b"), channel("a.b")];
    for turn in ["1", "2"] {
        for channel in &channels {
            send(&layer, channel, &[&format!("{channel}{turn}")]).await?;
        }
    }
    for channel in channels.iter().rev() {
        holds(&layer, channel, &[&format!("{channel}1"), &format!("{channel}2")]).await?;
    }
    Ok(())
}

pub(super) async fn nothing_lost_is_nothing_counted(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let (channel, group) = (channel("test-channel"), group("test-group"));
    let mut mailbox = member(&layer, &group, "specific").await?;
    send(&layer, &channel, &["1"]).await?;
    send(&layer, mailbox.name(), &["2"]).await?;
    group_send(&layer, &group, &["3"]).await?;
    holds(&layer, &channel, &["1"]).await?;
    hears(&mut mailbox, &["2", "3"]).await?;
    let losses = layer.losses();
    ensure!(losses == Losses::default(), "nothing was lost, but {losses:?} were counted");
    Ok(())
}
