//! Streams begin, talk in order, each for itself, and hear the end.

use std::fmt::Display;

use async_trait::async_trait;
use consumers::testing::WebsocketCommunicator;
use consumers::{
    Application, ChannelLayers, Context, Demultiplexer, Denial, Frame, GroupName, InMemoryLayer, Json,
    LayerError, NoEvents, Outbound, Result, Scope, Shutdown, StatusCode, Transport, WebsocketConsumer,
};
use serde_json::Value;

use super::{OnStream, ask, binary, both_live, on, open, probe, two};
use crate::support::{Call, Probe, Silent, Talk, TestLayer, group, open_over, settled};

/// Counts what it gets, and says what it knows of its scope.
struct Counter {
    count: u32,
    greeting: String,
}

impl Counter {
    fn new(scope: &Scope) -> Result<Self> {
        let user = scope.extension::<&'static str>().copied().unwrap_or("nobody");
        Ok(Self { count: 0, greeting: format!("{user} in {}", scope.param::<u8>("id")?) })
    }
}

impl WebsocketConsumer for Counter {
    type Incoming = Json<Value>;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.accept().await?;
        ctx.send_json(&self.greeting).await
    }

    async fn receive(&mut self, ctx: &mut Context, Json(value): Json<Value>) -> Result {
        self.count += 1;
        ctx.send_json(&(self.count, value)).await
    }
}

/// A router that has matched a parameter.
struct Route<A>(A);

#[async_trait]
impl<A: Application> Application for Route<A> {
    async fn open(&self, mut scope: Scope, transport: Transport) {
        scope.advance(3, [("id".into(), "7".into())]);
        self.0.open(scope, transport).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_stream_has_its_own_state_and_the_parameters_and_the_user_of_the_socket() {
    let app = Route(Demultiplexer::new().stream("a", Counter::new).stream("b", Counter::new));
    let mut client = WebsocketCommunicator::new(app, "/7/").extension("ada");
    client.connect().await.unwrap();
    assert_eq!([client.hear().await, client.hear().await], ["a", "b"].map(|name| on(name, r#""ada in 7""#)));
    for (stream, count) in [("a", 1), ("a", 2), ("b", 1), ("a", 3)] {
        client.tell(&on(stream, r#"{"z":0,"a":"é"}"#)).await;
        assert_eq!(client.hear().await, on(stream, &format!(r#"[{count},{{"a":"é","z":0}}]"#)));
    }
}

/// How a demultiplexer gets a probe that writes down when it is made.
fn noting<T: Display + Send + Sync + 'static>(
    probe: &Probe,
    name: T,
) -> impl Fn(&Scope) -> Result<OnStream> + use<T> {
    let probe = probe.clone();
    move |_| {
        probe.log.note(format!("made {name}"));
        Ok(OnStream(probe.clone()))
    }
}

#[tokio::test(start_paused = true)]
async fn connect_reaches_every_stream_in_the_order_of_declaration() {
    let shared = Probe::new("accept");
    let names = ["d", "a", "c", "b"];
    let app =
        names.into_iter().fold(Demultiplexer::new(), |app, name| app.stream(name, noting(&shared, name)));
    let _client = open(app).await;
    settled().await;
    let expected = names.iter().flat_map(|name| [format!("made {name}"), "connect".to_owned()]);
    assert_eq!(shared.log.all(), expected.collect::<Vec<_>>());
}

/// On threads of its own a task may overtake another that was spawned before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn streams_begin_in_order_on_many_threads_too() {
    for _ in 0..50 {
        let shared = Probe::new("accept");
        let app = (0..16).fold(Demultiplexer::new(), |app, n| app.stream(&n.to_string(), noting(&shared, n)));
        let (transport, answer) = Transport::new(Silent, Outbound::new(), Shutdown::new());
        let socket = tokio::spawn(open_over(app, ChannelLayers::default(), transport));
        answer.await.unwrap();
        while shared.log.of("made").len() < 16 {
            tokio::task::yield_now().await;
        }
        socket.abort();
        assert_eq!(shared.log.of("made"), (0..16).map(|n: u8| n.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_takes_its_time_holds_up_nobody_and_gets_its_frames_later() {
    let (slow, quick) = (Probe::new("wait; accept; send 0"), Probe::new("accept; send 0"));
    let app = Demultiplexer::new().stream("slow", probe(&slow)).stream("quick", probe(&quick));
    let mut client = open(app).await;
    ask(&mut client, "slow", "send 1").await;
    ask(&mut client, "quick", "send 1").await;
    assert_eq!([client.hear().await, client.hear().await], ["0", "1"].map(|payload| on("quick", payload)));
    assert!(client.receive_nothing().await);
    slow.let_go().await;
    assert_eq!([client.hear().await, client.hear().await], ["0", "1"].map(|payload| on("slow", payload)));
}

#[tokio::test(start_paused = true)]
async fn frames_of_a_stream_keep_their_order_in_both_directions() {
    let (_, _, app) = two();
    let mut client = open(app).await;
    for n in 0..100 {
        ask(&mut client, ["a", "b"][n % 2], &format!("yield; send {n}; send {n}.5")).await;
    }
    let mut heard = [Vec::new(), Vec::new()];
    for _ in 0..200 {
        let frame = client.hear().await;
        heard[usize::from(frame.starts_with(r#"{"stream":"b""#))].push(frame);
    }
    for (parity, (name, heard)) in ["a", "b"].into_iter().zip(heard).enumerate() {
        let numbers = (parity..100).step_by(2);
        let expected = numbers.flat_map(|n| [on(name, &n.to_string()), on(name, &format!("{n}.5"))]);
        assert_eq!(heard, expected.collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn bad_frames_are_answered_and_cost_nothing() {
    let (a, _, app) = two();
    let mut client = open(app).await;
    for (frame, stream, error) in [
        ("{", "null", "the frame is not JSON"),
        ("7", "null", "the frame is not an object"),
        (r#"{"payload":{}}"#, "null", "stream or payload is missing"),
        (r#"{"stream":"a"}"#, r#""a""#, "stream or payload is missing"),
        (r#"{"stream":"c","payload":{}}"#, r#""c""#, r#"there is no stream \"c\""#),
        (r#"{"stream":"a","payload":"x"}"#, r#""a""#, "payload is not an object"),
    ] {
        client.tell(frame).await;
        assert_eq!(client.hear().await, format!(r#"{{"stream":{stream},"payload":{{"error":"{error}"}}}}"#));
    }
    client.send(binary(b"{}")).await;
    assert_eq!(client.hear().await, r#"{"stream":null,"payload":{"error":"text frames are due here"}}"#);
    assert_eq!(a.log.of("receive").len(), 0);
    both_live(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_cannot_be_read_is_answered_and_the_stream_lives() {
    let (a, _, app) = two();
    let mut client = open(app).await;
    client.tell(&on("a", r#"{"undo":1}"#)).await;
    assert_eq!(client.hear().await, on("a", r#"{"error":"not the JSON that is due here"}"#));
    assert_eq!(a.log.all(), ["connect"]);
    both_live(&mut client).await;
}

/// Has nothing to do with text.
struct Bytes;

impl WebsocketConsumer for Bytes {
    type Incoming = consumers::Bytes;
    type Event = NoEvents;

    async fn receive(&mut self, _: &mut Context, _: consumers::Bytes) -> Result {
        Ok(())
    }
}

/// Shows how it was told that a payload cannot be read.
struct Reader;

impl WebsocketConsumer for Reader {
    type Incoming = Result<Json<u8>>;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, incoming: Result<Json<u8>>) -> Result {
        ctx.send_json(&format!("{:?}", incoming.unwrap_err())).await
    }
}

/// Fails to read anything, for a reason that is nobody's business.
struct Secret;

impl consumers::FromFrame for Secret {
    fn from_frame(_: Frame) -> Result<Self> {
        Err(consumers::Error::defect("secret"))
    }
}

struct Unable;

impl WebsocketConsumer for Unable {
    type Incoming = Secret;
    type Event = NoEvents;

    async fn receive(&mut self, _: &mut Context, _: Secret) -> Result {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_the_consumers_if_it_wants_and_leaks_nothing() {
    let app = Demultiplexer::new()
        .stream("bytes", |_| Ok(Bytes))
        .stream("reader", |_| Ok(Reader))
        .stream("unable", |_| Ok(Unable));
    let mut client = open(app).await;
    for (stream, payload) in [
        ("bytes", r#"{"error":"binary frames are due here"}"#),
        ("reader", r#""close 1007 \"not the JSON that is due here\"""#),
        ("unable", r#"{"error":"the payload cannot be read"}"#),
    ] {
        client.tell(&on(stream, "{}")).await;
        assert_eq!(client.hear().await, on(stream, payload));
    }
}

#[tokio::test(start_paused = true)]
async fn the_close_code_reaches_every_stream_behind_what_waits_and_is_waited_for() {
    let (a, b, app) = two();
    let (a, b) = (a.disconnect("yield; note gone"), b);
    let app = app.stream("c", probe(&a));
    let mut client = open(app).await;
    for text in ["one", "two", "three"] {
        ask(&mut client, "c", &format!("yield; try {text}; note {text}")).await;
    }
    client.disconnect(4242).await;
    assert_eq!(b.log.all(), ["connect", "disconnect 4242"]);
    assert_eq!(a.log.of("disconnect"), ["4242", "4242"]);
    let all = a.log.all();
    let position = |entry: &str| all.iter().position(|known| known == entry).unwrap();
    assert!(position("one") < position("two") && position("two") < position("three"), "{all:?}");
    assert_eq!(all[all.len() - 2..], ["disconnect 4242", "gone"].map(str::to_owned));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_1006_on_every_stream() {
    let (a, b, app) = two();
    let mut client = open(app).await;
    ask(&mut client, "a", "flood 1000; note flooded").await;
    settled().await;
    drop(client);
    settled().await;
    for probe in [a, b] {
        assert_eq!(probe.log.of("disconnect"), ["1006"]);
        assert!(
            !probe.log.all().contains(&"flooded".to_owned()),
            "who sends is told that the socket is gone"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_accepts_hears_nothing_but_the_end() {
    let (undecided, other) = (Probe::new("note undecided"), Probe::new("accept"));
    let app = Demultiplexer::new().stream("u", probe(&undecided)).stream("o", probe(&other));
    let mut client = open(app).await;
    ask(&mut client, "u", "note never").await;
    ask(&mut client, "o", "send 1").await;
    assert_eq!(client.hear().await, on("o", "1"));
    client.disconnect(1000).await;
    assert_eq!(undecided.log.all(), ["connect", "undecided", "disconnect 1006"]);
    assert_eq!(other.log.of("disconnect"), ["1000"]);
}

#[tokio::test(start_paused = true)]
async fn the_demultiplexers_own_groups_may_refuse_the_handshake() {
    let (a, _, app) = two();
    let refusing =
        app.clone().group(|_| Err::<GroupName, _>(Denial::new(StatusCode::FORBIDDEN, "no").into()));
    let denial = WebsocketCommunicator::new(refusing, "/").refusal().await;
    assert_eq!(denial.status, StatusCode::FORBIDDEN);
    let layer = TestLayer::shared();
    layer.lose(Call::GroupAdd);
    let joining = app.group(|_| Ok(group("g")));
    let denial = WebsocketCommunicator::new(joining.clone(), "/").layers(layer).refusal().await;
    assert_eq!(denial.status, StatusCode::SERVICE_UNAVAILABLE);
    let denial = WebsocketCommunicator::new(joining, "/").refusal().await;
    assert_eq!(denial.status, StatusCode::INTERNAL_SERVER_ERROR, "no layer is a defect");
    assert_eq!(a.log.all().len(), 0, "no stream was opened");
}

#[tokio::test(start_paused = true)]
async fn demultiplexers_nest() {
    let (a, b) = (Probe::new("relay room; accept"), Probe::new("accept"));
    let inner = Demultiplexer::new().group(|_| Ok(group("own"))).stream("a", probe(&a));
    let app = Demultiplexer::new().mount("in", inner).stream("b", probe(&b));
    let mut client = WebsocketCommunicator::new(app, "/").layers(InMemoryLayer::default());
    client.connect().await.unwrap();
    client.tell(r#"{"stream":"in","payload":{"stream":"a","payload":{"do":"send 1; group room 2"},"request_id":3}}"#).await;
    assert_eq!(client.hear().await, r#"{"stream":"in","payload":{"stream":"a","payload":1,"request_id":3}}"#);
    assert_eq!(client.hear().await, r#"{"stream":"in","payload":{"stream":"a","payload":2}}"#);
    client.tell(r#"{"stream":"in","payload":{"stream":"x","payload":{}},"request_id":4}"#).await;
    let error = r#"{"stream":"x","payload":{"error":"there is no stream \"x\""}}"#;
    assert_eq!(client.hear().await, format!(r#"{{"stream":"in","payload":{error},"request_id":4}}"#));
    client.tell(r#"{"stream":"in","payload":{"stream":"a","payload":{"do":"end 4001 bye"}}}"#).await;
    let end = on("in", &on("a", r#"{"error":"bye","code":4001}"#));
    assert_eq!(client.hear().await, end);
    client.disconnect(1000).await;
    assert_eq!([a.log.of("disconnect"), b.log.of("disconnect")], [["4001"], ["1000"]]);
}

#[test]
fn a_demultiplexer_that_makes_no_sense_is_found_at_start() {
    let streams = |names: Vec<String>| {
        std::panic::catch_unwind(|| {
            let app = names.iter().fold(Demultiplexer::new(), |app, name| app.stream(name, |_| Ok(Bytes)));
            format!("{app:?}")
        })
    };
    assert!(streams((0..64).map(|n| n.to_string()).collect()).is_ok());
    assert!(streams((0..65).map(|n| n.to_string()).collect()).is_err());
    assert!(streams(vec!["é".repeat(100)]).is_ok());
    assert!(streams(vec!["x".repeat(101)]).is_err());
    assert!(streams(vec!["x".into(), "x".into()]).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_fails_while_a_stream_lives_costs_an_event_only() {
    let (a, _, app) = two();
    let mut client = open(app).await;
    ask(&mut client, "a", "away").await;
    both_live(&mut client).await;
    assert_eq!(a.log.of("layer_failed"), [LayerError::Unavailable("as the script says".into()).to_string()]);
}
