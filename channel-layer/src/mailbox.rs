//! The receiving end of a process-specific channel.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::hub::Hub;
use crate::queue::Queue;
use crate::{ChannelName, Message};

/// What a mailbox hands to its owner, in the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A message.
    Message(Message),
    /// Messages would stand here that the mailbox had no room for, or that got too old.
    Missed(Missed),
}

/// How many messages were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// So many.
    Count(u64),
    /// Nobody can know, as after an outage of the backend.
    Unknown,
}

impl Missed {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Count(a), Self::Count(b)) => Self::Count(a.saturating_add(b)),
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Unknown => f.write_str("an unknown number of"),
        }
    }
}

/// The one receiver of a process-specific channel, made by [`ChannelLayer::new_channel`]. Dropping it ends the
/// channel, and with it every membership, at once.
///
/// [`ChannelLayer::new_channel`]: crate::ChannelLayer::new_channel
#[must_use = "a mailbox that is dropped takes its channel with it"]
pub struct Mailbox {
    queue: Arc<Queue>,
    hub: Arc<Hub>,
}

impl Mailbox {
    pub(crate) fn new(queue: Arc<Queue>, hub: Arc<Hub>) -> Self {
        Self { queue, hub }
    }

    /// The name that others send to.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        self.queue.name()
    }

    /// Waits for what comes next. Safe to cancel: nothing is lost.
    pub async fn recv(&mut self) -> Delivery {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for who waits for other things beside it: the task that polled last is woken.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Delivery> {
        self.hub.poll_pop(&self.queue, cx)
    }

    /// What has arrived already, if anything has.
    pub fn try_recv(&mut self) -> Option<Delivery> {
        self.hub.pop(&self.queue)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.hub.remove_mailbox(&self.queue);
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mailbox").field(self.name()).finish()
    }
}
