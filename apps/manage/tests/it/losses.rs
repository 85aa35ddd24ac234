//! What was lost is counted, and operators can see it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::http::basic;
use crate::program::Folder;
use crate::redis_server::RedisServer;
use crate::server::Server;
use crate::socket::Socket;

/// How long a loss may take to be counted.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_what_was_lost() {
    let (folder, redis) = (Folder::new(), RedisServer::start());
    let arguments = ["127.0.0.1:0", "--layer", &redis.url()];
    let server = tokio::task::block_in_place(|| Server::start(&folder, &arguments));
    let losses = || tokio::task::block_in_place(|| server.get("/lossz").json());
    let none = json!({
        "layer": {"refused": 0, "overflowed": 0, "expired": 0, "unroutable": 0, "undecodable": 0},
        "slow_readers": {"closed": 0, "newest": 0, "oldest": 0, "superseded": 0},
    });
    assert_eq!(losses(), none);

    let mut socket =
        Socket::open(&server.host, "/ws/orders/", &[("authorization", &basic("admin", "admin"))])
            .await
            .unwrap_or_else(|status| panic!("{status} instead of a socket"));
    socket.send(&json!({"type": "realtime.start"})).await;
    assert_eq!(socket.receive().await["type"], "realtime.started");
    // Bytes that are no message, in the queue of the process.
    let members: Vec<String> = redis.command(&["ZRANGE", "asgi:group:orders.staff", "0", "-1"]);
    let (process, _) = members[0].split_once('!').unwrap();
    let _: u64 = redis.command(&["ZADD", &format!("asgi{process}!"), "99999999999", "no message"]);
    let counted = async || {
        while losses()["layer"]["undecodable"] == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, counted()).await.expect("it is not counted");
    let mut expected: Value = none;
    expected["layer"]["undecodable"] = json!(1);
    assert_eq!(losses(), expected);
}
