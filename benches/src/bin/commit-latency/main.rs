//! How long it takes from a commit to a client that follows the table, and what the capture of changes costs who
//! writes.
//!
//! `commit-latency [--database URL] [--layer URL] [--seconds S] [--rate R]`: server, relay, writer and client are one
//! process, which talk through a real socket, the database and the layer. R transactions a second (100 unless told
//! otherwise) change one row for S seconds (10); a latency begins when COMMIT has returned. A writer of the same
//! process is measured, and on SQLite one that the relay knows nothing of, as another program would be. Then one task
//! writes as fast as it can, before the table is bound and after.
//!
//! Without `--database` it is a SQLite file in a temporary folder; a database that is named gets a table `bench_thing`,
//! which is dropped first and last, and the outbox stays. Without `--layer` it is `memory://`.

#![expect(clippy::print_stdout, reason = "a bench reports on its terminal")]

mod client;
mod latencies;
mod site;
mod writer;

use std::error::Error;
use std::time::Duration;

use routing::consumers::db::{Db, Dialect};

use client::Client;
use latencies::Latencies;
use site::Site;

/// What went wrong, in words for who runs the bench.
type Failure = Box<dyn Error + Send + Sync>;

/// What to measure, and for how long.
struct Options {
    database: Option<String>,
    layer: String,
    lasts: Duration,
    rate: u32,
}

impl Options {
    fn read() -> Result<Self, Failure> {
        let option = |name: &str| std::env::args().skip_while(|arg| arg != name).nth(1);
        let seconds: u32 = option("--seconds").map_or(Ok(10), |seconds| seconds.parse())?;
        let rate = option("--rate").map_or(Ok(100), |rate| rate.parse())?;
        if seconds == 0 || rate == 0 {
            return Err("--seconds and --rate are whole numbers above zero".into());
        }
        Ok(Self {
            database: option("--database"),
            layer: option("--layer").unwrap_or_else(|| "memory://".to_owned()),
            lasts: Duration::from_secs(seconds.into()),
            rate,
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::read()?;
    let folder = tempfile::tempdir()?;
    let file = || format!("sqlite:{}", folder.path().join("bench.db").display());
    let database = options.database.clone().unwrap_or_else(file);
    let db = Db::open(&database).await?;
    site::make_table(&db).await?;
    println!("| | a second | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|");

    let without = writer::hurry(&db, options.lasts).await?;
    let site = Site::open(&db, &options.layer).await?;
    latency(&site, &db, "commit to client", &options).await?;
    if db.dialect() == Dialect::Sqlite {
        let foreign = Db::open(&database).await?;
        latency(&site, &foreign, "commit to client, foreign writer", &options).await?;
    }
    let with = writer::hurry(&db, options.lasts).await?;
    println!("{}", without.row("one-row update, not captured", options.lasts));
    println!("{}", with.row("one-row update, captured", options.lasts));
    println!("\nlayer {}: {:?}", options.layer, site.close().await);
    site::drop_table(&db).await
}

/// Measures how late the changes of a writer are at a client.
async fn latency(site: &Site, db: &Db, what: &str, options: &Options) -> Result<(), Failure> {
    let client = Client::follow(site.address())?;
    let committed = writer::pace(db, options.rate, options.lasts).await?;
    let seen = client.end(committed.len()).await?;
    println!("{}", Latencies::between(&committed, &seen)?.row(what, options.lasts));
    Ok(())
}
