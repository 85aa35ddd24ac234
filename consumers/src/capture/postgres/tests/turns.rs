//! Who reads, what becomes of their cursors, and what is dropped.

use std::time::{Duration, Instant};

use crate::capture::CaptureError;
use crate::capture::outbox::{Kind, Outbox};
use crate::capture::postgres::PostgresOutbox;
use crate::capture::postgres::testing::{World, brief, drain, drain_brief, keys, run};

async fn take_turn_soon(outbox: &mut PostgresOutbox) -> Duration {
    let begun = Instant::now();
    while !outbox.take_turn().await.unwrap() {
        assert!(begun.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn one_reads_a_shared_cursor_and_the_next_goes_on_where_it_was() {
    let world = World::with_table().await;
    let (mut first, mut second) = (world.shared().await, world.shared().await);
    assert!(first.take_turn().await.unwrap());
    assert!(!second.take_turn().await.unwrap());
    assert!(matches!(second.read().await, Err(CaptureError::TurnLost)));
    assert!(first.take_turn().await.unwrap());
    world.run("INSERT INTO t VALUES (1, 1)").await;
    assert_eq!(drain_brief(&mut first).await, "+1");
    first.tidy().await.unwrap();
    world.run("INSERT INTO t VALUES (2, 1)").await;
    let unwritten = drain(&mut first).await;
    // The connections of both are cut, as a crash of the server would. The one that asks first gets the turn.
    world.cut().await;
    assert!(take_turn_soon(&mut second).await < Duration::from_millis(500));
    assert!(first.read().await.is_err());
    assert!(matches!(first.read().await, Err(CaptureError::TurnLost)));
    assert!(matches!(first.tidy().await, Err(CaptureError::TurnLost)));
    assert!(!first.take_turn().await.unwrap());
    assert_eq!(keys(&drain(&mut second).await), keys(&unwritten));
    drop(second);
    take_turn_soon(&mut first).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn who_ended_in_the_middle_of_a_batch_is_followed_from_there() {
    let world = World::with_table().await;
    let mut outbox = world.shared().await;
    assert!(outbox.take_turn().await.unwrap());
    let mut late = world.session().await;
    run(&mut late, "BEGIN; INSERT INTO t VALUES (100, 1)").await;
    world.run("INSERT INTO t SELECT g, 1 FROM generate_series(1, 5) AS g").await;
    world.run("INSERT INTO t SELECT g, 1 FROM generate_series(6, 10) AS g").await;
    assert_eq!(outbox.read().await.unwrap().changes.len(), 10);
    outbox.advance(0);
    let batch = outbox.read().await.unwrap().changes;
    outbox.advance(7);
    outbox.tidy().await.unwrap();
    assert_eq!(outbox.read().await.unwrap().changes, batch[7..]);
    drop(outbox);
    // What is committed later is found later, though it was written first.
    run(&mut late, "COMMIT").await;
    world.run("INSERT INTO t VALUES (11, 1)").await;
    let mut next = world.shared().await;
    take_turn_soon(&mut next).await;
    assert_eq!(next.read().await.unwrap().changes, batch[7..]);
    next.advance(usize::MAX);
    next.tidy().await.unwrap();
    assert_eq!(drain_brief(&mut next).await, "+100 +11");
    assert_eq!(drain_brief(&mut next).await, "");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn a_read_that_is_cut_off_ends_the_turn() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    world.run("INSERT INTO t VALUES (1, 1)").await;
    let mut holder = world.session().await;
    run(&mut holder, "BEGIN; LOCK TABLE waterway_outbox").await;
    assert!(tokio::time::timeout(Duration::from_millis(50), outbox.read()).await.is_err());
    run(&mut holder, "ROLLBACK").await;
    assert!(matches!(outbox.read().await, Err(CaptureError::TurnLost)));
    assert!(outbox.take_turn().await.unwrap());
    assert_eq!(drain_brief(&mut outbox).await, "+1");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn a_new_cursor_begins_at_the_present_and_what_all_have_passed_is_dropped() {
    let world = World::with_table().await;
    let mut early = world.own().await;
    let mut long = world.session().await;
    run(&mut long, "BEGIN; INSERT INTO t VALUES (1, 1)").await;
    world.run("INSERT INTO t VALUES (2, 1)").await;
    let mut late = world.shared().await;
    assert!(late.take_turn().await.unwrap());
    world.run("INSERT INTO t VALUES (3, 1)").await;
    run(&mut long, "COMMIT").await;
    assert_eq!(drain_brief(&mut late).await, "+1 +3");
    assert_eq!(late.tidy().await.unwrap().rows, 3);
    assert_eq!(drain_brief(&mut early).await, "+1 +2 +3");
    assert_eq!(early.tidy().await.unwrap().rows, 0);
    assert_eq!(world.number("SELECT count(*) FROM waterway_outbox").await, 0);
    assert_eq!(drain_brief(&mut late).await, "");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn many_rows_are_dropped_piece_by_piece_and_those_that_someone_has_locked_later() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    for from in [0, 10_000, 20_000] {
        world
            .run(&format!("INSERT INTO t SELECT g, 1 FROM generate_series({from}, {from} + 9999) AS g"))
            .await;
    }
    let mut holder = world.session().await;
    run(&mut holder, "BEGIN; SELECT FROM waterway_outbox WHERE seq IN (5, 15000) FOR UPDATE").await;
    drain(&mut outbox).await;
    let mut depths = vec![outbox.tidy().await.unwrap().rows];
    while depths.len() < 20 && *depths.last().unwrap() > 2 {
        depths.push(outbox.tidy().await.unwrap().rows);
    }
    assert!(depths[0] >= 15_000, "one call does not do everything: {depths:?}");
    assert_eq!(depths.last(), Some(&2), "{depths:?}");
    run(&mut holder, "ROLLBACK").await;
    outbox.turn.as_mut().unwrap().sweep_now();
    assert_eq!(outbox.tidy().await.unwrap().rows, 0);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn dead_cursors_hold_nothing_and_who_was_taken_for_dead_is_told() {
    let world = World::with_table().await;
    let mut sleeper = world.own().await;
    let mut shared = world.shared().await;
    assert!(shared.take_turn().await.unwrap());
    let mut living = world.own().await;
    world.run("INSERT INTO t VALUES (1, 1)").await;
    assert_eq!((drain_brief(&mut living).await, drain_brief(&mut shared).await), ("+1".into(), "+1".into()));
    shared.tidy().await.unwrap();
    assert_eq!(living.tidy().await.unwrap().rows, 1, "the sleeper has not read it");
    let later = "UPDATE waterway_cursor SET renewed = renewed - interval";
    world.run(&format!("{later} '31 s' WHERE name <> '{}'", living.cursor.name)).await;
    world.run("INSERT INTO t VALUES (2, 1)").await;
    drain(&mut living).await;
    // The shared one lives for a day.
    assert_eq!(living.tidy().await.unwrap().rows, 1);
    world.run(&format!("{later} '25 h' WHERE name <> '{}'", living.cursor.name)).await;
    world.run("INSERT INTO t VALUES (3, 1)").await;
    drain(&mut living).await;
    assert_eq!(living.tidy().await.unwrap().rows, 0);
    // It wakes up, and finds out with the first tidy after it has read.
    assert_eq!(drain_brief(&mut sleeper).await, "");
    world.run("INSERT INTO t VALUES (4, 1)").await;
    drain(&mut sleeper).await;
    sleeper.tidy().await.unwrap();
    world.run("INSERT INTO t VALUES (5, 1)").await;
    let told = drain(&mut sleeper).await;
    assert_eq!(brief(&told), "!! +5");
    assert_ne!(told[0].key, told[1].key);
    assert_eq!(drain_brief(&mut sleeper).await, "");
    // So does one that comes back by way of a new connection.
    world.cut().await;
    world.run(&format!("DELETE FROM waterway_cursor WHERE name = '{}'", shared.cursor.name)).await;
    assert!(shared.read().await.is_err());
    take_turn_soon(&mut shared).await;
    let told = drain(&mut shared).await;
    assert_eq!(told.last().map(|change| &change.kind), Some(&Kind::ResetAll), "{told:?}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn a_history_that_was_set_back_is_told() {
    let world = World::with_table().await;
    let mut outbox = world.shared().await;
    assert!(outbox.take_turn().await.unwrap());
    world.run("INSERT INTO t VALUES (1, 1)").await;
    let before = drain(&mut outbox).await;
    drop(outbox);
    // What the cursor says is from a future that the restored server never had.
    world.run("UPDATE waterway_cursor SET position = '900000000:900000000:'").await;
    let mut outbox = world.shared().await;
    take_turn_soon(&mut outbox).await;
    world.run("INSERT INTO t VALUES (2, 1)").await;
    let after = drain(&mut outbox).await;
    assert_eq!(brief(&after), "!! +2");
    let epoch = |key: &str| key.rsplit_once('-').unwrap().0.to_owned();
    assert_ne!(epoch(&before[0].key), epoch(&after[1].key));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn an_idle_cursor_is_renewed_and_moves_with_the_transactions_of_others() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    world.run("CREATE TABLE other (id int)").await;
    assert_eq!(drain_brief(&mut outbox).await, "");
    let written = "SELECT count(*) FROM waterway_cursor WHERE renewed > clock_timestamp() - interval '1 s'
                   AND pg_visible_in_snapshot((SELECT max(xmin::text)::xid8 FROM pg_class WHERE relname = 'other'),
                                              position)";
    outbox.tidy().await.unwrap();
    assert_eq!(world.number(written).await, 0, "nothing to write down yet");
    outbox.turn.as_mut().unwrap().renew_now();
    outbox.tidy().await.unwrap();
    assert_eq!(world.number(written).await, 1);
}
