//! Slow streams and slow clients: who waits, and who does not.

use std::time::Duration;

use consumers::testing::WebsocketCommunicator;
use consumers::{ChannelLayer, Close, Demultiplexer, Denial, InMemoryLayer, StatusCode};

use super::{OnStream, ask, on, open, probe, two};
use crate::support::{Probe, Talk, group, kilobyte, message, settled};

#[tokio::test(start_paused = true)]
async fn a_slow_handler_delays_no_other_stream() {
    let (a, b, app) = two();
    let mut client = open(app).await;
    ask(&mut client, "a", "wait; send 0").await;
    for n in 1..=16 {
        ask(&mut client, "a", &format!("send {n}")).await;
    }
    for n in 0..100 {
        ask(&mut client, "b", &format!("send {n}")).await;
        assert_eq!(client.hear().await, on("b", &n.to_string()));
    }
    a.let_go().await;
    for n in 0..=16 {
        assert_eq!(client.hear().await, on("a", &n.to_string()));
    }
    assert_eq!(b.log.of("receive").len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_enough_makes_the_socket_wait_and_loses_nothing() {
    let (a, b, app) = two();
    let mut client = open(app).await;
    ask(&mut client, "a", "wait; send 0").await;
    for n in 1..=17 {
        ask(&mut client, "a", &format!("send {n}")).await;
    }
    ask(&mut client, "b", "send true").await;
    assert!(client.receive_nothing().await);
    assert_eq!(b.log.of("receive").len(), 0, "it stands behind a frame that has no room");
    a.let_go().await;
    let mut heard = Vec::new();
    for _ in 0..19 {
        heard.push(client.hear().await);
    }
    heard.retain(|frame| *frame != on("b", "true"));
    assert_eq!(heard, (0..=17).map(|n| on("a", &n.to_string())).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn long_frames_make_the_socket_wait_before_they_are_sixteen() {
    let (a, b, app) = two();
    let mut client = open(app).await;
    ask(&mut client, "a", "wait; send 0").await;
    for n in 1..=4 {
        ask(&mut client, "a", &format!("send {n}; note {}", "x".repeat(1 << 20))).await;
    }
    ask(&mut client, "b", "send true").await;
    assert!(client.receive_nothing().await);
    assert_eq!(b.log.of("receive").len(), 0, "it stands behind 4 MiB");
    a.let_go().await;
    for n in 0..=4 {
        assert_eq!(client.hear().await, on("a", &n.to_string()));
    }
    assert_eq!(client.hear().await, on("b", "true"));
}

/// Reads until nothing comes; how many frames of each stream, each in order.
async fn catch_up(client: &mut WebsocketCommunicator) -> [usize; 2] {
    let mut heard = [0, 0];
    while !client.receive_nothing().await {
        let frame = client.hear().await;
        let which = usize::from(frame.starts_with(r#"{"stream":"b""#));
        assert_eq!(frame, on(["a", "b"][which], &kilobyte(heard[which])));
        heard[which] += 1;
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_makes_its_streams_wait_and_nothing_is_lost() {
    let (a, b, app) = two();
    let mut client = open(app).await;
    ask(&mut client, "a", "flood 2000; note flooded").await;
    ask(&mut client, "b", "flood 2000; note flooded").await;
    settled().await;
    for probe in [&a, &b] {
        assert!(!probe.log.all().contains(&"flooded".to_owned()), "its handler waits");
    }
    assert_eq!(catch_up(&mut client).await, [2000, 2000]);
    for probe in [&a, &b] {
        assert!(probe.log.all().contains(&"flooded".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn streams_take_turns_when_the_client_is_slow() {
    let (_, _, app) = two();
    let mut client = open(app).await;
    ask(&mut client, "a", "flood 5000").await;
    settled().await;
    ask(&mut client, "b", "flood 1000").await;
    settled().await;
    let mut heard = [0, 0];
    // What was queued before the second began is some 580 frames.
    for _ in 0..2000 {
        heard[usize::from(client.hear().await.starts_with(r#"{"stream":"b""#))] += 1;
    }
    assert!(heard[1] > 400, "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn relayed_events_are_missed_by_the_stream_and_told_to_it() {
    let layer = InMemoryLayer::default();
    let (a, b) = (Probe::new("relay room; accept"), Probe::new("accept"));
    let app = Demultiplexer::new().stream("a", probe(&a)).stream("b", probe(&b));
    let mut client = WebsocketCommunicator::new(app, "/").layers(layer.clone());
    client.connect().await.unwrap();
    for n in 0..1000 {
        layer.group_send(&group("room"), message(kilobyte(n))).await.unwrap();
        settled().await;
    }
    let [heard, _] = catch_up(&mut client).await;
    let missed: usize = a.log.of("missed").iter().map(|count| count.parse::<usize>().unwrap()).sum();
    assert_eq!(heard + missed, 1000);
    assert!((2 * 256..2 * 256 + 70).contains(&heard), "two queues and the pipe, not {heard}");
    assert_eq!(b.log.of("missed").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_for_ten_seconds_is_closed_and_every_stream_with_it() {
    let (a, b, app) = two();
    let mut client = open(app).await;
    ask(&mut client, "a", "flood 100000; note flooded").await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    for probe in [&a, &b] {
        assert_eq!(probe.log.of("disconnect"), ["1013"]);
    }
    assert!(!a.log.all().contains(&"flooded".to_owned()));
    let (heard, close) = client.hear_all().await;
    assert_eq!(close.code.as_u16(), 1013);
    assert!(heard.len() < 70, "{}", heard.len());
}

#[tokio::test(start_paused = true)]
async fn an_endless_sender_ends_with_its_client_even_if_frames_wait_for_it() {
    let (a, b, app) = two();
    let mut client = open(app).await;
    for _ in 0..30 {
        ask(&mut client, "a", "flood 1000000").await;
    }
    tokio::time::sleep(Duration::from_secs(11)).await;
    for probe in [a, b] {
        assert_eq!(probe.log.of("disconnect"), ["1013"]);
    }
}

#[tokio::test(start_paused = true)]
async fn no_stream_ends_while_its_client_reads_however_slowly() {
    let probes: [_; 16] = std::array::from_fn(|_| Probe::new("accept; flood 1000"));
    let app = probes.iter().enumerate().fold(Demultiplexer::new(), |app, (n, one)| {
        let one = one.clone();
        app.stream(&n.to_string(), probe(&one))
    });
    let mut client = open(app).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(8)).await;
        // Somewhat more than the pipe holds, so that it moves each time.
        for _ in 0..80 {
            client.hear().await;
        }
    }
    for probe in probes {
        assert_eq!(probe.log.of("disconnect").len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_stands_behind_all_that_it_has_sent() {
    let (_, _, app) = two();
    let mut client = open(app).await;
    // More than the pipe and the socket's queue hold, less than the stream's holds besides.
    ask(&mut client, "a", "flood 500; end 4001 done").await;
    settled().await;
    for n in 0..500 {
        assert_eq!(client.hear().await, on("a", &kilobyte(n)));
    }
    assert_eq!(client.hear().await, on("a", r#"{"error":"done","code":4001}"#));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_began_is_told_to_a_slow_client_too() {
    let a = Probe::new("accept; flood 500");
    let app = Demultiplexer::new()
        .stream("a", probe(&a))
        .stream("b", |_| Err::<OnStream, _>(Close::new(4404, "no such room").into()))
        .stream("c", |_| Err::<OnStream, _>(Denial::new(StatusCode::FORBIDDEN, "no").into()));
    let mut client = open(app).await;
    settled().await;
    let mut heard = Vec::new();
    for _ in 0..502 {
        heard.push(client.hear().await);
    }
    heard.retain(|frame| !frame.starts_with(r#"{"stream":"a""#));
    heard.sort();
    let expected =
        [on("b", r#"{"error":"no such room","code":4404}"#), on("c", r#"{"error":"no","status":403}"#)];
    assert_eq!(heard, expected);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_waits_when_a_loss_ends_its_stream_is_answered() {
    let layer = InMemoryLayer::default();
    let a = Probe::new("relay room; accept").missed("end 4001 reload");
    let app = Demultiplexer::new().stream("a", probe(&a));
    let mut client = WebsocketCommunicator::new(app, "/").layers(layer.clone());
    client.connect().await.unwrap();
    ask(&mut client, "a", "wait").await;
    for n in 0..1000 {
        layer.group_send(&group("room"), message(kilobyte(n))).await.unwrap();
        settled().await;
    }
    ask(&mut client, "a", "note never").await;
    a.let_go().await;
    let mut heard = vec![client.hear().await];
    while !client.receive_nothing().await {
        heard.push(client.hear().await);
    }
    let ends = [r#"{"error":"reload","code":4001}"#, r#"{"error":"the stream has ended"}"#];
    assert_eq!(heard[heard.len() - 2..], ends.map(|payload| on("a", payload)));
}
