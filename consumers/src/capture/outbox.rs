//! The seam between the relay and the two databases: an outbox that triggers fill and the relay reads.

use async_trait::async_trait;

use super::postgres::{self, PostgresOutbox};
use super::sqlite::{self, SqliteOutbox};
use super::{CaptureError, Columns, Seen};
use crate::db::{Db, Dialect, Transaction};

/// The most changes that one read takes.
pub(crate) const BATCH: usize = 512;

/// The most changes that the outbox holds. When no relay takes them away, the oldest are dropped, and everyone who
/// subscribes is told to start anew.
pub(crate) const OUTBOX_LIMIT: i64 = 1_000_000;

/// A committed change of one row, as a trigger wrote it down.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recorded {
    /// Tells this change from every other one, for ever: what is told twice has the same key.
    pub(crate) key: String,
    /// What a [`Seen`](super::Seen) compares: the sequence number on SQLite, the transaction's id on PostgreSQL.
    pub(crate) position: i64,
    pub(crate) table: String,
    pub(crate) kind: Kind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Insert(Columns),
    Update {
        old: Columns,
        new: Columns,
    },
    Delete(Columns),
    /// Changes of this table cannot be told one by one: it was emptied at once, or changes were lost.
    Reset,
    /// Changes of every table were lost.
    ResetAll,
}

/// What there is to publish.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In order: the changes of one row in the order of their commits.
    pub(crate) changes: Vec<Recorded>,
    /// There is more; ask again without waiting.
    pub(crate) has_more: bool,
}

/// How full the outbox is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) rows: i64,
}

/// The outbox of one database as one relay reads it.
///
/// All methods may be called again after an error; the outbox reconnects by itself.
#[async_trait]
pub(crate) trait Outbox: Send {
    /// Tries to become the one relay of a cursor that several processes share; `true` once it is. A cursor of this
    /// process alone is always ours. Losing the connection loses the turn: reads and tidying then fail until this is
    /// called again.
    async fn take_turn(&mut self) -> Result<bool, CaptureError>;

    /// What was committed since the last [`advance`](Self::advance), at most [`BATCH`] changes of it.
    async fn read(&mut self) -> Result<Batch, CaptureError>;

    /// Notes that so many changes of the last batch were published, from its beginning on, or all of it when it has no
    /// more. The note is written down with the next [`tidy`](Self::tidy).
    fn advance(&mut self, told: usize);

    /// Writes the cursor down, forgets the cursors of dead processes, and drops the changes that every live cursor
    /// has passed. To be called about once a second, and more often under load.
    async fn tidy(&mut self) -> Result<Depth, CaptureError>;

    /// Looks whether the triggers of the bound tables are still what they should be, puts back those that are not,
    /// and names the tables that have gone without: their subscribers must start anew.
    async fn mend(&mut self) -> Result<Vec<String>, CaptureError>;

    /// Waits until there may be something to read: woken by a commit, by a poll, or at the latest after a second.
    /// Safe to cancel.
    async fn wait(&mut self);
}

/// A table that is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// As statements name it; on PostgreSQL it may have its schema before it.
    pub(crate) name: String,
    /// The column of its primary key.
    pub(crate) key: String,
}

/// Whose place in the outbox it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// This process's own, for a channel layer that ends with the process. It begins at the present, and is
    /// forgotten when the process is gone.
    Own,
    /// Shared by all processes of one channel layer, by the layer's identity. One of them relays at a time, and the
    /// place outlives them.
    Shared(String),
}

/// Opens the outbox of a database: makes it when there is none, and installs the triggers of these tables.
pub(crate) async fn open(
    db: &Db,
    tables: Vec<Table>,
    cursor: Cursor,
) -> Result<Box<dyn Outbox>, CaptureError> {
    Ok(match db {
        Db::Sqlite(db) => Box::new(SqliteOutbox::open(db, tables, cursor).await?),
        Db::Postgres(db) => Box::new(PostgresOutbox::open(&db.pool, tables, cursor).await?),
    })
}

/// Which changes a transaction's snapshot holds. It takes the snapshot, if nothing was read before.
pub(crate) async fn seen(transaction: &mut Transaction) -> Result<Seen, CaptureError> {
    match transaction {
        Transaction::Sqlite(transaction, ..) => sqlite::seen(transaction).await,
        Transaction::Postgres(transaction, _) => postgres::seen(transaction).await,
    }
}

/// The SQL that shows a row of a table, by the table's alias, as the triggers write it down, but whatever its size.
pub(crate) async fn row_as_json(
    transaction: &mut Transaction,
    table: &Table,
    alias: &str,
) -> Result<String, CaptureError> {
    match transaction {
        Transaction::Sqlite(transaction, ..) => sqlite::row_as_json(transaction, table, alias).await,
        Transaction::Postgres(..) => Ok(postgres::row_as_json(alias)),
    }
}

/// Reads what that shows.
pub(crate) fn columns_of(dialect: Dialect, json: &str) -> Result<Columns, CaptureError> {
    match dialect {
        Dialect::Sqlite => sqlite::columns(json),
        Dialect::Postgres => postgres::columns(json),
    }
}
