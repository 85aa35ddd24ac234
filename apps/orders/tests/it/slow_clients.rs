//! Clients that do not read slow down themselves, and nobody else.

use std::time::Duration;

use axum::http::StatusCode;
use routing::consumers::Frame;
use routing::consumers::testing::WebsocketCommunicator;
use tokio::time::timeout;

use crate::site::Site;

/// More than a database has connections.
const CLIENTS: usize = 12;

/// Answers of this size that nearly fill a socket: some 1,008 of them the pipe, and 256 the queue.
const NEARLY_FULL: usize = 1_200;

/// A handler that takes nothing for so long waits for room in its socket.
const WAITS: Duration = Duration::from_millis(300);

/// Asks until a handler waits with its answer to `realtime.start`.
async fn never_read(mut socket: WebsocketCommunicator) -> WebsocketCommunicator {
    for asked in 0.. {
        let command = if asked < NEARLY_FULL { "nonsense" } else { r#"{"type":"realtime.start"}"# };
        if timeout(WAITS, socket.send(Frame::text(command))).await.is_err() {
            break;
        }
    }
    socket
}

#[tokio::test]
async fn those_who_do_not_read_keep_no_connection_to_the_database() {
    let site = Site::new().await;
    let mut stuck = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        stuck.spawn(never_read(site.socket("ana").await));
    }
    let stuck = stuck.join_all().await;
    let answer = site.client("ana").get("/api/data/").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    drop(stuck);
}
