//! The database that all apps share, opened one way.

use std::cmp::Ordering;
use std::time::Duration;

use rust_decimal::Decimal;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};

/// Each connection is a thread; SQLite lets one of them write.
const CONNECTIONS: u32 = 8;
/// How long a request waits for a connection, or for another program's lock, before it fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// A pool of connections to the database; cheap to clone.
///
/// ```no_run
/// # async fn f() -> Result<(), accounts::DbError> {
/// let db = accounts::Db::open("sqlite:waterway.db").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Db {
    sqlite: SqlitePool,
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// The address has a form that this version does not know.
    #[error("database address {0:?} is not known: use sqlite:PATH with the path of a file")]
    Address(String),
    /// The database does not open.
    #[error(
        "database {address:?} does not open: check that its folder exists and may be written to ({source})"
    )]
    Open {
        /// The address as given.
        address: String,
        /// What the database said.
        source: sqlx::Error,
    },
}

impl Db {
    /// Opens `sqlite:PATH` (or `sqlite://PATH`), and makes the file when there is none. Databases in memory are not
    /// supported, for they are private to one connection.
    ///
    /// Connections wait up to 5 seconds for a lock, foreign keys are enforced, the journal is a write-ahead log, and
    /// the collation `decimal` orders texts by their exact decimal value (texts that are no decimals come last).
    ///
    /// # Errors
    /// [`DbError::Address`] for any other address; [`DbError::Open`] when the file cannot be used.
    pub async fn open(address: &str) -> Result<Self, DbError> {
        let path = address.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
        let Some(path) = path.filter(|path| !path.is_empty() && *path != ":memory:" && !path.contains('?'))
        else {
            return Err(DbError::Address(address.to_owned()));
        };
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
        let sqlite = pool.await.map_err(|source| DbError::Open { address: address.to_owned(), source })?;
        Ok(Self { sqlite })
    }

    /// The pool of SQLite connections, for reads and for single statements.
    #[must_use]
    pub fn sqlite(&self) -> &SqlitePool {
        &self.sqlite
    }

    /// Starts a transaction that may write. It takes the write lock at once: one that began by reading could find,
    /// when it comes to write, that another was faster, and would fail without waiting.
    ///
    /// # Errors
    /// As the database says, for example that the lock was not free within 5 seconds.
    pub async fn begin_write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.sqlite.begin_with("BEGIN IMMEDIATE").await
    }
}

/// Orders decimals by value and before all other texts, which follow in text order. A collation has to be a total
/// order, so whether a text is a decimal must not depend on what it is compared to.
fn by_value(left: &str, right: &str) -> Ordering {
    match (Decimal::from_str_exact(left), Decimal::from_str_exact(right)) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => left.cmp(right),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::*;

    async fn open(folder: &tempfile::TempDir) -> Db {
        Db::open(&format!("sqlite:{}", folder.path().join("test.db").display())).await.unwrap()
    }

    async fn setting(db: &Db, query: &'static str) -> String {
        let row = sqlx::raw_sql(query).fetch_one(db.sqlite()).await.unwrap();
        row.try_get::<String, _>(0).unwrap_or_else(|_| row.get::<i64, _>(0).to_string())
    }

    #[tokio::test]
    async fn connections_are_set_up() {
        let folder = tempfile::tempdir().unwrap();
        let db = open(&folder).await;
        assert_eq!(setting(&db, "PRAGMA journal_mode").await, "wal");
        assert_eq!(setting(&db, "PRAGMA foreign_keys").await, "1");
        assert_eq!(setting(&db, "PRAGMA busy_timeout").await, "5000");
        assert_eq!(setting(&db, "PRAGMA synchronous").await, "1");
    }

    #[tokio::test]
    async fn decimals_sort_by_their_exact_value() {
        let folder = tempfile::tempdir().unwrap();
        let db = open(&folder).await;
        let rows = sqlx::query(
            "SELECT column1 FROM (VALUES ('9.5'), ('b'), ('10'), ('-2'), ('a'), ('0.1000000000000000000000002'),
             ('0.1000000000000000000000001')) ORDER BY column1 COLLATE decimal",
        );
        let rows = rows.fetch_all(db.sqlite()).await.unwrap();
        let sorted: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let expected =
            ["-2", "0.1000000000000000000000001", "0.1000000000000000000000002", "9.5", "10", "a", "b"];
        assert_eq!(sorted, expected);
    }

    #[test]
    fn decimals_of_one_value_are_equal() {
        assert_eq!(by_value("1.50", "1.5"), Ordering::Equal);
    }

    #[tokio::test]
    async fn a_second_writer_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let db = open(&folder).await;
        sqlx::raw_sql("CREATE TABLE t (n BIGINT)").execute(db.sqlite()).await.unwrap();
        let increment = async || {
            let mut tx = db.begin_write().await.unwrap();
            let n: i64 = sqlx::query("SELECT count(*) FROM t").fetch_one(&mut *tx).await.unwrap().get(0);
            tokio::task::yield_now().await;
            sqlx::query("INSERT INTO t VALUES ($1)").bind(n).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
        };
        tokio::join!(increment(), increment(), increment());
        assert_eq!(setting(&db, "SELECT group_concat(n) FROM (SELECT n FROM t ORDER BY n)").await, "0,1,2");
    }

    #[tokio::test]
    async fn other_addresses_are_refused() {
        for address in ["", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro", "postgres://h/db", "a.db"] {
            assert!(matches!(Db::open(address).await, Err(DbError::Address(_))), "{address}");
        }
        let missing = Db::open("sqlite:/nowhere/at/all.db").await;
        assert!(missing.unwrap_err().to_string().contains("check that its folder exists"));
    }
}
