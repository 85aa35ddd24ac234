//! What the tests share: a site on a free port, consumers to talk to, and clients that speak bytes.

mod client;
mod consumers;
mod http;
mod site;
mod wire;

use std::time::Duration;

pub(crate) use client::Client;
pub(crate) use consumers::{Echo, Ended, Publisher, hear_noise, make_noise};
pub(crate) use http::{Answer, ask, connect, read_answer, upgrade_request};
pub(crate) use site::Site;
pub(crate) use wire::{
    BINARY, CLOSE, CONTINUATION, FIN, Got, PING, PONG, RSV1, RSV2, RSV3, TEXT, close, fragments, frame,
    header,
};

/// How long a test waits for what must come; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for what must come.
pub(crate) async fn patiently<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes in time")
}

/// Lets the time of this test's runtime pass without waiting for it: first all that was sent is taken, and last
/// what the time has brought about is done.
pub(crate) async fn skip(seconds: u64) {
    give_way().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(seconds * 1000 + 10)).await;
    tokio::time::resume();
    give_way().await;
}

/// Lets the other side take what was written so far, most of the time in a read of its own.
pub(crate) async fn give_way() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}
