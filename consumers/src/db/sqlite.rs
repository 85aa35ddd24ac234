//! Opens SQLite files, and teaches SQLite to sort decimals.

use std::cmp::Ordering;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{DbError, PATIENCE, read_decimal};

/// Each connection is a thread; SQLite lets one of them write.
const CONNECTIONS: u32 = 8;

/// Opens the file at `path`, the part of `address` that names it, and makes it when there is none.
pub(super) async fn open(address: &str, path: &str) -> Result<SqlitePool, DbError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A crash of the machine may lose the last commits, but never breaks the file.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(PATIENCE)
        .collation("decimal", by_value);
    let pool = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        // A connection to a file does not break while it is idle.
        .test_before_acquire(false)
        .connect_with(options);
    pool.await.map_err(|source| DbError::Open { address: address.to_owned(), source })
}

/// Orders decimals by value and before all other texts, which follow in text order. A collation has to be a total
/// order, so whether a text is a decimal must not depend on what it is compared to.
fn by_value(left: &str, right: &str) -> Ordering {
    match (read_decimal(left), read_decimal(right)) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => left.cmp(right),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row;
    use tokio::task::JoinSet;

    use super::*;
    use crate::db::{Db, query};

    async fn open_in(folder: &tempfile::TempDir) -> SqlitePool {
        let path = folder.path().join("test.db");
        open("sqlite:test.db", path.to_str().unwrap()).await.unwrap()
    }

    async fn setting(pool: &SqlitePool, query: &'static str) -> String {
        let row = sqlx::raw_sql(query).fetch_one(pool).await.unwrap();
        row.try_get::<String, _>(0).unwrap_or_else(|_| row.get::<i64, _>(0).to_string())
    }

    #[tokio::test]
    async fn connections_are_set_up() {
        let folder = tempfile::tempdir().unwrap();
        let pool = open_in(&folder).await;
        assert_eq!(setting(&pool, "PRAGMA journal_mode").await, "wal");
        assert_eq!(setting(&pool, "PRAGMA foreign_keys").await, "1");
        assert_eq!(setting(&pool, "PRAGMA busy_timeout").await, "5000");
        assert_eq!(setting(&pool, "PRAGMA synchronous").await, "1");
    }

    #[tokio::test]
    async fn decimals_sort_by_their_exact_value() {
        let folder = tempfile::tempdir().unwrap();
        let pool = open_in(&folder).await;
        let rows = sqlx::query(
            "SELECT column1 FROM (VALUES ('9.5'), ('b'), ('10'), ('-2'), ('a'), ('0.1000000000000000000000002'),
             ('0.1000000000000000000000001')) ORDER BY column1 COLLATE decimal",
        );
        let rows = rows.fetch_all(&pool).await.unwrap();
        let sorted: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let expected =
            ["-2", "0.1000000000000000000000001", "0.1000000000000000000000002", "9.5", "10", "a", "b"];
        assert_eq!(sorted, expected);
    }

    #[test]
    fn decimals_of_one_value_are_equal() {
        assert_eq!(by_value("1.50", "1.5"), Ordering::Equal);
        assert_eq!(by_value("5.0e-05", "0.00005"), Ordering::Equal);
        assert_eq!(by_value("1.0e+20", "99"), Ordering::Greater);
    }

    #[tokio::test]
    async fn statements_that_wait_for_the_lock_keep_no_reader_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::from(open_in(&folder).await);
        query("CREATE TABLE t (n BIGINT)").execute(&db).await.unwrap();
        let lock = db.begin_write().await.unwrap();
        let insert = async |db: Db| query("INSERT INTO t VALUES (1)").execute(&db).await;
        let waiting: JoinSet<_> = (0..12).map(|_| insert(db.clone())).collect();
        tokio::task::yield_now().await;
        query("SELECT n FROM t").fetch_all(&db).await.unwrap();
        lock.commit().await.unwrap();
        for inserted in waiting.join_all().await {
            assert_eq!(inserted.unwrap(), 1);
        }
    }
}
