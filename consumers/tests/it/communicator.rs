//! The test client itself: what it says when something else comes than what it waits for.

use std::time::{Duration, Instant};

use consumers::testing::{Unexpected, WebsocketCommunicator};
use consumers::{Context, Frame, NoEvents, Result, WebsocketConsumer, application};

use crate::support::{Probe, Talk};

#[tokio::test(start_paused = true)]
async fn a_refused_handshake_is_told_with_its_status() {
    let mut client = Probe::new("deny no").client();
    let error = client.connect().await.unwrap_err();
    assert_eq!(error.to_string(), "the handshake was refused with 418 I'm a teapot");
    client.ended().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handshake_without_an_answer_is_silence() {
    assert!(matches!(Probe::new("hang").client().connect().await, Err(Unexpected::Silence)));
}

#[tokio::test(start_paused = true)]
async fn receive_says_what_came_instead() {
    let mut client = Probe::new("accept").open().await;
    assert!(matches!(client.receive().await, Err(Unexpected::Silence)));
    client.tell("close 4000 bye").await;
    assert!(matches!(client.receive().await, Err(Unexpected::Closed(close)) if close.code.as_u16() == 4000));
    assert!(matches!(client.receive().await, Err(Unexpected::Lost)));
    client.tell("nobody reads this").await;
    client.ended().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn receive_nothing_waits_and_loses_nothing() {
    let mut client = Probe::new("accept").open().await;
    assert!(client.receive_nothing().await);
    client.tell("send something; send else").await;
    assert!(!client.receive_nothing().await);
    assert!(!client.receive_nothing().await);
    assert_eq!([client.hear().await, client.hear().await], ["something", "else"]);
    assert!(client.receive_nothing().await);
    client.tell("close 1000").await;
    assert!(!client.receive_nothing().await, "a close is something");
}

#[tokio::test(start_paused = true)]
async fn receive_json_tells_what_was_expected_and_what_came() {
    let mut client = Probe::new("accept").open().await;
    client.tell(r#"send [1,2]; send {"a":1}; send no json"#).await;
    assert_eq!(client.receive_json::<Vec<u8>>().await.unwrap(), [1, 2]);
    for _ in 0..2 {
        let error = client.receive_json::<Vec<u8>>().await.unwrap_err();
        assert!(error.to_string().starts_with("expected alloc::vec::Vec<u8>, got Text"), "{error}");
    }
    assert!(matches!(client.receive_json::<u8>().await, Err(Unexpected::Silence)));
}

#[tokio::test(start_paused = true)]
async fn receive_close_wants_a_close() {
    let mut client = Probe::new("accept").open().await;
    client.tell("send first; close 1000").await;
    assert!(matches!(client.receive_close().await, Err(Unexpected::Frame { expected: "a close frame", .. })));
    assert_eq!(client.receive_close().await.unwrap().code.as_u16(), 1000);
}

#[tokio::test(start_paused = true)]
async fn ended_waits_for_the_application() {
    let probe = Probe::new("accept").disconnect("wait");
    let mut client = probe.open().await;
    client.tell("close 1000").await;
    assert!(matches!(client.ended().await, Err(Unexpected::Silence)));
}

#[tokio::test(start_paused = true)]
async fn an_application_that_loses_the_connection_is_told_apart_from_one_that_closes() {
    let mut client = Probe::new("accept").open().await;
    client.tell("close 1000").await;
    client.receive_close().await.unwrap();
    assert!(matches!(client.receive_close().await, Err(Unexpected::Lost)));
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "connect before talking")]
async fn who_does_not_connect_cannot_talk() {
    Probe::new("accept").client().tell("hi").await;
}

/// Tells its client what it knows of it.
struct Mirror;

impl WebsocketConsumer for Mirror {
    type Incoming = String;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, what: String) -> Result {
        let scope = ctx.scope();
        let answer = match what.as_str() {
            "path" => Some(scope.path()),
            "query" => Some(scope.query_string()),
            "user" => scope.extension::<&'static str>().copied(),
            header => scope.header(header),
        };
        ctx.send_json(&answer.map(str::to_owned)).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_reaches_the_scope() {
    let client = WebsocketCommunicator::new(application(|_| Ok(Mirror)), "/a%20b/?q=%20");
    let mut client = client.header("origin", "http://example.org").extension("ann");
    assert!(client.response_headers().is_empty());
    client.connect().await.unwrap();
    for (what, answer) in [
        ("path", Some("/a b/")),
        ("query", Some("q=%20")),
        ("origin", Some("http://example.org")),
        ("user", Some("ann")),
        ("cookie", None),
    ] {
        client.send(Frame::text(what)).await;
        assert_eq!(client.receive_json::<Option<String>>().await.unwrap().as_deref(), answer, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_costs_no_time() {
    let start = Instant::now();
    let mut client = Probe::new("accept").open().await;
    for _ in 0..1000 {
        assert!(client.receive_nothing().await);
    }
    // A hundred virtual seconds; the bound is for the slowest machine.
    assert!(start.elapsed() < Duration::from_secs(30));
}
