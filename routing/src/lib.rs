//! From a connection to a consumer: routers, middleware, and the server. This floor does not decode payloads.
//!
//! One dependency is enough for a program: this crate re-exports [`consumers`], which re-exports the channel layer.
//!
//! ```no_run
//! use routing::consumers::{Context, Frame, InMemoryLayer, NoEvents, Result, WebsocketConsumer};
//! use routing::{UrlRouter, serve};
//!
//! struct Echo;
//!
//! impl WebsocketConsumer for Echo {
//!     type Incoming = Frame;
//!     type Event = NoEvents;
//!
//!     async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
//!         ctx.send(frame).await
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let app = UrlRouter::new().route("/echo/", |_| Ok(Echo));
//!     serve("127.0.0.1:8000", app, InMemoryLayer::default()).await
//! }
//! ```
//!
//! # The parts
//!
//! - [`UrlRouter`] chooses by path, [`ProtocolTypeRouter`] by protocol. Both are applications or tower services, so
//!   they nest, and run under [`serve`], under `axum::serve` or inside an axum `Router`.
//! - [`OriginValidator`] is a [`Middleware`], a step of the handshake. [`IdentityLayer`] and [`CsrfLayer`] are tower
//!   layers for HTTP and WebSockets alike: they ask an [`Authenticator`] who is there and keep other sites out.
//! - [`Server`] accepts connections within the limits of [`ServerConfig`] and [`SocketConfig`], and ends them in order.

mod csrf;
mod handshake;
mod identity;
mod middleware;
mod origin;
mod pattern;
mod protocol;
#[cfg(doctest)]
mod readme;
mod server;
mod site;
mod socket;
mod url;

pub use consumers;
pub use csrf::{CsrfLayer, CsrfService};
pub use identity::{
    Authenticator, Credential, IdentifyError, Identity, IdentityLayer, IdentityService, Session, User,
};
pub use middleware::Middleware;
pub use origin::OriginValidator;
pub use protocol::ProtocolTypeRouter;
pub use server::{PeerAddr, Server, ServerConfig, serve, terminated};
pub use site::SocketConfig;
pub use url::UrlRouter;
