//! Handlers run one after another, in order, to their end; the socket is served beside them, within bounds.

use std::time::Duration;

use consumers::testing::WebsocketCommunicator;
use consumers::{ChannelLayer, Context, Event, Frame, InMemoryLayer, Result, WebsocketConsumer, application};
use tokio::time::timeout;

use crate::support::{Probe, Talk, Told, group, message, settled, told};

#[tokio::test(start_paused = true)]
async fn handlers_run_in_order_and_never_overlap() {
    let probe = Probe::new("accept");
    let mut client = probe.open().await;
    for n in 0..20 {
        client.tell(&format!("yield; wait; yield; note done {n}")).await;
    }
    for n in 0..20 {
        settled().await;
        let log = probe.log.all();
        assert_eq!((log.len(), probe.log.of("done").len()), (2 + 2 * n, n), "{log:?}");
        probe.let_go().await;
    }
    assert_eq!(probe.log.of("done"), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_has_started_finishes_whatever_happens_meanwhile() {
    let (layer, probe) = (InMemoryLayer::default(), Probe::new("join room; accept"));
    let mut client = probe.client().layers(layer.clone());
    client.connect().await.unwrap();
    client.tell("wait; note half; wait; note finished").await;
    settled().await;
    for n in 0..1000 {
        if n % 50 == 0 {
            client.tell("x").await;
        }
        layer.group_send(&group("room"), message("event")).await.unwrap();
        tokio::task::yield_now().await;
    }
    let ending = tokio::spawn(client.disconnect(1000));
    for expected in ["receive wait; note half; wait; note finished", "half"] {
        settled().await;
        assert_eq!(probe.log.all().last().unwrap(), expected);
        probe.let_go().await;
    }
    ending.await.unwrap();
    let log = probe.log.all();
    assert_eq!(log[3], "finished");
    assert_eq!(log.last().unwrap(), "disconnect 1000");
    assert_eq!(log.iter().filter(|entry| *entry == "receive x").count(), 20);
}

#[tokio::test(start_paused = true)]
async fn an_event_handler_finishes_although_frames_come() {
    let (layer, probe) = (InMemoryLayer::default(), Probe::new("join room; accept"));
    let mut client = probe.client().layers(layer.clone());
    client.connect().await.unwrap();
    layer.group_send(&group("room"), message("wait; note finished")).await.unwrap();
    settled().await;
    client.tell("frame").await;
    settled().await;
    assert_eq!(probe.log.all().last().unwrap(), "event wait; note finished");
    probe.let_go().await;
    assert_eq!(probe.log.all()[2..], ["finished", "receive frame"]);
}

/// Sends every event on to its own group again, so that there is always one more to hear.
struct Perpetual(u32);

/// How often; bounded, so that a starved socket fails its test instead of hanging it.
const TURNS: u32 = 10_000;

impl WebsocketConsumer for Perpetual {
    type Incoming = Frame;
    type Event = Told;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.join(&group("loop")).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        if frame.payload() == b"start" {
            return ctx.group_send(&group("loop"), &told("again")).await;
        }
        ctx.send(Frame::text(self.0.to_string())).await
    }

    async fn event(&mut self, ctx: &mut Context, event: Event<Told>) -> Result {
        self.0 += 1;
        if self.0 < TURNS { ctx.group_send(&group("loop"), &*event).await } else { Ok(()) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_events_does_not_starve_frames() {
    let app = application(|_| Ok(Perpetual(0)));
    let mut client = WebsocketCommunicator::new(app, "/").layers(InMemoryLayer::default());
    client.connect().await.unwrap();
    client.tell("start").await;
    for _ in 0..10 {
        client.tell("how many?").await;
        assert!(client.hear().await.parse::<u32>().unwrap() < TURNS / 2, "frames had to wait for all events");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_frames_does_not_starve_events() {
    let (layer, probe) = (InMemoryLayer::default(), Probe::new("join room; accept"));
    let mut client = probe.client().layers(layer.clone());
    client.connect().await.unwrap();
    for n in 0..500 {
        client.tell("frame").await;
        if n % 50 == 0 {
            layer.group_send(&group("room"), message("event")).await.unwrap();
        }
    }
    settled().await;
    let log = probe.log.all();
    assert_eq!((probe.log.of("receive").len(), probe.log.of("event").len()), (500, 10));
    let last_event = log.iter().rposition(|entry| entry.starts_with("event")).unwrap();
    assert!(last_event < 500, "the events had to wait for all frames: {last_event}");
}

#[tokio::test(start_paused = true)]
async fn waiting_frames_and_waiting_events_take_turns() {
    let (layer, probe) = (InMemoryLayer::default(), Probe::new("join room; accept"));
    let mut client = probe.client().layers(layer.clone());
    client.connect().await.unwrap();
    client.tell("wait").await;
    settled().await;
    for _ in 0..70 {
        client.tell("frame").await;
        layer.group_send(&group("room"), message("event")).await.unwrap();
    }
    probe.let_go().await;
    let first: Vec<_> = probe.log.all().into_iter().skip(2).take(60).collect();
    let frames = first.iter().filter(|entry| entry.starts_with("receive")).count();
    assert!((1..60).contains(&frames), "one kind had to wait for the other: {first:?}");
}

#[tokio::test(start_paused = true)]
async fn frames_are_read_ahead_only_so_far() {
    let probe = Probe::new("accept");
    let mut client = probe.open().await;
    client.tell("wait").await;
    let mut sent = 0;
    // What is not taken within a second is not taken at all, on this clock.
    while timeout(Duration::from_secs(1), client.tell(&sent.to_string())).await.is_ok() {
        sent += 1;
        assert!(sent < 1000, "the client is never made to wait");
    }
    // Of these, 64 wait in the communicator's own channel; that there are more shows that the socket is read
    // beside a running handler.
    assert!((64 + 8..64 + 32).contains(&sent), "{sent} are read ahead");
    probe.let_go().await;
    assert_eq!(probe.log.of("receive")[1..], (0..sent).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn sends_to_a_client_that_is_gone_say_so() {
    let probe = Probe::new("accept");
    let mut client = probe.open().await;
    client.tell("wait; try 1; yield; try 2; send 3; note unreachable").await;
    settled().await;
    drop(client);
    probe.let_go().await;
    assert_eq!(probe.log.of("tried").last().unwrap(), "Err(the socket has ended)");
    assert_eq!(probe.log.all().last().unwrap(), "disconnect 1006", "an error that says so is no defect");
    assert!(!probe.log.all().contains(&"unreachable".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_a_running_handler_sends_arrives_while_it_runs() {
    let probe = Probe::new("accept");
    let mut client = probe.open().await;
    client.tell("send 1; wait; send 2").await;
    assert_eq!(client.hear().await, "1");
    assert!(client.receive_nothing().await);
    probe.let_go().await;
    assert_eq!(client.hear().await, "2");
}
