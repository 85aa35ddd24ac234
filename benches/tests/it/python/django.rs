//! A Django Channels site, served by uvicorn, and our fan-out server on one Redis: sockets of both are members of one
//! group, and what one says all hear.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::redis_server::RedisServer;
use crate::server::{PATIENCE, Server, Socket};

const SOCKETS: usize = 5;
const ROUNDS: usize = 20;

/// The site of the interop tests, served by uvicorn.
fn site(layer: &str, redis: &str) -> Server {
    let python = std::env::var_os("WATERWAY_PYTHON")
        .expect("WATERWAY_PYTHON is a Python with Channels: run `cargo xtask test --only interop`");
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../channel-layer/tests/python/site");
    Server::start(|address| {
        let mut command = Command::new(python);
        command.args(["-m", "uvicorn", "asgi:application", "--log-level", "warning", "--app-dir"]);
        command.arg(site).args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--lifespan", "off"]).env("SITE_LAYER", layer).env("SITE_REDIS", redis);
        // Compiled modules would lie in the repository.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    })
}

async fn sockets(server: &Server) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(server.open().await);
    }
    sockets
}

/// The next text that a socket gets.
async fn heard(socket: &mut Socket) -> String {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => return text.to_string(),
            Ok(Some(Ok(_))) => {}
            other => panic!("instead of a text: {other:?}"),
        }
    }
}

/// Waits until Redis gives a number to a question.
async fn until(redis: &RedisServer, question: &[&str], number: usize) {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut asked = redis::cmd(question[0]);
        let answer: redis::Value = asked.arg(&question[1..]).query_async(&mut connection).await.unwrap();
        // The number of subscribers comes after the name that was asked for.
        let found = match &answer {
            redis::Value::Array(parts) => parts.last().cloned(),
            _ => Some(answer.clone()),
        };
        if found == Some(redis::Value::Int(number as i64)) {
            return;
        }
        assert!(Instant::now() < deadline, "{question:?} gives {answer:?} and not {number}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Each side speaks in turn, all hear all of it in order; then each side goes on without the other.
async fn members_hear_each_other(layer: &str, scheme: &str, question: &[&str], members: [usize; 2]) {
    let redis = RedisServer::start();
    let django = site(layer, &redis.url());
    let rust = Server::fan_out(&redis.url().replace("redis://", scheme));
    let (mut there, mut here) = (sockets(&django).await, sockets(&rust).await);
    until(&redis, question, members[0] + members[1]).await;

    for round in 0..ROUNDS {
        let (by_django, by_rust) = (format!("Django says {round}: ☃"), format!("Rust says {round}: ☃"));
        there[round % SOCKETS].send(Message::text(&by_django)).await.unwrap();
        all_hear(there.iter_mut().chain(&mut here), &by_django).await;
        here[round % SOCKETS].send(Message::text(&by_rust)).await.unwrap();
        all_hear(there.iter_mut().chain(&mut here), &by_rust).await;
    }

    let mut left_alone = here.pop().unwrap();
    close(here).await;
    close(there).await;
    until(&redis, question, members[1]).await;
    left_alone.send(Message::text("is anybody there?")).await.unwrap();
    assert_eq!(heard(&mut left_alone).await, "is anybody there?");
    close(vec![left_alone]).await;
    until(&redis, question, 0).await;
}

async fn all_hear(sockets: impl Iterator<Item = &mut Socket>, text: &str) {
    for socket in sockets {
        assert_eq!(heard(socket).await, text);
    }
}

/// Closes sockets as a browser does.
async fn close(sockets: Vec<Socket>) {
    for mut socket in sockets {
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    }
}

#[tokio::test]
#[ignore = "needs Django Channels: run cargo xtask test"]
async fn members_hear_each_other_over_the_core_layer() {
    let layer = "channels_redis.core.RedisChannelLayer";
    // Each of Django's sockets is a member of its own, our process is one.
    members_hear_each_other(layer, "redis://", &["ZCARD", "asgi:group:g"], [SOCKETS, 1]).await;
}

#[tokio::test]
#[ignore = "needs Django Channels: run cargo xtask test"]
async fn members_hear_each_other_over_the_pub_sub_layer() {
    let layer = "channels_redis.pubsub.RedisPubSubChannelLayer";
    let question = ["PUBSUB", "NUMSUB", "asgi__group__g"];
    members_hear_each_other(layer, "redis+pubsub://", &question, [1, 1]).await;
}
