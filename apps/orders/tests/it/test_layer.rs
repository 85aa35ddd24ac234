//! An in-memory layer that fails, stammers or waits when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use routing::consumers::channel_layer::{Limits, Losses, Mailbox};
use routing::consumers::{ChannelLayer, ChannelName, GroupName, InMemoryLayer, LayerError, Message};
use tokio::sync::{Notify, Semaphore};

/// The methods that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    NewChannel,
    GroupAdd,
    GroupSend,
}

#[derive(Debug)]
pub(crate) struct TestLayer {
    inner: InMemoryLayer,
    failing: Mutex<Option<Call>>,
    is_stammering: AtomicBool,
    gate: Semaphore,
    /// Somebody has come to the gate.
    pub(crate) arrived: Notify,
}

impl TestLayer {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemoryLayer::new(limits),
            failing: Mutex::default(),
            is_stammering: AtomicBool::new(false),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            arrived: Notify::new(),
        })
    }

    /// From now on a method says that the layer is away; with `None`, all work again.
    pub(crate) fn fail(&self, call: Option<Call>) {
        *self.failing.lock() = call;
    }

    /// From now on, or no longer, each event goes to its group five times at once.
    pub(crate) fn stammer(&self, is_stammering: bool) {
        self.is_stammering.store(is_stammering, Ordering::Relaxed);
    }

    /// From now on events wait until the gate is opened.
    pub(crate) fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn open_gate(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }

    fn check(&self, call: Call) -> Result<(), LayerError> {
        let is_failing = *self.failing.lock() == Some(call);
        if is_failing { Err(LayerError::Unavailable("a test".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl ChannelLayer for TestLayer {
    async fn new_channel(&self, prefix: &str) -> Result<Mailbox, LayerError> {
        self.check(Call::NewChannel)?;
        self.inner.new_channel(prefix).await
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<(), LayerError> {
        self.inner.send(channel, message).await
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message, LayerError> {
        self.inner.receive(channel).await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        self.check(Call::GroupAdd)?;
        self.inner.group_add(group, channel).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        self.inner.group_discard(group, channel).await
    }

    async fn group_send(&self, group: &GroupName, message: Message) -> Result<(), LayerError> {
        self.check(Call::GroupSend)?;
        self.arrived.notify_one();
        let _pass = self.gate.acquire().await.map_err(|_| LayerError::Closed)?;
        let send = || self.inner.group_send(group, message.clone());
        if self.is_stammering.load(Ordering::Relaxed) {
            tokio::try_join!(send(), send(), send(), send(), send()).map(|_| ())
        } else {
            send().await
        }
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
