//! Channel layers: named channels and groups by which consumers talk to one another, within a process and between
//! processes. This is the lowest floor of Waterway; it does not know what a WebSocket is.
//!
//! ```
//! use channel_layer::{ChannelLayer, Delivery, GroupName, InMemoryLayer, Message};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! #[serde(tag = "type")]
//! enum Told {
//!     #[serde(rename = "chat.message")]
//!     Message { text: String },
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layer = InMemoryLayer::default();
//! let room = GroupName::new("chat.lobby")?;
//! let mut mailbox = layer.new_channel("specific").await?;
//! layer.group_add(&room, mailbox.name()).await?;
//! layer.group_send(&room, Message::new(&Told::Message { text: "hi".into() })?).await?;
//!
//! let Delivery::Message(message) = mailbox.recv().await else { unreachable!("nothing was missed") };
//! let Told::Message { text } = &*message.decode()?;
//! assert_eq!(text, "hi");
//! # Ok(())
//! # }
//! ```
//!
//! # The parts
//!
//! - [`ChannelLayer`] is the contract; [`InMemoryLayer`] keeps it within one process, [`RedisLayer`] and
//!   [`RedisPubSubLayer`] between processes, Python's among them ([`RedisConfig`]). [`mod@conformance`] is the proof:
//!   a suite that any backend registers with one line.
//! - [`ChannelName`] and [`GroupName`] are names that were checked when they were made.
//! - [`Message`] is packed once and shared; a [`Mailbox`] receives, and [`Delivery`] says what: a message, or that
//!   messages were [`Missed`].
//! - [`Limits`] and [`Capacities`] bound what a layer keeps; [`Losses`] counts what it had to drop.
//!
//! # Not promised
//!
//! Delivery: a channel layer is at most once, and a reader that is behind misses messages. It is told so; what it
//! does then (reload, as a rule) is its own affair.

pub mod conformance;

mod capacity;
mod crowd;
mod error;
mod group;
mod hub;
mod in_memory;
mod layer;
mod limits;
mod line;
mod losses;
mod mailbox;
mod message;
mod name;
mod open;
mod packed;
mod queue;
mod redis;
mod redis_pubsub;
mod registrar;

pub use capacity::{Capacities, InvalidPattern};
pub use error::LayerError;
pub use in_memory::InMemoryLayer;
pub use layer::ChannelLayer;
pub use limits::Limits;
pub use losses::Losses;
pub use mailbox::{Delivery, Mailbox, Missed};
pub use message::{MESSAGE_LIMIT, Message};
pub use name::{ChannelName, GroupName, InvalidName, NAME_LIMIT};
pub use open::{OpenError, open};
pub use redis::{Format, InvalidUrl, RedisConfig, RedisLayer};
pub use redis_pubsub::RedisPubSubLayer;
