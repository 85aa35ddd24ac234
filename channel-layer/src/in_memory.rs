//! The layer of one process: the hub and nothing else.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::hub::Hub;
use crate::{ChannelLayer, ChannelName, GroupName, LayerError, Limits, Losses, Mailbox, Message};

/// A channel layer within one process, for development, tests and programs that are one process for good.
///
/// Unlike the in-memory layer of Channels it honours capacities by pattern, a send costs no scan over other
/// channels, and a message to a mailbox that is gone is not kept.
///
/// A message is in the mailboxes of a group when its send returns, and who waits there is woken. Where more than 4,096 are in the
/// group, on a multi-threaded runtime, most are woken behind the send, some at a time, so that nobody is shut out; the next send
/// to the group begins when those had their turn. So a thread of that runtime must not block on sends of its own, as
/// `futures::executor::block_on` does: it might wait for itself.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use channel_layer::{ChannelLayer, Delivery, GroupName, InMemoryLayer, Message};
///
/// let layer = InMemoryLayer::default();
/// let lobby = GroupName::new("lobby")?;
/// let mut mailbox = layer.new_channel("specific").await?;
/// layer.group_add(&lobby, mailbox.name()).await?;
///
/// let hello = Message::new(&[("type", "hello")].into_iter().collect::<std::collections::BTreeMap<_, _>>())?;
/// layer.group_send(&lobby, hello.clone()).await?;
/// assert_eq!(mailbox.recv().await, Delivery::Message(hello));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct InMemoryLayer {
    hub: Arc<Hub>,
}

impl InMemoryLayer {
    /// A layer with limits of its own; [`default`](Self::default) has those of Channels.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { hub: Hub::new(limits) }
    }
}

impl Default for InMemoryLayer {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

#[async_trait]
impl ChannelLayer for InMemoryLayer {
    async fn new_channel(&self, prefix: &str) -> Result<Mailbox, LayerError> {
        Ok(self.hub.new_mailbox(prefix)?)
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<(), LayerError> {
        self.hub.send(channel, &message).await
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message, LayerError> {
        self.hub.receive(channel).await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        self.hub.group_add(group, channel).map(|_| ())
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        self.hub.group_discard(group, channel);
        Ok(())
    }

    async fn group_send(&self, group: &GroupName, message: Message) -> Result<(), LayerError> {
        self.hub.group_send(group, &message).await
    }

    async fn flush(&self) -> Result<(), LayerError> {
        self.hub.flush();
        Ok(())
    }

    async fn close(&self) -> Result<(), LayerError> {
        self.hub.close();
        Ok(())
    }

    fn group_expiry(&self) -> Duration {
        self.hub.limits().group_expiry
    }

    fn losses(&self) -> Losses {
        self.hub.losses()
    }
}

impl fmt::Debug for InMemoryLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryLayer").field("limits", self.hub.limits()).finish_non_exhaustive()
    }
}
