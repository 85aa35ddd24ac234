//! What the tests of this folder share: a database, an outbox, and a view of a table that is fed by changes alone.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool, Row};

use super::super::outbox::{Cursor, Kind, Outbox, Recorded, Table};
use super::super::{CaptureError, Columns};
use super::PostgresOutbox;
use crate::db::Db;
use crate::db::testing::TestDatabase;

/// An empty database.
pub(super) struct World {
    pub(super) pool: PgPool,
    _database: TestDatabase,
}

impl World {
    pub(super) async fn new() -> Self {
        let database = TestDatabase::new();
        let Db::Postgres(db) = database.open().await else { panic!("these tests need PostgreSQL") };
        Self { pool: db.pool, _database: database }
    }

    /// One with a table `t (id, n)`.
    pub(super) async fn with_table() -> Self {
        let world = Self::new().await;
        world.run("CREATE TABLE t (id bigint PRIMARY KEY, n bigint)").await;
        world
    }

    pub(super) async fn run(&self, sql: &str) {
        run(&mut self.pool.acquire().await.unwrap(), sql).await;
    }

    pub(super) async fn number(&self, sql: &str) -> i64 {
        let row = self.pool.fetch_one(AssertSqlSafe(sql.to_owned())).await.unwrap();
        row.get(0)
    }

    /// A session of another program's.
    pub(super) async fn session(&self) -> PgConnection {
        self.pool.connect_options().connect().await.unwrap()
    }

    /// A pool that goes in as another role.
    pub(super) async fn pool_of(&self, role: &str) -> PgPool {
        let options: PgConnectOptions = self.pool.connect_options().as_ref().clone();
        PgPool::connect_with(options.username(role).password("x")).await.unwrap()
    }

    pub(super) async fn try_open(&self, table: &str, cursor: Cursor) -> Result<PostgresOutbox, CaptureError> {
        PostgresOutbox::open(&self.pool, vec![table_of(table)], cursor).await
    }

    /// An outbox whose turn it is.
    pub(super) async fn open(&self, table: &str, cursor: Cursor) -> PostgresOutbox {
        let mut outbox = self.try_open(table, cursor).await.unwrap();
        assert!(outbox.take_turn().await.unwrap());
        outbox
    }

    /// An outbox of `t` by its own cursor.
    pub(super) async fn own(&self) -> PostgresOutbox {
        self.open("t", Cursor::Own).await
    }

    pub(super) async fn shared(&self) -> PostgresOutbox {
        self.try_open("t", Cursor::Shared("layer".into())).await.unwrap()
    }

    /// Ends every connection of every relay.
    pub(super) async fn cut(&self) {
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'waterway relay'";
        assert!(self.number(cut).await > 0);
    }

    /// The rows of a table by their keys.
    pub(super) async fn rows(&self, table: &str) -> BTreeMap<i64, i64> {
        let sql = format!("SELECT id, n FROM {table}");
        let rows = self.pool.fetch_all(AssertSqlSafe(sql)).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

pub(super) fn table_of(name: &str) -> Table {
    Table { name: name.into(), key: "id".into() }
}

pub(super) async fn run(connection: &mut PgConnection, sql: &str) {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Ends a session properly.
pub(super) async fn end(connection: PgConnection) {
    connection.close().await.unwrap();
}

/// Everything that there is to publish, published.
pub(super) async fn drain(outbox: &mut PostgresOutbox) -> Vec<Recorded> {
    let mut changes = Vec::new();
    loop {
        let batch = outbox.read().await.unwrap();
        let is_done = !batch.has_more;
        changes.extend(batch.changes);
        outbox.advance(usize::MAX);
        if is_done {
            return changes;
        }
    }
}

/// Changes in short: `+1` is an insert of the row with id 1, `~1` an update, `-1` a delete, `!` a reset.
pub(super) fn brief(changes: &[Recorded]) -> String {
    let id = |columns: &Columns| columns.get("id").unwrap_or("?").to_owned();
    let brief = |change: &Recorded| match &change.kind {
        Kind::Insert(new) => format!("+{}", id(new)),
        Kind::Update { new, .. } => format!("~{}", id(new)),
        Kind::Delete(old) => format!("-{}", id(old)),
        Kind::Reset => "!".into(),
        Kind::ResetAll => "!!".into(),
    };
    changes.iter().map(brief).collect::<Vec<_>>().join(" ")
}

pub(super) async fn drain_brief(outbox: &mut PostgresOutbox) -> String {
    brief(&drain(outbox).await)
}

pub(super) fn keys(changes: &[Recorded]) -> Vec<String> {
    changes.iter().map(|change| change.key.clone()).collect()
}

/// A table as someone knows it who only hears of changes. It insists that each change fits what it knows.
#[derive(Debug, Default)]
pub(super) struct View(pub(super) BTreeMap<i64, i64>);

impl View {
    pub(super) fn hear(&mut self, change: &Recorded) {
        let row = |columns: &Columns| {
            let number = |name| columns.get(name).unwrap().parse::<i64>().unwrap();
            (number("id"), number("n"))
        };
        match &change.kind {
            Kind::Insert(new) => {
                let (id, n) = row(new);
                assert_eq!(self.0.insert(id, n), None, "{change:?}");
            }
            Kind::Update { old, new } => {
                let (id, n) = row(old);
                assert_eq!(self.0.remove(&id), Some(n), "{change:?}");
                let (id, n) = row(new);
                assert_eq!(self.0.insert(id, n), None, "{change:?}");
            }
            Kind::Delete(old) => {
                let (id, n) = row(old);
                assert_eq!(self.0.remove(&id), Some(n), "{change:?}");
            }
            Kind::Reset | Kind::ResetAll => panic!("nothing was lost"),
        }
    }
}
