//! Relays: one rendering for every socket, in order, behind what the handler itself sends.

use channel_layer::{Capacities, Limits};
use consumers::testing::WebsocketCommunicator;
use consumers::{ChannelLayer, ChannelLayers, InMemoryLayer, UNSENT_BYTES, UNSENT_FRAMES};
use futures_util::future::join_all;

use crate::support::{Probe, Talk, TestLayer, group, message, settled};

async fn relaying(probe: &Probe, layers: &ChannelLayers) -> WebsocketCommunicator {
    let mut client = probe.client().layers(layers.clone());
    client.connect().await.unwrap();
    client
}

#[tokio::test(start_paused = true)]
async fn a_thousand_sockets_get_the_same_frames_in_order() {
    let layer = TestLayer::shared();
    let (layers, probe) = (ChannelLayers::from(layer.clone()), Probe::new("relay room; accept"));
    let mut clients = Vec::new();
    for _ in 0..1000 {
        clients.push(relaying(&probe, &layers).await);
    }
    assert_eq!(layer.open_channels().await, 1, "they share one relay");
    for n in 0..200 {
        layer.group_send(&group("room"), message(n.to_string())).await.unwrap();
        if n % 70 == 0 {
            settled().await;
        }
    }
    for client in &mut clients {
        for n in 0..200 {
            assert_eq!(client.hear().await, n.to_string());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_handler_sends_comes_before_what_it_relays() {
    let layers = ChannelLayers::from(InMemoryLayer::default());
    let probe = Probe::new("relay room; group room second; wait; accept; send first");
    let mut client = probe.client().layers(layers.clone());
    probe.gate.add_permits(1);
    client.connect().await.unwrap();
    assert_eq!([client.hear().await, client.hear().await], ["first", "second"]);
    client.tell("relay more; group room third; group more fourth; wait; send snapshot").await;
    assert!(client.receive_nothing().await, "held until the handler ends");
    probe.let_go().await;
    let heard = [client.hear().await, client.hear().await, client.hear().await];
    assert!(heard[0] == "snapshot" && heard[1..].contains(&"third".into()), "{heard:?}");
    client.tell("relay room; group room sixth; send fifth").await;
    assert_eq!([client.hear().await, client.hear().await], ["fifth", "sixth"], "relayed already, held again");
    client.tell("group room live; wait").await;
    assert_eq!(client.hear().await, "live", "later handlers hold nothing back");
}

/// Sends a thousand events to a socket that relays them and whose handler runs; how many it gets, and misses.
async fn held_of_a_thousand(text: &str) -> (usize, usize) {
    let (layer, probe) = (InMemoryLayer::default(), Probe::new("accept"));
    let mut client = relaying(&probe, &layer.clone().into()).await;
    client.tell("relay room; wait").await;
    for n in 0..1000 {
        if n % 50 == 0 {
            settled().await;
        }
        layer.group_send(&group("room"), message(text)).await.unwrap();
    }
    settled().await;
    probe.let_go().await;
    let mut heard = 0;
    while !client.receive_nothing().await {
        assert_eq!(client.hear().await, text);
        heard += 1;
    }
    (heard, probe.log.of("missed").iter().map(|count| count.parse::<usize>().unwrap()).sum())
}

#[tokio::test(start_paused = true)]
async fn what_is_held_for_a_long_handler_is_bounded() {
    let large = "x".repeat(100_000);
    for (text, most) in [("small", UNSENT_FRAMES), (&large, UNSENT_BYTES / large.len())] {
        let (heard, missed) = held_of_a_thousand(text).await;
        // A batch that begins below the limit is taken whole.
        assert!((most..=most + 128).contains(&heard), "{heard} of at most {most}");
        assert_eq!(heard + missed, 1000, "losses are told");
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_ends_a_relay() {
    let layer = TestLayer::shared();
    let probe = Probe::new("relay room; relay room; accept");
    let mut client = relaying(&probe, &layer.clone().into()).await;
    client.tell("group room once").await;
    assert_eq!(client.hear().await, "once");
    client.tell("leave room").await;
    settled().await;
    assert_eq!(layer.open_channels().await, 0);
    layer.group_send(&group("room"), message("unheard")).await.unwrap();
    assert!(client.receive_nothing().await);
    client.tell("relay room; group room again").await;
    assert_eq!(client.hear().await, "again");
}

#[tokio::test(start_paused = true)]
async fn a_group_may_be_relayed_and_joined() {
    let probe = Probe::new("relay room; join room; accept");
    let mut client = relaying(&probe, &InMemoryLayer::default().into()).await;
    client.tell("group room both").await;
    assert_eq!(client.hear().await, "both");
    settled().await;
    assert_eq!(probe.log.of("event"), ["both"]);
    client.tell("leave room; group room neither").await;
    assert!(client.receive_nothing().await);
    assert_eq!(probe.log.of("event"), ["both"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_rendered_as_nothing_is_not_passed_on() {
    let layer = InMemoryLayer::default();
    let mut client = relaying(&Probe::new("relay room; accept"), &layer.clone().into()).await;
    for text in ["hidden", "shown", "hidden", "too"] {
        layer.group_send(&group("room"), message(text)).await.unwrap();
    }
    assert_eq!([client.hear().await, client.hear().await], ["shown", "too"]);
    assert!(client.receive_nothing().await);
}

#[tokio::test(start_paused = true)]
async fn what_a_relay_had_no_room_for_is_told_to_every_socket() {
    let layer = InMemoryLayer::new(Limits::default().capacity(Capacities::new(10)));
    let (layers, probes) =
        (ChannelLayers::from(layer.clone()), [0, 1].map(|_| Probe::new("relay room; accept")));
    let mut clients = [relaying(&probes[0], &layers).await, relaying(&probes[1], &layers).await];
    let room = group("room");
    join_all((0..50).map(|n| layer.group_send(&room, message(n.to_string())))).await;
    for (client, probe) in clients.iter_mut().zip(&probes) {
        let mut heard = 0;
        while !client.receive_nothing().await {
            assert_eq!(client.hear().await, heard.to_string());
            heard += 1;
        }
        assert_eq!(probe.log.of("missed"), [(50 - heard).to_string()]);
    }
}

#[tokio::test(start_paused = true)]
async fn relayed_events_pass_a_handler_that_runs() {
    let probe = Probe::new("relay room; accept");
    let layers = InMemoryLayer::default().into();
    let mut busy = relaying(&probe, &layers).await;
    busy.tell("wait").await;
    settled().await;
    let mut other = relaying(&probe, &layers).await;
    other.tell("group room news").await;
    assert_eq!([busy.hear().await, other.hear().await], ["news", "news"]);
    assert_eq!(probe.log.of("receive")[0], "wait");
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_could_not_start_leaves_nothing_behind() {
    let layer = TestLayer::shared();
    let probe = Probe::new("accept");
    let mut client = relaying(&probe, &layer.clone().into()).await;
    layer.lose(crate::support::Call::GroupAdd);
    client.tell("relay room").await;
    client.tell("send still here").await;
    assert_eq!(client.hear().await, "still here");
    assert_eq!(layer.open_channels().await, 0);
    layer.heal();
    client.tell("relay room; group room now").await;
    assert_eq!(client.hear().await, "now");
}

#[tokio::test(start_paused = true)]
async fn who_keeps_up_with_a_relay_by_the_latest_gets_every_event() {
    let layer = TestLayer::shared();
    let (probe, layers) = (Probe::new("latest room; accept"), ChannelLayers::from(layer.clone()));
    let (mut one, mut two) = (relaying(&probe, &layers).await, relaying(&probe, &layers).await);
    assert_eq!(layer.open_channels().await, 1, "they share one relay");
    let _plain = relaying(&Probe::new("relay room; accept"), &layers).await;
    assert_eq!(layer.open_channels().await, 2, "but not with those who relay the group in another way");
    for n in 0..100 {
        layer.group_send(&group("room"), message(format!("key {n}"))).await.unwrap();
    }
    for n in 0..100 {
        assert_eq!([one.hear().await, two.hear().await], [format!("key {n}"), format!("key {n}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_of_a_relay_by_the_latest_is_the_latest() {
    let (layer, probe) = (InMemoryLayer::default(), Probe::new("accept"));
    let mut client = relaying(&probe, &layer.clone().into()).await;
    client.tell("latest room; wait; send snapshot").await;
    settled().await;
    for n in 0..1000 {
        layer.group_send(&group("room"), message(format!("{} {n}", n % 3))).await.unwrap();
        settled().await;
    }
    probe.let_go().await;
    let heard = [client.hear().await, client.hear().await, client.hear().await, client.hear().await];
    assert_eq!(heard, ["snapshot", "0 999", "1 997", "2 998"]);
    client.tell("leave room; latest room; group room again; wait").await;
    assert!(client.receive_nothing().await, "held again");
    probe.let_go().await;
    assert_eq!(client.hear().await, "again");
    assert_eq!(probe.log.of("missed").len(), 0);
}
