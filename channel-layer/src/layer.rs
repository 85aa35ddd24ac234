//! The contract of a channel layer, in the words of the Channels specification.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{ChannelName, GroupName, LayerError, Losses, Mailbox, Message};

/// A way for consumers, in one process or many, to send messages to one another.
///
/// It is held as `Arc<dyn ChannelLayer>`, so that no backend appears in the types of a program that uses it.
///
/// What every layer promises: a channel is a FIFO queue; a message is delivered at most once and to one receiver;
/// sending waits for no receiver; an unread message is dropped when it is older than the layer's `expiry` (60
/// seconds by default). Losses are never silent: they are counted by cause in [`losses`](Self::losses), and the
/// mailbox that missed messages is told so in its place in the queue.
///
/// All methods are safe to cancel; a send that was cancelled may or may not have happened.
#[async_trait]
pub trait ChannelLayer: Debug + Send + Sync + 'static {
    /// Makes a process-specific channel, named `<prefix>.<random>!<random>`, and the mailbox that receives from it.
    ///
    /// # Errors
    /// [`LayerError::InvalidName`] when the prefix breaks the grammar or is so long that the name would be over 99
    /// characters.
    async fn new_channel(&self, prefix: &str) -> Result<Mailbox, LayerError>;

    /// Puts a message at the end of a channel.
    ///
    /// To a process-specific channel whose mailbox is gone, the message is dropped and counted as unroutable; the
    /// sender cannot know, for the mailbox may be in another process.
    ///
    /// # Errors
    /// [`LayerError::ChannelFull`] when the channel holds its capacity (100 messages by default);
    /// [`LayerError::Unavailable`] and [`LayerError::Closed`] when the layer is away.
    async fn send(&self, channel: &ChannelName, message: Message) -> Result<(), LayerError>;

    /// Takes the oldest message of a normal channel, waiting for one if need be. Several receivers may share the
    /// channel; each message goes to one of them.
    ///
    /// # Errors
    /// [`LayerError::NotReceivable`] for a process-specific name, which only its [`Mailbox`] receives.
    async fn receive(&self, channel: &ChannelName) -> Result<Message, LayerError>;

    /// Makes a channel a member of a group, or renews its membership, which ends `group_expiry` after the last add.
    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError>;

    /// Ends a membership; nothing happens when there is none.
    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError>;

    /// Sends a message to every member. A member that is full misses *this* message: it is counted and told, and
    /// neither the sender nor other members are troubled; so this never fails with [`LayerError::ChannelFull`].
    async fn group_send(&self, group: &GroupName, message: Message) -> Result<(), LayerError>;

    /// Drops every unread message and every group. Mailboxes stay open.
    async fn flush(&self) -> Result<(), LayerError>;

    /// Ends the layer's work; what is sent later fails with [`LayerError::Closed`].
    async fn close(&self) -> Result<(), LayerError>;

    /// How long a membership lasts without being renewed (86,400 seconds by default). Who holds a long-lived
    /// member renews it more often than that, or it silently hears nothing more.
    fn group_expiry(&self) -> Duration;

    /// What was lost since the layer was made, by cause.
    fn losses(&self) -> Losses;

    /// What all processes know the layer by that it connects, so that they can tell whether they share it; `None`
    /// when it ends with this process. No address and no password is part of it.
    fn shared_as(&self) -> Option<String> {
        None
    }
}

/// A shared layer is a layer, so that one may be handed to whoever takes layers by value.
#[async_trait]
impl<L: ChannelLayer + ?Sized> ChannelLayer for Arc<L> {
    async fn new_channel(&self, prefix: &str) -> Result<Mailbox, LayerError> {
        (**self).new_channel(prefix).await
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<(), LayerError> {
        (**self).send(channel, message).await
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message, LayerError> {
        (**self).receive(channel).await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        (**self).group_add(group, channel).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        (**self).group_discard(group, channel).await
    }

    async fn group_send(&self, group: &GroupName, message: Message) -> Result<(), LayerError> {
        (**self).group_send(group, message).await
    }

    async fn flush(&self) -> Result<(), LayerError> {
        (**self).flush().await
    }

    async fn close(&self) -> Result<(), LayerError> {
        (**self).close().await
    }

    fn group_expiry(&self) -> Duration {
        (**self).group_expiry()
    }

    fn losses(&self) -> Losses {
        (**self).losses()
    }

    fn shared_as(&self) -> Option<String> {
        (**self).shared_as()
    }
}
