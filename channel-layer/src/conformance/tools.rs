//! What clauses are written in: short names for what they send, wait for and expect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Backend;
use crate::{
    Capacities, ChannelLayer, ChannelName, Delivery, GroupName, InvalidPattern, LayerError, Limits, Mailbox,
    Message, Missed,
};

/// The expiry, of messages or memberships, in clauses about expiry.
pub(super) const EXPIRY: Duration = Duration::from_secs(2);

/// More than half of [`EXPIRY`], by as much as a slow machine may lose between two lines: what is one step old is
/// still good, what is two steps old is not.
pub(super) const STEP: Duration = Duration::from_millis(1300);

/// How long a clause waits for what must come.
pub(super) const ARRIVAL: Duration = Duration::from_secs(5);

/// How long a clause looks whether anything comes that must not, and lets a backend settle.
pub(super) const SILENCE: Duration = Duration::from_millis(200);

/// What a clause ends with.
pub(super) type Verdict = Result<(), Fault>;

/// What was seen that must not be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Seen(String),
    #[error("the layer failed: {0}")]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
}

/// Ends a clause that does not hold.
macro_rules! ensure {
    ($holds:expr, $($seen:tt)+) => {
        if !$holds {
            return Err(super::tools::Fault::Seen(format!($($seen)+)));
        }
    };
}
pub(super) use ensure;

pub(super) async fn layer(backend: &dyn Backend, limits: Limits) -> Arc<dyn ChannelLayer> {
    backend.layers(limits, 1).await.pop().expect("a backend makes as many layers as it is asked for")
}

/// Limits with one capacity for all channels.
pub(super) fn room_for(messages: usize) -> Limits {
    Limits::default().capacity(Capacities::new(messages))
}

pub(super) fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).expect("clauses give channels good names")
}

pub(super) fn group(name: &str) -> GroupName {
    GroupName::new(name).expect("clauses give groups good names")
}

pub(super) fn message(text: &str) -> Message {
    let event = BTreeMap::from([("type", "test.message"), ("text", text)]);
    Message::new(&event).expect("a map of texts is a message")
}

/// Texts to send when only their number matters.
pub(super) fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

/// The text that [`message`] put in.
pub(super) fn text(message: &Message) -> String {
    let event = message.decode::<BTreeMap<String, String>>();
    event.ok().and_then(|event| event.get("text").cloned()).unwrap_or_else(|| format!("{message:?}"))
}

/// A delivery as clauses write it: the text of a message, or `missed 2`.
pub(super) fn shown(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Message(message) => text(message),
        Delivery::Missed(Missed::Count(count)) => format!("missed {count}"),
        Delivery::Missed(Missed::Unknown) => "missed ?".to_owned(),
    }
}

pub(super) async fn send(layer: &Arc<dyn ChannelLayer>, to: &ChannelName, texts: &[&str]) -> Verdict {
    for text in texts {
        layer.send(to, message(text)).await?;
    }
    Ok(())
}

pub(super) async fn group_send(layer: &Arc<dyn ChannelLayer>, to: &GroupName, texts: &[&str]) -> Verdict {
    for text in texts {
        layer.group_send(to, message(text)).await?;
    }
    Ok(())
}

/// A new mailbox that is in the group.
pub(super) async fn member(
    layer: &Arc<dyn ChannelLayer>,
    of: &GroupName,
    prefix: &str,
) -> Result<Mailbox, Fault> {
    let mailbox = layer.new_channel(prefix).await?;
    layer.group_add(of, mailbox.name()).await?;
    Ok(mailbox)
}

/// Lets what was sent arrive, where sending does not wait for that.
pub(super) async fn settle() {
    sleep(SILENCE).await;
}

/// Waits for the next delivery.
pub(super) async fn next(mailbox: &mut Mailbox) -> Result<String, Fault> {
    let delivery = timeout(ARRIVAL, mailbox.recv()).await;
    let name = mailbox.name();
    delivery.map(|delivery| shown(&delivery)).map_err(|_| Fault::Seen(format!("{name} waits in vain")))
}

/// Checks that a mailbox gets this, and no more.
pub(super) async fn hears(mailbox: &mut Mailbox, expected: &[&str]) -> Verdict {
    let mut heard = Vec::new();
    while heard.len() < expected.len()
        && let Ok(delivery) = timeout(ARRIVAL, mailbox.recv()).await
    {
        heard.push(shown(&delivery));
    }
    while let Ok(delivery) = timeout(SILENCE, mailbox.recv()).await {
        heard.push(shown(&delivery));
    }
    ensure!(heard == expected, "{} got {heard:?} instead of {expected:?}", mailbox.name());
    Ok(())
}

/// Waits for the next message of a normal channel.
pub(super) async fn receive(layer: &Arc<dyn ChannelLayer>, from: &ChannelName) -> Result<String, Fault> {
    match timeout(ARRIVAL, layer.receive(from)).await {
        Ok(message) => Ok(text(&message?)),
        Err(_) => Err(Fault::Seen(format!("a receiver of {from} waits in vain"))),
    }
}

/// Receives from a normal channel until nothing comes for a while.
pub(super) async fn drain(
    layer: &Arc<dyn ChannelLayer>,
    channel: &ChannelName,
) -> Result<Vec<String>, Fault> {
    let mut texts = Vec::new();
    while let Ok(message) = timeout(SILENCE, layer.receive(channel)).await {
        texts.push(text(&message?));
    }
    Ok(texts)
}

/// Checks that a normal channel holds this, and no more.
pub(super) async fn holds(
    layer: &Arc<dyn ChannelLayer>,
    channel: &ChannelName,
    expected: &[&str],
) -> Verdict {
    let mut held = Vec::new();
    for _ in expected {
        held.push(receive(layer, channel).await?);
    }
    held.extend(drain(layer, channel).await?);
    ensure!(held == expected, "{channel} held {held:?} instead of {expected:?}");
    Ok(())
}

/// Checks that a channel is full: that it refuses a message, and by its own name.
pub(super) async fn refuses(layer: &Arc<dyn ChannelLayer>, channel: &ChannelName) -> Verdict {
    let verdict = layer.send(channel, message("too many")).await;
    let refused = matches!(&verdict, Err(LayerError::ChannelFull(full)) if full == channel);
    ensure!(refused, "{channel} is full, but a send to it ended with {verdict:?}");
    Ok(())
}

/// Checks that all of these arrived, in any order, and none twice.
pub(super) fn same_set(arrived: &[String], sent: &[String]) -> Verdict {
    let times = |text: &&String| arrived.iter().filter(|arrived| arrived == text).count();
    let lost: Vec<_> = sent.iter().filter(|text| times(text) == 0).collect();
    let doubled: Vec<_> = sent.iter().filter(|text| times(text) > 1).collect();
    ensure!(
        lost.is_empty() && doubled.is_empty(),
        "of {} messages {lost:?} were lost, and {doubled:?} came twice",
        sent.len()
    );
    ensure!(
        arrived.len() == sent.len(),
        "{} messages arrived of {} that were sent",
        arrived.len(),
        sent.len()
    );
    Ok(())
}
