//! A stream's end is its own: the client is told, the others and the socket live.

use async_trait::async_trait;
use consumers::testing::WebsocketCommunicator;
use consumers::{
    Application, Close, Context, Demultiplexer, Denial, Error, Frame, LayerError, NoEvents, Result, Scope,
    StatusCode, Transport, WebsocketConsumer,
};

use super::{OnStream, ask, binary, on, open, probe, request, two};
use crate::support::{Probe, Talk, TestLayer, settled};

#[tokio::test(start_paused = true)]
async fn whatever_a_handler_does_to_its_stream_is_told_and_ends_only_that() {
    for (script, payload, code) in [
        ("end 4001 log in", r#"{"error":"log in","code":4001}"#, "4001"),
        ("close 4002 done", r#"{"error":"done","code":4002}"#, "4002"),
        ("close 1000", r#"{"error":"the stream has ended","code":1000}"#, "1000"),
        ("end 1005", r#"{"error":"internal error","code":1011}"#, "1011"),
        ("deny late", r#"{"error":"the stream has ended","code":1008}"#, "1008"),
        ("fail", r#"{"error":"internal error","code":1011}"#, "1011"),
        ("panic", r#"{"error":"internal error","code":1011}"#, "1011"),
        ("send no json", r#"{"error":"internal error","code":1011}"#, "1011"),
    ] {
        let (a, b, app) = two();
        let layer = TestLayer::shared();
        let mut client = WebsocketCommunicator::new(app, "/").layers(layer.clone());
        client.connect().await.unwrap();
        ask(&mut client, "a", "join room; relay room; send 1").await;
        assert_eq!(client.hear().await, on("a", "1"));
        assert_eq!(layer.open_channels().await, 2);
        settled().await;
        ask(&mut client, "a", script).await;
        assert_eq!(client.hear().await, on("a", payload), "{script}");
        settled().await;
        assert_eq!(a.log.of("disconnect"), [code], "{script}");
        assert_eq!(layer.open_channels().await, 0, "its groups are left");
        ask(&mut client, "a", "note never").await;
        assert_eq!(client.hear().await, on("a", r#"{"error":"the stream has ended"}"#));
        ask(&mut client, "b", "send 2").await;
        assert_eq!(client.hear().await, on("b", "2"));
        client.disconnect(1000).await;
        assert_eq!(b.log.of("disconnect"), ["1000"]);
        assert_eq!(a.log.of("disconnect").len(), 1, "once");
    }
}

/// Sends bytes, and tells what came of it.
struct Binary;

impl WebsocketConsumer for Binary {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, _: Frame) -> Result {
        let Err(Error::Defect(cause)) = ctx.send(binary(b"{}")).await else { panic!("it was sent") };
        ctx.send_json(&cause.to_string()).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_binary_frame_is_a_defect_of_the_consumer() {
    let mut client = open(Demultiplexer::new().stream("a", |_| Ok(Binary))).await;
    client.tell(&on("a", "{}")).await;
    assert_eq!(client.hear().await, on("a", r#""streams carry JSON, and no binary frames""#));
}

#[tokio::test(start_paused = true)]
async fn what_ends_connect_is_told_too() {
    for (script, payload, code) in [
        ("end 4001 log in", r#"{"error":"log in","code":4001}"#, "4001"),
        ("close 4002 done", r#"{"error":"done","code":4002}"#, "4002"),
        ("accept; end 4003 bye", r#"{"error":"bye","code":4003}"#, "4003"),
        ("deny short and stout", r#"{"error":"short and stout","status":418}"#, "1006"),
        ("away", r#"{"error":"try again later","status":503}"#, "1006"),
        ("fail", r#"{"error":"internal error","status":500}"#, "1006"),
        ("panic", r#"{"error":"internal error","status":500}"#, "1006"),
        ("send 1", r#"{"error":"internal error","status":500}"#, "1006"),
        ("accept; panic", r#"{"error":"internal error","code":1011}"#, "1011"),
    ] {
        let (a, b) = (Probe::new(script), Probe::new("accept; send 1"));
        let app = Demultiplexer::new().stream("a", probe(&a)).stream("b", probe(&b));
        let mut client = open(app).await;
        let heard = [client.hear().await, client.hear().await];
        assert!(heard.contains(&on("a", payload)) && heard.contains(&on("b", "1")), "{script}: {heard:?}");
        settled().await;
        assert_eq!(a.log.all(), ["connect".to_owned(), format!("disconnect {code}")], "{script}");
        ask(&mut client, "a", "note never").await;
        assert_eq!(client.hear().await, on("a", r#"{"error":"the stream has ended"}"#));
    }
}

#[tokio::test(start_paused = true)]
async fn a_constructor_that_fails_ends_its_stream() {
    type Failure = fn() -> Error;
    let failures: [(Failure, &str); 5] = [
        (
            || Denial::new(StatusCode::NOT_FOUND, "no such room").into(),
            r#"{"error":"no such room","status":404}"#,
        ),
        (|| Close::new(4404, "no such room").into(), r#"{"error":"no such room","code":4404}"#),
        (|| Error::defect("secret"), r#"{"error":"internal error","status":500}"#),
        (|| LayerError::Unavailable("secret".into()).into(), r#"{"error":"try again later","status":503}"#),
        (|| panic!("as the test says"), r#"{"error":"internal error","code":1011}"#),
    ];
    for (failure, payload) in failures {
        let app = Demultiplexer::new().stream("a", move |_| Err::<OnStream, _>(failure()));
        let mut client = open(app).await;
        assert_eq!(client.hear().await, on("a", payload));
        ask(&mut client, "a", "note never").await;
        assert_eq!(client.hear().await, on("a", r#"{"error":"the stream has ended"}"#));
    }
}

/// An application that drops its transport unanswered, at once or never.
struct Mute {
    forever: bool,
}

#[async_trait]
impl Application for Mute {
    async fn open(&self, _: Scope, transport: Transport) {
        if self.forever {
            std::future::pending::<()>().await;
        }
        drop(transport);
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_just_returns_has_ended_its_stream() {
    let app =
        Demultiplexer::new().mount("gone", Mute { forever: false }).mount("deaf", Mute { forever: true });
    let mut client = open(app).await;
    assert_eq!(client.hear().await, on("gone", r#"{"error":"internal error","code":1011}"#));
    client.tell(&on("deaf", "{}")).await;
    assert!(client.receive_nothing().await);
}

#[tokio::test(start_paused = true)]
async fn frames_that_wait_when_their_stream_ends_are_answered_behind_its_end() {
    let (a, _, app) = two();
    let mut client = open(app).await;
    ask(&mut client, "a", "send 1; wait; end 4001 enough").await;
    request(&mut client, "a", "note never", "2").await;
    client.tell(&on("a", r#"{"do":"note never","request_id":3}"#)).await;
    client.tell(&on("a", r#"{"undo":1}"#)).await;
    assert_eq!(client.hear().await, on("a", "1"));
    a.let_go().await;
    assert_eq!(client.hear().await, on("a", r#"{"error":"enough","code":4001}"#));
    let ended = r#""error":"the stream has ended""#;
    assert_eq!(client.hear().await, format!(r#"{{"stream":"a","payload":{{{ended}}},"request_id":2}}"#));
    assert_eq!(client.hear().await, on("a", &format!(r#"{{{ended},"request_id":3}}"#)));
    assert_eq!(client.hear().await, on("a", &format!("{{{ended}}}")));
    assert!(client.receive_nothing().await);
    assert_eq!(a.log.of("receive").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_may_end_a_stream_and_a_stream_may_end_while_its_disconnect_takes_its_time() {
    let a = Probe::new("join room; accept").disconnect("wait; note gone");
    let b = Probe::new("accept");
    let app = Demultiplexer::new().stream("a", probe(&a)).stream("b", probe(&b));
    let mut client = WebsocketCommunicator::new(app, "/").layers(consumers::InMemoryLayer::default());
    client.connect().await.unwrap();
    ask(&mut client, "b", "group room end 4001 over").await;
    assert_eq!(client.hear().await, on("a", r#"{"error":"over","code":4001}"#));
    for _ in 0..50 {
        ask(&mut client, "a", "note never").await;
        assert_eq!(client.hear().await, on("a", r#"{"error":"the stream has ended"}"#));
    }
    ask(&mut client, "b", "send 1").await;
    assert_eq!(client.hear().await, on("b", "1"));
    a.let_go().await;
    assert!(a.log.all().contains(&"gone".to_owned()));
}
