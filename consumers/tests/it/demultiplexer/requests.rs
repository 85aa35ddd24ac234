//! The request id: on all that answers a frame, and on nothing else.

use consumers::testing::WebsocketCommunicator;
use consumers::{Context, Demultiplexer, Event, InMemoryLayer, Json, Result, WebsocketConsumer};
use serde_json::Value;

use super::{ask, on, open, request, two};
use crate::support::{Talk, Told, group, settled, told};

fn with(stream: &str, payload: &str, id: &str) -> String {
    format!(r#"{{"stream":"{stream}","payload":{payload},"request_id":{id}}}"#)
}

#[tokio::test(start_paused = true)]
async fn all_that_a_handler_sends_for_a_frame_carries_its_id_of_any_json() {
    let (_, _, app) = two();
    let mut client = open(app).await;
    for id in ["7", r#""x""#, "null", r#"{"a": [1]}"#] {
        request(&mut client, "a", "send 1; yield; send 2", id).await;
        assert_eq!(
            [client.hear().await, client.hear().await],
            ["1", "2"].map(|payload| with("a", payload, id))
        );
        ask(&mut client, "a", "send 3").await;
        assert_eq!(client.hear().await, on("a", "3"), "the next frame has none");
    }
}

#[tokio::test(start_paused = true)]
async fn events_and_other_streams_carry_none_even_while_requests_wait() {
    let (a, _, app) = two();
    let mut client = WebsocketCommunicator::new(app, "/").layers(InMemoryLayer::default());
    client.connect().await.unwrap();
    ask(&mut client, "a", "join room; relay more").await;
    request(&mut client, "a", "wait; send 1", "1").await;
    request(&mut client, "a", "wait; send 2", "2").await;
    ask(&mut client, "a", "wait; send 3").await;
    request(&mut client, "a", "send 4", "4").await;
    ask(&mut client, "b", "group room send 0; group more 5; send 6").await;
    let heard = [client.hear().await, client.hear().await];
    assert!(heard.contains(&on("a", "5")) && heard.contains(&on("b", "6")), "{heard:?}");
    let mut heard = Vec::new();
    for _ in 0..3 {
        a.let_go().await;
    }
    for _ in 0..5 {
        heard.push(client.hear().await);
    }
    heard.retain(|frame| *frame != on("a", "0"));
    let expected = [with("a", "1", "1"), with("a", "2", "2"), on("a", "3"), with("a", "4", "4")];
    assert_eq!(heard, expected);
}

#[tokio::test(start_paused = true)]
async fn answers_about_a_frame_have_the_id_where_the_client_has_put_it() {
    let (_, _, app) = two();
    let mut client = open(app).await;
    let unread = r#""error":"not the JSON that is due here""#;
    client.tell(&with("a", "{}", "7")).await;
    assert_eq!(client.hear().await, with("a", &format!("{{{unread}}}"), "7"));
    client.tell(&on("a", r#"{"request_id":8}"#)).await;
    assert_eq!(client.hear().await, on("a", &format!(r#"{{{unread},"request_id":8}}"#)));
    client.tell(&with("a", r#"{"request_id":8}"#, "7")).await;
    assert_eq!(client.hear().await, with("a", &format!("{{{unread}}}"), "7"));
    client.tell(&on("c", r#"{"request_id":8}"#)).await;
    let unknown = r#"{"error":"there is no stream \"c\"","request_id":8}"#;
    assert_eq!(client.hear().await, on("c", unknown));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_is_told_to_who_asked_for_what_led_to_it() {
    let (_, _, app) = two();
    let mut client = WebsocketCommunicator::new(app, "/").layers(InMemoryLayer::default());
    client.connect().await.unwrap();
    request(&mut client, "a", "fail", "7").await;
    assert_eq!(client.hear().await, with("a", r#"{"error":"internal error","code":1011}"#, "7"));
    request(&mut client, "a", "send 1", "8").await;
    assert_eq!(client.hear().await, with("a", r#"{"error":"the stream has ended"}"#, "8"));
    request(&mut client, "b", "join room; group room end 4001 over", "9").await;
    assert_eq!(client.hear().await, on("b", r#"{"error":"over","code":4001}"#), "an event has led to it");
    settled().await;
}

/// Keeps an event until it is asked for it.
struct Keeper(Option<Event<Told>>);

impl WebsocketConsumer for Keeper {
    type Incoming = Json<Value>;
    type Event = Told;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.join(&group("room")).await?;
        ctx.accept().await?;
        ctx.group_send(&group("room"), &told("kept")).await
    }

    async fn receive(&mut self, ctx: &mut Context, _: Json<Value>) -> Result {
        match &self.0 {
            Some(event) => ctx.forward(event).await,
            None => Ok(()),
        }
    }

    async fn event(&mut self, _: &mut Context, event: Event<Told>) -> Result {
        self.0 = Some(event);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_answers_a_frame_carries_its_id() {
    let app = Demultiplexer::new().stream("a", |_| Ok(Keeper(None)));
    let mut client = WebsocketCommunicator::new(app, "/").layers(InMemoryLayer::default());
    client.connect().await.unwrap();
    settled().await;
    let event = r#"{"type":"chat.message","text":"kept"}"#;
    client.tell(&on("a", "{}")).await;
    assert_eq!(client.hear().await, on("a", event));
    client.tell(&with("a", "{}", "7")).await;
    assert_eq!(client.hear().await, with("a", event, "7"));
    client.tell(&on("a", "{}")).await;
    assert_eq!(client.hear().await, on("a", event));
}
