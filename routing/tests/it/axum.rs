//! The routers as tower services under `axum::serve`, and inside an axum `Router`.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::Request;
use axum::routing::get;
use axum::{Router, ServiceExt};
use routing::consumers::{Context, Frame, InMemoryLayer, NoEvents, Result, Scope, WebsocketConsumer};
use routing::{Identity, IdentityLayer, ProtocolTypeRouter, UrlRouter};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::origin::ByCookie;
use crate::support::{Client, Echo, TEXT, ask, connect, patiently, upgrade_request};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Serves an axum router for the rest of the test.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let (listener, addr) = listen().await;
    tokio::spawn(async move { axum::serve(listener, router).await });
    addr
}

/// Routes to an echo, which works only where there is a channel layer.
fn sockets() -> (UrlRouter, mpsc::Receiver<u16>) {
    let (sender, ended) = mpsc::channel(16);
    let routes = UrlRouter::new().route("/echo/", move |_| Ok(Echo(sender.clone())));
    (routes, ended)
}

async fn echoes(addr: SocketAddr, path: &str) -> Client {
    let mut client = Client::open(addr, path).await;
    client.say(path).await;
    client.expect(TEXT, path).await;
    client
}

async fn status(addr: SocketAddr, request: &str) -> u16 {
    ask(addr, request).await.status
}

#[tokio::test]
async fn a_url_router_stands_under_axum_by_itself() {
    let (listener, addr) = listen().await;
    let router = sockets().0.with_channel_layer(InMemoryLayer::default());
    let service = ServiceExt::<Request>::into_make_service(router);
    tokio::spawn(async move { axum::serve(listener, service).await });
    echoes(addr, "/echo/").await;
    assert_eq!(status(addr, &upgrade_request("/other/", "")).await, 404);
    assert_eq!(status(addr, "GET /echo/ HTTP/1.1\r\nHost: x\r\n\r\n").await, 426);
}

#[tokio::test]
async fn a_protocol_type_router_stands_under_axum_by_itself() {
    let (listener, addr) = listen().await;
    let router = ProtocolTypeRouter::new()
        .http(Router::new().route("/echo/", get(|| async { "a page" })))
        .websocket(sockets().0)
        .with_channel_layer(InMemoryLayer::default());
    let service = ServiceExt::<Request>::into_make_service(router);
    tokio::spawn(async move { axum::serve(listener, service).await });
    echoes(addr, "/echo/").await;
    assert_eq!(ask(addr, "GET /echo/ HTTP/1.1\r\nHost: x\r\n\r\n").await.body, "a page");
}

#[tokio::test]
async fn a_nested_router_matches_what_is_left_of_the_path() {
    let router = ProtocolTypeRouter::new()
        .http(Router::new().route("/page/", get(|| async { "a page" })))
        .websocket(sockets().0)
        .with_channel_layer(InMemoryLayer::default());
    let urls = sockets().0.with_channel_layer(InMemoryLayer::default());
    let site = Router::new().nest_service("/live", router).nest_service("/also/live", urls);
    let addr = serve(site.route("/", get(|| async { "home" }))).await;
    echoes(addr, "/live/echo/").await;
    echoes(addr, "/also/live/echo/").await;
    assert_eq!(status(addr, &upgrade_request("/live/live/echo/", "")).await, 404);
    assert_eq!(status(addr, &upgrade_request("/echo/", "")).await, 404);
    assert_eq!(ask(addr, "GET /live/page/ HTTP/1.1\r\nHost: x\r\n\r\n").await.body, "a page");
    assert_eq!(ask(addr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.body, "home");
}

#[tokio::test]
async fn early_frames_are_not_lost_under_axum() {
    let router = sockets().0.with_channel_layer(InMemoryLayer::default());
    let addr = serve(Router::new().fallback_service(router)).await;
    let early = crate::support::frame(crate::support::FIN | TEXT, "early");
    let request = upgrade_request("/echo/", "");
    let (mut client, answer) = Client::ask(connect(addr).await, &request, &early).await;
    assert_eq!(answer.status, 101);
    client.expect(TEXT, "early").await;
}

#[tokio::test]
async fn without_a_channel_layer_a_consumer_that_needs_one_is_refused() {
    let addr = serve(Router::new().fallback_service(sockets().0)).await;
    let answer = ask(addr, &upgrade_request("/echo/", "")).await;
    assert_eq!((answer.status, &*answer.body), (500, "internal error"));
}

#[tokio::test]
async fn draining_closes_the_sockets_and_refuses_new_ones() {
    let (urls, mut ended) = sockets();
    let router = ProtocolTypeRouter::from(urls).with_channel_layer(InMemoryLayer::default());
    let shutdown = router.shutdown();
    let addr = serve(Router::new().nest_service("/live", router)).await;
    let mut clients = [echoes(addr, "/live/echo/").await, echoes(addr, "/live/echo/").await];
    let draining = tokio::spawn(async move { shutdown.drain(Duration::from_secs(10)).await });
    for client in &mut clients {
        assert_eq!(client.closed().await.0, 1012);
        assert_eq!(ended.recv().await, Some(1012));
    }
    drop(clients);
    patiently(draining).await.unwrap();
    assert_eq!(status(addr, &upgrade_request("/live/echo/", "")).await, 503);
}

/// Tells its client who it is.
struct Greeter(String);

impl WebsocketConsumer for Greeter {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, _: Frame) -> Result {
        ctx.send(Frame::text(self.0.clone())).await
    }
}

#[tokio::test]
async fn the_identity_reaches_the_scope() {
    let greeter = |scope: &Scope| {
        let identity = scope.extension::<Identity>().expect("the layer ran");
        Ok(Greeter(identity.user.as_ref().map_or("nobody", |user| user.username()).to_owned()))
    };
    let router = UrlRouter::new().route("/", greeter);
    let addr =
        serve(Router::new().nest_service("/live", router).layer(IdentityLayer::new(ByCookie::shared())));
    let addr = addr.await;
    for (headers, expected) in [("Cookie: ana\r\n", "ana"), ("", "nobody")] {
        let request = upgrade_request("/live/", headers);
        let (mut client, _) = Client::ask(connect(addr).await, &request, b"").await;
        client.say("who am I?").await;
        client.expect(TEXT, expected).await;
    }
    assert_eq!(status(addr, &upgrade_request("/live/", "Authorization: wrong\r\n")).await, 401);
}
