//! Random frames, events and endings against a naive model: per source, what the consumer sees is what was sent, in
//! order; handlers never overlap; `disconnect` comes last and once.

use std::time::Duration;

use consumers::testing::WebsocketCommunicator;
use consumers::{ChannelLayer, InMemoryLayer, Shutdown};
use proptest::prelude::*;

use crate::support::{Probe, group, message, settled};

/// What happens to a socket before it ends.
#[derive(Debug, Clone)]
enum Step {
    Frame(&'static str),
    Event(&'static str),
    /// Everything that can run does.
    Settle,
    /// Other tasks have one turn.
    Turn,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    ClientCloses,
    ClientIsLost,
    HandlerCloses,
    HandlerPanics,
    EventFails,
    ServerDrains,
}

/// How long handlers take, in turns of other tasks.
const HANDLERS: [&str; 3] = ["", "; yield", "; yield; yield; yield"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::sample::select(&HANDLERS[..]).prop_map(Step::Frame),
        4 => prop::sample::select(&HANDLERS[..]).prop_map(Step::Event),
        1 => Just(Step::Settle),
        2 => Just(Step::Turn),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop::sample::select(vec![
        End::ClientCloses,
        End::ClientIsLost,
        End::HandlerCloses,
        End::HandlerPanics,
        End::EventFails,
        End::ServerDrains,
    ])
}

/// A socket under test, and how much of what it was sent it must have seen by now.
struct Run {
    probe: Probe,
    layer: InMemoryLayer,
    shutdown: Shutdown,
    client: Option<WebsocketCommunicator>,
    frames: usize,
    events: usize,
    settled: (usize, usize),
}

impl Run {
    async fn new() -> Self {
        let (probe, layer, shutdown) =
            (Probe::new("join room; accept"), InMemoryLayer::default(), Shutdown::new());
        let mut client = probe.client().layers(layer.clone()).shutdown(&shutdown);
        client.connect().await.unwrap();
        Self { probe, layer, shutdown, client: Some(client), frames: 0, events: 0, settled: (0, 0) }
    }

    async fn frame(&mut self, script: &str) {
        let script = format!("note frame {}{script}; note done", self.frames);
        self.client.as_mut().unwrap().send(consumers::Frame::text(script)).await;
        self.frames += 1;
    }

    async fn event(&mut self, script: &str) {
        let script = format!("note told {}{script}; note done", self.events);
        self.layer.group_send(&group("room"), message(script)).await.unwrap();
        self.events += 1;
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Frame(script) => self.frame(script).await,
            Step::Event(script) => self.event(script).await,
            Step::Settle => {
                settled().await;
                self.settled = (self.frames, self.events);
            }
            Step::Turn => tokio::task::yield_now().await,
        }
    }

    /// Ends the socket; the code that `disconnect` must be told.
    async fn end(&mut self, end: End) -> u16 {
        match end {
            End::ClientCloses => self.client.take().unwrap().disconnect(1001).await,
            End::ClientIsLost => drop(self.client.take()),
            End::HandlerCloses => self.frame("; close 4000").await,
            End::HandlerPanics => self.frame("; panic").await,
            End::EventFails => self.event("; fail").await,
            End::ServerDrains => self.shutdown.drain(Duration::from_secs(5)).await,
        }
        settled().await;
        match end {
            End::ClientCloses => 1001,
            End::ClientIsLost => 1006,
            End::HandlerCloses => 4000,
            End::HandlerPanics | End::EventFails => 1011,
            End::ServerDrains => 1012,
        }
    }

    fn check(&self, end: End, code: u16) {
        let log = self.probe.log.all();
        let seen = (self.probe.log.of("frame"), self.probe.log.of("told"));
        for (seen, sent, settled) in
            [(&seen.0, self.frames, self.settled.0), (&seen.1, self.events, self.settled.1)]
        {
            let numbers: Vec<_> = (0..sent).map(|n| n.to_string()).collect();
            assert!(numbers.starts_with(seen), "in order, each once: {log:?}");
            assert!(seen.len() >= settled, "what had time to be handled was: {log:?}");
        }
        // Who ends by its last frame or event, or closes after it, has been heard to the end.
        match end {
            End::ServerDrains => {}
            End::EventFails => assert_eq!(seen.1.len(), self.events, "{log:?}"),
            _ => assert_eq!(seen.0.len(), self.frames, "{log:?}"),
        }
        assert_eq!(self.probe.log.of("disconnect"), [code.to_string()]);
        assert_eq!(log.last(), Some(&format!("disconnect {code}")));
        assert_eq!(overlapping(&log), None, "{log:?}");
    }
}

/// The place of a handler that began before the one before it was done.
fn overlapping(log: &[String]) -> Option<usize> {
    let begins = |entry: &String| entry.starts_with("receive ") || entry.starts_with("event ");
    let handled: Vec<_> = log.iter().filter(|entry| begins(entry) || *entry == "done").collect();
    handled.windows(2).position(|pair| begins(pair[0]) && begins(pair[1]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_is_a_legal_one(steps in prop::collection::vec(step(), 0..60), end in end()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let mut run = Run::new().await;
            for step in steps {
                run.step(step).await;
            }
            let code = run.end(end).await;
            run.check(end, code);
        });
    }
}
