//! What becomes of triggers that someone takes away.

use crate::capture::outbox::{Cursor, Outbox};
use crate::capture::postgres::PostgresOutbox;
use crate::capture::postgres::testing::{World, drain, drain_brief, run, table_of};

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn whatever_happens_to_triggers_is_mended_and_told_by_every_process() {
    let world = World::with_table().await;
    world.run("CREATE TABLE quiet (id bigint PRIMARY KEY)").await;
    let tables = vec![table_of("t"), table_of("quiet")];
    let mut first = PostgresOutbox::open(&world.pool, tables, Cursor::Own).await.unwrap();
    assert!(first.take_turn().await.unwrap());
    let mut second = world.own().await;
    let none: [&str; 0] = [];
    for accident in [
        "DROP TABLE t; CREATE TABLE t (id bigint PRIMARY KEY, n bigint)",
        "ALTER TABLE t DISABLE TRIGGER ALL",
        r#"ALTER TABLE t DISABLE TRIGGER "!waterway""#,
        r#"ALTER TABLE t DISABLE TRIGGER "!waterway"; ALTER TABLE t ENABLE ALWAYS TRIGGER "!waterway""#,
        r#"ALTER TABLE t ENABLE TRIGGER "!waterway_truncate""#,
        r#"DROP TRIGGER "!waterway" ON t"#,
        r#"DROP TRIGGER "!waterway_truncate" ON t"#,
        r#"DROP TRIGGER "!waterway" ON t; CREATE TRIGGER "!waterway" AFTER INSERT ON t
           FOR EACH ROW EXECUTE FUNCTION waterway_capture(); ALTER TABLE t ENABLE ALWAYS TRIGGER "!waterway""#,
        r#"DROP TRIGGER "!waterway" ON t; CREATE TRIGGER "!waterway" AFTER INSERT OR UPDATE OR DELETE ON t
           FOR EACH ROW WHEN (false) EXECUTE FUNCTION waterway_capture();
           ALTER TABLE t ENABLE ALWAYS TRIGGER "!waterway""#,
        "ALTER TABLE t RENAME TO old; CREATE TABLE t (id bigint PRIMARY KEY, n bigint)",
    ] {
        world.run(accident).await;
        assert_eq!(first.mend().await.unwrap(), ["t"], "{accident}");
        assert_eq!(second.mend().await.unwrap(), ["t"], "{accident}");
        assert_eq!(first.mend().await.unwrap(), none, "{accident}");
        assert_eq!(second.mend().await.unwrap(), none, "{accident}");
        drain(&mut first).await;
        world.run("INSERT INTO t VALUES (1, 1); DELETE FROM t; TRUNCATE t").await;
        assert_eq!(drain_brief(&mut first).await, "+1 -1 !", "{accident}");
    }
    // The table that has our triggers under another name is not bound.
    world.run("INSERT INTO old VALUES (7, 7)").await;
    assert_eq!(drain_brief(&mut first).await, "");
    for accident in [
        "DROP FUNCTION waterway_capture() CASCADE",
        "CREATE OR REPLACE FUNCTION waterway_capture() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RETURN NULL; END $$",
        "DROP TABLE waterway_outbox, waterway_cursor, waterway_outbox_epoch",
    ] {
        world.run(accident).await;
        let mut mended = first.mend().await.unwrap();
        mended.sort();
        assert_eq!(mended, ["quiet", "t"], "{accident}");
        assert_eq!(second.mend().await.unwrap(), ["t"], "{accident}");
        assert_eq!(first.mend().await.unwrap(), none, "{accident}");
    }
    // A cursor that is gone is noticed by whoever reads on.
    world.run("INSERT INTO t VALUES (1, 1)").await;
    drain(&mut first).await;
    first.tidy().await.unwrap();
    assert_eq!(drain_brief(&mut first).await, "!!");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn a_table_that_is_gone_or_held_does_not_stop_the_others() {
    let world = World::with_table().await;
    world.run("CREATE TABLE busy (id bigint PRIMARY KEY); CREATE TABLE gone (id bigint PRIMARY KEY)").await;
    let tables = vec![table_of("busy"), table_of("gone"), table_of("t")];
    let mut outbox = PostgresOutbox::open(&world.pool, tables, Cursor::Own).await.unwrap();
    assert!(outbox.take_turn().await.unwrap());
    let none: [&str; 0] = [];
    world
        .run("DROP TABLE gone; ALTER TABLE t DISABLE TRIGGER ALL; ALTER TABLE busy DISABLE TRIGGER ALL")
        .await;
    let mut writer = world.session().await;
    run(&mut writer, "BEGIN; INSERT INTO busy VALUES (1)").await;
    assert_eq!(outbox.mend().await.unwrap(), ["t"]);
    // Who held it up with an error would never come to a read.
    assert_eq!(outbox.mend().await.unwrap(), none);
    // It goes on reading all the while.
    world.run("INSERT INTO t VALUES (1, 1)").await;
    assert_eq!(drain_brief(&mut outbox).await, "+1");
    run(&mut writer, "COMMIT").await;
    assert_eq!(outbox.mend().await.unwrap(), ["busy"]);
    assert_eq!(outbox.mend().await.unwrap(), none);
    // One that comes back without a key cannot be bound, and is when it has one.
    world.run("CREATE TABLE gone (id bigint)").await;
    assert_eq!(outbox.mend().await.unwrap(), none);
    world.run("ALTER TABLE gone ADD PRIMARY KEY (id)").await;
    assert_eq!(outbox.mend().await.unwrap(), ["gone"]);
    assert_eq!(outbox.mend().await.unwrap(), none);
}
