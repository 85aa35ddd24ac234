//! A channel layer that is full or away costs an event and never a socket; in `connect` it costs the handshake.

use std::sync::Arc;

use consumers::testing::WebsocketCommunicator;
use consumers::{
    ChannelLayer, ChannelLayers, Context, Event, Frame, InMemoryLayer, Result, StatusCode, WebsocketConsumer,
    application,
};

use crate::support::{Call, Probe, Talk, TestLayer, Told, group, message, settled};

/// Each verb that talks to the layer, and the call that it fails by.
const VERBS: [(&str, Call); 8] = [
    ("join g", Call::NewChannel),
    ("join g", Call::GroupAdd),
    ("relay g", Call::NewChannel),
    ("relay g", Call::GroupAdd),
    ("name", Call::NewChannel),
    ("group g hi", Call::GroupSend),
    ("to a.channel hi", Call::Send),
    ("join g; leave g", Call::GroupDiscard),
];

/// The layer in both states of failure.
fn failing(call: Call) -> [(Arc<TestLayer>, &'static str); 2] {
    let (away, full) = (TestLayer::shared(), TestLayer::shared());
    away.lose(call);
    full.fill(call);
    [(away, "not available"), (full, "is full")]
}

#[tokio::test(start_paused = true)]
async fn in_connect_the_handshake_is_refused_with_503() {
    for (verb, call) in VERBS {
        for (layer, _) in failing(call) {
            let probe = Probe::new(verb);
            let denial = probe.client().layers(layer.clone()).refusal().await;
            assert_eq!(denial.status, StatusCode::SERVICE_UNAVAILABLE, "{verb} {call:?}");
            settled().await;
            assert_eq!(probe.log.all(), ["connect", "disconnect 1006"]);
            assert_eq!(layer.open_channels().await, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_receive_the_event_is_lost_the_hook_is_told_and_the_socket_lives() {
    for (verb, call) in VERBS {
        for (layer, why) in failing(call) {
            let probe = Probe::new("accept");
            let mut client = probe.client().layers(layer.clone());
            client.connect().await.unwrap();
            client.tell(&format!("{verb}; note unreachable")).await;
            client.tell("send still here").await;
            assert_eq!(client.hear().await, "still here", "{verb} {call:?}");
            let told = probe.log.of("layer_failed");
            assert!(told.len() == 1 && told[0].contains(why), "{told:?}");
            assert!(!probe.log.all().contains(&"unreachable".to_owned()));
            layer.heal();
            client.tell(&format!("{verb}; note reached")).await;
            settled().await;
            assert_eq!(probe.log.all().last().unwrap(), "reached", "the verb works again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_event_too() {
    let (layer, probe) = (TestLayer::shared(), Probe::new("join room; accept"));
    let mut client = probe.client().layers(layer.clone());
    client.connect().await.unwrap();
    layer.lose(Call::Send);
    layer.group_send(&group("room"), message("to a.channel hi; note unreachable")).await.unwrap();
    layer.group_send(&group("room"), message("send still here")).await.unwrap();
    assert_eq!(client.hear().await, "still here");
    let told = probe.log.of("layer_failed");
    assert!(told.len() == 1 && told[0].contains("not available"), "{told:?}");
    assert!(!probe.log.all().contains(&"unreachable".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_hook_may_speak_to_the_client() {
    let mut client = Probe::new("accept").layer_failed("send try again").open().await;
    client.tell("away").await;
    assert_eq!(client.hear().await, "try again");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_is_a_handler_that_fails() {
    for (hook, code) in [("fail", 1011), ("panic", 1011), ("close 4000", 4000), ("end 4001", 4001)] {
        let mut client = Probe::new("accept").layer_failed(hook).open().await;
        client.tell("away").await;
        assert_eq!(client.receive_close().await.unwrap().code.as_u16(), code, "{hook}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_meets_the_same_layer_is_not_asked_again() {
    let probe = Probe::new("accept").layer_failed("away");
    let mut client = probe.open().await;
    client.tell("away").await;
    client.tell("send still here").await;
    assert_eq!(client.hear().await, "still here");
    assert_eq!(probe.log.of("layer_failed").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_was_asked_for_stands_although_the_layer_then_fails() {
    for hook in ["", "away", "fail"] {
        let mut client = Probe::new("accept").layer_failed(hook).open().await;
        client.tell("close 4000; away").await;
        let close = client.receive_close().await.unwrap_or_else(|error| panic!("{hook:?}: {error}"));
        assert_eq!(close.code.as_u16(), if hook == "fail" { 1011 } else { 4000 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_the_hook_joins_passes_events_on() {
    let layer = TestLayer::shared();
    let mut client =
        Probe::new("accept").layer_failed("relay room; send sorry").client().layers(layer.clone());
    client.connect().await.unwrap();
    client.tell("away").await;
    assert_eq!(client.hear().await, "sorry");
    layer.group_send(&group("room"), message("news")).await.unwrap();
    assert_eq!(client.hear().await, "news");
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_away_in_disconnect_is_no_obstacle() {
    for call in [Call::GroupDiscard, Call::GroupSend] {
        let (layer, probe) = (TestLayer::shared(), Probe::new("join room; relay room; accept"));
        let probe = probe.disconnect("leave room; group room bye; note unreachable");
        let mut client = probe.client().layers(layer.clone());
        client.connect().await.unwrap();
        layer.lose(call);
        client.disconnect(1000).await;
        assert_eq!(probe.log.all(), ["connect", "disconnect 1000"]);
        settled().await;
        assert_eq!(layer.open_channels().await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_has_no_form_is_a_defect() {
    let mut client = Probe::new("accept").client().layers(InMemoryLayer::default());
    client.connect().await.unwrap();
    client.tell("unencodable").await;
    assert_eq!(client.receive_close().await.unwrap().code.as_u16(), 1011);
}

#[tokio::test(start_paused = true)]
async fn without_a_layer_the_verbs_that_need_one_are_defects() {
    for verb in ["join g", "relay g", "name", "group g hi", "to a.channel hi"] {
        let denial = Probe::new(verb).client().refusal().await;
        assert_eq!(denial.status, StatusCode::INTERNAL_SERVER_ERROR, "{verb}");
        let mut client = Probe::new("accept").open().await;
        client.tell(verb).await;
        assert_eq!(client.receive_close().await.unwrap().code.as_u16(), 1011, "{verb}");
    }
    let mut client = Probe::new("leave g; accept").open().await;
    client.tell("send hi").await;
    assert_eq!(client.hear().await, "hi");
}

#[tokio::test(start_paused = true)]
async fn a_closed_layer_is_a_layer_that_is_away() {
    let (layer, probe) = (InMemoryLayer::default(), Probe::new("join g; accept"));
    let mut client = probe.client().layers(layer.clone());
    client.connect().await.unwrap();
    layer.close().await.unwrap();
    client.tell("group g hi").await;
    client.tell("send still here").await;
    assert_eq!(client.hear().await, "still here");
    assert_eq!(probe.client().layers(layer).refusal().await.status, StatusCode::SERVICE_UNAVAILABLE);
}

/// Uses a layer of another name than the default one.
struct Trader;

impl WebsocketConsumer for Trader {
    type Incoming = Frame;
    type Event = Told;

    const LAYER: &'static str = "market";

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.join(&group("quotes")).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, _: &mut Context, _: Frame) -> Result {
        Ok(())
    }

    async fn event(&mut self, ctx: &mut Context, event: Event<Told>) -> Result {
        ctx.send(Frame::text(event.text().to_owned())).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_names_the_layer_that_it_uses() {
    let (default, market) = (InMemoryLayer::default(), InMemoryLayer::default());
    let layers = ChannelLayers::from(default.clone()).with("market", market.clone());
    let mut client = WebsocketCommunicator::new(application(|_| Ok(Trader)), "/").layers(layers);
    client.connect().await.unwrap();
    default.group_send(&group("quotes"), message("wrong")).await.unwrap();
    market.group_send(&group("quotes"), message("right")).await.unwrap();
    assert_eq!(client.hear().await, "right");
    let app = application(|_| Ok(Trader));
    let denial = WebsocketCommunicator::new(app, "/").layers(default).refusal().await;
    assert_eq!(denial.status, StatusCode::INTERNAL_SERVER_ERROR, "no such alias");
}
