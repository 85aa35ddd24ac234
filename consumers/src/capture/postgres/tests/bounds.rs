//! The outbox does not grow for ever.

use std::time::{Duration, Instant};

use crate::capture::outbox::{OUTBOX_LIMIT, Outbox};
use crate::capture::postgres::testing::{World, drain_brief, run};

/// Gives away numbers up to where the next one but one looks for rows to drop.
const NUMBERS: &str =
    "SELECT setval(pg_get_serial_sequence('waterway_outbox', 'seq'), (nextval(pg_get_serial_sequence(
     'waterway_outbox', 'seq')) / 1024 + 1) * 1024 + 1024 * (1000000 / 1024 + 1) - 1)";

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn when_nobody_reads_the_oldest_are_dropped_and_the_loss_is_told_once() {
    assert_eq!(OUTBOX_LIMIT, 1_000_000);
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    world.run("INSERT INTO t SELECT g, 1 FROM generate_series(1, 3000) AS g").await;
    let rows = "SELECT count(*) FROM waterway_outbox WHERE op <> 'R'";
    // Only so many at a time; the first marker goes as well, and another one comes.
    for (id, expected) in [(10_001, 3_001 - 2_048), (10_002, 1)] {
        world.run(NUMBERS).await;
        world.run(&format!("INSERT INTO t VALUES ({id}, 1)")).await;
        assert_eq!(world.number(rows).await, expected);
    }
    assert_eq!(world.number("SELECT count(*) FROM waterway_outbox WHERE op = 'R'").await, 1);
    world.run("INSERT INTO t VALUES (10003, 1)").await;
    // What came before the last loss need not be told any more.
    assert_eq!(drain_brief(&mut outbox).await, "!! +10003");
    outbox.tidy().await.unwrap();
    assert_eq!(outbox.tidy().await.unwrap().rows, 0);
    // When everybody has read what is dropped, nothing is lost.
    world.run("INSERT INTO t VALUES (10004, 1)").await;
    drain_brief(&mut outbox).await;
    outbox.turn.as_mut().unwrap().renew_now();
    world.run("UPDATE waterway_cursor SET position = pg_current_snapshot()").await;
    world.run(NUMBERS).await;
    world.run("INSERT INTO t VALUES (10005, 1)").await;
    assert_eq!(drain_brief(&mut outbox).await, "+10005");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn writers_who_drop_rows_wait_for_nobody_and_fail_for_nothing() {
    let world = World::with_table().await;
    let _outbox = world.own().await;
    world.run("INSERT INTO t SELECT g, 1 FROM generate_series(1, 5000) AS g").await;
    world.run("INSERT INTO t VALUES (0, 0)").await;
    let mut frozen = world.session().await;
    run(&mut frozen, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t").await;
    let mut holder = world.session().await;
    world.run(NUMBERS).await;
    run(&mut holder, "BEGIN; INSERT INTO t VALUES (10001, 1)").await;
    world.run(NUMBERS).await;
    let begun = Instant::now();
    world.run("INSERT INTO t VALUES (10002, 1)").await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    run(&mut holder, "COMMIT").await;
    assert_eq!(world.number("SELECT count(*) FROM waterway_outbox WHERE op <> 'R'").await, 5_003 - 2 * 2_048);
    // One whose snapshot still shows rows that are gone cannot drop any; it writes nevertheless.
    world.run(NUMBERS).await;
    run(&mut frozen, "INSERT INTO t VALUES (10003, 1); COMMIT").await;
    assert_eq!(world.number("SELECT count(*) FROM waterway_outbox WHERE op <> 'R'").await, 5_004 - 2 * 2_048);
}
