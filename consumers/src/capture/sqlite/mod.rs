//! Recorded capture on SQLite: triggers fill an outbox in the writer's transaction, whoever writes, and the relay is
//! woken by commits of this process, or finds those of others by asking every 10 ms.
//!
//! SQLite has one writer at a time, so the order of sequence numbers is the order of commits, and a place in the
//! outbox is one number.
//!
//! # What writers have to know
//!
//! - They need SQLite 3.38 or later, or one with the JSON functions. Those that turn triggers off are not seen.
//! - SQLite refuses `ALTER TABLE … DROP COLUMN` while triggers name the column, and these name every column. Drop the
//!   table's `waterway_…` triggers in the same transaction; they are put back within a second or so, and subscribers
//!   start anew.
//! - After other changes of a table, too, its triggers are put back within a second or so, and its subscribers start
//!   anew. That holds for triggers of the table's own as well, because ours have to run before them.
//! - A value of more than 1 MiB is not told: subscribers of the table start anew.
//! - Real numbers are told exactly between 1e-80 and 1e100; beyond, recent versions of SQLite write the last digit
//!   inexactly.
//! - With `recursive_triggers`, a row that is replaced by one with the same key is told as deleted and inserted,
//!   otherwise as updated.
//! - Rows may go untold that `OR REPLACE` displaces, if they were put in its way in the middle of the statement by a
//!   trigger of the table's own that runs before it, or if they conflict in a unique generated column that is made of
//!   a key that SQLite has yet to choose.

mod install;
mod predicate;
mod rows;
mod tables;
#[cfg(test)]
mod tests;
mod triggers;
mod turn;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Row, Sqlite, SqliteConnection, Transaction};
use tokio::sync::watch;

use self::install::{Installed, install, present, schema_version};
use self::turn::Turn;
use super::outbox::{Batch, Cursor, Depth, Kind, OUTBOX_LIMIT, Outbox, Recorded, Table};
use super::{CaptureError, Columns, Seen};
use crate::db::{Commits, SqliteDb};

/// How often the database is asked whether another process has committed.
const POLL: Duration = Duration::from_millis(10);

/// How long [`Outbox::wait`] waits at most.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long the write lock is waited for when it can be had later as well: the relay does nothing meanwhile.
const SHORT: Duration = Duration::from_millis(5);

/// How long it is waited for when it has to be had.
const LONG: Duration = Duration::from_secs(5);

/// A cursor that has not moved is renewed this often.
const RENEWAL: Duration = Duration::from_secs(10);

/// A cursor that could not be written down for so long is in danger of being taken for dead.
const DANGER: Duration = Duration::from_secs(20);

/// After so many seconds without renewal a cursor is dead: one of a process alone, and a shared one.
const LIFE_OF_OWN: i64 = 30;
const LIFE_OF_SHARED: i64 = 24 * 60 * 60;

/// The most rows that are dropped at once, since writers wait meanwhile.
const TRIM: i64 = 20_000;

/// The outbox of a SQLite file, as one relay reads it.
#[derive(Debug)]
pub(crate) struct SqliteOutbox {
    options: SqliteConnectOptions,
    /// Its own, so that it waits for nobody; `None` after an error.
    connection: Option<SqliteConnection>,
    heard: watch::Receiver<()>,
    /// Keeps `heard` from being closed.
    _commits: Commits,
    tables: Vec<Table>,
    limit: i64,
    place: Place,
    /// Rows of the outbox that say that tables were mended, which [`Outbox::mend`] has said already.
    said: Vec<i64>,
    epoch: String,
    schema_version: i64,
    /// What SQLite counts up when another connection commits.
    data_version: Option<i64>,
}

/// Where in the outbox the relay stands.
#[derive(Debug)]
struct Place {
    /// The row of the cursor.
    name: String,
    /// After so many seconds without renewal it is dead.
    lives: i64,
    /// The lock of a cursor that processes share.
    turn: Option<Turn>,
    /// Everything up to this is published.
    passed: i64,
    /// The numbers of the changes that were read since, and up to where that was.
    read: Vec<i64>,
    end: i64,
    /// Changes can no longer be read, which has yet to be published.
    is_lost: bool,
    /// That was part of the last read.
    is_announced: bool,
    /// What is written down, and since when.
    written: Option<(i64, Instant)>,
    /// There was more to drop than is dropped at once.
    must_trim: bool,
}

impl SqliteOutbox {
    /// Opens the outbox of a file: makes it when there is none, and installs the triggers of these tables.
    ///
    /// # Errors
    /// [`CaptureError::Unsupported`] for a table that cannot be captured; nothing is installed then.
    pub(crate) async fn open(
        db: &SqliteDb,
        tables: Vec<Table>,
        cursor: Cursor,
    ) -> Result<Self, CaptureError> {
        Self::open_bounded(db, tables, cursor, OUTBOX_LIMIT).await
    }

    async fn open_bounded(
        db: &SqliteDb,
        tables: Vec<Table>,
        cursor: Cursor,
        limit: i64,
    ) -> Result<Self, CaptureError> {
        let options = (*db.pool.connect_options()).clone();
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let mut place = Place::new(&mut connection, cursor).await?;
        let mut transaction = begin(&mut connection, LONG).await?;
        let Installed { epoch, refused, schema_version, .. } =
            install(&mut transaction, &tables, limit).await?;
        if let Some(error) = refused.into_iter().next() {
            return Err(error);
        }
        place.begin(&mut transaction).await?;
        transaction.commit().await?;
        Ok(Self {
            options,
            connection: Some(connection),
            heard: db.commits.listen(),
            _commits: db.commits.clone(),
            tables,
            limit,
            place,
            said: Vec::new(),
            epoch,
            schema_version,
            data_version: None,
        })
    }

    /// The connection, opened anew after an error. It is taken out, and put back by who had no error.
    async fn connect(&mut self) -> Result<SqliteConnection, CaptureError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Ok(SqliteConnection::connect_with(&self.options).await?),
        }
    }

    /// Writes down what [`Outbox::tidy`] has to, in one short transaction.
    async fn write_down(&mut self, connection: &mut SqliteConnection) -> Result<(), CaptureError> {
        let mut transaction = begin(connection, self.place.patience()).await?;
        let place = &mut self.place;
        let renew = "UPDATE waterway_cursor SET seq = ?, renewed = unixepoch() WHERE name = ?";
        let renewed =
            sqlx::query(renew).bind(place.passed).bind(&place.name).execute(&mut *transaction).await?;
        if renewed.rows_affected() == 0 {
            tracing::warn!(
                cursor = place.name,
                "the outbox has forgotten this reader, so everyone starts anew"
            );
            (place.is_lost, place.is_announced) = (true, false);
            place.insert(&mut transaction).await?;
        }
        sqlx::raw_sql(
            "DELETE FROM waterway_cursor WHERE renewed < unixepoch() - lives; DELETE FROM waterway_displaced;",
        )
        .execute(&mut *transaction)
        .await?;
        let trim = "DELETE FROM waterway_outbox WHERE seq <= min((SELECT min(seq) FROM waterway_cursor),
            (SELECT min(seq) FROM waterway_outbox) + ? - 1)";
        let trimmed = sqlx::query(trim).bind(TRIM).execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        place.must_trim = i64::try_from(trimmed).is_ok_and(|trimmed| trimmed >= TRIM);
        place.written = Some((place.passed, Instant::now()));
        Ok(())
    }

    async fn mend_with(&mut self, connection: &mut SqliteConnection) -> Result<Vec<String>, CaptureError> {
        if schema_version(connection).await? == self.schema_version {
            return Ok(Vec::new());
        }
        let mut transaction = begin(connection, LONG).await?;
        let installed = install(&mut transaction, &self.tables, self.limit).await?;
        if installed.epoch != self.epoch {
            tracing::warn!("the outbox was made anew, so everyone starts anew");
            self.place.restart();
            self.place.insert(&mut transaction).await?;
        }
        transaction.commit().await?;
        for error in &installed.refused {
            tracing::error!(%error, "changes of a table are no longer captured as they should be");
        }
        self.schema_version = installed.schema_version;
        self.epoch = installed.epoch;
        let (mended, said): (Vec<_>, Vec<_>) = installed.mended.into_iter().unzip();
        self.said.extend(said);
        Ok(mended)
    }

    /// Puts the announcement of a loss before the changes that were read, and leaves out what was said already.
    fn announce(&mut self, changes: &mut Vec<Recorded>) {
        let Self { said, place, epoch, .. } = self;
        said.retain(|seq| *seq > place.passed);
        changes.retain(|change| !said.contains(&change.position));
        place.is_announced = place.is_lost;
        if place.is_lost {
            let (name, position) = (&place.name, place.passed);
            let key = format!("{epoch}-{position}-{name}");
            changes.insert(0, Recorded { key, position, table: String::new(), kind: Kind::ResetAll });
        }
    }
}

#[async_trait]
impl Outbox for SqliteOutbox {
    async fn take_turn(&mut self) -> Result<bool, CaptureError> {
        let Some(turn) = &mut self.place.turn else { return Ok(true) };
        if turn.is_held() {
            return Ok(true);
        }
        if !turn.take()? {
            return Ok(false);
        }
        let loaded = match self.connect().await {
            Ok(mut connection) => {
                let loaded = self.place.load(&mut connection).await;
                self.connection = Some(connection);
                loaded
            }
            Err(error) => Err(error),
        };
        if let (Err(_), Some(turn)) = (&loaded, &mut self.place.turn) {
            turn.give_back();
        }
        loaded.map(|()| true)
    }

    async fn read(&mut self) -> Result<Batch, CaptureError> {
        if self.place.turn.as_ref().is_some_and(|turn| !turn.is_held()) {
            return Err(CaptureError::Outbox("another process is reading it".to_owned()));
        }
        // Whoever has told of a commit by now has committed before this read.
        self.heard.borrow_and_update();
        let mut connection = self.connect().await?;
        let mut found = rows::after(&mut connection, self.place.passed, &self.epoch, &self.tables).await?;
        self.connection = Some(connection);
        self.announce(&mut found.changes);
        self.place.read = found.changes.iter().map(|change| change.position).collect();
        self.place.end = found.last;
        Ok(Batch { changes: found.changes, has_more: found.has_more })
    }

    fn advance(&mut self, told: usize) {
        let place = &mut self.place;
        let last = told.checked_sub(1).and_then(|nth| place.read.get(nth)).copied();
        // Behind the last change there may be rows that were left out.
        place.passed = if told < place.read.len() { last.unwrap_or(place.passed) } else { place.end };
        place.is_lost &= !place.is_announced || told == 0;
        place.read = Vec::new();
    }

    async fn tidy(&mut self) -> Result<Depth, CaptureError> {
        let mut connection = self.connect().await?;
        if self.place.must_be_written() {
            match self.write_down(&mut connection).await {
                Err(error) if is_busy(&error) => {
                    tracing::debug!("somebody else writes, so the outbox is tidied later");
                }
                written => written?,
            }
        }
        // Numbers follow each other without gaps, and counting the rows would take a look at all of them.
        let query = "SELECT ifnull((SELECT max(seq) FROM waterway_outbox) -
            (SELECT min(seq) FROM waterway_outbox) + 1, 0)";
        let rows = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
        self.connection = Some(connection);
        Ok(Depth { rows })
    }

    async fn mend(&mut self) -> Result<Vec<String>, CaptureError> {
        let mut connection = self.connect().await?;
        let mended = self.mend_with(&mut connection).await?;
        self.connection = Some(connection);
        Ok(mended)
    }

    async fn wait(&mut self) {
        let end = tokio::time::Instant::now() + LONGEST_WAIT;
        while tokio::time::Instant::now() < end {
            tokio::select! {
                _ = self.heard.changed() => return,
                () = tokio::time::sleep(POLL) => {}
            }
            // After an error there is no connection, and the next read will say why.
            let Some(connection) = &mut self.connection else { return };
            let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await.ok();
            if version.is_none() || version != self.data_version {
                self.data_version = version;
                return;
            }
        }
    }
}

impl Place {
    /// Not yet in the outbox.
    async fn new(connection: &mut SqliteConnection, cursor: Cursor) -> Result<Self, CaptureError> {
        let (name, lives, turn) = match cursor {
            Cursor::Own => {
                let random = "SELECT lower(hex(randomblob(8)))";
                let name: String = sqlx::query_scalar(random).fetch_one(connection).await?;
                (format!("own-{name}"), LIFE_OF_OWN, None)
            }
            Cursor::Shared(name) => {
                let query = "SELECT file FROM pragma_database_list WHERE name = 'main'";
                let file: String = sqlx::query_scalar(query).fetch_one(connection).await?;
                if file.is_empty() {
                    return Err(CaptureError::Outbox("a database in memory cannot be shared".to_owned()));
                }
                (format!("shared-{name}"), LIFE_OF_SHARED, Some(Turn::new(&file, &name)))
            }
        };
        Ok(Self {
            name,
            lives,
            turn,
            passed: 0,
            read: Vec::new(),
            end: 0,
            is_lost: false,
            is_announced: false,
            written: None,
            must_trim: false,
        })
    }

    /// Makes the cursor at the present, unless there is one.
    async fn begin(&mut self, connection: &mut SqliteConnection) -> Result<(), CaptureError> {
        self.stand_at(present(connection).await?);
        self.insert(connection).await
    }

    async fn insert(&self, connection: &mut SqliteConnection) -> Result<(), CaptureError> {
        let insert = "INSERT OR IGNORE INTO waterway_cursor VALUES (?, ?, unixepoch(), ?)";
        sqlx::query(insert).bind(&self.name).bind(self.passed).bind(self.lives).execute(connection).await?;
        Ok(())
    }

    /// Takes the place that another process has written down. If it was forgotten, so are changes.
    async fn load(&mut self, connection: &mut SqliteConnection) -> Result<(), CaptureError> {
        let query = "SELECT seq FROM waterway_cursor WHERE name = ?";
        match sqlx::query(query).bind(&self.name).fetch_optional(&mut *connection).await? {
            Some(row) => self.stand_at(row.try_get(0)?),
            None => {
                self.stand_at(present(connection).await?);
                self.is_lost = true;
                self.insert(connection).await?;
            }
        }
        Ok(())
    }

    fn stand_at(&mut self, seq: i64) {
        (self.passed, self.end) = (seq, seq);
        self.read = Vec::new();
    }

    /// Goes to the beginning of an outbox that was made anew.
    fn restart(&mut self) {
        self.stand_at(0);
        (self.is_lost, self.is_announced) = (true, false);
        self.written = None;
    }

    /// Who has not the turn leaves the cursor alone.
    fn must_be_written(&self) -> bool {
        let is_ours = self.turn.as_ref().is_none_or(Turn::is_held);
        let has_moved = self.written.is_none_or(|(seq, _)| seq != self.passed);
        is_ours && (has_moved || self.must_trim || self.is_older_than(RENEWAL))
    }

    /// Whether the cursor was last written down so long ago.
    fn is_older_than(&self, age: Duration) -> bool {
        self.written.is_some_and(|(_, at)| at.elapsed() >= age)
    }

    fn patience(&self) -> Duration {
        if self.is_older_than(DANGER) { LONG } else { SHORT }
    }
}

/// Which changes the snapshot of this transaction holds. It takes the snapshot, if nothing was read before.
///
/// # Errors
/// As the database says.
pub(crate) async fn seen(connection: &mut SqliteConnection) -> Result<Seen, CaptureError> {
    let query = "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence')";
    let exists: bool = sqlx::query_scalar(query).fetch_one(&mut *connection).await?;
    Ok(Seen::Sequence(if exists { present(connection).await? } else { 0 }))
}

/// The SQL that shows a row of a table by its alias, as the triggers write it down, but whatever its size.
///
/// # Errors
/// [`CaptureError::Unsupported`] for a table that cannot be captured.
pub(crate) async fn row_as_json(
    connection: &mut SqliteConnection,
    table: &Table,
    alias: &str,
) -> Result<String, CaptureError> {
    Ok(triggers::row_as_json(&tables::inspect(connection, table).await?, alias))
}

/// Reads what that shows.
pub(crate) fn columns(json: &str) -> Result<Columns, CaptureError> {
    rows::of_json(json)
}

/// Begins a transaction that writes, as soon as nobody else does.
async fn begin(
    connection: &mut SqliteConnection,
    patience: Duration,
) -> Result<Transaction<'_, Sqlite>, CaptureError> {
    let timeout = format!("PRAGMA busy_timeout = {}", patience.as_millis());
    sqlx::raw_sql(AssertSqlSafe(timeout)).execute(&mut *connection).await?;
    Ok(connection.begin_with("BEGIN IMMEDIATE").await?)
}

/// Whether somebody else had the write lock.
fn is_busy(error: &CaptureError) -> bool {
    const SQLITE_BUSY: i32 = 5;
    let CaptureError::Database(sqlx::Error::Database(error)) = error else { return false };
    // What is above the lowest byte says more about the error.
    error.code().and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| code & 0xff == SQLITE_BUSY)
}
