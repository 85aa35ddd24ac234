//! How a socket begins: accept in all its forms, refusal in all its forms, and how either side ends it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use consumers::testing::WebsocketCommunicator;
use consumers::{
    Application, ChannelLayers, Close, CloseCode, Context, Denial, Error, Event, Frame, InMemoryLayer,
    Inbound, LayerError, NoEvents, Outbound, Result, Shutdown, Socket, StatusCode, Transport,
    WebsocketConsumer, application,
};
use tokio::io::AsyncReadExt;

use crate::support::{Probe, Talk, Told, open_over, settled, told};

/// All defaults.
struct Plain;

impl WebsocketConsumer for Plain {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        ctx.send(frame).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_accepts_by_default() {
    let mut client = WebsocketCommunicator::new(application(|_| Ok(Plain)), "/");
    assert_eq!(client.connect().await.unwrap(), None);
    client.tell("hi").await;
    assert_eq!(client.hear().await, "hi");
    client.disconnect(1000).await;
}

/// Chooses the sub-protocol that the path names, and says so in headers.
struct Chooser(String);

impl WebsocketConsumer for Chooser {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        let offered: Vec<_> = ctx.scope().subprotocols().map(str::to_owned).collect();
        let accept = ctx.accept().subprotocol(&self.0).header("x-offered", &offered.join(" "));
        accept.header("set-cookie", "a=1").header("set-cookie", "b=2").await
    }

    async fn receive(&mut self, _: &mut Context, _: Frame) -> Result {
        Ok(())
    }
}

fn chooser(name: &'static str) -> WebsocketCommunicator {
    let app = application(|scope| Ok(Chooser(scope.query("choose").unwrap_or_default().into_owned())));
    WebsocketCommunicator::new(app, &format!("/?choose={name}")).subprotocol("v2").subprotocol("v1")
}

#[tokio::test(start_paused = true)]
async fn one_of_the_offered_subprotocols_is_chosen_and_headers_are_added() {
    let mut client = chooser("v1");
    assert_eq!(client.connect().await.unwrap().as_deref(), Some("v1"));
    assert_eq!(client.response_headers()["x-offered"], "v2 v1");
    let cookies: Vec<_> = client.response_headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

#[tokio::test(start_paused = true)]
async fn a_subprotocol_that_was_not_offered_is_a_defect() {
    assert_eq!(chooser("v3").refusal().await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// Says a header that HTTP does not allow.
struct BadHeader;

impl WebsocketConsumer for BadHeader {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.accept().header("x-bad", "two\r\nlines").await
    }

    async fn receive(&mut self, _: &mut Context, _: Frame) -> Result {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_illegal_header_refuses_the_handshake() {
    let denial = WebsocketCommunicator::new(application(|_| Ok(BadHeader)), "/").refusal().await;
    assert_eq!(denial.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_has_status_headers_and_body() {
    let denial = Probe::new("deny short and stout").client().refusal().await;
    assert_eq!(denial.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(denial.headers["x-hint"], "tea");
    assert_eq!(denial.body, "short and stout");
}

#[tokio::test(start_paused = true)]
async fn what_ends_connect_before_it_accepts_refuses_the_handshake() {
    for (script, status, body) in [
        ("close 4401 log in", 403, "log in"),
        ("end 4401 log in", 403, "log in"),
        ("fail", 500, "internal error"),
        ("panic", 500, "internal error"),
        ("send too early", 500, "internal error"),
        ("away", 503, "try again later"),
    ] {
        let denial = Probe::new(script).client().refusal().await;
        assert_eq!((denial.status.as_u16(), &denial.body[..]), (status, body.as_bytes()), "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_connect_after_it_accepted_closes_the_socket() {
    for (script, code) in [
        ("accept; close 4401 log in", 4401),
        ("accept; end 4401", 4401),
        ("accept; fail", 1011),
        ("accept; panic", 1011),
        ("accept; deny late", 1008),
        ("accept; accept", 1011),
    ] {
        let close = Probe::new(script).open().await.receive_close().await.unwrap();
        assert_eq!(close.code.as_u16(), code, "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_away_after_accept_costs_no_socket() {
    let probe = Probe::new("accept; away");
    let mut client = probe.open().await;
    client.tell("send still here").await;
    assert_eq!(client.hear().await, "still here");
    assert_eq!(probe.log.of("layer_failed").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_constructor_that_fails_refuses_the_handshake() {
    let failures: [(fn() -> Error, u16); 4] = [
        (|| Denial::new(StatusCode::NOT_FOUND, "no such room").into(), 404),
        (|| Close::new(4404, "no such room").into(), 403),
        (|| Error::defect("secret"), 500),
        (|| LayerError::Unavailable("secret".into()).into(), 503),
    ];
    for (failure, status) in failures {
        let app = application(move |_| Err::<Plain, _>(failure()));
        let denial = WebsocketCommunicator::new(app, "/").refusal().await;
        assert_eq!(denial.status.as_u16(), status);
        assert!(!String::from_utf8_lossy(&denial.body).contains("secret"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_constructor_that_panics_ends_only_its_own_handshake() {
    let app = application(|scope| {
        assert_ne!(scope.path(), "/bad/", "this path panics");
        Ok(Plain)
    });
    let app: Arc<dyn Application> = Arc::new(app);
    assert!(WebsocketCommunicator::new(app.clone(), "/bad/").connect().await.is_err());
    assert!(WebsocketCommunicator::new(app, "/good/").connect().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_consumer_may_accept_later() {
    let app = application(|_| Ok(Later));
    let mut client = WebsocketCommunicator::new(app, "/").layers(InMemoryLayer::default());
    client.connect().await.unwrap();
    client.tell("hi").await;
    assert_eq!(client.hear().await, "hi");
}

/// Asks itself, and accepts when it hears the answer.
struct Later;

impl WebsocketConsumer for Later {
    type Incoming = Frame;
    type Event = Told;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        let own = ctx.channel_name().await?;
        ctx.send_to(&own, &told("let in")).await
    }

    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        ctx.send(frame).await
    }

    async fn event(&mut self, ctx: &mut Context, _: Event<Told>) -> Result {
        ctx.accept().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_has_a_code_and_a_reason() {
    let mut client = Probe::new("accept").open().await;
    client.tell("close 4007 test reason").await;
    assert_eq!(client.receive_close().await.unwrap(), Close::new(4007, "test reason"));
    client.ended().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_close_with_an_illegal_code_becomes_1011() {
    for script in ["close 999 no", "end 1005", "close 1006", "close 5000"] {
        let probe = Probe::new("accept");
        let mut client = probe.open().await;
        client.tell(script).await;
        assert_eq!(client.receive_close().await.unwrap(), Close::from(CloseCode::INTERNAL));
        settled().await;
        assert_eq!(probe.log.of("disconnect"), ["1011"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_a_close_arrives_before_it_and_what_comes_after_does_not() {
    let probe = Probe::new("accept");
    let mut client = probe.open().await;
    client.tell("send 1; send 2; close 4000 done; try 3; close 4001 again").await;
    assert_eq!(client.hear_all().await, (vec!["1".into(), "2".into()], Close::new(4000, "done")));
    assert_eq!(probe.log.of("tried"), ["Err(the socket has ended)"]);
}

#[tokio::test(start_paused = true)]
async fn a_last_frame_that_is_larger_than_the_pipe_arrives_before_the_close() {
    let mut client = Probe::new("accept").open().await;
    client.tell("flood 200; close 4000 done").await;
    let (heard, close) = client.hear_all().await;
    assert_eq!((heard.len(), close), (200, Close::new(4000, "done")));
    client.ended().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_clients_close_code_reaches_disconnect() {
    for code in [1000, 1001, 1005, 3000, 4999] {
        let probe = Probe::new("accept");
        probe.open().await.disconnect(code).await;
        assert_eq!(probe.log.of("disconnect"), [code.to_string()]);
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_were_read_are_handled_before_the_close() {
    let probe = Probe::new("accept");
    let mut client = probe.open().await;
    client.tell("wait").await;
    for n in 0..10 {
        client.tell(&n.to_string()).await;
    }
    let ending = tokio::spawn(client.disconnect(1000));
    settled().await;
    probe.let_go().await;
    ending.await.unwrap();
    let log = probe.log.all();
    let last = ["receive 8", "receive 9", "disconnect 1000"].map(str::to_owned);
    assert!(log.len() == 13 && log.ends_with(&last), "{log:?}");
}

/// A socket that has read everything at once, and whose queue ends with the peer's close, as a server's does.
struct AllAtOnce(VecDeque<Inbound>, Outbound);

impl Socket for AllAtOnce {
    fn poll_next(&mut self, _: &mut TaskContext<'_>) -> Poll<Option<Inbound>> {
        let inbound = self.0.pop_front();
        if matches!(inbound, Some(Inbound::Closed(_))) {
            self.1.finish();
        }
        Poll::Ready(inbound)
    }

    fn close(&mut self, _: &Close) {}
}

#[tokio::test(start_paused = true)]
async fn frames_that_came_with_a_close_are_answered() {
    let (mut reader, writer) = tokio::io::duplex(1024);
    let outbound = Outbound::new();
    outbound.attach(writer);
    let mut inbound: VecDeque<_> = ["1", "2", "3"].map(|text| Inbound::Frame(Frame::text(text))).into();
    inbound.push_back(Inbound::Closed(CloseCode::NORMAL.into()));
    let socket = AllAtOnce(inbound, outbound.clone());
    let (transport, _answer) = Transport::new(socket, outbound, Shutdown::new());
    open_over(application(|_| Ok(Plain)), ChannelLayers::default(), transport).await;
    let mut answers = Vec::new();
    reader.read_to_end(&mut answers).await.unwrap();
    assert_eq!(answers, b"\x81\x011\x81\x012\x81\x013");
}

#[tokio::test(start_paused = true)]
async fn every_socket_has_a_consumer_and_a_scope_of_its_own() {
    let app = application(|scope| Ok(Counter { user: *scope.extension::<u32>().unwrap_or(&0), calls: 0 }));
    let app: Arc<dyn Application> = Arc::new(app);
    let mut clients = [7, 8].map(|user| WebsocketCommunicator::new(app.clone(), "/").extension::<u32>(user));
    for client in &mut clients {
        client.connect().await.unwrap();
    }
    for calls in 1..=3 {
        for (client, user) in clients.iter_mut().zip([7, 8]) {
            client.tell("x").await;
            assert_eq!(client.hear().await, format!("{user}: {calls}"));
        }
    }
}

/// Counts its calls.
struct Counter {
    user: u32,
    calls: u32,
}

impl WebsocketConsumer for Counter {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, _: Frame) -> Result {
        self.calls += 1;
        ctx.send(Frame::text(format!("{}: {}", self.user, self.calls))).await
    }
}
