//! The closing handshake, begun by either side, and connections that end without one.

use std::time::Duration;

use routing::consumers::{Close, CloseCode, Context, Frame, NoEvents, Result, WebsocketConsumer};
use routing::{SocketConfig, UrlRouter};

use super::{fate, noisy};
use crate::support::{BINARY, CLOSE, FIN, PING, PONG, RSV1, Site, TEXT, close, frame, give_way, hear_noise};

/// Says farewell and goes at the first frame, of whatever size the farewell is asked to be. It hears the noise, and
/// takes its time to go.
pub(super) struct Parting;

impl WebsocketConsumer for Parting {
    type Incoming = String;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        hear_noise(ctx).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, size: String) -> Result {
        ctx.send(Frame::Binary(vec![7; size.parse()?].into())).await?;
        ctx.close(Close::new(4000, "bye")).await
    }

    async fn disconnect(&mut self, _: &mut Context, _: CloseCode) -> Result {
        for _ in 0..50 {
            give_way().await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_close_without_a_code_is_answered_without_one() {
    let mut site = noisy().await;
    assert_eq!(fate(&mut site, [frame(FIN | CLOSE, b"")]).await, 1005);
}

#[tokio::test]
async fn half_a_code_breaks_the_protocol() {
    let mut site = noisy().await;
    assert_eq!(fate(&mut site, [frame(FIN | CLOSE, b"\x03")]).await, 1002);
}

#[tokio::test]
async fn legal_codes_are_returned() {
    let mut site = noisy().await;
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        assert_eq!(fate(&mut site, [close(code, "")]).await, code);
    }
}

#[tokio::test]
async fn illegal_codes_break_the_protocol() {
    let mut site = noisy().await;
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_eq!(fate(&mut site, [close(code, "")]).await, 1002, "{code}");
        assert_eq!(fate(&mut site, [close(code, "because")]).await, 1002, "{code}");
    }
}

#[tokio::test]
async fn a_reason_may_have_123_bytes_of_text() {
    let mut site = noisy().await;
    let longest = "é".repeat(61) + "!";
    let mut client = site.open("/echo").await;
    client.send(close(4000, &longest)).await;
    assert_eq!(client.closed().await, (4000, longest.clone()));
    assert_eq!(site.ended().await, 4000);
    assert_eq!(fate(&mut site, [close(1000, longest + "!")]).await, 1002);
    for bad in [&b"\xff"[..], b"ok\xed\xa0\x80", b"\xce\xba\xf0\x9f\x98"] {
        assert_eq!(fate(&mut site, [close(1000, bad)]).await, 1007, "{bad:x?}");
    }
}

#[tokio::test]
async fn what_came_before_the_close_is_answered_even_when_all_came_at_once() {
    let mut site = noisy().await;
    let mut client = site.open("/echo").await;
    client.send([frame(FIN | TEXT, "last"), frame(FIN | BINARY, "words"), close(1000, "")].concat()).await;
    client.expect(TEXT, "last").await;
    client.expect(BINARY, "words").await;
    assert_eq!(client.closed().await.0, 1000);
    assert_eq!(site.ended().await, 1000);
}

#[tokio::test]
async fn what_follows_the_close_is_ignored() {
    let mut site = noisy().await;
    let after = [
        frame(FIN | TEXT, "late"),
        frame(FIN | PING, "late"),
        close(1001, "again"),
        frame(TEXT, "begun"),
        b"\xff\xff\xff garbage".to_vec(),
        vec![0; 100_000],
    ];
    for after in after {
        assert_eq!(fate(&mut site, [[close(4321, ""), after.clone()].concat()]).await, 4321);
        assert_eq!(fate(&mut site, [close(4322, ""), after]).await, 4322);
    }
}

#[tokio::test]
async fn a_close_in_the_middle_of_a_message_is_a_close() {
    let mut site = noisy().await;
    assert_eq!(fate(&mut site, [frame(TEXT, "begun"), close(1001, "")]).await, 1001);
}

#[tokio::test]
async fn a_connection_that_is_lost_is_1006() {
    let mut site = noisy().await;
    for begun in [vec![], frame(TEXT, "begun"), frame(FIN | TEXT, "cut short")[..5].to_vec()] {
        let mut client = site.open("/echo").await;
        client.send(&begun).await;
        give_way().await;
        drop(client);
        assert_eq!(site.ended().await, 1006);
        let mut client = site.open("/echo").await;
        client.send(&begun).await;
        client.stream().set_zero_linger().unwrap();
        drop(client);
        assert_eq!(site.ended().await, 1006, "after a reset");
    }
}

#[tokio::test]
async fn our_close_reaches_a_client_that_goes_on_sending() {
    let site = noisy().await;
    let mut client = site.open("/parting").await;
    client.say("10").await;
    for _ in 0..60 {
        client.send(frame(FIN | BINARY, vec![0; 65_536])).await;
    }
    client.expect(BINARY, [7; 10]).await;
    assert_eq!(client.closed().await, (4000, "bye".into()));
}

#[tokio::test]
async fn no_event_follows_our_close_while_the_consumer_takes_its_time() {
    let site = noisy().await;
    for (last, code) in [(frame(FIN | TEXT, "3"), 4000), (frame(FIN | RSV1 | TEXT, "3"), 1002)] {
        let mut client = site.open("/parting").await;
        while !client.has_heard_noise() {
            client.send(frame(FIN | PING, "")).await;
            client.expect(PONG, "").await;
        }
        client.send(last).await;
        if code == 4000 {
            client.expect(BINARY, [7; 3]).await;
        }
        assert_eq!(client.closed().await.0, code);
    }
}

#[tokio::test]
async fn our_close_follows_all_that_was_sent_before() {
    let site = noisy().await;
    let mut client = site.open("/parting").await;
    let size = 24 << 20;
    client.say(&size.to_string()).await;
    client.expect(BINARY, vec![7; size]).await;
    assert_eq!(client.closed().await, (4000, "bye".into()));
}

#[tokio::test]
async fn a_client_that_never_stops_cannot_put_off_the_end() {
    let sockets = SocketConfig::default().close_timeout(Duration::from_millis(100));
    let site = Site::start(|_| UrlRouter::new().route("/", |_| Ok(Parting)).with_sockets(sockets)).await;
    let mut client = site.open("/").await;
    client.say("0").await;
    let flood: Vec<u8> = std::iter::repeat_n(frame(FIN | TEXT, ""), 10_000).flatten().collect();
    assert!(client.flood(flood).await, "the server hangs up");
}
