//! Clauses about several processes on one backend; each layer stands for one.

use std::sync::Arc;

use tokio::time::sleep;

use super::Backend;
use super::tools::{
    EXPIRY, STEP, Verdict, channel, drain, ensure, group, group_send, hears, holds, member, numbers, receive,
    refuses, room_for, same_set, send, settle,
};
use crate::{ChannelLayer, Limits};

pub(super) async fn a_mailbox_hears_other_processes(backend: &dyn Backend) -> Verdict {
    let (here, there) = two(backend, Limits::default()).await;
    let mut mailbox = here.new_channel("specific").await?;
    send(&there, mailbox.name(), &["1", "2", "3", "4", "5"]).await?;
    hears(&mut mailbox, &["1", "2", "3", "4", "5"]).await
}

pub(super) async fn a_group_spans_processes(backend: &dyn Backend) -> Verdict {
    let (here, there) = two(backend, Limits::default()).await;
    let group = group("test-group");
    let mut members =
        vec![member(&here, &group, "specific").await?, member(&there, &group, "specific").await?];
    members.push(member(&there, &group, "other").await?);
    settle().await;
    for (layer, text) in [(&here, "from here"), (&there, "from there")] {
        group_send(layer, &group, &[text]).await?;
        // Between two senders there is no order but that of time.
        settle().await;
    }
    for mailbox in &mut members {
        hears(mailbox, &["from here", "from there"]).await?;
    }
    there.group_discard(&group, members[1].name()).await?;
    settle().await;
    group_send(&here, &group, &["later"]).await?;
    hears(&mut members[0], &["later"]).await?;
    hears(&mut members[1], &[]).await?;
    hears(&mut members[2], &["later"]).await
}

pub(super) async fn a_mailbox_gone_elsewhere_is_counted(backend: &dyn Backend) -> Verdict {
    let (here, there) = two(backend, Limits::default()).await;
    let mailbox = here.new_channel("specific").await?;
    let name = mailbox.name().clone();
    drop(mailbox);
    settle().await;
    send(&there, &name, &["1"]).await?;
    settle().await;
    let counted = here.losses().unroutable + there.losses().unroutable;
    ensure!(counted > 0, "a message went nowhere, and neither process counted it");
    Ok(())
}

pub(super) async fn a_mailbox_dropped_elsewhere_has_left(backend: &dyn Backend) -> Verdict {
    let (here, there) = two(backend, Limits::default()).await;
    let group = group("test-group");
    let mut stays = member(&there, &group, "specific").await?;
    drop(member(&here, &group, "specific").await?);
    settle().await;
    group_send(&there, &group, &["hello"]).await?;
    hears(&mut stays, &["hello"]).await?;
    let counted = here.losses().unroutable + there.losses().unroutable;
    ensure!(counted == 0, "{counted} messages still went to a mailbox that was gone");
    Ok(())
}

pub(super) async fn a_full_member_elsewhere_is_told(backend: &dyn Backend) -> Verdict {
    let (here, there) = two(backend, room_for(3)).await;
    let group = group("test-group");
    let mut mailbox = member(&here, &group, "specific").await?;
    settle().await;
    group_send(&there, &group, &["1", "2", "3", "4", "5"]).await?;
    settle().await;
    hears(&mut mailbox, &["1", "2", "3", "missed 2"]).await
}

pub(super) async fn a_channel_spans_processes(backend: &dyn Backend) -> Verdict {
    let (here, there) = two(backend, Limits::default()).await;
    let channel = channel("test-channel");
    send(&here, &channel, &["1", "2"]).await?;
    send(&there, &channel, &["3"]).await?;
    let first = receive(&here, &channel).await?;
    ensure!(first == "1", "{first} came before 1");
    holds(&there, &channel, &["2", "3"]).await
}

pub(super) async fn receivers_in_two_processes_share(backend: &dyn Backend) -> Verdict {
    let (here, there) = two(backend, Limits::default()).await;
    let channel = channel("test-channel");
    let sent = numbers(40);
    let sending = async {
        for text in &sent {
            send(&here, &channel, &[text]).await?;
        }
        Ok(())
    };
    let (verdict, at_here, at_there): (Verdict, _, _) =
        tokio::join!(sending, drain(&here, &channel), drain(&there, &channel));
    verdict?;
    // A receiver whose patience ended early has left its share in the channel.
    let left = drain(&here, &channel).await?;
    same_set(&[at_here?, at_there?, left].concat(), &sent)
}

pub(super) async fn a_channel_is_full_for_all(backend: &dyn Backend) -> Verdict {
    let (here, there) = two(backend, room_for(3)).await;
    let channel = channel("test-channel");
    send(&here, &channel, &["1", "2"]).await?;
    send(&there, &channel, &["3"]).await?;
    refuses(&here, &channel).await?;
    refuses(&there, &channel).await
}

pub(super) async fn members_are_managed_from_anywhere(backend: &dyn Backend) -> Verdict {
    let (here, there) = two(backend, Limits::default()).await;
    let group = group("test-group");
    let mut mailbox = here.new_channel("specific").await?;
    there.group_add(&group, mailbox.name()).await?;
    group_send(&here, &group, &["1"]).await?;
    group_send(&there, &group, &["2"]).await?;
    hears(&mut mailbox, &["1", "2"]).await?;
    there.group_discard(&group, mailbox.name()).await?;
    group_send(&here, &group, &["3"]).await?;
    group_send(&there, &group, &["4"]).await?;
    hears(&mut mailbox, &[]).await
}

pub(super) async fn memberships_are_renewed_from_anywhere(backend: &dyn Backend) -> Verdict {
    let (here, there) = two(backend, Limits::default().group_expiry(EXPIRY)).await;
    let group = group("test-group");
    let mut mailbox = member(&here, &group, "specific").await?;
    sleep(STEP).await;
    there.group_add(&group, mailbox.name()).await?;
    sleep(STEP).await;
    group_send(&here, &group, &["1"]).await?;
    hears(&mut mailbox, &["1"]).await
}

async fn two(backend: &dyn Backend, limits: Limits) -> (Arc<dyn ChannelLayer>, Arc<dyn ChannelLayer>) {
    let mut layers = backend.layers(limits, 2).await;
    let (there, here) = (layers.pop(), layers.pop());
    here.zip(there).expect("a backend makes as many layers as it is asked for")
}
