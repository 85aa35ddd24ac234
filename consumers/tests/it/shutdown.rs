//! The orderly end: 1012 for everyone, handlers finish, nothing hangs past the deadline.

use std::time::Duration;

use consumers::testing::WebsocketCommunicator;
use consumers::{ChannelLayers, Outbound, Shutdown, StatusCode, Transport};
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::support::{Probe, Silent, Talk, TestLayer, open_over, settled};

async fn open(probe: &Probe, shutdown: &Shutdown) -> WebsocketCommunicator {
    let mut client = probe.client().shutdown(shutdown);
    client.connect().await.unwrap();
    client
}

/// Drains and says how many milliseconds it took.
async fn drain(shutdown: &Shutdown, deadline: u64) -> u128 {
    let start = Instant::now();
    shutdown.drain(Duration::from_secs(deadline)).await;
    start.elapsed().as_millis()
}

#[tokio::test(start_paused = true)]
async fn two_thousand_idle_sockets_end_at_once() {
    let (layer, shutdown) = (TestLayer::shared(), Shutdown::new());
    let layers = ChannelLayers::from(layer.clone());
    let probe = Probe::new("join room; relay room; accept");
    let mut clients = Vec::new();
    for _ in 0..2000 {
        let mut client = probe.client().layers(layers.clone()).shutdown(&shutdown);
        client.connect().await.unwrap();
        clients.push(client);
    }
    assert_eq!(layer.open_channels().await, 2001);
    settled().await;
    assert_eq!(drain(&shutdown, 5).await, 0);
    assert_eq!(probe.log.of("disconnect"), vec!["1012"; 2000]);
    for client in &mut clients {
        assert_eq!(client.receive_close().await.unwrap().code.as_u16(), 1012);
    }
    settled().await;
    assert_eq!(layer.open_channels().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_in_progress_finishes_first() {
    let (probe, shutdown) = (Probe::new("accept"), Shutdown::new());
    let mut client = open(&probe, &shutdown).await;
    client.tell("wait; send last words; note finished").await;
    client.tell("never handled").await;
    settled().await;
    let opener = probe.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        opener.gate.add_permits(1);
    });
    assert_eq!(drain(&shutdown, 5).await, 3000);
    assert_eq!(probe.log.all()[2..], ["finished", "disconnect 1012"].map(str::to_owned));
    let (heard, close) = client.hear_all().await;
    assert_eq!((heard, close.code.as_u16()), (vec!["last words".to_owned()], 1012));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_handler_is_dropped_at_the_deadline_and_disconnect_still_runs() {
    let (probe, shutdown) = (Probe::new("accept").disconnect("yield; note said goodbye"), Shutdown::new());
    let mut client = open(&probe, &shutdown).await;
    client.tell("hang").await;
    settled().await;
    assert_eq!(drain(&shutdown, 5).await, 5000);
    assert_eq!(probe.log.all()[2..], ["disconnect 1012", "said goodbye"].map(str::to_owned));
    assert_eq!(client.receive_close().await.unwrap().code.as_u16(), 1012);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_connect_is_dropped_at_the_deadline_and_refused() {
    let (probe, shutdown) = (Probe::new("hang"), Shutdown::new());
    let mut client = probe.client().shutdown(&shutdown);
    let refusal = tokio::spawn(async move { client.refusal().await });
    settled().await;
    assert_eq!(drain(&shutdown, 0).await, 0);
    assert_eq!(refusal.await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(probe.log.of("disconnect"), ["1006"]);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_nobody_answers_is_refused() {
    let (probe, shutdown) = (Probe::new("note undecided"), Shutdown::new());
    let mut client = probe.client().shutdown(&shutdown);
    let refusal = tokio::spawn(async move { client.refusal().await });
    settled().await;
    assert_eq!(drain(&shutdown, 5).await, 0);
    assert_eq!(refusal.await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn new_connections_are_refused_with_503() {
    let (probe, shutdown) = (Probe::new("accept"), Shutdown::new());
    assert!(!shutdown.is_draining());
    assert_eq!(drain(&shutdown, 5).await, 0);
    assert!(shutdown.is_draining());
    shutdown.draining().await;
    let denial = probe.client().shutdown(&shutdown).refusal().await;
    assert_eq!(denial.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(probe.log.all().len(), 0, "no consumer was made");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_disconnect_does_not_hang_the_drain() {
    let (probe, shutdown) = (Probe::new("accept").disconnect("hang"), Shutdown::new());
    let _idle = open(&probe, &shutdown).await;
    open(&probe, &shutdown).await.disconnect(1000).await;
    assert_eq!(drain(&shutdown, 5).await, 5500);
    assert_eq!(probe.log.of("disconnect"), ["1000", "1012"]);
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_that_has_begun_before_the_deadline_gets_half_a_second_too() {
    let (probe, shutdown) = (Probe::new("accept").disconnect("wait; note said goodbye"), Shutdown::new());
    let _client = open(&probe, &shutdown).await;
    let opener = probe.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(5300)).await;
        opener.gate.add_permits(1);
    });
    assert_eq!(drain(&shutdown, 5).await, 5300);
    assert_eq!(probe.log.all()[1..], ["disconnect 1012", "said goodbye"].map(str::to_owned));
}

#[tokio::test(start_paused = true)]
async fn a_handler_and_a_disconnect_that_both_hang_get_half_a_second_more() {
    let (probe, shutdown) = (Probe::new("accept").disconnect("hang"), Shutdown::new());
    let mut client = open(&probe, &shutdown).await;
    client.tell("hang").await;
    settled().await;
    assert_eq!(drain(&shutdown, 5).await, 5500);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_does_not_hang_the_drain() {
    let (probe, shutdown) = (Probe::new("accept"), Shutdown::new());
    let mut client = open(&probe, &shutdown).await;
    client.tell("flood 200").await;
    settled().await;
    assert_eq!(drain(&shutdown, 5).await, 5000);
    assert_eq!(probe.log.of("disconnect"), ["1012"]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_a_close_does_not_outlive_the_deadline() {
    let (probe, shutdown) = (Probe::new("accept; close 4000"), Shutdown::new());
    let (transport, _answer) = Transport::new(Silent, Outbound::new(), shutdown.clone());
    shutdown.spawn(open_over(probe.app(), ChannelLayers::default(), transport));
    settled().await;
    assert_eq!(probe.log.of("disconnect"), ["4000"]);
    assert_eq!(drain(&shutdown, 5).await, 5000);
}

#[tokio::test]
async fn a_connection_counts_before_its_first_turn() {
    let shutdown = Shutdown::new();
    let (told, hears) = tokio::sync::oneshot::channel();
    let end = shutdown.clone();
    let connection = async move {
        let has_ended = end.drain(Duration::from_secs(1)).now_or_never().is_some();
        told.send(has_ended).unwrap();
    };
    shutdown.begin(connection).await;
    assert!(!hears.await.unwrap(), "it would end without this connection");
}

#[tokio::test]
async fn a_connection_that_panics_in_its_first_turn_ends_alone() {
    let shutdown = Shutdown::new();
    shutdown.begin(async { panic!("at once") }).await;
    shutdown.drain(Duration::from_secs(1)).await;
}
