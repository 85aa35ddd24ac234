//! What writers do is told, each statement for what it did.

use super::*;

const DDL: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE, b TEXT UNIQUE COLLATE NOCASE);
    INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'y'), (3, 'c', 'z')";

#[tokio::test]
async fn plain_writes_are_told_with_the_row_before_and_after() {
    let mut t = Captured::new(DDL, "t").await;
    assert_eq!(t.after("INSERT INTO t VALUES (4, 1, NULL), (NULL, 2, 'u')").await, ["+4,1,~", "+5,2,u"]);
    assert_eq!(t.after("UPDATE t SET b = a WHERE id > 3").await, ["4,1,~>4,1,1", "5,2,u>5,2,2"]);
    assert_eq!(t.after("DELETE FROM t WHERE id = 4").await, ["-4,1,1"]);
}

#[tokio::test]
async fn an_update_is_told_unless_nothing_changes() {
    let mut t = Captured::new(DDL, "t").await;
    assert_eq!(t.after("UPDATE t SET a = a || '!' WHERE id < 3").await, ["1,a,x>1,a!,x", "2,b,y>2,b!,y"]);
    assert!(t.after("UPDATE t SET a = a, b = b, id = id").await.is_empty());
    assert_eq!(t.after("UPDATE t SET b = 'X' WHERE b = 'x'").await, ["1,a!,x>1,a!,X"]);
    assert_eq!(t.after("UPDATE t SET id = id + 10 WHERE id = 3").await, ["3,c,z>13,c,z"]);
    assert_eq!(t.after("UPDATE t SET a = 1 WHERE id = 1").await, ["1,a!,X>1,1,X"]);
    assert_eq!(t.after("UPDATE t SET a = 1.0 WHERE id = 1").await, ["1,1,X>1,1.0,X"]);
}

#[tokio::test]
async fn emptying_a_table_tells_every_row() {
    let mut t = Captured::new(DDL, "t").await;
    assert_eq!(t.after("DELETE FROM t").await, ["-1,a,x", "-2,b,y", "-3,c,z"]);
}

#[tokio::test]
async fn rows_that_are_replaced_are_told() {
    let mut t = Captured::new(DDL, "t").await;
    assert_eq!(t.after("INSERT OR REPLACE INTO t VALUES (1, 'n', 'x')").await, ["1,a,x>1,n,x"]);
    assert_eq!(t.after("REPLACE INTO t VALUES (9, 'b', 'Z')").await, ["-2,b,y", "-3,c,z", "+9,b,Z"]);
    assert_eq!(t.after("REPLACE INTO t VALUES (1, 'b', 'x')").await, ["-9,b,Z", "1,n,x>1,b,x"]);
    assert_eq!(t.after("REPLACE INTO t VALUES (NULL, 'b', 'q')").await, ["-1,b,x", "+2,b,q"]);
    assert!(t.after("REPLACE INTO t VALUES (2, 'b', 'q')").await.is_empty());
    let several = t.after("REPLACE INTO t VALUES (5, 1, 's'), (6, 1, 't'), (5, 2, 'T')").await;
    assert_eq!(several, ["+5,1,s", "-5,1,s", "+6,1,t", "-6,1,t", "+5,2,T"]);
}

#[tokio::test]
async fn rows_that_an_update_replaces_are_told() {
    let mut t = Captured::new(DDL, "t").await;
    assert_eq!(t.after("UPDATE OR REPLACE t SET a = 'b' WHERE id = 1").await, ["-2,b,y", "1,a,x>1,b,x"]);
    assert_eq!(t.after("UPDATE OR REPLACE t SET id = 3 WHERE id = 1").await, ["-3,c,z", "1,b,x>3,b,x"]);
    t.after("INSERT INTO t VALUES (4, 1, 'i'), (5, 2, 'j'), (6, 3, 'k')").await;
    let all = t.after("UPDATE OR REPLACE t SET b = 'same' WHERE id > 3").await;
    assert_eq!(all, ["4,1,i>4,1,same", "-4,1,same", "5,2,j>5,2,same", "-5,2,same", "6,3,k>6,3,same"]);
}

#[tokio::test]
async fn with_recursive_triggers_a_replaced_row_is_told_once() {
    let mut t = Captured::new(DDL, "t").await;
    t.run("PRAGMA recursive_triggers = 1").await;
    assert_eq!(t.after("REPLACE INTO t VALUES (9, 'b', 'Z')").await, ["-3,c,z", "-2,b,y", "+9,b,Z"]);
    assert_eq!(t.after("REPLACE INTO t VALUES (1, 'n', 'x')").await, ["-1,a,x", "+1,n,x"]);
    assert_eq!(t.after("UPDATE OR REPLACE t SET a = 'b' WHERE id = 1").await, ["-9,b,Z", "1,n,x>1,b,x"]);
}

#[tokio::test]
async fn what_was_in_the_way_but_stayed_is_not_told() {
    let mut t = Captured::new(DDL, "t").await;
    assert!(t.after("INSERT OR IGNORE INTO t VALUES (1, 'n', 'n'), (8, 'c', 'n')").await.is_empty());
    assert_eq!(t.after("DELETE FROM t WHERE id = 3").await, ["-3,c,z"]);
    assert_eq!(t.after("INSERT INTO t VALUES (3, 'c', 'z')").await, ["+3,c,z"]);
    assert!(t.after("INSERT INTO t VALUES (1, 'n', 'n') ON CONFLICT DO NOTHING").await.is_empty());
    let upsert = "INSERT INTO t VALUES (7, 'a', 'n') ON CONFLICT (a) DO UPDATE SET b = excluded.b, id = 7";
    assert_eq!(t.after(upsert).await, ["1,a,x>7,a,n"]);
    for policy in ["ABORT", "FAIL", "ROLLBACK"] {
        let insert = format!("INSERT OR {policy} INTO t VALUES (2, 'q', 'q')");
        assert!(try_run(&mut t.connection, &insert).await.is_err());
        let update = format!("UPDATE OR {policy} t SET a = 'c' WHERE id = 2");
        assert!(try_run(&mut t.connection, &update).await.is_err());
    }
    assert!(t.told().await.is_empty());
    assert_eq!(t.after("REPLACE INTO t VALUES (2, 'c', 'n')").await, ["-3,c,z", "-7,a,n", "2,b,y>2,c,n"]);
}

#[tokio::test]
async fn rows_before_one_that_fails_are_told_when_they_stay() {
    let mut t = Captured::new(DDL, "t").await;
    assert!(
        try_run(&mut t.connection, "INSERT OR FAIL INTO t VALUES (4, 4, 'd'), (5, 'a', 'e')").await.is_err()
    );
    assert_eq!(t.told().await, ["+4,4,d"]);
    assert!(
        try_run(&mut t.connection, "INSERT OR ABORT INTO t VALUES (6, 6, 'f'), (5, 'a', 'e')").await.is_err()
    );
    assert!(t.told().await.is_empty());
}

#[tokio::test]
async fn what_is_rolled_back_is_not_told() {
    let mut t = Captured::new(DDL, "t").await;
    t.run("BEGIN; REPLACE INTO t VALUES (1, 'b', 'n'); ROLLBACK").await;
    assert!(t.told().await.is_empty());
    let nested = "BEGIN; DELETE FROM t WHERE id = 1; SAVEPOINT s; REPLACE INTO t VALUES (2, 'c', 'n'); \
        ROLLBACK TO s; DELETE FROM t WHERE id = 3; COMMIT";
    assert_eq!(t.after(nested).await, ["-1,a,x", "-3,c,z"]);
}

#[tokio::test]
async fn the_policy_of_a_statement_breaks_no_trigger() {
    let mut t = Captured::new(DDL, "t").await;
    for policy in ["IGNORE", "FAIL", "ABORT", "ROLLBACK", "REPLACE"] {
        // What is noted in vain stays noted for a while, and is noted again.
        t.run("INSERT OR IGNORE INTO t VALUES (1, 'n', 'x'), (1, 'n', 'x')").await;
        t.run(&format!("INSERT OR {policy} INTO t VALUES (20, 20, 'n')")).await;
        t.run(&format!("UPDATE OR {policy} t SET a = '{policy}' WHERE id = 20")).await;
        t.run("DELETE FROM t WHERE id = 20").await;
        assert_eq!(t.told().await.len(), 3, "{policy}");
    }
}

#[tokio::test]
async fn default_values_that_replace_put_in_are_seen() {
    let ddl = "CREATE TABLE t(id INTEGER PRIMARY KEY, a NOT NULL DEFAULT 'd' UNIQUE); INSERT INTO t VALUES (1, 'd')";
    let mut t = Captured::new(ddl, "t").await;
    assert_eq!(t.after("REPLACE INTO t VALUES (2, NULL)").await, ["-1,d", "+2,d"]);
    t.after("INSERT INTO t VALUES (3, 'e')").await;
    assert_eq!(t.after("UPDATE OR REPLACE t SET a = NULL WHERE id = 3").await, ["-2,d", "3,e>3,d"]);
}

#[tokio::test]
async fn partial_and_composite_indexes_and_generated_columns_displace_too() {
    let ddl = "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, c AS (lower(b)) UNIQUE, UNIQUE (a, b));
        CREATE UNIQUE INDEX part ON t(a) WHERE t.b > 'm' -- the second half";
    let mut t = Captured::new(ddl, "t").await;
    t.after("INSERT INTO t (id, a, b) VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 1, 'x')").await;
    assert_eq!(t.after("REPLACE INTO t (id, a, b) VALUES (4, 1, 'y')").await, ["-3,1,x,x", "+4,1,y,y"]);
    assert_eq!(t.after("REPLACE INTO t (id, a, b) VALUES (5, 2, 'Y')").await, ["-4,1,y,y", "+5,2,Y,y"]);
    assert_eq!(t.after("REPLACE INTO t (id, a, b) VALUES (6, 1, 'a')").await, ["-1,1,a,a", "+6,1,a,a"]);
    let moved = t.after("UPDATE OR REPLACE t SET a = 1, b = 'b' WHERE id = 6").await;
    assert_eq!(moved, ["-2,1,b,b", "6,1,a,a>6,1,b,b"]);
    t.after("INSERT INTO t (id, a, b) VALUES (7, 2, 'c'), (8, 2, 'n')").await;
    assert_eq!(
        t.after("UPDATE OR REPLACE t SET b = 'z' WHERE id = 7").await,
        ["-8,2,n,n", "7,2,c,c>7,2,z,z"]
    );
}

#[tokio::test]
async fn other_keys_and_tables_without_row_numbers() {
    for ddl in [
        "CREATE TABLE t(id TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, a UNIQUE)",
        "CREATE TABLE t(id TEXT PRIMARY KEY COLLATE NOCASE, a UNIQUE) WITHOUT ROWID",
        "CREATE TABLE t(id TEXT PRIMARY KEY COLLATE NOCASE, a TEXT UNIQUE) STRICT, WITHOUT ROWID",
    ] {
        let mut t = Captured::new(ddl, "t").await;
        t.after("INSERT INTO t VALUES ('k', 'a'), ('l', 'b')").await;
        assert_eq!(t.after("REPLACE INTO t VALUES ('K', 'c')").await, ["k,a>K,c"], "{ddl}");
        assert_eq!(t.after("REPLACE INTO t VALUES ('m', 'b')").await, ["-l,b", "+m,b"], "{ddl}");
        assert_eq!(t.after("UPDATE t SET id = 'k'  WHERE a = 'c'").await, ["K,c>k,c"], "{ddl}");
        assert_eq!(
            t.after("UPDATE OR REPLACE t SET id = 'M' WHERE a = 'c'").await,
            ["-m,b", "k,c>M,c"],
            "{ddl}"
        );
        assert_eq!(t.after("DELETE FROM t").await, ["-M,c"], "{ddl}");
    }
}

#[tokio::test]
async fn what_foreign_keys_do_is_told() {
    let ddl = "PRAGMA foreign_keys = 1; CREATE TABLE p(id INTEGER PRIMARY KEY);
        CREATE TABLE t(id INTEGER PRIMARY KEY, a REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE,
        b REFERENCES t ON DELETE SET NULL);
        INSERT INTO p VALUES (1), (2); INSERT INTO t VALUES (1, 1, NULL), (2, 2, 1), (3, 2, NULL)";
    let mut t = Captured::new(ddl, "t").await;
    assert_eq!(t.after("UPDATE p SET id = 9 WHERE id = 2").await, ["2,2,1>2,9,1", "3,2,~>3,9,~"]);
    // The row is gone before the one that points to it changes, and comes back.
    assert_eq!(t.after("REPLACE INTO t VALUES (1, 9, NULL)").await, ["-1,1,~", "2,9,1>2,9,~", "+1,9,~"]);
    assert_eq!(t.after("DELETE FROM p WHERE id = 9").await, ["-1,9,~", "-2,9,~", "-3,9,~"]);
}

#[tokio::test]
async fn the_tables_own_triggers_are_told_after_what_made_them_run() {
    let ddl = "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b);
        CREATE TRIGGER touch AFTER INSERT ON t BEGIN UPDATE t SET b = 'touched' WHERE id = NEW.id; END;
        CREATE TRIGGER again AFTER UPDATE OF a ON t BEGIN UPDATE t SET b = NEW.a WHERE id = NEW.id; END;";
    let mut t = Captured::new(ddl, "t").await;
    assert_eq!(t.after("INSERT INTO t VALUES (1, 1, NULL)").await, ["+1,1,~", "1,1,~>1,1,touched"]);
    assert_eq!(t.after("UPDATE t SET a = 2").await, ["1,1,touched>1,2,touched", "1,2,touched>1,2,2"]);
}

#[tokio::test]
async fn a_writer_learns_nothing_of_the_triggers() {
    let mut t = Captured::new(DDL, "t").await;
    let done = sqlx::query("REPLACE INTO t VALUES (17, 'b', 'Z')").execute(&mut t.connection).await.unwrap();
    assert_eq!((done.rows_affected(), done.last_insert_rowid()), (1, 17));
    let returned: i64 = sqlx::query_scalar("UPDATE t SET a = 5 WHERE id = 17 RETURNING id")
        .fetch_one(&mut t.connection)
        .await
        .unwrap();
    assert_eq!(returned, 17);
    t.run("PRAGMA trusted_schema = 0").await;
    assert_eq!(t.told().await.len(), 4);
    assert_eq!(t.after("REPLACE INTO t VALUES (17, 'a', 1)").await, ["-1,a,x", "17,5,Z>17,a,1"]);
}
