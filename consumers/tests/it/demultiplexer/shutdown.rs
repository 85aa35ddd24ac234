//! The orderly end of many streams, and the deadline.

use std::time::Duration;

use async_trait::async_trait;
use consumers::testing::WebsocketCommunicator;
use consumers::{Application, Demultiplexer, Scope, Shutdown, StatusCode, Transport};
use tokio::time::Instant;

use super::{ask, on, probe};
use crate::support::{Probe, Talk, settled};

async fn open(app: Demultiplexer, shutdown: &Shutdown) -> WebsocketCommunicator {
    let mut client = WebsocketCommunicator::new(app, "/").shutdown(shutdown);
    client.connect().await.unwrap();
    client
}

/// Drains with a deadline of five seconds and says how many milliseconds it took.
async fn drain(shutdown: &Shutdown) -> u128 {
    let start = Instant::now();
    shutdown.drain(Duration::from_secs(5)).await;
    start.elapsed().as_millis()
}

fn two(a: &Probe, b: &Probe) -> Demultiplexer {
    Demultiplexer::new().stream("a", probe(a)).stream("b", probe(b))
}

#[tokio::test(start_paused = true)]
async fn idle_streams_end_at_once_with_1012() {
    let (a, b, shutdown) = (Probe::new("accept"), Probe::new("accept"), Shutdown::new());
    let mut client = open(two(&a, &b), &shutdown).await;
    assert_eq!(drain(&shutdown).await, 0);
    assert_eq!(client.receive_close().await.unwrap().code.as_u16(), 1012);
    assert_eq!([a.log.of("disconnect"), b.log.of("disconnect")], [["1012"], ["1012"]]);
    let denial = WebsocketCommunicator::new(two(&a, &b), "/").shutdown(&shutdown).refusal().await;
    assert_eq!(denial.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_handler_in_progress_finishes_first_and_what_waits_is_not_handled() {
    let (a, b, shutdown) = (Probe::new("accept"), Probe::new("accept"), Shutdown::new());
    let mut client = open(two(&a, &b), &shutdown).await;
    ask(&mut client, "a", "wait; note finished").await;
    for _ in 0..20 {
        ask(&mut client, "a", "note never").await;
    }
    settled().await;
    let (opener, other) = (a.clone(), b.clone());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(other.log.of("disconnect"), ["1012"], "other streams do not wait for it");
        opener.gate.add_permits(1);
    });
    assert_eq!(drain(&shutdown).await, 3000);
    assert_eq!(a.log.all()[2..], ["finished", "disconnect 1012"].map(str::to_owned));
    assert_eq!(b.log.of("disconnect"), ["1012"]);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_handler_is_dropped_at_the_deadline_and_disconnect_still_runs() {
    let (a, b) = (Probe::new("accept").disconnect("yield; note said goodbye"), Probe::new("accept"));
    let shutdown = Shutdown::new();
    let mut client = open(two(&a, &b), &shutdown).await;
    ask(&mut client, "a", "hang").await;
    ask(&mut client, "b", "send 1").await;
    assert_eq!(client.hear().await, on("b", "1"));
    assert_eq!(drain(&shutdown).await, 5000);
    assert_eq!(a.log.all()[2..], ["disconnect 1012", "said goodbye"].map(str::to_owned));
    assert_eq!(client.receive_close().await.unwrap().code.as_u16(), 1012);
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_that_hangs_too_gets_half_a_second_more() {
    let (a, b) = (Probe::new("accept").disconnect("hang"), Probe::new("accept"));
    let shutdown = Shutdown::new();
    let mut client = open(two(&a, &b), &shutdown).await;
    ask(&mut client, "a", "hang").await;
    settled().await;
    assert_eq!(drain(&shutdown).await, 5500);
    assert_eq!(b.log.of("disconnect"), ["1012"]);
}

/// An application that ends for nobody.
struct Hanging(Probe);

/// Notes that it was dropped.
struct Dropped(Probe);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.log.note("dropped");
    }
}

#[async_trait]
impl Application for Hanging {
    async fn open(&self, _: Scope, _transport: Transport) {
        let _dropped = Dropped(self.0.clone());
        std::future::pending::<()>().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_knows_no_end_is_dropped_after_the_deadline() {
    let (a, shutdown) = (Probe::new("accept"), Shutdown::new());
    let app = Demultiplexer::new().mount("h", Hanging(a.clone())).stream("a", probe(&a));
    let _client = open(app, &shutdown).await;
    settled().await;
    let took = drain(&shutdown).await;
    assert!((5500..6000).contains(&took), "{took}");
    assert_eq!(a.log.all(), ["connect", "disconnect 1012", "dropped"]);
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_a_socket_whose_task_is_aborted() {
    let a = Probe::new("accept");
    let shutdown = Shutdown::new();
    let app = Demultiplexer::new().mount("h", Hanging(a.clone()));
    let client = open(app, &shutdown).await;
    settled().await;
    drop(client);
    settled().await;
    assert_eq!(a.log.all().len(), 0, "an application that hangs keeps its connection open");
    shutdown.drain(Duration::ZERO).await;
    assert_eq!(a.log.all(), ["dropped"]);
}
