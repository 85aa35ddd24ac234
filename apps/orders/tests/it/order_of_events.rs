//! Two writes never arrive swapped: the last event of a row is the row.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::site::{Answer, Client, Site, address, next};

const ROUNDS: usize = 1000;
const AT_ONCE: usize = 4;

async fn patch(client: Client, path: String, value: Value) -> Answer {
    client.patch(&path, &value).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_event_of_a_thousand_rounds_always_equals_the_row() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let path = address(&ana.order("A", "0", "1").await);
    let mut socket = site.started("ana").await;
    let mut revision = 0;
    for round in 0..ROUNDS {
        let writers: JoinSet<_> = (0..AT_ONCE)
            .map(|writer| {
                let value = json!({"quantity": round * AT_ONCE + writer});
                patch(ana.clone(), path.clone(), value)
            })
            .collect();
        let mut last = Value::Null;
        for _ in 0..AT_ONCE {
            let mut event = next(&mut socket).await;
            let next = event["revision"].as_i64().unwrap();
            assert!(next > revision, "each is told once, and after the one before it");
            revision = next;
            last = event["order"].take();
        }
        for answer in writers.join_all().await {
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        assert_eq!(last, ana.json(&path).await, "round {round}");
    }
}
