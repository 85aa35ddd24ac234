//! Clients that are silent, slow or lost. Time passes by skipping it, so the limits are the real ones.

use std::sync::Arc;
use std::time::Duration;

use routing::consumers::{
    CloseCode, Context, Frame, GroupName, Missed, NoEvents, Result, SlowReader, WebsocketConsumer,
};
use routing::{SocketConfig, UrlRouter};
use serde::{Deserialize, Serialize};
use tokio::net::TcpSocket;
use tokio::sync::Notify;

use crate::support::{
    Client, Echo, Ended, FIN, PING, PONG, Site, TEXT, close, frame, give_way, patiently, skip,
};

/// The limits that users are promised, in seconds.
const PING_INTERVAL: u64 = 25;
const PONG_TIMEOUT: u64 = 8;
const STALL_LIMIT: u64 = 10;
const TAKE_TIMEOUT: u64 = 60;
const CLOSE_TIMEOUT: u64 = 2;

async fn echo() -> (Site, Client) {
    let site = Site::start(|ended| UrlRouter::new().route("/echo", move |_| Ok(Echo(ended.clone())))).await;
    let mut client = site.open("/echo").await;
    client.say("here").await;
    client.expect(TEXT, "here").await;
    (site, client)
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_kept_by_its_pongs() {
    let (_site, mut client) = echo().await;
    for _ in 0..5 {
        skip(PING_INTERVAL).await;
        client.expect(PING, "").await;
        client.send(frame(FIN | PONG, "")).await;
        skip(PONG_TIMEOUT).await;
    }
    client.say("still here").await;
    client.expect(TEXT, "still here").await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_lost() {
    let (mut site, mut client) = echo().await;
    skip(PING_INTERVAL).await;
    client.expect(PING, "").await;
    skip(PONG_TIMEOUT).await;
    assert_eq!(site.ended().await, 1006);
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn a_pong_that_nobody_asked_for_does_not_count() {
    let (mut site, mut client) = echo().await;
    skip(PING_INTERVAL - 1).await;
    client.send(frame(FIN | PONG, "")).await;
    give_way().await;
    skip(1).await;
    client.expect(PING, "").await;
    skip(PONG_TIMEOUT).await;
    assert_eq!(site.ended().await, 1006);
}

#[tokio::test]
async fn a_client_that_talks_is_not_pinged() {
    let (_site, mut client) = echo().await;
    for _ in 0..5 {
        skip(PING_INTERVAL - 2).await;
        client.say("talk").await;
        client.expect(TEXT, "talk").await;
    }
}

#[tokio::test]
async fn a_client_that_sends_something_long_piece_by_piece_is_not_lost() {
    let (_site, mut client) = echo().await;
    let text = "long ".repeat(100);
    let long = frame(FIN | TEXT, &text);
    skip(PING_INTERVAL).await;
    client.expect(PING, "").await;
    for piece in long.chunks(100) {
        client.send(piece).await;
        skip(PONG_TIMEOUT).await;
    }
    client.expect(TEXT, text).await;
}

#[tokio::test]
async fn a_client_that_pings_and_does_not_read_gets_the_newest_of_its_pongs() {
    const PINGS: u32 = 100_000;
    let (site, _) = echo().await;
    let mut client = narrow(&site, "/echo").await;
    for number in 0..PINGS {
        let mut payload = [0; 125];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        client.send(frame(FIN | PING, payload)).await;
    }
    client.say("here").await;
    let (mut pongs, mut newest, mut is_here) = (0, None, false);
    while newest != Some(PINGS - 1) || !is_here {
        let got = client.next().await.expect("the socket lives");
        if got.opcode == TEXT {
            is_here = true;
            continue;
        }
        let number = got.payload.first_chunk().map(|number| u32::from_be_bytes(*number));
        assert!(newest < number, "{newest:?} {number:?}");
        (pongs, newest) = (pongs + 1, number);
    }
    assert!(pongs < PINGS, "they are not kept for who does not read");
}

#[tokio::test]
async fn limits_may_be_for_ever() {
    let sockets = SocketConfig::default().ping_interval(Duration::MAX).pong_timeout(Duration::MAX);
    let sockets = sockets.close_timeout(Duration::MAX);
    let site = Site::start(|ended| {
        UrlRouter::new().route("/", move |_| Ok(Echo(ended.clone()))).with_sockets(sockets)
    });
    let mut client = site.await.open("/").await;
    client.say("here").await;
    client.expect(TEXT, "here").await;
    client.send(close(1000, "")).await;
    assert_eq!(client.closed().await.0, 1000);
}

#[tokio::test]
async fn a_ping_that_is_answered_by_talk_is_answered() {
    let (_site, mut client) = echo().await;
    skip(PING_INTERVAL).await;
    client.expect(PING, "").await;
    client.send(frame(FIN | TEXT, "too busy for a pong")).await;
    client.expect(TEXT, "too busy for a pong").await;
    skip(PONG_TIMEOUT).await;
    client.say("still here").await;
    client.expect(TEXT, "still here").await;
}

/// Works on each frame until it is told to go on.
struct Slow(Arc<Notify>);

impl WebsocketConsumer for Slow {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        self.0.notified().await;
        ctx.send(frame).await
    }
}

#[tokio::test]
async fn a_slow_handler_misses_neither_ping_nor_pong() {
    let go_on = Arc::new(Notify::new());
    let site = Site::start(|_| {
        let go_on = Arc::clone(&go_on);
        UrlRouter::new().route("/", move |_| Ok(Slow(Arc::clone(&go_on))))
    });
    let mut client = site.await.open("/").await;
    client.say("work").await;
    for n in 0..3 {
        client.send(frame(FIN | PING, [n])).await;
        client.expect(PONG, [n]).await;
        skip(PING_INTERVAL).await;
        client.expect(PING, "").await;
        client.send(frame(FIN | PONG, "")).await;
        skip(PONG_TIMEOUT).await;
    }
    go_on.notify_one();
    client.expect(TEXT, "work").await;
}

#[tokio::test]
async fn a_close_that_overtakes_a_slow_handler_waits_for_its_answer() {
    let go_on = Arc::new(Notify::new());
    let site = Site::start(|_| {
        let go_on = Arc::clone(&go_on);
        UrlRouter::new().route("/", move |_| Ok(Slow(Arc::clone(&go_on))))
    });
    let mut client = site.await.open("/").await;
    client.say("work").await;
    give_way().await;
    client.send(close(1000, "")).await;
    give_way().await;
    go_on.notify_one();
    client.expect(TEXT, "work").await;
    assert_eq!(client.closed().await.0, 1000);
}

/// One frame of the flood; so large that a small number of them fills the kernel's buffers.
const DROP: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename = "drop")]
struct Drop {
    number: u32,
}

/// Relays the flood; tells when it has missed some, and how it ends. Some are closed when they are slow, others spared.
struct Bather<const IS_SPARED: bool>(Ended);

impl<const IS_SPARED: bool> Bather<IS_SPARED> {
    fn flood() -> GroupName {
        GroupName::new("flood").unwrap()
    }

    fn render(drop: &Drop) -> Option<Frame> {
        Some(Frame::text(drop_text(drop.number)))
    }
}

fn drop_text(number: u32) -> String {
    number.to_string() + &" ".repeat(DROP)
}

impl<const IS_SPARED: bool> WebsocketConsumer for Bather<IS_SPARED> {
    type Incoming = String;
    type Event = NoEvents;
    const SLOW_READER: SlowReader = if IS_SPARED { SlowReader::DropNewest } else { SlowReader::Close };

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.relay(&Self::flood(), Self::render).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, number: String) -> Result {
        ctx.group_send(&Self::flood(), &Drop { number: number.parse()? }).await
    }

    async fn missed(&mut self, _: &mut Context, _: Missed) -> Result {
        // Who is told may be told again; once is enough.
        let _ = self.0.try_send(0);
        Ok(())
    }

    async fn disconnect(&mut self, _: &mut Context, code: CloseCode) -> Result {
        Ok(self.0.try_send(code.as_u16())?)
    }
}

/// A client with little room for what it has not read.
async fn narrow(site: &Site, path: &str) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    Client::open_over(socket.connect(site.addr).await.unwrap(), path).await
}

/// A client that reads nothing, and another that publishes and reads everything.
struct Bath {
    site: Site,
    slow: Client,
    fast: Client,
    drops: u32,
}

impl Bath {
    /// The path is the slow one's.
    async fn new(path: &str) -> Self {
        let site = Site::start(|ended| {
            let spared = ended.clone();
            UrlRouter::new()
                .route("/", move |_| Ok(Bather::<false>(ended.clone())))
                .route("/spared", move |_| Ok(Bather::<true>(spared.clone())))
        });
        let site = site.await;
        let slow = narrow(&site, path).await;
        let fast = site.open("/").await;
        Self { site, slow, fast, drops: 0 }
    }

    /// Publishes once more; the fast client must get it.
    async fn pour(&mut self) {
        self.fast.say(&self.drops.to_string()).await;
        self.fast.expect(TEXT, drop_text(self.drops)).await;
        self.drops += 1;
    }

    /// Publishes until the slow client's consumer is told that it missed some.
    async fn overflow(&mut self) {
        while self.site.has_ended().is_none() {
            assert!(self.drops < 1000, "64 MiB do not fit into any buffer");
            self.pour().await;
        }
    }
}

#[tokio::test]
async fn a_slow_reader_is_closed_and_the_others_miss_nothing() {
    let mut bath = Bath::new("/").await;
    bath.overflow().await;
    skip(STALL_LIMIT).await;
    while bath.site.ended().await != 1013 {}
    for _ in 0..50 {
        bath.pour().await;
    }
    skip(TAKE_TIMEOUT).await;
    let most = bath.drops as usize * DROP;
    assert!(bath.slow.drain().await < most, "the stream ends");
    bath.fast.expect(PING, "").await;
    bath.pour().await;
}

#[tokio::test]
async fn a_slow_reader_that_wakes_up_reads_whole_frames_and_why_it_was_closed() {
    let mut bath = Bath::new("/").await;
    bath.overflow().await;
    skip(STALL_LIMIT).await;
    while bath.site.ended().await != 1013 {}
    skip(TAKE_TIMEOUT - 1).await;
    let mut next = 0;
    let farewell = loop {
        let got = patiently(bath.slow.next()).await.expect("a close frame comes before the end");
        if got.opcode != TEXT {
            break got;
        }
        assert_eq!(got.text().trim_end(), next.to_string());
        next += 1;
    };
    assert_eq!(farewell.payload[..2], 1013_u16.to_be_bytes());
    assert!(next > 0 && next < bath.drops);
    skip(CLOSE_TIMEOUT).await;
    assert_eq!(bath.slow.next().await, None, "who does not answer is left");
}

#[tokio::test]
async fn a_slow_reader_that_is_spared_lives_as_long_as_it_reads() {
    let mut bath = Bath::new("/spared").await;
    bath.overflow().await;
    let Bath { mut site, mut slow, fast, .. } = bath;
    drop(fast);
    while site.ended().await != 1006 {}
    skip(PING_INTERVAL).await;
    // The kernel has a few MiB for it, and wants a third of them free before it takes more.
    for _ in 0..32 {
        patiently(slow.next()).await.expect("it lives");
    }
    skip(PONG_TIMEOUT).await;
    while let Some(code) = site.has_ended() {
        assert_eq!(code, 0, "it was told that it misses something, and nothing else");
    }
    skip(PONG_TIMEOUT).await;
    while site.ended().await != 1006 {}
}

#[tokio::test]
async fn a_server_that_ends_waits_for_nobody_who_does_not_read() {
    let mut bath = Bath::new("/").await;
    bath.overflow().await;
    bath.site.end();
    assert_eq!(bath.fast.closed().await.0, 1012);
    skip(CLOSE_TIMEOUT).await;
    let soon = Duration::from_secs(CLOSE_TIMEOUT);
    tokio::time::timeout(soon, bath.site.ran()).await.expect("it does not wait for its deadline");
}

#[tokio::test]
async fn a_server_that_ends_waits_no_longer_for_who_was_given_up_before() {
    let mut bath = Bath::new("/").await;
    bath.overflow().await;
    skip(STALL_LIMIT).await;
    while bath.site.ended().await != 1013 {}
    bath.site.end();
    assert_eq!(bath.fast.closed().await.0, 1012);
    skip(CLOSE_TIMEOUT).await;
    let soon = Duration::from_secs(CLOSE_TIMEOUT);
    tokio::time::timeout(soon, bath.site.ran()).await.expect("it does not wait for its deadline");
}
