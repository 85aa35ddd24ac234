//! Clauses about receivers that wait or are cancelled, and about many at once.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use super::Backend;
use super::tools::{
    ARRIVAL, Fault, SILENCE, Verdict, channel, drain, ensure, layer, message, next, numbers, receive,
    room_for, same_set, send, settle, shown, text,
};
use crate::{ChannelLayer, ChannelName, LayerError, Limits};

pub(super) async fn a_waiting_receiver_is_served(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let channel = channel("test-channel");
    for turn in ["1", "2"] {
        let (received, sent) = tokio::join!(receive(&layer, &channel), async {
            settle().await;
            send(&layer, &channel, &[turn]).await
        });
        sent?;
        let received = received?;
        ensure!(received == turn, "a waiting receiver got {received} instead of {turn}");
    }
    Ok(())
}

pub(super) async fn a_waiting_mailbox_is_served(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let mut mailbox = layer.new_channel("specific").await?;
    let name = mailbox.name().clone();
    for turn in ["1", "2"] {
        let (heard, sent) = tokio::join!(next(&mut mailbox), async {
            settle().await;
            send(&layer, &name, &[turn]).await
        });
        sent?;
        let heard = heard?;
        ensure!(heard == turn, "a waiting mailbox got {heard} instead of {turn}");
    }
    Ok(())
}

pub(super) async fn every_waiting_receiver_is_served(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let channel = channel("test-channel");
    for turn in 0..3 {
        let mut receivers = JoinSet::new();
        for _ in 0..20 {
            let (layer, channel) = (Arc::clone(&layer), channel.clone());
            receivers.spawn(async move { receive(&layer, &channel).await });
        }
        if turn == 0 {
            // Only the first time do the messages come when all have settled down to wait.
            settle().await;
        }
        let sent = numbers(20);
        for text in &sent {
            send(&layer, &channel, &[text]).await?;
        }
        let received: Result<Vec<_>, _> = receivers.join_all().await.into_iter().collect();
        same_set(&received?, &sent)?;
    }
    Ok(())
}

pub(super) async fn each_message_goes_to_one_receiver(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let channel = channel("test-channel");
    let mut receivers = JoinSet::new();
    for _ in 0..5 {
        let (layer, channel) = (Arc::clone(&layer), channel.clone());
        receivers.spawn(async move { drain(&layer, &channel).await });
    }
    let sent = numbers(60);
    for text in &sent {
        send(&layer, &channel, &[text]).await?;
        yield_now().await;
    }
    let mut received = Vec::new();
    for texts in receivers.join_all().await {
        received.extend(texts?);
    }
    // What a receiver gave back when its patience ended is still there.
    received.extend(drain(&layer, &channel).await?);
    same_set(&received, &sent)
}

pub(super) async fn a_cancelled_receive_loses_nothing(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, room_for(200)).await;
    let channel = channel("test-channel");
    let mut received = Vec::new();
    for n in 0..100 {
        let sending = layer.send(&channel, message(&n.to_string()));
        if let Some(message) = cut_short(n, layer.receive(&channel), sending).await? {
            received.push(text(&message?));
        }
    }
    received.extend(drain(&layer, &channel).await?);
    same_set(&received, &numbers(100))
}

pub(super) async fn a_cancelled_recv_loses_nothing(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, room_for(200)).await;
    let mut mailbox = layer.new_channel("specific").await?;
    let name = mailbox.name().clone();
    let mut heard = Vec::new();
    for n in 0..100 {
        let sending = layer.send(&name, message(&n.to_string()));
        if let Some(delivery) = cut_short(n, mailbox.recv(), sending).await? {
            heard.push(shown(&delivery));
        }
    }
    while let Ok(delivery) = timeout(SILENCE, mailbox.recv()).await {
        heard.push(shown(&delivery));
    }
    same_set(&heard, &numbers(100))
}

pub(super) async fn a_cancelled_receiver_leaves_its_message_to_others(backend: &dyn Backend) -> Verdict {
    let layer = layer(backend, Limits::default()).await;
    let channel = channel("test-channel");
    let waiting = || {
        let (layer, channel) = (Arc::clone(&layer), channel.clone());
        tokio::spawn(async move { receive(&layer, &channel).await })
    };
    let first = waiting();
    settle().await;
    let second = waiting();
    settle().await;
    send(&layer, &channel, &["1"]).await?;
    first.abort();
    // The first may have been served before it was cancelled; then the second waits on, and rightly.
    let served = first.await.ok().transpose()?;
    let patience = if served.is_some() { SILENCE } else { ARRIVAL };
    let second = timeout(patience, second).await.ok().and_then(Result::ok).transpose()?;
    ensure!(
        served.is_some() != second.is_some(),
        "of two waiting receivers one was cancelled; it got {served:?}, and the other {second:?}"
    );
    Ok(())
}

pub(super) async fn senders_at_once_are_all_heard_in_order(backend: &dyn Backend) -> Verdict {
    const SENDERS: usize = 8;
    const MESSAGES: usize = 40;
    let layer = layer(backend, room_for(SENDERS * MESSAGES)).await;
    let mut mailbox = layer.new_channel("specific").await?;
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (layer, name) = (Arc::clone(&layer), mailbox.name().clone());
        senders.spawn(async move { send_many(&layer, &name, sender, MESSAGES).await });
    }
    let mut heard = Vec::new();
    for _ in 0..SENDERS * MESSAGES {
        heard.push(next(&mut mailbox).await?);
    }
    for sent in senders.join_all().await {
        sent?;
    }
    for sender in 0..SENDERS {
        let prefix = format!("{sender}:");
        let own: Vec<_> = heard.iter().filter_map(|text| text.strip_prefix(&prefix)).collect();
        let sent = numbers(MESSAGES);
        ensure!(own == sent, "of sender {sender} arrived {own:?}");
    }
    Ok(())
}

async fn send_many(
    layer: &Arc<dyn ChannelLayer>,
    to: &ChannelName,
    sender: usize,
    messages: usize,
) -> Verdict {
    for n in 0..messages {
        send(layer, to, &[&format!("{sender}:{n}")]).await?;
        yield_now().await;
    }
    Ok(())
}

/// Starts to receive, sends, and cancels: the moments differ from turn to turn, so that receives are cut before
/// their first poll, while they wait, after they were woken, and after up to 10 ms.
async fn cut_short<T>(
    turn: u64,
    receiving: impl Future<Output = T>,
    sending: impl Future<Output = Result<(), LayerError>>,
) -> Result<Option<T>, Fault> {
    let mut receiving = pin!(receiving);
    let mut received = None;
    for _ in 0..turn % 3 {
        if received.is_none() {
            received = poll_once(receiving.as_mut()).await;
        }
    }
    sending.await?;
    if received.is_some() || turn.is_multiple_of(2) {
        return Ok(received);
    }
    Ok(timeout(Duration::from_micros(100 * turn), receiving).await.ok())
}

async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let polled = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
    match polled {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
