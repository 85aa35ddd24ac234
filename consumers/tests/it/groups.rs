//! Groups and channels as consumers hear them: join, leave, forward, unknown events, limits, expiry, losses.

use std::collections::BTreeMap;
use std::time::Duration;

use channel_layer::{Capacities, Limits};
use consumers::testing::WebsocketCommunicator;
use consumers::{
    ChannelLayer, Context, Event, Frame, GROUPS_PER_CONNECTION, InMemoryLayer, Message, NoEvents, Result,
    WebsocketConsumer, application,
};

use crate::support::{Probe, Talk, TestLayer, Told, group, message, settled, told};

async fn member(layer: &InMemoryLayer, script: &'static str) -> (Probe, WebsocketCommunicator) {
    let probe = Probe::new(script);
    let mut client = probe.client().layers(layer.clone());
    client.connect().await.unwrap();
    (probe, client)
}

#[tokio::test(start_paused = true)]
async fn a_member_hears_its_group_from_join_to_leave_and_joins_but_once() {
    let layer = InMemoryLayer::default();
    let (probe, mut client) = member(&layer, "join room; join room; accept").await;
    layer.group_send(&group("room"), message("one")).await.unwrap();
    layer.group_send(&group("other"), message("elsewhere")).await.unwrap();
    settled().await;
    assert_eq!(probe.log.of("event"), ["one"]);
    client.tell("leave room; leave room; leave never-joined").await;
    settled().await;
    layer.group_send(&group("room"), message("two")).await.unwrap();
    settled().await;
    assert_eq!(probe.log.of("event"), ["one"]);
    client.tell("join room; group room three").await;
    settled().await;
    assert_eq!(probe.log.of("event"), ["one", "three"]);
}

/// Forwards what it hears, as consumers do by default.
struct Forwarder;

impl WebsocketConsumer for Forwarder {
    type Incoming = Frame;
    type Event = Told;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.join(&group("room")).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        ctx.send(frame).await
    }
}

async fn forwarder(layer: &InMemoryLayer) -> WebsocketCommunicator {
    let mut client = WebsocketCommunicator::new(application(|_| Ok(Forwarder)), "/").layers(layer.clone());
    client.connect().await.unwrap();
    client
}

#[tokio::test(start_paused = true)]
async fn events_are_forwarded_as_json_by_default() {
    let layer = InMemoryLayer::default();
    let mut clients = [forwarder(&layer).await, forwarder(&layer).await];
    layer.group_send(&group("room"), message("hi")).await.unwrap();
    for client in &mut clients {
        assert_eq!(client.hear().await, r#"{"type":"chat.message","text":"hi"}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_of_an_unknown_type_is_dropped_and_the_socket_lives() {
    let layer = InMemoryLayer::default();
    let mut client = forwarder(&layer).await;
    for kind in ["websocket.disconnect", "close", "_private", ".private", "chat.message"] {
        // The last one has a type that is known, but not the text that belongs to it.
        let unknown = Message::new(&BTreeMap::from([("type", kind)])).unwrap();
        layer.group_send(&group("room"), unknown).await.unwrap();
    }
    layer.group_send(&group("room"), message("known")).await.unwrap();
    assert_eq!(client.receive_json::<Told>().await.unwrap(), told("known"));
}

/// Hides from its client what its client said.
struct Muting(String);

impl WebsocketConsumer for Muting {
    type Incoming = String;
    type Event = Told;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.join(&group("room")).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, text: String) -> Result {
        self.0.clone_from(&text);
        ctx.group_send(&group("room"), &told(text)).await
    }

    async fn event(&mut self, ctx: &mut Context, event: Event<Told>) -> Result {
        if event.text() == self.0 {
            return ctx.send_json("sent").await;
        }
        ctx.forward(&event).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_may_be_customised_for_one_receiver() {
    let layer = InMemoryLayer::default();
    let client = || WebsocketCommunicator::new(application(|_| Ok(Muting(String::new()))), "/");
    let mut speaker = client().layers(layer.clone());
    let mut listener = client().layers(layer.clone());
    speaker.connect().await.unwrap();
    listener.connect().await.unwrap();
    speaker.tell("hello").await;
    assert_eq!(speaker.receive_json::<String>().await.unwrap(), "sent");
    assert_eq!(listener.receive_json::<Told>().await.unwrap(), told("hello"));
}

/// Hears nothing, although it is in a group.
struct Deaf;

impl WebsocketConsumer for Deaf {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.join(&group("room")).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        ctx.send(frame).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_without_events_drops_them() {
    let layer = InMemoryLayer::default();
    let mut client = WebsocketCommunicator::new(application(|_| Ok(Deaf)), "/").layers(layer.clone());
    client.connect().await.unwrap();
    layer.group_send(&group("room"), message("hi")).await.unwrap();
    assert!(client.receive_nothing().await);
    client.tell("still here").await;
    assert_eq!(client.hear().await, "still here");
}

/// Joins and relays as many groups as it may, and one more when asked.
struct Greedy;

impl WebsocketConsumer for Greedy {
    type Incoming = String;
    type Event = Told;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.relay(&group("relayed"), crate::support::bare).await?;
        for n in 1..GROUPS_PER_CONNECTION {
            ctx.join(&group(&n.to_string())).await?;
        }
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, what: String) -> Result {
        match what.as_str() {
            "again" => ctx.join(&group("1")).await?,
            "swap" => {
                ctx.leave(&group("1")).await?;
                ctx.relay(&group("one.more"), crate::support::bare).await?;
            }
            _ => ctx.join(&group("one.more")).await?,
        }
        ctx.send(Frame::text(what)).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_in_so_many_groups_and_no_more() {
    let mut client =
        WebsocketCommunicator::new(application(|_| Ok(Greedy)), "/").layers(InMemoryLayer::default());
    client.connect().await.unwrap();
    for what in ["again", "swap"] {
        client.tell(what).await;
        assert_eq!(client.hear().await, what);
    }
    client.tell("one more").await;
    assert_eq!(client.receive_close().await.unwrap().code.as_u16(), 1011);
}

#[tokio::test(start_paused = true)]
async fn a_membership_is_renewed_for_as_long_as_the_socket_lives() {
    let layer = InMemoryLayer::default();
    let (joined, _client) = member(&layer, "join room; accept").await;
    let (_, mut relaying) = member(&layer, "relay room; accept").await;
    for hours in (20..300).step_by(20) {
        tokio::time::sleep(Duration::from_secs(20 * 3600)).await;
        layer.group_send(&group("room"), message(format!("{hours} hours"))).await.unwrap();
        assert_eq!(relaying.hear().await, format!("{hours} hours"));
        assert_eq!(joined.log.of("event").last(), Some(&format!("{hours} hours")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_client_does_not_keep_its_memberships_from_being_renewed() {
    let layer = TestLayer::new(Limits::default().group_expiry(Duration::from_secs(3)));
    let probe = Probe::new("join a; join b; join c; accept");
    let mut client = probe.client().layers(layer.clone());
    client.connect().await.unwrap();
    layer.slow_down(Duration::from_millis(50));
    for _ in 0..1000 {
        client.tell("group c tick").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for name in ["a", "b"] {
        layer.group_send(&group(name), message(name)).await.unwrap();
    }
    settled().await;
    let heard = probe.log.of("event");
    assert_eq!((heard.len(), &heard[1000..]), (1002, &["a", "b"].map(str::to_owned)[..]));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_left_while_it_is_renewed_is_left() {
    let layer = TestLayer::new(Limits::default().group_expiry(Duration::from_secs(3)));
    let probe = Probe::new("join a; join b; accept");
    let mut client = probe.client().layers(layer.clone());
    client.connect().await.unwrap();
    layer.slow_down(Duration::from_millis(50));
    tokio::time::sleep(Duration::from_millis(1020)).await;
    client.tell("leave a; leave b; join c").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for name in ["a", "b", "c"] {
        layer.group_send(&group(name), message(name)).await.unwrap();
    }
    settled().await;
    assert_eq!(probe.log.of("event"), ["c"]);
}

/// Leaves the group `left` when it hears of anything.
struct Leaver;

impl WebsocketConsumer for Leaver {
    type Incoming = Frame;
    type Event = Told;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.join(&group("left")).await?;
        ctx.join(&group("room")).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, _: &mut Context, _: Frame) -> Result {
        Ok(())
    }

    async fn event(&mut self, ctx: &mut Context, told: Event<Told>) -> Result {
        ctx.leave(&group("left")).await?;
        ctx.forward(&told).await
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_a_group_when_told_is_renewed_in_the_others() {
    let layer = TestLayer::new(Limits::default().group_expiry(Duration::from_secs(3)));
    let mut client = WebsocketCommunicator::new(application(|_| Ok(Leaver)), "/").layers(layer.clone());
    client.connect().await.unwrap();
    layer.slow_down(Duration::from_millis(50));
    // In the middle of a renewal, so that it has to start anew.
    tokio::time::sleep(Duration::from_millis(1020)).await;
    layer.group_send(&group("room"), message("leave")).await.unwrap();
    assert_eq!(client.receive_json::<Told>().await.unwrap().text(), "leave");
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        layer.group_send(&group("left"), message("nobody hears this")).await.unwrap();
        layer.group_send(&group("room"), message("still here")).await.unwrap();
        assert_eq!(client.receive_json::<Told>().await.unwrap().text(), "still here");
    }
}

#[tokio::test(start_paused = true)]
async fn consumers_answer_one_another_by_channel_name() {
    let layer = InMemoryLayer::default();
    let (asking, mut asker) = member(&layer, "accept").await;
    let (_, mut answerer) = member(&layer, "accept").await;
    asker.tell("name; name").await;
    let name = asker.hear().await;
    assert_eq!(asker.hear().await, name, "a connection has one channel");
    answerer.tell(&format!("to {name} hello there")).await;
    settled().await;
    assert_eq!(asking.log.of("event"), ["hello there"]);
}

#[tokio::test(start_paused = true)]
async fn what_overflows_while_a_handler_runs_is_told_with_its_count() {
    let layer = InMemoryLayer::new(Limits::default().capacity(Capacities::new(3)));
    let (probe, mut client) = member(&layer, "join room; accept").await;
    client.tell("wait").await;
    settled().await;
    for n in 0..8 {
        layer.group_send(&group("room"), message(n.to_string())).await.unwrap();
    }
    probe.let_go().await;
    assert_eq!(probe.log.all()[2..], ["event 0", "event 1", "event 2", "missed 5"]);
    assert_eq!(layer.losses().overflowed, 5);
    client.tell("group room news").await;
    settled().await;
    assert_eq!(probe.log.all().last().unwrap(), "event news");
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_costs_the_sender_its_event_and_not_its_socket() {
    let layer = InMemoryLayer::new(Limits::default().capacity(Capacities::new(1)));
    let (slow, mut receiver) = member(&layer, "accept").await;
    let (probe, mut sender) = member(&layer, "accept").await;
    receiver.tell("name; wait").await;
    let name = receiver.hear().await;
    sender.tell(&format!("to {name} 1; to {name} 2; to {name} 3")).await;
    sender.tell("send still here").await;
    assert_eq!(sender.hear().await, "still here");
    assert_eq!(probe.log.of("layer_failed").len(), 1);
    slow.let_go().await;
    assert_eq!(slow.log.of("event"), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_missed_hook_that_fails_is_a_handler_that_fails() {
    let layer = InMemoryLayer::new(Limits::default().capacity(Capacities::new(1)));
    let probe = Probe::new("join room; accept").missed("end 4000 reload");
    let mut client = probe.client().layers(layer.clone());
    client.connect().await.unwrap();
    client.tell("wait").await;
    settled().await;
    for n in 0..3 {
        layer.group_send(&group("room"), message(n.to_string())).await.unwrap();
    }
    probe.let_go().await;
    assert_eq!(client.receive_close().await.unwrap().code.as_u16(), 4000);
}
