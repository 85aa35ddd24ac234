//! A client of the orders' socket that adds up what it hears, and knows what that should come to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::capture_site::{OWNER, STAFF};
use crate::capture_writer::{LAST, POISON, Progress};
use crate::http::basic;
use crate::socket::Socket;

/// How long nothing may come while there is always something to come.
const SILENCE: Duration = Duration::from_secs(20);

/// How many starts may be refused: fewer than would hide a layer that does not come back.
const REFUSALS: u64 = 5;

/// What the page would show of an order.
pub(crate) type Shown = [String; 4];

/// What an order in JSON is shown as.
fn shown(order: &Value) -> Shown {
    ["owner", "instrument", "quantity", "price"].map(|field| order[field].as_str().unwrap().to_owned())
}

pub(crate) struct Client {
    socket: Socket,
    progress: Arc<Progress>,
    pub(crate) is_staff: bool,
    /// Whether the sum counts: between a loss and the next start it does not.
    is_settled: bool,
    pub(crate) sum: i64,
    /// The changes by their keys, without what tells when they were told.
    known: HashMap<String, Value>,
    /// The orders that were heard of since the start; none for those that are gone from sight.
    pub(crate) heard: BTreeMap<i64, Option<Shown>>,
    /// Whether a last order has come.
    pub(crate) has_ended: bool,
    pub(crate) repeats: u64,
    pub(crate) losses: u64,
    /// How many starts were refused, each with the advice to try again.
    refusals: u64,
    pub(crate) checks: u64,
    /// The longest time between two changes.
    pub(crate) silence: Duration,
    last: Option<Instant>,
}

impl Client {
    /// Opens a socket and starts realtime.
    pub(crate) async fn open(host: &str, is_staff: bool, progress: Arc<Progress>) -> Self {
        let username = if is_staff { STAFF } else { OWNER };
        let headers = [("authorization", basic(username, username))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let opened = Socket::open(host, "/ws/orders/", &headers).await;
        let mut socket = opened.unwrap_or_else(|status| panic!("{status} instead of a socket"));
        socket.send(&json!({"type": "realtime.start"})).await;
        Self {
            socket,
            progress,
            is_staff,
            is_settled: false,
            sum: 0,
            known: HashMap::new(),
            heard: BTreeMap::new(),
            has_ended: false,
            repeats: 0,
            losses: 0,
            refusals: 0,
            checks: 0,
            silence: Duration::ZERO,
            last: None,
        }
    }

    /// Takes what comes until a last order has, or the process is killed.
    pub(crate) async fn run(mut self) -> Self {
        while !(self.has_ended && self.is_settled) {
            let next = timeout(SILENCE, self.socket.0.next()).await;
            match next.unwrap_or_else(|_| panic!("nothing comes any more, after {} sums", self.checks)) {
                Some(Ok(Message::Text(text))) => self.take(&serde_json::from_str(&text).unwrap()).await,
                Some(Ok(Message::Ping(_))) => {}
                // The process was killed, in the middle of whatever it did.
                Some(Err(_) | Ok(_)) | None => break,
            }
        }
        self
    }

    async fn take(&mut self, frame: &Value) {
        match frame["type"].as_str().unwrap() {
            "realtime.started" => {
                self.sum = frame["sum"].as_str().unwrap().parse().unwrap();
                self.heard.clear();
                self.is_settled = true;
                self.progress.started.fetch_add(1, Ordering::SeqCst);
            }
            "realtime.missed" => {
                self.losses += 1;
                self.start_again().await;
            }
            // A start that was under way while the process was stopped: its answer from Redis counts as late.
            "error" => {
                self.refusals += 1;
                assert!(self.refusals <= REFUSALS, "{frame}");
                self.start_again().await;
            }
            "order.changed" => self.hear(frame),
            _ => panic!("{frame}"),
        }
    }

    async fn start_again(&mut self) {
        self.is_settled = false;
        let start = json!({"type": "realtime.start"}).to_string();
        // The process may have been killed since.
        drop(self.socket.0.send(Message::text(start)).await);
    }

    fn hear(&mut self, event: &Value) {
        self.note_silence();
        let key = event["key"].as_str().unwrap().to_owned();
        let mut content = event.clone();
        for told in ["revision", "sent_at"] {
            content.as_object_mut().unwrap().remove(told).unwrap();
        }
        if let Some(known) = self.known.get(&key) {
            assert_eq!(*known, content, "one key of two changes");
            self.repeats += 1;
            return;
        }
        self.known.insert(key, content);
        self.sum += event["delta"].as_str().unwrap().parse::<i64>().unwrap();
        let (order, is_gone) = (&event["order"], event["action"] == "delete");
        let shown = shown(order);
        assert!(!shown[1].starts_with(POISON), "what was rolled back was told: {event}");
        if !is_gone {
            self.check(&shown[1]);
        }
        self.heard.insert(order["id"].as_i64().unwrap(), (!is_gone).then_some(shown));
    }

    /// When this change is the last one of its transaction, the sum is known.
    fn check(&mut self, instrument: &str) {
        self.has_ended |= instrument == LAST;
        if let Some(nth) = instrument.strip_prefix('W') {
            self.progress.heard.fetch_max(nth.parse().unwrap(), Ordering::SeqCst);
        }
        let Some([all, own]) = self.progress.sums(instrument).filter(|_| self.is_settled) else { return };
        let expected = if self.is_staff { all } else { own };
        assert_eq!(self.sum, expected, "at {instrument}, after {} repeats", self.repeats);
        self.checks += 1;
    }

    fn note_silence(&mut self) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.silence = self.silence.max(now - last);
        }
    }
}
