//! The orders app: a model, REST, an admin, and a live page that shows every committed write as it happens.
//!
//! ```no_run
//! use accounts::{Accounts, Db, Settings, migrate};
//! use orders::{Orders, OrdersConsumer};
//! use routing::consumers::InMemoryLayer;
//! use routing::{OriginValidator, ProtocolTypeRouter, UrlRouter};
//! use std::sync::Arc;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let db = Db::open("sqlite:waterway.db").await?;
//! migrate(&db, &[accounts::MIGRATIONS, orders::MIGRATIONS]).await?;
//! let orders = Orders::open(db, Arc::new(InMemoryLayer::default())).await?;
//! let sockets = {
//!     let orders = orders.clone();
//!     UrlRouter::new()
//!         .with(OriginValidator::same_host())
//!         .route("/ws/orders/", move |scope| OrdersConsumer::new(scope, orders.clone()))
//! };
//! let site = ProtocolTypeRouter::new().http(orders::router(orders)?).websocket(sockets);
//! # Ok(())
//! # }
//! ```
//!
//! # The parts
//!
//! - [`Orders`] writes, and tells of each write, by whomever, to those who see the order; [`Order`] is a row.
//! - [`router`] has the page at `/`, REST below `/api/data/` and the admin below `/admin/`.
//! - [`OrdersConsumer`] is the socket: it answers `realtime.start` and passes [`OrderChanged`] on.
//! - [`Market`] invents prices, and [`MarketConsumer`] is the socket of those who listen.
//! - [`load_demo`] fills an empty database with something to look at.

mod admin;
mod binding;
mod consumer;
mod datatables;
mod demo;
mod event;
mod fields;
mod market;
mod migrations;
mod money;
mod order;
mod page;
mod query;
mod rest;
mod service;
mod store;
mod views;

pub use consumer::{Command, OrdersConsumer};
pub use demo::{DEMO_LOGINS, DEMO_ORDERS, DemoError, is_empty, load_demo};
pub use event::OrderChanged;
pub use market::{Market, MarketConsumer, Tick};
pub use migrations::MIGRATIONS;
pub use order::Order;
pub use service::Orders;
pub use views::router;
