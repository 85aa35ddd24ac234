//! Groups of the demultiplexer's own, and of its streams.

use std::sync::atomic::{AtomicUsize, Ordering};

use channel_layer::{Capacities, Limits};
use consumers::testing::WebsocketCommunicator;
use consumers::{
    ChannelLayer, ChannelLayers, Context, Demultiplexer, InMemoryLayer, Json, Message, Multiplexed, Result,
    WebsocketConsumer,
};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{ask, on, probe};
use crate::support::{Probe, Talk, TestLayer, group, message, settled};

async fn open(app: &Demultiplexer, layers: &ChannelLayers) -> WebsocketCommunicator {
    let mut client = WebsocketCommunicator::new(app.clone(), "/").layers(layers.clone());
    client.connect().await.unwrap();
    client
}

#[derive(Serialize)]
struct Change {
    action: &'static str,
    pk: u64,
    data: [Option<f64>; 2],
}

const CHANGE: Change = Change { action: "update", pk: 7, data: [Some(1.5), None] };

#[tokio::test(start_paused = true)]
async fn what_its_own_groups_hear_goes_to_the_client_on_the_stream_that_it_names() {
    let layer = TestLayer::shared();
    let layers = ChannelLayers::from(layer.clone());
    let app = Demultiplexer::new().group(|_| Ok(group("one"))).group(|_| Ok(group("two")));
    let mut clients = [open(&app, &layers).await, open(&app, &layers).await];
    assert_eq!(layer.open_channels().await, 2, "one relay for each group");
    let python = Message::from_packed(
        b"\x83\xa4type\xb2demultiplexer.send\xa6stream\xa1s\xa7payload\x82\xa1z\x01\xa1a\x02".to_vec().into(),
    );
    layer
        .group_send(&group("one"), Message::new(&Multiplexed::new("orders", &CHANGE)).unwrap())
        .await
        .unwrap();
    settled().await;
    layer.group_send(&group("two"), message("unknown")).await.unwrap();
    layer.group_send(&group("two"), python.unwrap()).await.unwrap();
    for client in &mut clients {
        assert_eq!(client.hear().await, on("orders", r#"{"action":"update","pk":7,"data":[1.5,null]}"#));
        assert_eq!(client.hear().await, on("s", r#"{"z":1,"a":2}"#));
        assert!(client.receive_nothing().await);
    }
    let [one, two] = clients;
    one.disconnect(1000).await;
    two.disconnect(1000).await;
    settled().await;
    assert_eq!(layer.open_channels().await, 0);
}

/// Publishes what it gets.
struct Publisher;

impl WebsocketConsumer for Publisher {
    type Incoming = Json<Value>;
    type Event = consumers::NoEvents;

    async fn receive(&mut self, ctx: &mut Context, Json(value): Json<Value>) -> Result {
        ctx.group_send(&group("g"), &Multiplexed::new("news", &value)).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_send_to_them() {
    let app = Demultiplexer::new().group(|_| Ok(group("g"))).stream("p", |_| Ok(Publisher));
    let mut client = open(&app, &InMemoryLayer::default().into()).await;
    client.tell(&on("p", r#"{"a":1}"#)).await;
    assert_eq!(client.hear().await, on("news", r#"{"a":1}"#));
}

#[tokio::test(start_paused = true)]
async fn sockets_share_relays_by_stream_and_streams_have_their_own() {
    let layer = TestLayer::shared();
    let layers = ChannelLayers::from(layer.clone());
    let both = Probe::new("relay room; accept");
    let app = Demultiplexer::new().stream("a", probe(&both)).stream("b", probe(&both));
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(open(&app, &layers).await);
    }
    let mut plain = both.client().layers(layers.clone());
    plain.connect().await.unwrap();
    settled().await;
    assert_eq!(layer.open_channels().await, 3, "two streams and the plain socket");
    for n in 0..100 {
        layer.group_send(&group("room"), message(n.to_string())).await.unwrap();
    }
    for client in &mut clients {
        let mut heard = [Vec::new(), Vec::new()];
        for _ in 0..200 {
            let frame = client.hear().await;
            heard[usize::from(frame.contains(r#""b""#))].push(frame);
        }
        for (name, heard) in ["a", "b"].into_iter().zip(heard) {
            assert_eq!(heard, (0..100).map(|n| on(name, &n.to_string())).collect::<Vec<_>>());
        }
    }
    for n in 0..100 {
        assert_eq!(plain.hear().await, n.to_string());
    }
}

static ENCODED: AtomicUsize = AtomicUsize::new(0);

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename = "counted")]
struct Counted {
    #[serde(serialize_with = "counting")]
    n: u8,
}

fn counting<S: Serializer>(n: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    ENCODED.fetch_add(1, Ordering::Relaxed);
    n.serialize(serializer)
}

/// Forwards, as consumers do by default.
struct Forwarder;

impl WebsocketConsumer for Forwarder {
    type Incoming = String;
    type Event = Counted;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.join(&group("g")).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, _: &mut Context, _: String) -> Result {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_forwarded_event_is_rendered_once_for_each_stream_and_message() {
    let layer = InMemoryLayer::default();
    let layers = ChannelLayers::from(layer.clone());
    let app = Demultiplexer::new().stream("a", |_| Ok(Forwarder)).stream("b", |_| Ok(Forwarder));
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(open(&app, &layers).await);
    }
    settled().await;
    let message = Message::new(&Counted { n: 1 }).unwrap();
    ENCODED.store(0, Ordering::Relaxed);
    layer.group_send(&group("g"), message).await.unwrap();
    for client in &mut clients {
        let mut heard = [client.hear().await, client.hear().await];
        heard.sort();
        assert_eq!(heard, ["a", "b"].map(|name| on(name, r#"{"type":"counted","n":1}"#)));
    }
    assert_eq!(ENCODED.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_relayed_as_no_json_is_dropped() {
    let layer = InMemoryLayer::default();
    let relaying = Probe::new("relay room; accept");
    let app = Demultiplexer::new().stream("a", probe(&relaying));
    let mut client = open(&app, &layer.clone().into()).await;
    for text in ["no json", "hidden", "1"] {
        layer.group_send(&group("room"), message(text)).await.unwrap();
    }
    assert_eq!(client.hear().await, on("a", "1"));
    assert!(client.receive_nothing().await);
}

#[tokio::test(start_paused = true)]
async fn what_a_streams_handler_sends_comes_before_what_it_relays() {
    let a = Probe::new("accept");
    let app = Demultiplexer::new().stream("a", probe(&a));
    let mut client = open(&app, &InMemoryLayer::default().into()).await;
    ask(&mut client, "a", "relay room; group room 2; wait; send 1").await;
    assert!(client.receive_nothing().await, "held until the handler ends");
    a.let_go().await;
    assert_eq!([client.hear().await, client.hear().await], [on("a", "1"), on("a", "2")]);
    ask(&mut client, "a", "leave room; group room 3; send 4").await;
    assert_eq!(client.hear().await, on("a", "4"));
    assert!(client.receive_nothing().await);
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_misses_is_told_to_that_stream() {
    let layer = InMemoryLayer::new(Limits::default().capacity(Capacities::new(10)));
    let (a, b) =
        (Probe::new("join room; accept").missed("send true"), Probe::new("accept").missed("send false"));
    let app = Demultiplexer::new().stream("a", probe(&a)).stream("b", probe(&b));
    let mut client = open(&app, &layer.clone().into()).await;
    settled().await;
    ask(&mut client, "a", "wait").await;
    settled().await;
    let room = group("room");
    join_all((0..50).map(|n| layer.group_send(&room, message(n.to_string())))).await;
    a.let_go().await;
    assert_eq!(client.hear().await, on("a", "true"));
    assert!(client.receive_nothing().await);
    assert_eq!((a.log.of("missed"), b.log.of("missed").len()), (vec!["40".to_owned()], 0));
}
