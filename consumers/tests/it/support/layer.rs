//! An in-memory layer that fails when it is told to, answers as slowly as it is told to, and knows which channels
//! it has made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use channel_layer::{
    ChannelLayer, ChannelName, GroupName, InMemoryLayer, LayerError, Limits, Losses, Mailbox, Message,
};
use parking_lot::Mutex;

/// The methods that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    NewChannel,
    Send,
    GroupAdd,
    GroupDiscard,
    GroupSend,
}

#[derive(Debug, Default)]
pub(crate) struct TestLayer {
    inner: InMemoryLayer,
    made: Mutex<Vec<ChannelName>>,
    fault: Mutex<Option<(Call, bool)>>,
    latency: Mutex<Duration>,
}

impl TestLayer {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { inner: InMemoryLayer::new(limits), ..Self::default() })
    }

    pub(crate) fn shared() -> Arc<Self> {
        Arc::default()
    }

    /// From now on a method says that the layer is away.
    pub(crate) fn lose(&self, call: Call) {
        *self.fault.lock() = Some((call, false));
    }

    /// From now on a method says that a channel is full.
    pub(crate) fn fill(&self, call: Call) {
        *self.fault.lock() = Some((call, true));
    }

    pub(crate) fn heal(&self) {
        *self.fault.lock() = None;
    }

    /// From now on adding to a group takes so long.
    pub(crate) fn slow_down(&self, latency: Duration) {
        *self.latency.lock() = latency;
    }

    /// How many of the channels that were ever made here have a mailbox still. It asks them with a message that
    /// no consumer of these tests knows.
    pub(crate) async fn open_channels(&self) -> u64 {
        let made = self.made.lock().clone();
        let question = Message::new(&BTreeMap::from([("type", "is.anybody.there")])).unwrap();
        let before = self.inner.losses().unroutable;
        for channel in &made {
            self.inner.send(channel, question.clone()).await.unwrap();
        }
        made.len() as u64 - (self.inner.losses().unroutable - before)
    }

    fn check(&self, call: Call) -> Result<(), LayerError> {
        match *self.fault.lock() {
            Some((failing, is_full)) if failing == call && is_full => {
                Err(LayerError::ChannelFull(ChannelName::new("somewhere")?))
            }
            Some((failing, _)) if failing == call => Err(LayerError::Unavailable("a test".into())),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl ChannelLayer for TestLayer {
    async fn new_channel(&self, prefix: &str) -> Result<Mailbox, LayerError> {
        self.check(Call::NewChannel)?;
        let mailbox = self.inner.new_channel(prefix).await?;
        self.made.lock().push(mailbox.name().clone());
        Ok(mailbox)
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<(), LayerError> {
        self.check(Call::Send)?;
        self.inner.send(channel, message).await
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message, LayerError> {
        self.inner.receive(channel).await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        self.check(Call::GroupAdd)?;
        let latency = *self.latency.lock();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        self.inner.group_add(group, channel).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        self.check(Call::GroupDiscard)?;
        self.inner.group_discard(group, channel).await
    }

    async fn group_send(&self, group: &GroupName, message: Message) -> Result<(), LayerError> {
        self.check(Call::GroupSend)?;
        self.inner.group_send(group, message).await
    }

    async fn flush(&self) -> Result<(), LayerError> {
        self.inner.flush().await
    }

    async fn close(&self) -> Result<(), LayerError> {
        self.inner.close().await
    }

    fn group_expiry(&self) -> Duration {
        self.inner.group_expiry()
    }

    fn losses(&self) -> Losses {
        self.inner.losses()
    }
}
