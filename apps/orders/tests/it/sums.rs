//! The rule of the page: the sum at the start, plus the delta of each event with a higher revision, is the database's
//! sum, however many write and whenever one joins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use routing::consumers::testing::{Unexpected, WebsocketCommunicator};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::site::{Client, Site, address, decimal, next};

const WRITERS: u64 = 20;
const WRITES: u64 = 40;
const SUBSCRIBERS: u64 = 18;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn decimal(&mut self, most: usize) -> String {
        format!("{}.{:06}", self.below(most), self.below(1_000_000))
    }
}

/// One who keeps a sum as the page does.
struct Subscriber {
    socket: WebsocketCommunicator,
    sum: Decimal,
    revision: i64,
    last: i64,
}

impl Subscriber {
    fn new(socket: WebsocketCommunicator) -> Self {
        Self { socket, sum: Decimal::ZERO, revision: 0, last: 0 }
    }

    async fn start(&mut self) {
        self.socket.send_json(&json!({"type": "realtime.start"})).await;
        // What still comes of the time before belongs to the old sum.
        loop {
            let message = next(&mut self.socket).await;
            if message["type"] == "realtime.started" {
                self.sum = decimal(message["sum"].as_str().unwrap());
                self.revision = message["revision"].as_i64().unwrap();
                return;
            }
            self.count(&message);
        }
    }

    fn count(&mut self, event: &Value) {
        assert_eq!(event["type"], "order.changed", "{event}");
        let revision = event["revision"].as_i64().unwrap();
        assert!(revision > self.last, "events come in the order of commits");
        self.last = revision;
        if revision > self.revision {
            self.sum += decimal(event["delta"].as_str().unwrap());
        }
    }

    async fn stop(&mut self) {
        self.socket.send_json(&json!({"type": "realtime.stop"})).await;
        loop {
            let message = next(&mut self.socket).await;
            if message["type"] == "realtime.stopped" {
                return;
            }
            self.count(&message);
        }
    }

    /// Listens until nothing more comes after the last write, and now and then starts anew, with or without a stop
    /// before it.
    async fn listen(mut self, mut dice: Dice, is_over: Arc<AtomicBool>) -> Decimal {
        loop {
            let was_over = is_over.load(Ordering::Relaxed);
            match self.socket.receive_json().await {
                Ok(event) => self.count(&event),
                Err(Unexpected::Silence) if was_over => return self.sum,
                Err(Unexpected::Silence) => continue,
                Err(other) => panic!("{other}"),
            }
            match dice.below(8) {
                0 => self.start().await,
                1 => {
                    self.stop().await;
                    self.start().await;
                }
                _ => {}
            }
        }
    }
}

/// Creates, changes, gives away and deletes orders of its own and of others.
async fn write(client: Client, mut dice: Dice) {
    let mut own: Vec<String> = Vec::new();
    for _ in 0..WRITES {
        let owner = ["ana", "ben", "boss"][dice.below(3)];
        let (quantity, price) = (dice.decimal(1000), dice.decimal(100));
        let known = own.get(dice.below(own.len().max(1))).cloned();
        let answer = match (dice.below(6), known) {
            (0 | 1, Some(order)) => client.patch(&order, &json!({"quantity": quantity})).await,
            (2, Some(order)) => client.patch(&order, &json!({"owner": owner, "price": price})).await,
            (3, Some(order)) => {
                own.retain(|other| *other != order);
                client.delete(&order).await
            }
            _ => {
                let order = json!({"owner": owner, "instrument": "A", "quantity": quantity, "price": price});
                let created = client.post("/api/data/", &order).await;
                own.push(address(&created.json()));
                created
            }
        };
        assert!(answer.status.is_success(), "{answer:?}");
        // Here and there one write is invalid.
        if dice.below(5) == 0 {
            let invalid = client.post("/api/data/", &json!({"price": quantity})).await;
            assert!(invalid.status.is_client_error());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_and_deltas_always_equal_the_database() {
    let site = Site::new().await;
    for user in ["ana", "ben"] {
        site.client(user).order("A", "7.5", "1.000001").await;
    }
    let boss = site.client("boss");
    let writers: Vec<_> = (0..WRITERS).map(|seed| tokio::spawn(write(boss.clone(), Dice(seed)))).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut listening = Vec::new();
    for seed in 0..SUBSCRIBERS {
        let mut dice = Dice(1000 + seed);
        // Reads of the site are what passes the time until one joins.
        for _ in 0..dice.below(20) {
            boss.get("/api/data/?page_size=1").await;
        }
        let user = ["ana", "ben", "boss"][usize::try_from(seed % 3).unwrap()];
        let mut subscriber = Subscriber::new(site.socket(user).await);
        subscriber.start().await;
        let subscriber_joined = subscriber.revision;
        let listening_to = subscriber.listen(dice, Arc::clone(&is_over));
        listening.push((user, subscriber_joined, tokio::spawn(listening_to)));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    let mut joined = Vec::new();
    for (user, revision, listener) in listening {
        assert_eq!(listener.await.unwrap(), site.sum(user).await, "{user}, who joined at {revision}");
        joined.push(revision);
    }
    joined.dedup();
    assert!(joined.len() > 3, "they joined at different moments: {joined:?}");
    let mut after = Subscriber::new(site.socket("boss").await);
    after.start().await;
    assert_eq!(after.sum, site.sum("boss").await);
}
