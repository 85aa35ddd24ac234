//! A client that reads too slowly: it slows itself only, is told what it missed, and is closed in the end.

use std::time::Duration;

use consumers::testing::WebsocketCommunicator;
use consumers::{
    ChannelLayer, ChannelLayers, Context, Demultiplexer, Frame, InMemoryLayer, Missed, NoEvents, Result,
    SlowReader, UNSENT_FRAMES, UNSENT_KEYS, WebsocketConsumer, application, slow_readers,
};

use crate::support::{Probe, Talk, bare, group, kilobyte, message, settled};

/// Some 63 of these events fill the pipe, and 256 more the queue.
async fn flood(layer: &InMemoryLayer, count: usize) {
    for n in 0..count {
        layer.group_send(&group("room"), message(kilobyte(n))).await.unwrap();
        settled().await;
    }
}

async fn open(probe: &Probe, layers: &ChannelLayers) -> WebsocketCommunicator {
    let mut client = probe.client().layers(layers.clone());
    client.connect().await.unwrap();
    client
}

/// Everything that the client is owed, by number.
async fn catch_up(client: &mut WebsocketCommunicator) -> Vec<usize> {
    let mut heard = Vec::new();
    while !client.receive_nothing().await {
        heard.push(client.hear().await.trim().parse().unwrap());
    }
    heard
}

async fn seconds(seconds: f32) {
    tokio::time::sleep(Duration::from_secs_f32(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn others_get_everything_and_the_slow_one_is_told_what_it_missed() {
    let layer = InMemoryLayer::default();
    let layers = ChannelLayers::from(layer.clone());
    let (slow, fast) = (Probe::new("relay room; accept"), Probe::new("relay room; accept"));
    let (mut slow_client, mut fast_client) = (open(&slow, &layers).await, open(&fast, &layers).await);
    let reading = tokio::spawn(async move {
        for n in 0..1000 {
            assert_eq!(fast_client.hear().await, kilobyte(n));
        }
    });
    flood(&layer, 1000).await;
    reading.await.unwrap();
    let heard = catch_up(&mut slow_client).await;
    assert_eq!(heard, (0..heard.len()).collect::<Vec<_>>(), "in order and without a gap");
    assert!((UNSENT_FRAMES..UNSENT_FRAMES + 70).contains(&heard.len()), "{}", heard.len());
    let missed: usize = slow.log.of("missed").iter().map(|count| count.parse::<usize>().unwrap()).sum();
    assert_eq!(heard.len() + missed, 1000);
    assert_eq!(fast.log.of("missed").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_ten_seconds_it_is_closed_with_1013() {
    let layer = InMemoryLayer::default();
    let probe = Probe::new("relay room; join room; accept");
    let mut client = open(&probe, &layer.clone().into()).await;
    flood(&layer, 400).await;
    seconds(9.5).await;
    assert_eq!(probe.log.of("disconnect").len(), 0);
    seconds(1.0).await;
    assert_eq!(probe.log.of("disconnect"), ["1013"]);
    layer.group_send(&group("room"), message("unheard")).await.unwrap();
    settled().await;
    assert_eq!(probe.log.all().last().unwrap(), "disconnect 1013");
    let (heard, close) = client.hear_all().await;
    assert_eq!(close.code.as_u16(), 1013);
    assert!(heard.len() < 70, "what the pipe had not taken is dropped, so that the close is next");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_in_time_again_is_not_closed() {
    let layer = InMemoryLayer::default();
    let probe = Probe::new("relay room; accept");
    let mut client = open(&probe, &layer.clone().into()).await;
    for _ in 0..3 {
        flood(&layer, 400).await;
        seconds(9.0).await;
        assert!(catch_up(&mut client).await.len() > UNSENT_FRAMES);
        seconds(60.0).await;
    }
    client.tell("send still here").await;
    assert_eq!(client.hear().await, "still here");
}

#[tokio::test(start_paused = true)]
async fn the_missed_hook_reaches_the_client_once_it_reads() {
    let layer = InMemoryLayer::default();
    let probe = Probe::new("relay room; accept").missed("send reload");
    let mut client = open(&probe, &layer.clone().into()).await;
    flood(&layer, 400).await;
    let mut last = client.hear().await;
    while !client.receive_nothing().await {
        last = client.hear().await;
    }
    assert_eq!(last, "reload");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_whose_own_sends_wait_slows_only_itself_and_loses_nothing() {
    let probe = Probe::new("accept");
    let (mut slow, mut other) = (probe.open().await, probe.open().await);
    slow.tell("flood 1000; note flooded").await;
    settled().await;
    assert!(!probe.log.all().contains(&"flooded".to_owned()), "its handler waits");
    other.tell("send hi").await;
    assert_eq!(other.hear().await, "hi");
    seconds(9.0).await;
    for n in 0..1000 {
        assert_eq!(slow.hear().await, kilobyte(n));
    }
    settled().await;
    assert!(probe.log.all().contains(&"flooded".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_send_that_waits_too_long_says_that_the_socket_has_ended() {
    let probe = Probe::new("accept");
    let mut client = probe.open().await;
    client.tell("flood 1000; note flooded").await;
    seconds(11.0).await;
    assert_eq!(probe.log.of("disconnect"), ["1013"]);
    assert!(!probe.log.all().contains(&"flooded".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_stall_during_a_long_handler_closes_the_socket_after_it_even_if_the_client_reads_again() {
    let layer = InMemoryLayer::default();
    let probe = Probe::new("relay room; accept");
    let mut client = open(&probe, &layer.clone().into()).await;
    client.tell("wait; note finished").await;
    flood(&layer, 400).await;
    seconds(11.0).await;
    assert_eq!(probe.log.of("disconnect").len(), 0, "the handler still runs");
    catch_up(&mut client).await;
    probe.let_go().await;
    assert_eq!(client.receive_close().await.unwrap().code.as_u16(), 1013);
    assert_eq!(probe.log.all()[2..], ["finished", "disconnect 1013"].map(str::to_owned));
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_that_goes_away_is_lost_and_not_slow() {
    let layer = InMemoryLayer::default();
    let probe = Probe::new("relay room; accept");
    let mut client = open(&probe, &layer.clone().into()).await;
    client.tell("flood 1000; note flooded").await;
    settled().await;
    drop(client);
    settled().await;
    assert_eq!(probe.log.all().last().unwrap(), "disconnect 1006");
}

/// A kilobyte for each of so many keys, each with this number.
async fn tick(layer: &InMemoryLayer, keys: usize, n: usize) {
    for key in 0..keys {
        layer.group_send(&group("room"), message(format!("{:<1024}", format!("{key} {n}")))).await.unwrap();
    }
    settled().await;
}

/// Everything that the client is owed, by key and number.
async fn catch_up_by_key(client: &mut WebsocketCommunicator) -> Vec<(usize, usize)> {
    let mut heard = Vec::new();
    while !client.receive_nothing().await {
        let text = client.hear().await;
        let (key, n) = text.trim().split_once(' ').unwrap();
        heard.push((key.parse().unwrap(), n.parse().unwrap()));
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn of_a_relay_by_the_latest_it_is_owed_one_frame_of_each_key_however_long_it_sleeps() {
    let layer = InMemoryLayer::default();
    let layers = ChannelLayers::from(layer.clone());
    let (slow, fast) = (Probe::new("latest room; accept"), Probe::new("latest room; accept"));
    let (mut slow_client, mut fast_client) = (open(&slow, &layers).await, open(&fast, &layers).await);
    for n in 0..500 {
        tick(&layer, 20, n).await;
        assert_eq!(catch_up_by_key(&mut fast_client).await, (0..20).map(|key| (key, n)).collect::<Vec<_>>());
    }
    seconds(60.0).await;
    assert_eq!(slow.log.of("disconnect").len(), 0, "its queue is not full");
    let heard = catch_up_by_key(&mut slow_client).await;
    assert!((20..70 + 20).contains(&heard.len()), "what the pipe took, and the latest: {}", heard.len());
    for key in 0..20 {
        let of_key: Vec<_> = heard.iter().filter(|heard| heard.0 == key).map(|heard| heard.1).collect();
        assert_eq!(of_key.last(), Some(&499));
        assert!(of_key.is_sorted_by(|older, newer| older < newer), "{of_key:?}");
    }
    assert_eq!(slow.log.of("missed").len(), 0);
    tick(&layer, 20, 500).await;
    assert_eq!(catch_up_by_key(&mut slow_client).await.len(), 20, "it keeps up again");
}

#[tokio::test(start_paused = true)]
async fn of_a_relay_by_the_latest_it_misses_keys_beyond_the_limit_and_is_told() {
    let layer = InMemoryLayer::default();
    let slow = Probe::new("latest room; accept");
    let mut client = open(&slow, &layer.clone().into()).await;
    for key in 0..3 * UNSENT_KEYS {
        layer.group_send(&group("room"), message(format!("{:<512}", format!("{key} 0")))).await.unwrap();
        settled().await;
    }
    let heard = catch_up_by_key(&mut client).await.len();
    let missed: usize = slow.log.of("missed").iter().map(|count| count.parse::<usize>().unwrap()).sum();
    assert!(missed > 0 && heard >= UNSENT_KEYS, "{missed} and {heard}");
    assert_eq!(heard + missed, 3 * UNSENT_KEYS);
}

#[tokio::test(start_paused = true)]
async fn a_relay_by_the_latest_does_not_spare_a_socket_that_is_full_of_other_things() {
    let layer = InMemoryLayer::default();
    let probe = Probe::new("latest room; relay other; accept");
    let mut client = open(&probe, &layer.clone().into()).await;
    for n in 0..400 {
        layer.group_send(&group("other"), message(kilobyte(n))).await.unwrap();
        tick(&layer, 1, n).await;
    }
    seconds(11.0).await;
    assert_eq!(probe.log.of("disconnect"), ["1013"]);
    assert_eq!(client.hear_all().await.1.code.as_u16(), 1013);
}

#[tokio::test(start_paused = true)]
async fn a_stream_keeps_the_latest_once_the_queue_of_the_socket_is_full() {
    let layer = InMemoryLayer::default();
    let probe = Probe::new("latest room; accept");
    let app = Demultiplexer::new().mount("prices", probe.app());
    let mut client = WebsocketCommunicator::new(app, "/").layers(layer.clone());
    client.connect().await.unwrap();
    settled().await;
    for n in 0..1000 {
        let payload = format!("{:<1024}", format!("[{}, {n}]", n % 4));
        layer.group_send(&group("room"), message(payload)).await.unwrap();
        settled().await;
    }
    let mut heard = Vec::new();
    while !client.receive_nothing().await {
        let frame: serde_json::Value = serde_json::from_str(&client.hear().await).unwrap();
        heard.push(frame["payload"][1].as_u64().unwrap());
    }
    assert!(heard.len() < UNSENT_FRAMES + 80, "{}", heard.len());
    let mut latest = heard.split_off(heard.len() - 4);
    latest.sort_unstable();
    assert_eq!(latest, [996, 997, 998, 999]);
    assert!(heard.is_sorted());
    assert_eq!(probe.log.of("missed").len(), 0);
}

/// Relays the room by the choice of one who wants what is newest, or what comes first.
struct Patient<const OLDEST: bool>;

impl<const OLDEST: bool> WebsocketConsumer for Patient<OLDEST> {
    type Incoming = Frame;
    type Event = NoEvents;
    const SLOW_READER: SlowReader = if OLDEST { SlowReader::DropOldest } else { SlowReader::DropNewest };

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.relay(&group("room"), bare).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        ctx.send(frame).await
    }

    async fn missed(&mut self, ctx: &mut Context, missed: Missed) -> Result {
        ctx.send(Frame::text(format!("missed {missed}"))).await
    }
}

/// What a client hears that slept for a minute while a thousand events came, and how many it is told to have missed.
async fn after_a_minute<const OLDEST: bool>() -> (Vec<usize>, usize) {
    let layer = InMemoryLayer::default();
    let app = application(|_| Ok(Patient::<OLDEST>));
    let mut client = WebsocketCommunicator::new(app, "/").layers(layer.clone());
    client.connect().await.unwrap();
    flood(&layer, 1000).await;
    // Its server pings it all the while, but a communicator needs no pongs.
    seconds(60.0).await;
    let (mut heard, mut missed) = (Vec::new(), 0);
    while !client.receive_nothing().await {
        let text = client.hear().await;
        match text.strip_prefix("missed ") {
            Some(count) => missed += count.parse::<usize>().unwrap(),
            None => heard.push(text.trim().parse().unwrap()),
        }
    }
    client.tell("still here").await;
    assert_eq!(client.hear().await, "still here");
    (heard, missed)
}

#[tokio::test(start_paused = true)]
async fn who_drops_the_newest_or_the_oldest_is_told_and_lives() {
    let before = slow_readers();
    let (heard, missed) = after_a_minute::<false>().await;
    assert_eq!(heard, (0..heard.len()).collect::<Vec<_>>(), "what came first, without a gap");
    assert_eq!(heard.len() + missed, 1000);
    assert!(slow_readers().newest - before.newest >= missed as u64);

    let (heard, missed) = after_a_minute::<true>().await;
    assert_eq!(heard.len() + missed, 1000);
    assert!(heard.is_sorted(), "in order");
    assert_eq!(heard[heard.len() - 250..], (750..1000).collect::<Vec<_>>(), "what is newest");
    assert!(slow_readers().oldest - before.oldest >= missed as u64);
}
