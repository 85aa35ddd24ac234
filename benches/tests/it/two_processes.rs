//! What is said to one process reaches the sockets of both, all of it and in order.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::redis_server::RedisServer;
use crate::server::{PATIENCE, Server, Socket};

const SOCKETS: usize = 500;
const MESSAGES: usize = 50;

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
    let servers = [Server::fan_out(layer), Server::fan_out(layer)];
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
