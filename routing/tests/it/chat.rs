//! The program that the README shows, under two clients.

#[path = "../../examples/chat.rs"]
#[expect(dead_code, reason = "this is a program, of which only the routes are used here")]
mod program;

use routing::consumers::testing::{Unexpected, WebsocketCommunicator};
use routing::consumers::{ChannelLayers, Frame, InMemoryLayer};
use serde_json::{Value, json};

use crate::support::{Site, TEXT};

/// A client in a room.
async fn enter(layers: &ChannelLayers, room: &str) -> WebsocketCommunicator {
    let path = format!("/ws/chat/{room}/");
    let mut client = WebsocketCommunicator::new(program::app(), &path).layers(layers.clone());
    client.connect().await.unwrap();
    client
}

#[tokio::test(start_paused = true)]
async fn what_is_said_reaches_the_room_and_no_other() {
    let layers = InMemoryLayer::default().into();
    let (mut ana, mut ben) = (enter(&layers, "lobby").await, enter(&layers, "lobby").await);
    let mut eve = enter(&layers, "cellar").await;
    ana.send_json(&json!({"type": "say", "text": "hi"})).await;
    let told = json!({"type": "chat.message", "text": "hi"});
    assert_eq!(ana.receive_json::<Value>().await.unwrap(), told);
    assert_eq!(ben.receive_json::<Value>().await.unwrap(), told);
    assert!(eve.receive_nothing().await);
    ana.disconnect(1000).await;
    ben.send_json(&json!({"type": "say", "text": "gone?"})).await;
    assert_eq!(ben.receive_json::<Value>().await.unwrap()["text"], "gone?");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_understood_closes_the_socket() {
    let layers = InMemoryLayer::default().into();
    for (frame, code) in [
        (Frame::text("{"), 1007),
        (Frame::text(r#"{"type": "shout", "text": "hi"}"#), 1007),
        (Frame::Binary(b"hi"[..].into()), 1003),
    ] {
        let mut client = enter(&layers, "lobby").await;
        client.send(frame).await;
        assert_eq!(client.receive_close().await.unwrap().code.as_u16(), code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_without_a_proper_name_is_not_found() {
    for room in ["a%20b", "%F0%9F%98%80", "a/b"] {
        let path = format!("/ws/chat/{room}/");
        let client = WebsocketCommunicator::new(program::app(), &path).layers(InMemoryLayer::default());
        let refused = { client }.connect().await;
        assert!(matches!(refused, Err(Unexpected::Denied(denial)) if denial.status == 404), "{room}");
    }
}

#[tokio::test]
async fn it_works_over_real_sockets_too() {
    let site = Site::start(|_| program::app()).await;
    let (mut ana, mut ben) = (site.open("/ws/chat/lobby/").await, site.open("/ws/chat/lobby/").await);
    ana.say(r#"{"type": "say", "text": "hi"}"#).await;
    for client in [&mut ana, &mut ben] {
        client.expect(TEXT, r#"{"type":"chat.message","text":"hi"}"#).await;
    }
}
