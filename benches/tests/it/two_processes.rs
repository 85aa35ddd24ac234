//! What is said to one process reaches the sockets of both, all of it and in order.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::redis_server::RedisServer;

const SOCKETS: usize = 500;
const MESSAGES: usize = 50;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<TcpStream>;

struct FanOut {
    child: Child,
    host: String,
}

impl FanOut {
    fn start(layer: &str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let free = free.expect("loopback has free ports");
        let mut command = Command::new(env!("CARGO_BIN_EXE_fan-out"));
        command.args(["--port", &free.port().to_string(), "--layer", layer]);
        Self { child: command.spawn().expect("the server was built with the test"), host: free.to_string() }
    }

    async fn open(&self) -> Socket {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect(&self.host).await {
                Ok(stream) => {
                    let opened = client_async(format!("ws://{}/", self.host), stream).await;
                    break opened.expect("the server takes sockets").0;
                }
                Err(_) => assert!(Instant::now() < deadline, "the server does not listen"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for FanOut {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The texts that a socket gets until it has as many as were sent.
async fn heard(mut socket: Socket) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < MESSAGES {
        match tokio::time::timeout(PATIENCE, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => texts.push(text.to_string()),
            Ok(Some(Ok(_))) => {}
            other => panic!("after {} texts: {other:?}", texts.len()),
        }
    }
    texts
}

async fn everyone_hears_everything(layer: &str) {
    let servers = [FanOut::start(layer), FanOut::start(layer)];
    let mut hearing = tokio::task::JoinSet::new();
    for server in &servers {
        for _ in 0..SOCKETS {
            hearing.spawn(heard(server.open().await));
        }
    }
    let mut publisher = servers[0].open().await;
    let texts: Vec<_> = (0..MESSAGES).map(|n| format!("message {n}")).collect();
    for text in &texts {
        publisher.send(Message::text(text.clone())).await.expect("the server reads");
        // The publisher hears itself, and so keeps a pace at which nobody's mailbox overflows.
        while !matches!(publisher.next().await, Some(Ok(Message::Text(_)))) {}
    }
    let heard = hearing.join_all().await;
    assert_eq!(heard.len(), 2 * SOCKETS);
    assert!(heard.iter().all(|heard| *heard == texts));
}

#[tokio::test]
async fn over_the_core_layer() {
    let redis = RedisServer::start();
    everyone_hears_everything(&redis.url()).await;
}

#[tokio::test]
async fn over_the_pub_sub_layer() {
    let redis = RedisServer::start();
    everyone_hears_everything(&redis.url().replace("redis://", "redis+pubsub://")).await;
}
