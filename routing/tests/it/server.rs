//! The server: its limits, its end, and what it tells of its clients.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::routing::get;
use routing::consumers::{
    CloseCode, Context, Frame, InMemoryLayer, NoEvents, Result, Scope, WebsocketConsumer,
};
use routing::{PeerAddr, ProtocolTypeRouter, ServerConfig, SocketConfig, UrlRouter, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::support::{
    Client, Echo, Ended, Site, TEXT, ask, close, connect, give_way, patiently, read_answer, skip,
    upgrade_request,
};

/// How long a client may take to hang up, in seconds.
const CLOSE_TIMEOUT: u64 = 2;

/// Reads what comes until the server hangs up.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    patiently(stream.read_to_string(&mut text)).await.unwrap();
    text
}

fn echo(ended: Ended) -> UrlRouter {
    UrlRouter::new().route("/echo", move |_| Ok(Echo(ended.clone())))
}

#[tokio::test]
async fn one_connection_too_many_is_503_until_a_place_is_free() {
    let mut site = Site::start_with(ServerConfig::default().connection_limit(2), echo).await;
    let mut first = site.open("/echo").await;
    let _second = site.open("/echo").await;
    for _ in 0..3 {
        let refused = read_to_end(&mut connect(site.addr).await).await;
        assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("Retry-After: "), "{refused}");
    }
    first.send(close(1000, "")).await;
    assert_eq!(first.closed().await.0, 1000);
    drop(first);
    assert_eq!(site.ended().await, 1000);
    let mut third = patiently(free_place(&site, "/echo")).await;
    third.say("in").await;
    third.expect(TEXT, "in").await;
}

#[tokio::test]
async fn a_client_that_closes_with_its_handshake_and_stays_is_left() {
    let site = Site::start_with(ServerConfig::default().connection_limit(1), echo).await;
    let request = upgrade_request("/echo", "");
    let (mut staying, answer) = Client::ask(connect(site.addr).await, &request, &close(1000, "")).await;
    assert_eq!(answer.status, 101);
    assert_eq!(staying.farewell().await.0, 1000);
    skip(CLOSE_TIMEOUT).await;
    patiently(free_place(&site, "/echo")).await;
}

/// Asks until the server has a place.
async fn free_place(site: &Site, path: &str) -> Client {
    loop {
        let (client, answer) = Client::ask(connect(site.addr).await, &upgrade_request(path, ""), b"").await;
        if answer.status != 503 {
            return client;
        }
        give_way().await;
    }
}

#[tokio::test]
async fn places_are_freed_by_requests_and_by_refused_handshakes_too() {
    let site = Site::start_with(ServerConfig::default().connection_limit(1), echo).await;
    for path in ["/echo", "/nothing", "/echo"] {
        patiently(free_place(&site, path)).await;
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let config = ServerConfig::default().header_timeout(Duration::from_millis(30));
    let site = Site::start_with(config, echo).await;
    for begun in ["", "GET /echo HTTP/1.1\r\nHost: "] {
        let mut stream = connect(site.addr).await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}

#[tokio::test]
async fn a_head_over_the_limit_is_431() {
    let site = Site::start(echo).await;
    let request = upgrade_request("/echo", &format!("X-Large: {}\r\n", "x".repeat(12 * 1024)));
    assert_eq!(ask(site.addr, &request).await.status, 101);
    let request = upgrade_request("/echo", &format!("X-Large: {}\r\n", "x".repeat(17 * 1024)));
    assert_eq!(ask(site.addr, &request).await.status, 431);
}

#[tokio::test]
async fn a_url_router_keeps_its_limits_under_the_server() {
    let small = SocketConfig::default().message_limit(10);
    let mut site = Site::start(|ended| echo(ended).with_sockets(small)).await;
    let mut client = site.open("/echo").await;
    client.say("ten  bytes").await;
    client.expect(TEXT, "ten  bytes").await;
    client.say("and one more").await;
    assert_eq!(client.closed().await.0, 1009);
    assert_eq!(site.ended().await, 1009);
}

/// A site with sockets, and a page that takes until it is told to go on.
async fn busy_site(config: ServerConfig, go_on: &Arc<Notify>) -> Site {
    let go_on = Arc::clone(go_on);
    let slow = get(|| async move {
        go_on.notified().await;
        "done"
    });
    let pages = axum::Router::new().route("/", get(|| async { "page" })).route("/slow", slow);
    Site::start_with(config, |ended| ProtocolTypeRouter::from(echo(ended)).http(pages)).await
}

async fn request(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
}

#[tokio::test]
async fn the_end_closes_every_socket_with_1012() {
    let mut site = Site::start(echo).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(site.open("/echo").await);
    }
    site.end();
    for client in &mut clients {
        assert_eq!(client.closed().await.0, 1012);
    }
    drop(clients);
    for _ in 0..200 {
        assert_eq!(site.ended().await, 1012);
    }
    site.ran().await;
}

#[tokio::test]
async fn the_end_waits_for_requests_and_not_for_idle_connections() {
    let go_on = Arc::new(Notify::new());
    let mut site = busy_site(ServerConfig::default(), &go_on).await;
    let (mut idle, mut busy) = (connect(site.addr).await, connect(site.addr).await);
    let mut mute = connect(site.addr).await;
    request(&mut busy, "/slow").await;
    request(&mut idle, "/").await;
    assert_eq!(read_answer(&mut idle, &mut Vec::new()).await.body, "page");
    site.end();
    assert_eq!(read_to_end(&mut idle).await, "");
    assert_eq!(read_to_end(&mut mute).await, "");
    assert!(TcpStream::connect(site.addr).await.is_err(), "nobody listens any more");
    go_on.notify_one();
    assert_eq!(read_answer(&mut busy, &mut Vec::new()).await.body, "done");
    assert_eq!(read_to_end(&mut busy).await, "");
    site.ran().await;
}

#[tokio::test]
async fn the_end_has_a_deadline_for_requests_too() {
    let go_on = Arc::new(Notify::new());
    let config = ServerConfig::default().drain_deadline(Duration::from_millis(30));
    let mut site = busy_site(config, &go_on).await;
    let mut busy = connect(site.addr).await;
    request(&mut busy, "/slow").await;
    give_way().await;
    site.end();
    site.ran().await;
    assert_eq!(read_to_end(&mut busy).await, "", "it is dropped, and not left behind");
    assert_eq!(Arc::strong_count(&go_on), 1);
}

/// Never comes to an end with a frame.
struct Stuck(Ended);

impl WebsocketConsumer for Stuck {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn receive(&mut self, _: &mut Context, _: Frame) -> Result {
        std::future::pending().await
    }

    async fn disconnect(&mut self, _: &mut Context, code: CloseCode) -> Result {
        Ok(self.0.try_send(code.as_u16())?)
    }
}

#[tokio::test]
async fn a_handler_over_the_deadline_is_dropped_and_its_socket_closed() {
    let config = ServerConfig::default().drain_deadline(Duration::from_millis(30));
    let stuck = |ended: Ended| UrlRouter::new().route("/", move |_| Ok(Stuck(ended.clone())));
    let mut site = Site::start_with(config, stuck).await;
    let mut client = site.open("/").await;
    client.say("never answered").await;
    give_way().await;
    site.end();
    assert_eq!(client.farewell().await.0, 1012);
    assert_eq!(site.ended().await, 1012);
    site.ran().await;
}

/// Tells its client where it sees it.
struct Mirror(String);

impl Mirror {
    fn new(scope: &Scope) -> Result<Self> {
        Ok(Self(scope.extension::<PeerAddr>().map_or_else(String::new, |peer| peer.0.to_string())))
    }
}

impl WebsocketConsumer for Mirror {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, _: Frame) -> Result {
        ctx.send(Frame::text(self.0.clone())).await
    }
}

#[tokio::test]
async fn the_address_of_the_client_reaches_pages_and_consumers() {
    let page = get(|Extension(PeerAddr(peer)): Extension<PeerAddr>| async move { peer.to_string() });
    let site = Site::start(|_| {
        let sockets = UrlRouter::new().route("/", Mirror::new);
        ProtocolTypeRouter::from(sockets).http(axum::Router::new().route("/", page))
    });
    let site = site.await;
    let mut stream = connect(site.addr).await;
    let seen = stream.local_addr().unwrap().to_string();
    request(&mut stream, "/").await;
    assert_eq!(read_answer(&mut stream, &mut Vec::new()).await.body, seen);
    let mut client = Client::open_over(stream, "/").await;
    client.say("?").await;
    client.expect(TEXT, seen).await;
}

#[tokio::test]
async fn serve_ends_in_order_when_the_process_is_asked_to() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (sender, mut ended) = tokio::sync::mpsc::channel(1);
    let serving = tokio::spawn(serve(free, echo(sender), InMemoryLayer::default()));
    let opening = patiently(async {
        while TcpStream::connect(free).await.is_err() {
            give_way().await;
        }
        Client::open(free, "/echo").await
    });
    let mut client = opening.await;
    client.say("served").await;
    client.expect(TEXT, "served").await;
    // By now the server listens for the signal, for it has come back to waiting.
    let kill = format!("kill -TERM {}", std::process::id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(client.closed().await.0, 1012);
    drop(client);
    assert_eq!(ended.recv().await, Some(1012));
    patiently(serving).await.unwrap().unwrap();
}
