//! The database that all apps share, opened one way, whichever of the two it is.

mod commits;
mod postgres;
mod query;
mod sqlite;
pub mod testing;
mod value;
mod writers;

use std::time::Duration;

use sqlx::{Error, PgPool, Postgres, Sqlite, SqlitePool};

pub use commits::Commits;

pub(crate) use query::quoted;
pub use query::{Query, Row, Target, query, script};
pub use sqlx::AssertSqlSafe;
pub(crate) use value::read_time;
pub use value::{Arg, read_decimal};
pub use writers::Turn;
use writers::Writers;

/// How long a request waits for a connection, or for another program's lock, before it fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// A pool of connections to the database; cheap to clone. Statements are made with [`query`] and run on
/// either.
///
/// ```no_run
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let db = consumers::db::Db::open("sqlite:waterway.db").await?;
/// let users = consumers::db::query("SELECT count(*) AS users FROM accounts_user WHERE is_staff = $1").bind(true);
/// let users: i64 = users.fetch_one(&db).await?.get("users")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub enum Db {
    /// A file.
    Sqlite(SqliteDb),
    /// A server.
    Postgres(PostgresDb),
}

/// A SQLite file: its connections, whose turn it is to write, and who wants to know when one of them commits.
#[derive(Debug, Clone)]
pub struct SqliteDb {
    pub(crate) pool: SqlitePool,
    pub(crate) writers: Writers,
    pub(crate) commits: Commits,
}

/// A PostgreSQL server: its connections, and whose turn it is to write.
#[derive(Debug, Clone)]
pub struct PostgresDb {
    pub(crate) pool: PgPool,
    pub(crate) writers: Writers,
}

impl From<SqlitePool> for Db {
    fn from(pool: SqlitePool) -> Self {
        // SQLite lets no more write.
        let writers = Writers::new(1, pool.options().get_acquire_timeout());
        Self::Sqlite(SqliteDb { pool, writers, commits: Commits::default() })
    }
}

impl From<PgPool> for Db {
    fn from(pool: PgPool) -> Self {
        let options = pool.options();
        let writers = Writers::new(options.get_max_connections() / 2, options.get_acquire_timeout());
        Self::Postgres(PostgresDb { pool, writers })
    }
}

/// A transaction; dropped without [`commit`](Self::commit), nothing of it is left.
#[derive(Debug)]
pub enum Transaction {
    /// On SQLite; with a turn it may write.
    Sqlite(sqlx::Transaction<'static, Sqlite>, Commits, Option<Turn>),
    /// On PostgreSQL; with a turn it may write.
    Postgres(sqlx::Transaction<'static, Postgres>, Option<Turn>),
}

/// Which database it is, for the few statements that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite 3.38 or later.
    Sqlite,
    /// PostgreSQL 13 or later.
    Postgres,
}

/// Why a database could not be opened. No password is ever part of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// The address has a form that this version does not know.
    #[error(
        "database address {0:?} is not known: use sqlite:PATH with the path of a file, or \
         postgres://USER:PASSWORD@HOST/DATABASE"
    )]
    Address(String),
    /// The file does not open.
    #[error(
        "database {address:?} does not open: check that its folder exists and may be written to ({source})"
    )]
    Open {
        /// The address as given.
        address: String,
        /// What the database said.
        source: Error,
    },
    /// The server cannot be reached, or does not let us in.
    #[error(
        "database {address:?} cannot be reached: check that the server runs, that user and password are right, and \
         that the database exists ({source})"
    )]
    Connect {
        /// The address without the password.
        address: String,
        /// What the server said, or the network.
        source: Error,
    },
}

impl DbError {
    /// For an address that cannot be read: what might hold a password is not shown.
    fn unknown(address: &str) -> Self {
        let scheme = address.split(':').next().unwrap_or_default();
        let is_harmless = !address.contains(['@', '?']);
        Self::Address(if is_harmless { address.to_owned() } else { format!("{scheme}:...") })
    }
}

impl Db {
    /// Opens a database by its address.
    ///
    /// - `sqlite:PATH` (or `sqlite://PATH`) is a file, which is made when there is none. Foreign keys are enforced,
    ///   the journal is a write-ahead log, and the collation `decimal` orders texts by their exact decimal value
    ///   (texts that are no decimals come last). Databases in memory are not supported, for they are private to one
    ///   connection.
    /// - `postgres://USER:PASSWORD@HOST:PORT/DATABASE` (or `postgresql:`) is a server, which has the database
    ///   already. What is left out comes from `PGHOST`, `PGUSER`, `PGPASSWORD` and so on, or from `~/.pgpass`.
    ///   Connections are not encrypted yet.
    ///
    /// Either way, a statement waits up to 5 seconds for a connection, and again for what another program has locked.
    /// Who writes waits as long for a turn before that: on SQLite one writes at a time, and on PostgreSQL half of the
    /// connections may be in transactions that write, so that the others are there for reads, even within those.
    ///
    /// # Errors
    /// [`DbError::Address`] for any other address, [`DbError::Open`] when the file cannot be used, and
    /// [`DbError::Connect`] when the server does not let us in. A server that refuses connections may be just
    /// starting, so it is asked again for 5 seconds.
    pub async fn open(address: &str) -> Result<Self, DbError> {
        if address.starts_with("postgres:") || address.starts_with("postgresql:") {
            return Ok(postgres::open(address).await?.into());
        }
        let path = address.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
        match path.filter(|path| !path.is_empty() && *path != ":memory:" && !path.contains('?')) {
            Some(path) => Ok(sqlite::open(address, path).await?.into()),
            None => Err(DbError::unknown(address)),
        }
    }

    /// Which database it is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Closes all connections; what is asked later fails.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(db) => db.pool.close().await,
            Self::Postgres(db) => db.pool.close().await,
        }
    }

    /// Starts a transaction that reads, all of it from one moment.
    ///
    /// # Errors
    /// As the database says.
    pub async fn begin_read(&self) -> Result<Transaction, Error> {
        Ok(match self {
            Self::Sqlite(db) => Transaction::Sqlite(db.pool.begin().await?, db.commits.clone(), None),
            Self::Postgres(db) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Transaction::Postgres(db.pool.begin_with(begin).await?, None)
            }
        })
    }

    /// Starts a transaction that may write.
    ///
    /// On SQLite it takes the write lock at once: one that began by reading could find, when it comes to write, that
    /// another was faster, and would fail without waiting. On PostgreSQL writers go side by side: who writes what
    /// depends on a read must first lock a row that all such writers lock.
    ///
    /// Who is in one may read on another connection meanwhile, but should not begin another one: all others may wait
    /// for this one's turn.
    ///
    /// # Errors
    /// As the database says, for example that the lock was not free within 5 seconds.
    pub async fn begin_write(&self) -> Result<Transaction, Error> {
        Ok(match self {
            Self::Sqlite(db) => {
                let turn = db.writers.turn().await?;
                let transaction = db.pool.begin_with("BEGIN IMMEDIATE").await?;
                Transaction::Sqlite(transaction, db.commits.clone(), Some(turn))
            }
            Self::Postgres(db) => {
                let turn = db.writers.turn().await?;
                let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
                Transaction::Postgres(db.pool.begin_with(begin).await?, Some(turn))
            }
        })
    }
}

impl Transaction {
    /// Which database it is on.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(..) => Dialect::Sqlite,
            Self::Postgres(..) => Dialect::Postgres,
        }
    }

    /// Makes all of it permanent.
    ///
    /// # Errors
    /// As the database says; nothing of it is left then, unless the connection broke on the answer's way.
    pub async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(inner, commits, _turn) => {
                inner.commit().await?;
                commits.tell();
                Ok(())
            }
            Self::Postgres(inner, _turn) => inner.commit().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::db::testing::TestDatabase;

    async fn count(target: impl Into<Target<'_>> + Send) -> i64 {
        query("SELECT count(*) AS n FROM t").fetch_one(target).await.unwrap().get("n").unwrap()
    }

    #[tokio::test]
    async fn a_second_writer_waits_for_the_first() {
        let database = TestDatabase::new();
        let db = database.open().await;
        query("CREATE TABLE t (n BIGINT)").execute(&db).await.unwrap();
        query("INSERT INTO t VALUES (0)").execute(&db).await.unwrap();
        let increment = async || {
            let mut tx = db.begin_write().await.unwrap();
            // This takes the row, which SQLite would not need.
            query("UPDATE t SET n = n").execute(&mut tx).await.unwrap();
            let n: i64 = query("SELECT n FROM t").fetch_one(&mut tx).await.unwrap().get("n").unwrap();
            tokio::task::yield_now().await;
            query("UPDATE t SET n = $1").bind(n + 1).execute(&mut tx).await.unwrap();
            tx.commit().await.unwrap();
        };
        tokio::join!(increment(), increment(), increment());
        assert_eq!(query("SELECT n FROM t").fetch_one(&db).await.unwrap().get::<i64>("n").unwrap(), 3);
    }

    #[tokio::test]
    async fn a_reader_sees_one_moment_and_waits_for_nobody() {
        let database = TestDatabase::new();
        let db = database.open().await;
        query("CREATE TABLE t (n BIGINT)").execute(&db).await.unwrap();
        let mut reader = db.begin_read().await.unwrap();
        assert_eq!(count(&mut reader).await, 0);
        query("INSERT INTO t VALUES ($1)").bind(1_i64).execute(&db).await.unwrap();
        assert_eq!(count(&mut reader).await, 0);
        reader.commit().await.unwrap();
        assert_eq!(count(&db).await, 1);
    }

    #[tokio::test]
    async fn what_is_not_committed_never_was() {
        let database = TestDatabase::new();
        let db = database.open().await;
        query("CREATE TABLE t (n BIGINT)").execute(&db).await.unwrap();
        let mut tx = db.begin_write().await.unwrap();
        assert_eq!(query("INSERT INTO t VALUES (1)").execute(&mut tx).await.unwrap(), 1);
        drop(tx);
        assert_eq!(count(&db).await, 0);
    }

    #[tokio::test]
    async fn many_writers_leave_connections_to_what_they_read_meanwhile() {
        let database = TestDatabase::new();
        let db = database.open().await;
        query("CREATE TABLE t (n BIGINT)").execute(&db).await.unwrap();
        let write = async |db: Db| {
            let mut tx = db.begin_write().await.unwrap();
            // On a connection of its own, as `Binding::permits` may.
            count(&db).await;
            query("with one AS (select 1) select * from one").fetch_all(&db).await.unwrap();
            query("INSERT INTO t VALUES (1)").execute(&mut tx).await.unwrap();
            tx.commit().await.unwrap();
        };
        join_all((0..12).map(|_| write(db.clone()))).await;
        assert_eq!(count(&db).await, 12);
    }

    #[tokio::test]
    async fn other_addresses_are_refused() {
        for address in ["", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro", "mysql://h/db", "a.db"] {
            assert!(matches!(Db::open(address).await, Err(DbError::Address(_))), "{address}");
        }
        let missing = Db::open("sqlite:/nowhere/at/all.db").await;
        assert!(missing.unwrap_err().to_string().contains("check that its folder exists"));
    }

    #[tokio::test]
    async fn an_address_that_is_refused_keeps_its_password() {
        for address in ["mysql://ana:s3cret@h/db", "postgres://ana:s3cret@h:port/db", "x:y?password=s3cret"] {
            let error = Db::open(address).await.unwrap_err();
            assert!(matches!(error, DbError::Address(_)), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
