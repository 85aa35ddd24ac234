//! The outbox on PostgreSQL: which changes are new is told by transactions, not by numbers.
//!
//! A number in the outbox is given before its transaction commits, so a later number may be seen first, and who reads
//! by numbers skips rows or waits for the slowest transaction. Each row therefore has its transaction's id, and a cursor
//! is a snapshot, which says which transactions it sees. A row is new when its transaction has ended now and had not
//! ended for the cursor: exactly the rows whose id is at or above the cursor's `xmax`, or one of those that ran then. No
//! row can be skipped, for each committed transaction passes from "not seen" to "seen" once, between two snapshots. It
//! makes no difference whether the row was written in a savepoint (it has the id of the whole transaction, and only
//! those are in snapshots) or the transaction was prepared (it is running until it is committed).
//!
//! The rows that one read finds are told in the order of their numbers, which is the order of commits for each row of a
//! table: who writes a row has it locked until the commit, and takes the number while it is locked, so the next writer
//! of that row has the later number and the later commit. Both hold for a row that is deleted and inserted again,
//! since the key's index makes the second writer wait; that is why a key that is checked later is refused. One order is
//! not kept: when a trigger of the application, fired for one row of a statement, changes another row of the same
//! statement, that change is written down before the statement's own.
//!
//! Notifying has a price: PostgreSQL lets transactions that have notified commit only one after the other, each with
//! its own flush to the disk, where others share one.

mod bell;
mod catalog;
mod connection;
mod cursor;
mod install;
mod rows;
mod tables;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod triggers;
mod turn;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool, Row};

use self::bell::Bell;
use self::catalog::Watch;
use self::connection::{Server, bounded};
use self::turn::Turn;
use super::outbox::{Batch, Cursor, Depth, Outbox, Table};
use super::{CaptureError, Columns, Seen};

/// How long [`Outbox::wait`] waits when nobody wakes it.
const WAIT: Duration = Duration::from_secs(1);

/// How long it waits where transactions can be prepared: such a transaction may notify nobody, so nobody does.
const POLL: Duration = Duration::from_millis(20);

/// The outbox of a PostgreSQL database.
#[derive(Debug)]
pub(crate) struct PostgresOutbox {
    server: Server,
    cursor: cursor::Name,
    watch: Watch,
    bell: Bell,
    /// Held while another process has the turn, so that asking for it costs no login.
    standby: Option<PgConnection>,
    turn: Option<Turn>,
}

impl PostgresOutbox {
    /// Opens it: makes its tables and installs the triggers, unless all of that is right already.
    pub(crate) async fn open(
        pool: &PgPool,
        tables: Vec<Table>,
        cursor: Cursor,
    ) -> Result<Self, CaptureError> {
        let (server, mut connection) = Server::of(pool).await?;
        let watch = Watch::install(&server, &mut connection, tables).await?;
        let cursor = cursor::Name::of(cursor)?;
        bounded(cursor::make(&mut connection, &cursor)).await?;
        let bell = Bell::new(&server);
        Ok(Self { server, cursor, watch, bell, standby: Some(connection), turn: None })
    }

    /// A connection that answers: the one that stood by, if it still does, or a new one.
    async fn connect(&mut self) -> Result<PgConnection, CaptureError> {
        if let Some(mut connection) = self.standby.take()
            && bounded(async { Ok(sqlx::Connection::ping(&mut connection).await?) }).await.is_ok()
        {
            return Ok(connection);
        }
        self.server.connect().await
    }
}

#[async_trait]
impl Outbox for PostgresOutbox {
    async fn take_turn(&mut self) -> Result<bool, CaptureError> {
        if self.turn.is_some() {
            return Ok(true);
        }
        let mut connection = self.connect().await?;
        if !bounded(cursor::lock(&mut connection, &self.cursor)).await? {
            self.standby = Some(connection);
            return Ok(false);
        }
        // Whatever was published by others or by us, what is written down decides: a server that crashed may have
        // forgotten transactions and give their ids anew, but it then has forgotten the cursors that saw them too.
        let turn = bounded(Turn::begin(connection, self.cursor.clone())).await?;
        // A connection that broke in silence would never ring, so the turn begins with a new one.
        self.bell = Bell::new(&self.server);
        self.bell.hang().await;
        self.turn = Some(turn);
        Ok(true)
    }

    async fn read(&mut self) -> Result<Batch, CaptureError> {
        // What rang until now is answered by this read.
        self.bell.hush();
        // Until it has answered, the turn is not ours: an error, or a caller who does not wait, ends the connection,
        // which may be in the middle of something.
        let mut turn = self.turn.take().ok_or(CaptureError::TurnLost)?;
        let batch = bounded(turn.read(&self.watch)).await?;
        self.turn = Some(turn);
        Ok(batch)
    }

    fn advance(&mut self, told: usize) {
        if let Some(turn) = &mut self.turn {
            turn.advance(told);
        }
    }

    async fn tidy(&mut self) -> Result<Depth, CaptureError> {
        let mut turn = self.turn.take().ok_or(CaptureError::TurnLost)?;
        let depth = bounded(turn.tidy()).await?;
        self.turn = Some(turn);
        Ok(depth)
    }

    async fn mend(&mut self) -> Result<Vec<String>, CaptureError> {
        let mut turn = self.turn.take().ok_or(CaptureError::TurnLost)?;
        let is_well = bounded(self.watch.is_well(&mut turn.connection)).await?;
        self.turn = Some(turn);
        if is_well { Ok(Vec::new()) } else { self.watch.mend(&self.server).await }
    }

    async fn wait(&mut self) {
        let limit = if self.server.can_prepare { POLL } else { WAIT };
        // Whether it rang or not, what comes next is a read.
        drop(tokio::time::timeout(limit, self.bell.ring()).await);
    }
}

/// Which changes the caller's transaction sees. It has to be one that reads all from one moment.
pub(crate) async fn seen(connection: &mut PgConnection) -> Result<Seen, CaptureError> {
    let row = sqlx::query("SELECT pg_current_snapshot()::text").fetch_one(connection).await?;
    Ok(Seen::Transactions(row.try_get::<String, _>(0)?.parse()?))
}

/// The SQL that shows a row by its table's alias, as the triggers write it down.
pub(crate) fn row_as_json(alias: &str) -> String {
    format!("row_to_json({alias})::text")
}

/// Reads what that shows.
pub(crate) fn columns(json: &str) -> Result<Columns, CaptureError> {
    rows::columns(json).map_err(|cause| CaptureError::Outbox(cause.to_string()))
}
