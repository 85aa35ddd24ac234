//! What is done to the schema of a table that is captured.

use super::*;

/// Changes what is in the file by a foreign writer, and says what a relay finds mended and then publishes.
async fn mended_after(file: &File, outbox: &mut SqliteOutbox, sql: &str) -> (Vec<String>, Vec<String>) {
    run(&mut file.writer().await, sql).await;
    let mended = outbox.mend().await.unwrap();
    assert!(outbox.mend().await.unwrap().is_empty(), "once is enough after {sql}");
    (mended, told(outbox).await)
}

#[tokio::test]
async fn triggers_are_put_back_when_the_schema_changes() {
    let file = File::new().await;
    let (mut outbox, mut other) = (file.outbox().await, file.outbox().await);
    assert!(outbox.mend().await.unwrap().is_empty());
    for (change, is_mended) in [
        ("CREATE TABLE u(id INTEGER)", false),
        ("ALTER TABLE t ADD COLUMN b", true),
        ("ALTER TABLE t RENAME COLUMN b TO c", true),
        ("CREATE INDEX i ON t(c)", false),
        ("CREATE UNIQUE INDEX j ON t(c)", true),
        ("DROP TRIGGER waterway_updated_t", true),
        // As Django migrates.
        (
            "BEGIN; CREATE TABLE new_t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, c); INSERT INTO new_t SELECT * FROM t;
             DROP TABLE t; ALTER TABLE new_t RENAME TO t; COMMIT",
            true,
        ),
        ("ALTER TABLE t RENAME TO t2; CREATE TABLE t(id INTEGER PRIMARY KEY, a, c)", true),
        (
            "BEGIN; DROP TRIGGER waterway_inserting_t; DROP TRIGGER waterway_inserted_t;
             DROP TRIGGER waterway_updating_t; DROP TRIGGER waterway_updated_t; DROP TRIGGER waterway_deleted_t;
             ALTER TABLE t DROP COLUMN c; COMMIT",
            true,
        ),
        ("CREATE TRIGGER own AFTER INSERT ON t BEGIN SELECT 1; END", true),
        ("VACUUM", false),
    ] {
        let (mended, told) = mended_after(&file, &mut outbox, change).await;
        assert_eq!(mended == ["t"], is_mended, "{change}: {mended:?}");
        assert!(told.is_empty(), "it was said already: {told:?}");
        let heard: Vec<_> = super::told(&mut other).await;
        assert_eq!(heard == ["reset"], is_mended, "{change}: {heard:?}");
        assert!(other.mend().await.unwrap().is_empty(), "the others find it done");
    }
    run(&mut file.writer().await, "INSERT INTO t VALUES (1, 'x')").await;
    assert_eq!(told(&mut outbox).await, ["+1,x"]);
}

#[tokio::test]
async fn a_column_cannot_be_dropped_under_the_triggers() {
    let file = File::with("CREATE TABLE t(id INTEGER PRIMARY KEY, a)").await;
    let _outbox = file.outbox().await;
    let error = try_run(&mut file.writer().await, "ALTER TABLE t DROP COLUMN a").await.unwrap_err();
    assert!(error.to_string().contains("waterway_"), "it names who is in the way: {error}");
}

#[tokio::test]
async fn a_table_that_is_dropped_is_bound_again_when_it_comes_back() {
    let file = File::new().await;
    let mut outbox = file.outbox().await;
    assert!(mended_after(&file, &mut outbox, "DROP TABLE t").await.0.is_empty());
    let (mended, _) = mended_after(&file, &mut outbox, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)").await;
    assert_eq!(mended, ["t"]);
    let (mended, _) = mended_after(&file, &mut outbox, "CREATE UNIQUE INDEX i ON t(lower(a))").await;
    assert!(mended.is_empty(), "it cannot be captured whole, and the log says so");
    run(&mut file.writer().await, "INSERT INTO t VALUES (1, 'x')").await;
    assert_eq!(told(&mut outbox).await, ["+1,x"]);
}

#[tokio::test]
async fn an_outbox_that_is_made_anew_tells_of_the_loss_and_repeats_no_key() {
    let file = File::new().await;
    let mut outbox = file.outbox().await;
    let mut writer = file.writer().await;
    run(&mut writer, "INSERT INTO t VALUES (1, 'x')").await;
    let before = outbox.read().await.unwrap().changes;
    outbox.advance(usize::MAX);
    run(&mut writer, "DROP TABLE waterway_outbox").await;
    outbox.mend().await.unwrap();
    // A connection that knows a schema without the outbox looks no further when a trigger misses it.
    let mut writer = file.writer().await;
    run(&mut writer, "INSERT INTO t VALUES (2, 'y')").await;
    let after = outbox.read().await.unwrap().changes;
    assert_eq!(after.iter().map(in_short).collect::<Vec<_>>(), ["reset all", "+2,y"]);
    assert!(after.iter().all(|change| change.key != before[0].key));
    outbox.advance(usize::MAX);
    outbox.tidy().await.unwrap();
    run(&mut writer, "INSERT INTO t VALUES (3, 'z')").await;
    assert!(!told(&mut outbox).await.contains(&"reset all".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_bound_leaves_nothing_behind() {
    let file = File::new().await;
    let tables = vec![table("t"), table("missing")];
    let error = SqliteOutbox::open(&file.db, tables, Cursor::Own).await.unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    assert_eq!(file.count("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'waterway%'").await, 0);
}

#[tokio::test]
async fn a_table_is_known_by_the_name_that_it_was_bound_by() {
    let file = File::new().await;
    let mut outbox = SqliteOutbox::open(&file.db, vec![table("T")], Cursor::Own).await.unwrap();
    run(&mut file.writer().await, "INSERT INTO t VALUES (1, 'x')").await;
    assert_eq!(outbox.read().await.unwrap().changes[0].table, "T");
}
