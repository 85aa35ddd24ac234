//! What can go wrong between a sender and a channel layer.

use crate::{ChannelName, InvalidName};

/// An operation that a channel layer could not do; nothing was sent, but for [`LayerError::Unavailable`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The channel holds as many unread messages as its capacity allows: send later, or read faster.
    #[error("channel {0} is full: its reader is behind or gone")]
    ChannelFull(ChannelName),
    /// The packed message is larger than the layer carries.
    #[error("a message of {size} bytes is over the limit of {limit} bytes")]
    MessageTooLarge {
        /// Bytes of the packed message.
        size: usize,
        /// Bytes that the layer carries at most.
        limit: usize,
    },
    /// The value has no form as a message.
    #[error("cannot encode the message: {0}")]
    Encode(String),
    /// The message is not what the receiver asked for.
    #[error("cannot decode the message: {0}")]
    Decode(String),
    /// A process-specific name was given where only a mailbox can receive, or a name has no owner here.
    #[error("channel {0} belongs to a mailbox: receive from the mailbox that `new_channel` returned")]
    NotReceivable(ChannelName),
    /// A prefix or name that breaks the grammar of names.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The layer's peer is away; the operation may be tried again later. Whether it was done is not known: the peer
    /// may have done it, or a part of it, and been unable to say so.
    #[error("the channel layer is not available: {0}")]
    Unavailable(String),
    /// The layer was closed, as at shutdown.
    #[error("the channel layer is closed")]
    Closed,
}

impl LayerError {
    /// Whether the layer is full or away: the event is lost, but nothing is wrong with who sent it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::ChannelFull(_) | Self::Unavailable(_) | Self::Closed)
    }
}
