//! Consumers: what realtime application code is written in. This floor never opens a socket; `routing` does.
//!
//! ```
//! use consumers::{ChannelLayers, Context, Frame, GroupName, Json, Result, Scope, WebsocketConsumer};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Say {
//!     text: String,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! #[serde(tag = "type")]
//! enum Told {
//!     #[serde(rename = "chat.message")]
//!     Message { text: String },
//! }
//!
//! struct Chat {
//!     room: GroupName,
//! }
//!
//! impl WebsocketConsumer for Chat {
//!     type Incoming = Json<Say>;
//!     type Event = Told;
//!
//!     async fn connect(&mut self, ctx: &mut Context) -> Result {
//!         ctx.relay(&self.room, |told: &Told| Frame::json(told).ok()).await?;
//!         ctx.accept().await
//!     }
//!
//!     async fn receive(&mut self, ctx: &mut Context, Json(say): Json<Say>) -> Result {
//!         ctx.group_send(&self.room, &Told::Message { text: say.text }).await
//!     }
//! }
//! ```
//!
//! # The parts
//!
//! - [`WebsocketConsumer`] is what you implement; [`Context`] has its verbs: accept, send, send_json, forward, close,
//!   join, relay, leave, group_send, send_to. [`application`] makes an [`Application`] of it.
//! - [`Demultiplexer`] carries many consumers over one socket, each on a stream of its own.
//! - [`Scope`] is what is known about a connection; [`Frame`], [`Json`] and [`Event`] are what comes and goes.
//! - [`Error`] tells a deliberate [`Close`], a refusal ([`Denial`]), a layer that failed and a defect apart.
//! - [`testing`] plugs a client straight into an application: no port, no sleep.
//! - With the feature `database`: `db` is the database that the apps of a site share, `binding` says what the rows of
//!   a table mean to which groups, and `capture` tells every committed change of them.
//! - For servers: [`Transport`], [`Socket`], [`Outbound`] and [`Shutdown`] are the seam to a real socket.
//!
//! # What happens when things go wrong
//!
//! | event | what the client sees |
//! |---|---|
//! | the constructor or `connect` fails | 500; a [`Denial`] as it says; 503 when the layer is full or away |
//! | a handler returns a [`Close`] | that close |
//! | a handler fails or panics | close 1011; `disconnect` runs, groups are left |
//! | the layer is full or away | nothing: the event is lost, logged, and told to `layer_failed` |
//! | a frame that cannot be read | close 1003 (wrong kind) or 1007 (wrong content) |
//! | the client reads too slowly | relayed events are missed and told to `missed`; close 1013 after 10 s |
//! | the server shuts down | close 1012 |

#[cfg(feature = "database")]
pub mod binding;
#[cfg(feature = "database")]
pub mod capture;
#[cfg(feature = "database")]
pub mod db;
pub mod testing;

mod application;
mod close;
mod consumer;
mod context;
mod demultiplexer;
mod driver;
mod error;
mod event;
mod frame;
mod heartbeat;
mod io;
mod layers;
mod outbound;
mod relay;
mod scope;
mod shutdown;
mod slow_reader;
mod transport;

pub use application::{Application, Opened, application};
pub use channel_layer::{
    self, ChannelLayer, ChannelName, GroupName, InMemoryLayer, LayerError, Message, Missed,
};
pub use close::{Close, CloseCode};
pub use consumer::WebsocketConsumer;
pub use context::{Accept, Context, GROUPS_PER_CONNECTION, Relaying};
pub use demultiplexer::{Demultiplexer, Multiplexed, REQUEST_ID_LIMIT, STREAMS_PER_DEMULTIPLEXER};
pub use error::{Denial, Error, Result};
pub use event::{Event, NoEvents};
pub use frame::{Frame, FromFrame, Json};
pub use http::StatusCode;
pub use layers::ChannelLayers;
pub use outbound::{Outbound, ProtocolWriter, UNSENT_BYTES, UNSENT_FRAMES, UNSENT_KEYS};
pub use scope::Scope;
pub use shutdown::Shutdown;
pub use slow_reader::{SlowReader, SlowReaders, slow_readers};
pub use transport::{Acceptance, Handshake, Inbound, Socket, Transport};
pub use tungstenite::{Bytes, Utf8Bytes};
