//! What is read, in which order, and that nothing is skipped.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor, Row};

use crate::capture::outbox::{BATCH, Cursor, Kind, Outbox};
use crate::capture::postgres::rows::{BATCH_BYTES, FIRST};
use crate::capture::postgres::testing::{World, brief, drain, drain_brief, end, keys, run};
use crate::capture::postgres::{POLL, PostgresOutbox, seen};

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn short_transactions_are_not_delayed_and_long_ones_not_skipped() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    let (mut long, mut longer) = (world.session().await, world.session().await);
    run(&mut long, "BEGIN; INSERT INTO t VALUES (1, 1)").await;
    run(&mut longer, "BEGIN; INSERT INTO t VALUES (2, 1)").await;
    world.run("INSERT INTO t VALUES (3, 1)").await;
    assert_eq!(drain_brief(&mut outbox).await, "+3");
    run(&mut longer, "INSERT INTO t VALUES (4, 1)").await;
    world.run("INSERT INTO t VALUES (5, 1)").await;
    run(&mut long, "COMMIT").await;
    assert_eq!(drain_brief(&mut outbox).await, "+1 +5");
    assert_eq!(drain_brief(&mut outbox).await, "");
    outbox.tidy().await.unwrap();
    run(&mut longer, "INSERT INTO t VALUES (6, 1); COMMIT").await;
    world.run("UPDATE t SET n = 2 WHERE id = 2").await;
    assert_eq!(drain_brief(&mut outbox).await, "+2 +4 +6 ~2");
    outbox.tidy().await.unwrap();
    assert_eq!(outbox.tidy().await.unwrap().rows, 0);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn what_was_rolled_back_is_never_told_and_savepoints_are_told_once() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    let mut session = world.session().await;
    run(&mut session, "BEGIN; INSERT INTO t VALUES (1, 1); ROLLBACK").await;
    run(&mut session, "BEGIN; SAVEPOINT a; INSERT INTO t VALUES (2, 1); SAVEPOINT b").await;
    run(&mut session, "INSERT INTO t VALUES (3, 1); ROLLBACK TO a; INSERT INTO t VALUES (4, 1)").await;
    // Someone reads between the savepoints, which have ids of their own that are below the next snapshot's end.
    world.run("INSERT INTO t VALUES (5, 1)").await;
    assert_eq!(drain_brief(&mut outbox).await, "+5");
    run(&mut session, "RELEASE a; SAVEPOINT c; INSERT INTO t VALUES (6, 1); RELEASE c").await;
    world.run("INSERT INTO t VALUES (7, 1)").await;
    assert_eq!(drain_brief(&mut outbox).await, "+7");
    run(&mut session, "COMMIT").await;
    assert_eq!(drain_brief(&mut outbox).await, "+4 +6");
    // A block with an exception is a savepoint as well.
    world
        .run(
            "DO $$ BEGIN INSERT INTO t VALUES (8, 1);
             BEGIN INSERT INTO t VALUES (9, 1); INSERT INTO t VALUES (9, 1);
             EXCEPTION WHEN OTHERS THEN INSERT INTO t VALUES (10, 1); END; END $$",
        )
        .await;
    assert_eq!(drain_brief(&mut outbox).await, "+8 +10");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn commits_wake_and_prepared_transactions_are_told_where_there_are_any() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    let can_prepare =
        world.number("SELECT (current_setting('max_prepared_transactions')::int > 0)::int::bigint").await
            == 1;
    if can_prepare {
        let mut session = world.session().await;
        run(&mut session, "BEGIN; INSERT INTO t VALUES (1, 1); PREPARE TRANSACTION 'p'").await;
        end(session).await;
        world.run("INSERT INTO t VALUES (2, 1)").await;
        assert_eq!(drain_brief(&mut outbox).await, "+2");
        outbox.tidy().await.unwrap();
        world.run("COMMIT PREPARED 'p'").await;
    } else {
        let mut session = world.session().await;
        run(&mut session, "BEGIN; INSERT INTO t VALUES (1, 1), (3, 1)").await;
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            run(&mut session, "COMMIT").await;
        });
    }
    let begun = Instant::now();
    outbox.wait().await;
    let within = if can_prepare { POLL * 10 } else { Duration::from_millis(600) };
    assert!(begun.elapsed() < within, "{:?}", begun.elapsed());
    assert!(drain_brief(&mut outbox).await.starts_with("+1"));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn waiting_ends_within_a_second_and_does_not_hear_what_was_read() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    world.run("INSERT INTO t VALUES (1, 1)").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(drain_brief(&mut outbox).await, "+1");
    let begun = Instant::now();
    outbox.wait().await;
    let waited = begun.elapsed();
    assert!(waited < Duration::from_millis(1_500), "{waited:?}");
    if !outbox.server.can_prepare {
        assert!(waited > Duration::from_millis(900), "{waited:?}");
        // Losing the connection that listens costs a second at most, and it listens again.
        world.cut().await;
        outbox.wait().await;
        outbox.wait().await;
        world.run("INSERT INTO t VALUES (2, 1)").await;
        let begun = Instant::now();
        outbox.wait().await;
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn many_changes_come_in_pages_of_one_moment() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    let mut late = world.session().await;
    run(&mut late, "BEGIN; INSERT INTO t SELECT -g, 1 FROM generate_series(0, 599) AS g").await;
    world.run("INSERT INTO t SELECT g, 1 FROM generate_series(1, 1200) AS g").await;
    // Read before the rest, so that there are rows among the numbers which are not to be told again.
    assert_eq!(drain(&mut outbox).await.len(), 1200);
    run(&mut late, "INSERT INTO t SELECT g, 1 FROM generate_series(2001, 3200) AS g").await;
    world.run("UPDATE t SET n = 2 WHERE id <= 100").await;
    run(&mut late, "COMMIT").await;
    let mut told = Vec::new();
    for page in 0..3 {
        let batch = outbox.read().await.unwrap();
        assert!(batch.has_more);
        assert_eq!(batch.changes.len(), BATCH);
        // Without having published it, the same comes again.
        assert_eq!(keys(&outbox.read().await.unwrap().changes), keys(&batch.changes));
        outbox.advance(usize::MAX);
        told.extend(batch.changes);
        // What is committed meanwhile is of a later moment.
        world.run("UPDATE t SET n = n + 1 WHERE id = 7").await;
        if page == 1 {
            outbox.tidy().await.unwrap();
        }
    }
    let batch = outbox.read().await.unwrap();
    assert!(!batch.has_more);
    told.extend(batch.changes);
    outbox.advance(usize::MAX);
    assert_eq!(told.len(), 1900);
    let mut all = keys(&told);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 1900, "each once");
    assert_eq!(drain_brief(&mut outbox).await, "~7 ~7 ~7");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn one_read_takes_only_so_many_long_rows() {
    let world = World::new().await;
    world.run("CREATE TABLE doc (id bigint PRIMARY KEY, n bigint, body text)").await;
    let body = "(SELECT string_agg(md5(g || '-' || i), '') FROM generate_series(1, 10000) AS i)";
    world.run(&format!("INSERT INTO doc SELECT g, 1, {body} FROM generate_series(1, 12) AS g")).await;
    let mut outbox = world.open("doc", Cursor::Own).await;
    world.run("UPDATE doc SET n = 2").await;
    // However much one row is, it is told.
    world.run("UPDATE doc SET body = repeat(body, 10) WHERE id = 7").await;
    let mut told = Vec::new();
    while told.len() < 13 {
        let batch = outbox.read().await.unwrap();
        assert!((1..=4).contains(&batch.changes.len()), "{} at once", batch.changes.len());
        told.extend(batch.changes);
        assert_eq!(batch.has_more, told.len() < 13);
        outbox.advance(usize::MAX);
    }
    assert_eq!(brief(&told), "~1 ~2 ~3 ~4 ~5 ~6 ~7 ~8 ~9 ~10 ~11 ~12 ~7");
    assert_eq!(drain_brief(&mut outbox).await, "");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn what_was_not_published_is_told_again_with_the_same_keys() {
    let world = World::with_table().await;
    let mut outbox = world.shared().await;
    assert!(outbox.take_turn().await.unwrap());
    world.run("INSERT INTO t VALUES (1, 1)").await;
    drain(&mut outbox).await;
    outbox.tidy().await.unwrap();
    world.run("INSERT INTO t VALUES (2, 1); UPDATE t SET n = 2").await;
    let told = drain(&mut outbox).await;
    assert_eq!(brief(&told), "+2 ~1 ~2");
    // It was published and not written down: the process is gone.
    drop(outbox);
    let mut next = world.shared().await;
    while !next.take_turn().await.unwrap() {
        tokio::task::yield_now().await;
    }
    assert_eq!(keys(&drain(&mut next).await), keys(&told));
    next.tidy().await.unwrap();
    world.run("DROP TABLE waterway_outbox CASCADE").await;
    drop(next);
    let mut anew = world.shared().await;
    while !anew.take_turn().await.unwrap() {
        tokio::task::yield_now().await;
    }
    world.run("INSERT INTO t VALUES (3, 1), (4, 1), (5, 1), (6, 1), (7, 1)").await;
    let fresh = drain(&mut anew).await;
    assert!(fresh.len() >= 5 && keys(&fresh).iter().all(|key| !keys(&told).contains(key)), "{fresh:?}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn a_snapshot_holds_what_it_sees_and_no_change_that_comes_after_it() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    let mut long = world.session().await;
    run(&mut long, "BEGIN; INSERT INTO t VALUES (1, 1)").await;
    world.run("INSERT INTO t VALUES (2, 1)").await;
    let mut reader = world.session().await;
    run(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
    let seen = seen(&mut reader).await.unwrap();
    run(&mut long, "COMMIT").await;
    world.run("INSERT INTO t VALUES (3, 1)").await;
    let rows = reader.fetch_all("SELECT id FROM t").await.unwrap();
    let rows: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(rows, [2]);
    let after: Vec<_> =
        drain(&mut outbox).await.into_iter().filter(|change| !seen.holds(change.position)).collect();
    assert_eq!(brief(&after), "+1 +3");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn a_row_that_a_trigger_changes_again_is_told_in_order() {
    let world = World::with_table().await;
    world
        .run(
            "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN UPDATE t SET n = n + 1 WHERE id = NEW.id; RETURN NULL; END $$;
             CREATE TRIGGER \"AAA\" AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION again();
             CREATE TABLE tree (id int PRIMARY KEY, n int, up int REFERENCES tree ON UPDATE CASCADE)",
        )
        .await;
    let mut outbox = world.own().await;
    world.run("INSERT INTO t VALUES (1, 1)").await;
    assert_eq!(drain_brief(&mut outbox).await, "+1 ~1");
    // So does a foreign key of a row that refers to itself.
    let mut outbox = world.open("tree", Cursor::Own).await;
    world.run("INSERT INTO tree VALUES (1, 0, 1); UPDATE tree SET id = 2").await;
    let changes = drain(&mut outbox).await;
    let Kind::Update { new, .. } = &changes[2].kind else { panic!("{changes:?}") };
    assert_eq!((new.get("id"), new.get("up")), (Some("2"), Some("2")));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn a_long_transaction_of_many_rows_costs_readers_nothing() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    let mut long = world.session().await;
    run(&mut long, "BEGIN; INSERT INTO t SELECT g, 1 FROM generate_series(1, 20000) AS g").await;
    drain(&mut outbox).await;
    // The first read that finds something may still come across them, once.
    world.run("INSERT INTO t VALUES (-100, 1)").await;
    assert_eq!(drain(&mut outbox).await.len(), 1);
    let before = rows_looked_at(&world, &mut outbox).await;
    for id in 0..10 {
        world.run(&format!("INSERT INTO t VALUES (-{id}, 1)")).await;
        assert_eq!(drain(&mut outbox).await.len(), 1);
    }
    let looked_at = rows_looked_at(&world, &mut outbox).await - before;
    assert!((10..1_000).contains(&looked_at), "{looked_at} rows");
    run(&mut long, "COMMIT").await;
    assert_eq!(drain(&mut outbox).await.len(), 20_000);
}

/// How many rows the reader's statements found in an index.
async fn rows_looked_at(world: &World, outbox: &mut PostgresOutbox) -> i64 {
    run(&mut outbox.turn.as_mut().unwrap().connection, "SELECT pg_stat_force_next_flush()").await;
    let rows = "SELECT sum(pg_stat_get_tuples_returned(indexrelid))::bigint
                FROM pg_index WHERE indrelid = 'waterway_outbox'::regclass";
    world.number(rows).await
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn new_rows_are_found_by_their_transactions_however_many_there_are() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    for count in [0, 10, 10_000] {
        world.run(&format!("INSERT INTO t SELECT g, 1 FROM generate_series(1, {count}) AS g")).await;
        for analyze in ["", "ANALYZE waterway_outbox"] {
            world.run(analyze).await;
            let connection = &mut outbox.turn.as_mut().unwrap().connection;
            run(connection, &format!("PREPARE p AS {FIRST}")).await;
            let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE p ('9:9:', 513, {BATCH_BYTES})"));
            let plan = connection.fetch_all(explain).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|line| line.get(0)).collect();
            let plan = plan.join("\n");
            assert_eq!(plan.matches("Index Cond: (xid").count(), 2, "{plan}");
            assert!(!plan.contains("Seq Scan on waterway_outbox ") && !plan.contains("_pkey"), "{plan}");
            run(connection, "DEALLOCATE p").await;
        }
        world.run("DELETE FROM t").await;
    }
}
