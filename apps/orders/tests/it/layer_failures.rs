//! A channel layer that is away or slow, and clients that hang up, hold up no write; and no write is left untold.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use routing::consumers::channel_layer::{Capacities, Limits};
use serde_json::{Value, json};

use crate::site::{Client, Site, next, next_event, start};
use crate::test_layer::{Call, TestLayer};

#[tokio::test]
async fn writes_that_cannot_be_told_are_told_when_the_layer_is_back() {
    let layer = TestLayer::new(Limits::default());
    let site = Site::on(Arc::clone(&layer)).await;
    let mut socket = site.started("ana").await;
    layer.fail(Some(Call::GroupSend));
    for instrument in ["A", "B"] {
        site.client("ana").order(instrument, "2", "3").await;
    }
    assert!(socket.receive_nothing().await);
    assert_eq!(start(&mut site.socket("ana").await).await["sum"], "12", "they are written");
    layer.fail(None);
    site.client("ana").order("C", "1", "1").await;
    for expected in ["create A 6", "create B 6", "create C 1"] {
        assert_eq!(next_event(&mut socket).await, expected);
    }
}

#[tokio::test]
async fn a_start_that_the_layer_fails_is_answered_and_can_be_tried_again() {
    let layer = TestLayer::new(Limits::default());
    let site = Site::on(Arc::clone(&layer)).await;
    let mut socket = site.socket("ana").await;
    for call in [Call::NewChannel, Call::GroupAdd] {
        layer.fail(Some(call));
        for _ in 0..2 {
            socket.send_json(&json!({"type": "realtime.start"})).await;
            let answer = next(&mut socket).await;
            let expected = json!({"type": "error", "detail": "realtime is not available now: try again"});
            assert_eq!(answer, expected, "{call:?}");
        }
        layer.fail(None);
        start(&mut socket).await;
        site.client("ana").order("A", "1", "1").await;
        assert_eq!(next_event(&mut socket).await, "create A 1");
        socket.send_json(&json!({"type": "realtime.stop"})).await;
        assert_eq!(next(&mut socket).await["type"], "realtime.stopped");
    }
}

#[tokio::test]
async fn a_failed_start_does_not_keep_others_from_starting() {
    let layer = TestLayer::new(Limits::default());
    let site = Site::on(Arc::clone(&layer)).await;
    let (mut first, mut second) = (site.socket("ana").await, site.socket("ana").await);
    layer.fail(Some(Call::GroupAdd));
    first.send_json(&json!({"type": "realtime.start"})).await;
    assert_eq!(next(&mut first).await["type"], "error");
    layer.fail(None);
    start(&mut second).await;
    site.client("ana").order("A", "1", "1").await;
    assert_eq!(next_event(&mut second).await, "create A 1");
    assert!(first.receive_nothing().await);
}

#[tokio::test]
async fn who_misses_events_is_told() {
    let layer = TestLayer::new(Limits::default().capacity(Capacities::new(2)));
    let site = Site::on(Arc::clone(&layer)).await;
    let mut socket = site.started("ana").await;
    layer.stammer(true);
    site.client("ana").order("A", "1", "1").await;
    // What comes five times is one write; and the layer has room for two.
    let messages = [next(&mut socket).await, next(&mut socket).await];
    layer.stammer(false);
    let is_missed = |message: &Value| message["type"] == "realtime.missed";
    let missed: Vec<_> = messages.iter().filter(|message| is_missed(message)).collect();
    assert_eq!(missed, [&json!({"type": "realtime.missed", "count": null})]);
    site.client("ana").order("B", "1", "1").await;
    assert_eq!(next_event(&mut socket).await, "create B 1", "and hears on");
}

#[tokio::test]
async fn a_slow_layer_keeps_the_order_of_commits() {
    let layer = TestLayer::new(Limits::default());
    let site = Site::on(Arc::clone(&layer)).await;
    let mut socket = site.started("boss").await;
    layer.close_gate();
    site.client("ana").order("A", "1", "1").await;
    layer.arrived.notified().await;
    site.client("ben").order("B", "1", "1").await;
    assert!(socket.receive_nothing().await, "nobody has waited for the layer");
    layer.open_gate();
    assert_eq!(next_event(&mut socket).await, "create A 1");
    assert_eq!(next_event(&mut socket).await, "create B 1");
}

/// Polls a request so many times, unless it is done before, and drops it.
async fn hang_up_after(polls: usize, request: impl Future) -> bool {
    let mut request = pin!(request);
    for _ in 0..polls {
        if poll_fn(|cx| Poll::Ready(request.as_mut().poll(cx).is_ready())).await {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// The instruments of all orders.
async fn written(client: &Client) -> BTreeSet<String> {
    let list = client.json("/api/data/?page_size=100").await;
    let orders = list["results"].as_array().unwrap();
    orders.iter().map(|order| order["instrument"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn wherever_a_client_hangs_up_what_is_written_is_told() {
    let site = Site::new().await;
    let mut socket = site.started("ana").await;
    let ana = site.client("ana");
    let mut answered = 0;
    for attempt in 0..60 {
        let name = attempt.to_string();
        answered += usize::from(hang_up_after(attempt, ana.order(&name, "1", "1")).await);
    }
    assert!(answered < 60, "some hung up");
    // A write that was hung up on may still be under way, so what is told is compared until it is what is written.
    let mut told = BTreeSet::new();
    while told != written(&ana).await {
        let name = next_event(&mut socket).await.split(' ').nth(1).unwrap().to_owned();
        assert!(told.insert(name), "each is told once");
    }
    assert!(told.len() >= answered);
}
