//! What is installed, what is refused, and who waits for whom.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::Row;

use crate::capture::CaptureError;
use crate::capture::outbox::{Cursor, Outbox};
use crate::capture::postgres::testing::{World, drain_brief, run, table_of};
use crate::capture::postgres::{PostgresOutbox, tables};

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn processes_that_start_together_install_once() {
    let world = World::with_table().await;
    let outboxes = join_all((0..8).map(|_| world.try_open("t", Cursor::Own))).await;
    assert!(outboxes.iter().all(Result::is_ok), "{outboxes:?}");
    assert_eq!(world.number("SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass").await, 2);
    assert_eq!(world.number("SELECT count(*) FROM waterway_outbox_epoch").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM waterway_cursor").await, 8);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn writers_are_waited_for_once_and_not_for_ever() {
    let world = World::with_table().await;
    let mut writer = world.session().await;
    run(&mut writer, "BEGIN; INSERT INTO t VALUES (1, 1)").await;
    let begun = Instant::now();
    let error = world.try_open("t", Cursor::Own).await.unwrap_err();
    assert!(matches!(&error, CaptureError::Locked { table } if table == "t"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    run(&mut writer, "COMMIT").await;
    drop(world.own().await);
    // Now that the triggers are there, nobody waits.
    run(&mut writer, "BEGIN; INSERT INTO t VALUES (2, 1)").await;
    let begun = Instant::now();
    let mut outbox = world.own().await;
    assert!(outbox.mend().await.unwrap().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(1));
    run(&mut writer, "COMMIT").await;
    assert_eq!(drain_brief(&mut outbox).await, "+2");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn what_cannot_be_captured_is_refused() {
    let world = World::with_table().await;
    world
        .run(
            "CREATE VIEW v AS SELECT * FROM t; CREATE MATERIALIZED VIEW m AS SELECT * FROM t;
             CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
             CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);
             CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
             CREATE UNLOGGED TABLE u (id int PRIMARY KEY); CREATE TABLE keyless (id int UNIQUE);
             CREATE TABLE pair (id int, n int, PRIMARY KEY (id, n)); CREATE TABLE other (pk int PRIMARY KEY);
             CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE);
             CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
             CREATE FOREIGN TABLE f (id int) SERVER s",
        )
        .await;
    drop(world.own().await);
    for (table, reason) in [
        ("nowhere", "no such table"),
        ("v", "it is a view"),
        ("m", "materialized"),
        ("f", "foreign"),
        ("p", "partitioned"),
        ("p1", "a partition"),
        ("parent", "inherits"),
        ("child", "inherits"),
        ("u", "unlogged"),
        ("keyless", "no primary key"),
        ("pair", "several columns"),
        ("other", "its primary key is \"pk\", not \"id\""),
        ("deferred", "no primary key that is checked at once"),
        ("waterway_outbox", "of the capture itself"),
        ("waterway_cursor", "of the capture itself"),
    ] {
        let error = world.try_open(table, Cursor::Own).await.unwrap_err();
        assert!(matches!(error, CaptureError::Unsupported { .. }), "{table}: {error:?}");
        assert!(error.to_string().contains(reason), "{table}: {error}");
        assert!(error.to_string().contains(&format!("{table:?}")), "{error}");
    }
    let twice = vec![table_of("t"), table_of("t"), table_of("public.t")];
    let error = PostgresOutbox::open(&world.pool, twice, Cursor::Own).await.unwrap_err();
    assert!(error.to_string().contains("bound under the name \"t\""), "{error}");
    let same = vec![table_of("t"), table_of("t")];
    PostgresOutbox::open(&world.pool, same, Cursor::Own).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn a_temporary_table_is_refused() {
    let world = World::new().await;
    // Only the connection that made it can see it, so the check is made there.
    let mut session = world.session().await;
    run(&mut session, "CREATE TEMP TABLE passing (id int PRIMARY KEY)").await;
    let table = table_of("passing");
    let place = tables::find(&mut session, &table).await.unwrap();
    let error = tables::check(&mut session, &table, &place).await.unwrap_err();
    assert!(error.to_string().contains("temporary"), "{error}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn lacking_rights_are_named() {
    let world = World::with_table().await;
    let role = format!("relay_{}", std::process::id());
    world
        .run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x'; REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        .await;
    let pool = world.pool_of(&role).await;
    let error = async || {
        let opened = PostgresOutbox::open(&pool, vec![table_of("t")], Cursor::Own).await;
        opened.map(drop).map_err(|error| error.to_string())
    };
    let refused = error().await.unwrap_err();
    assert!(refused.contains(&format!("role \"{role}\" lacks CREATE on schema \"public\"")), "{refused}");
    world.run(&format!("GRANT CREATE ON SCHEMA public TO {role}")).await;
    let refused = error().await.unwrap_err();
    assert!(refused.contains("does not own it") && refused.contains("\"t\""), "{refused}");
    world.run(&format!("REVOKE CREATE ON SCHEMA public FROM {role}; DROP OWNED BY {role}")).await;
    drop(world.own().await);
    let refused = error().await.unwrap_err();
    assert!(refused.contains("lacks DELETE on waterway_cursor, INSERT on waterway_cursor"), "{refused}");
    // With the rights on the outbox, one that is installed can be read by those who own nothing.
    world
        .run(&format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON waterway_outbox, waterway_cursor, waterway_outbox_epoch TO {role}"
        ))
        .await;
    assert_eq!(error().await, Ok(()));
    pool.close().await;
    world.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn relays_have_connections_of_their_own_on_which_nothing_waits_for_ever() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
               AND application_name = 'waterway relay'";
    assert!((1..=2).contains(&world.number(sql).await));
    world.run("INSERT INTO t VALUES (1, 1)").await;
    let taken = (0..world.pool.options().get_max_connections()).map(|_| world.pool.acquire());
    let _taken: Vec<_> = join_all(taken).await;
    assert_eq!(drain_brief(&mut outbox).await, "+1");
    outbox.tidy().await.unwrap();
    assert!(outbox.mend().await.unwrap().is_empty());
    let mut connection = outbox.server.connect().await.unwrap();
    for (setting, expected) in [
        ("lock_timeout", "1s"),
        ("statement_timeout", "5s"),
        ("tcp_user_timeout", "5000"),
        ("default_transaction_isolation", "read committed"),
        ("search_path", "public, pg_temp"),
    ] {
        let show = sqlx::query("SELECT current_setting($1)").bind(setting).fetch_one(&mut connection).await;
        assert_eq!(show.unwrap().get::<String, _>(0), expected);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn an_outbox_that_was_restored_begins_anew_and_a_later_version_is_left_alone() {
    let world = World::with_table().await;
    drop(world.own().await);
    world.run("INSERT INTO t VALUES (1, 1); UPDATE waterway_outbox_epoch SET id = 'old', outbox = 1").await;
    let later = "waterway capture, version 2";
    let mut outbox = world.own().await;
    assert_eq!(world.number("SELECT count(*) FROM waterway_outbox").await, 0);
    assert_eq!(world.number("SELECT count(*) FROM waterway_outbox_epoch WHERE id <> 'old'").await, 1);
    world
        .run(&format!(
            "CREATE OR REPLACE FUNCTION waterway_capture() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
             AS $$ BEGIN /* {later} */ RETURN NULL; END $$"
        ))
        .await;
    outbox.mend().await.unwrap();
    let bodies =
        "SELECT count(*) FROM pg_proc WHERE prosrc LIKE '%version 2%' AND proname = 'waterway_capture'";
    assert_eq!(world.number(bodies).await, 1);
}
