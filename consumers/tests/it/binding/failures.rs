//! A database or a channel layer that is away: every request is answered, and who follows nothing any more is told.

use consumers::testing::{Unexpected, WebsocketCommunicator};
use consumers::{ChannelLayer, GroupName, Message, application};
use serde_json::{Value, json};

use super::{Client, Fixture, thing};
use crate::support::Call;

impl Fixture {
    /// Lets everyone begin anew, as when changes were lost.
    async fn reset(&self) {
        let group = GroupName::new("binding.app.thing").unwrap();
        let reset = Message::new(&json!({"type": "binding.reset"})).unwrap();
        self.layer.group_send(&group, reset).await.unwrap();
    }

    /// A socket that has only things to say.
    async fn socket(&self) -> WebsocketCommunicator {
        let things = self.things.clone();
        let mut socket = WebsocketCommunicator::new(application(move |_| Ok(things.consumer())), "/?rooms=1");
        socket.connect().await.unwrap();
        socket
    }
}

/// What a request is answered that could not be done.
async fn refused(client: &mut Client, action: &str) -> Value {
    let mut refused = client.ask(json!({"action": action, "request_id": 7, "pk": 1})).await;
    assert_eq!((&refused["action"], &refused["request_id"]), (&json!(action), &json!(7)), "{refused}");
    refused["error"].take()
}

#[tokio::test]
async fn whatever_is_asked_of_a_database_that_is_away_is_answered() {
    let site = Fixture::new().await;
    let mut client = site.subscribed("1").await;
    site.db.close().await;
    for action in ["create", "update", "subscribe", "delete"] {
        assert_eq!(refused(&mut client, action).await, "not available");
    }
}

#[tokio::test]
async fn a_subscription_that_the_layer_fails_is_answered_and_can_be_tried_again() {
    let site = Fixture::new().await;
    let mut client = site.client("rooms=1").await;
    for call in [Call::NewChannel, Call::GroupAdd] {
        site.layer.lose(call);
        assert_eq!(refused(&mut client, "subscribe").await, "not available", "{call:?}");
    }
    site.layer.heal();
    client.subscribe().await;
    site.execute("INSERT INTO app_thing (id, name, room) VALUES (7, 'a', 1)").await;
    assert_eq!(client.change().await["data"], thing("a", 0, 1));
}

#[tokio::test]
async fn who_cannot_begin_anew_is_closed_to_come_back() {
    let site = Fixture::new().await;
    let mut socket = site.socket().await;
    socket.send_json(&json!({"action": "subscribe"})).await;
    assert_eq!(socket.receive_json::<Value>().await.unwrap()["action"], "snapshot");
    let mut stream = site.subscribed("1").await;
    site.db.close().await;
    site.reset().await;
    match socket.receive().await {
        Err(Unexpected::Closed(close)) => assert_eq!(close.code.as_u16(), 1013),
        other => panic!("{other:?}"),
    }
    let ended = stream.hear().await;
    assert_eq!(ended["code"], 1013, "{ended}");
}
