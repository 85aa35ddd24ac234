//! Tests of the triggers, by what they tell, and of the outbox, as a relay uses it.

mod exactness;
mod model;
mod relay;
mod schema;
mod writers;

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tempfile::TempDir;

use super::install::install;
use super::{SqliteOutbox, rows};
use crate::capture::Columns;
use crate::capture::outbox::{Batch, Cursor, Kind, Outbox, Recorded, Table};
use crate::db::{Db, SqliteDb};

const LIMIT: i64 = 1_000_000;

fn table(name: &str) -> Table {
    Table { name: name.into(), key: "id".into() }
}

async fn run(connection: &mut SqliteConnection, sql: &str) {
    try_run(connection, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn try_run(connection: &mut SqliteConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.map(drop)
}

/// One connection to a database in memory with a table that is captured.
struct Captured {
    connection: SqliteConnection,
    seq: i64,
}

impl Captured {
    /// With what `sql` makes; the table is called `name`.
    async fn new(sql: &str, name: &str) -> Self {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        run(&mut connection, sql).await;
        let installed = install(&mut connection, &[table(name)], LIMIT).await.unwrap();
        assert!(installed.refused.is_empty(), "{:?}", installed.refused);
        let mut captured = Self { connection, seq: 0 };
        assert_eq!(captured.told().await, ["reset"]);
        captured
    }

    async fn run(&mut self, sql: &str) {
        run(&mut self.connection, sql).await;
    }

    async fn changes(&mut self) -> Vec<Recorded> {
        let found = rows::after(&mut self.connection, self.seq, "epoch", &[]).await.unwrap();
        self.seq = found.last;
        found.changes
    }

    /// What was told since this was last asked.
    async fn told(&mut self) -> Vec<String> {
        self.changes().await.iter().map(in_short).collect()
    }

    /// Runs it and says what was told.
    async fn after(&mut self, sql: &str) -> Vec<String> {
        self.run(sql).await;
        self.told().await
    }
}

/// `+new`, `-old` or `old>new`, a row by its values: the key first, the others in the order of their names.
fn in_short(change: &Recorded) -> String {
    let row = |columns: &Columns| -> String {
        let others = columns.iter().filter(|(column, _)| *column != "id").map(|(_, value)| value);
        let values = std::iter::once(columns.get("id")).chain(others).map(|value| value.unwrap_or("~"));
        values.collect::<Vec<_>>().join(",")
    };
    match &change.kind {
        Kind::Insert(new) => format!("+{}", row(new)),
        Kind::Update { old, new } => format!("{}>{}", row(old), row(new)),
        Kind::Delete(old) => format!("-{}", row(old)),
        Kind::Reset => "reset".to_owned(),
        Kind::ResetAll => "reset all".to_owned(),
    }
}

/// A file with the table `t(id, a)`.
struct File {
    folder: TempDir,
    db: SqliteDb,
}

impl File {
    async fn new() -> Self {
        Self::with("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE)").await
    }

    async fn with(sql: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Self::open_in(&folder).await;
        let file = Self { folder, db };
        run(&mut file.writer().await, sql).await;
        file
    }

    async fn open_in(folder: &TempDir) -> SqliteDb {
        let address = format!("sqlite:{}", folder.path().join("test.db").display());
        let Db::Sqlite(db) = Db::open(&address).await.unwrap() else { panic!("it is a file") };
        db
    }

    /// Opens the file again, as another process would.
    async fn open(&self) -> SqliteDb {
        Self::open_in(&self.folder).await
    }

    /// A writer that knows nothing of us.
    async fn writer(&self) -> SqliteConnection {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.folder.path().join("test.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        run(&mut connection, "PRAGMA foreign_keys = 1").await;
        connection
    }

    async fn outbox(&self) -> SqliteOutbox {
        self.outbox_of(Cursor::Own).await
    }

    async fn outbox_of(&self, cursor: Cursor) -> SqliteOutbox {
        SqliteOutbox::open(&self.db, vec![table("t")], cursor).await.unwrap()
    }

    async fn count(&self, query: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&self.db.pool).await.unwrap()
    }
}

/// What a relay would publish now; it then goes on.
async fn told(outbox: &mut SqliteOutbox) -> Vec<String> {
    let Batch { changes, .. } = outbox.read().await.unwrap();
    outbox.advance(usize::MAX);
    changes.iter().map(in_short).collect()
}

/// Whether a wait ends within this time.
async fn wakes_within(outbox: &mut SqliteOutbox, time: Duration) -> bool {
    tokio::time::timeout(time, outbox.wait()).await.is_ok()
}
