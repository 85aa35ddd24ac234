//! Who writes: transactions that change the one row, at a rate or as fast as they can.

use std::time::{Duration, Instant};

use routing::consumers::db::{Db, query};
use tokio::time::{MissedTickBehavior, interval};

use crate::Failure;
use crate::latencies::Latencies;

/// Changes the row; when COMMIT had returned.
async fn write(db: &Db) -> Result<Instant, Failure> {
    let mut transaction = db.begin_write().await?;
    query("UPDATE bench_thing SET version = version + 1 WHERE id = 1").execute(&mut transaction).await?;
    transaction.commit().await?;
    Ok(Instant::now())
}

/// Writes so many times a second; when each COMMIT had returned.
pub(crate) async fn pace(db: &Db, rate: u32, lasts: Duration) -> Result<Vec<Instant>, Failure> {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = Instant::now() + lasts;
    let mut committed = Vec::new();
    while Instant::now() < end {
        ticks.tick().await;
        committed.push(write(db).await?);
    }
    Ok(committed)
}

/// Writes as fast as one task can; how long each transaction took.
pub(crate) async fn hurry(db: &Db, lasts: Duration) -> Result<Latencies, Failure> {
    let end = Instant::now() + lasts;
    let mut took = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        took.push(write(db).await? - start);
    }
    Latencies::new(took)
}
