//! Tests of applications without a port: a client that is plugged straight into an application.
//!
//! Run them on a paused clock (`#[tokio::test(start_paused = true)]`): then a wait for what never comes takes no
//! time, and a wait for what does come never fails on a slow machine.

mod websocket;

pub use websocket::{Unexpected, WebsocketCommunicator};
