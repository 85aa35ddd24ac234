//! Puts the outbox and its triggers into a database, and puts back what has gone missing.

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::tables::{Layout, inspect};
use super::triggers::{self, Trigger};
use crate::capture::CaptureError;
use crate::capture::outbox::Table;
use crate::db::quoted;

/// What an installation has done.
#[derive(Debug, Default)]
pub(super) struct Installed {
    /// Tells this outbox from every other that the database had or will have.
    pub(super) epoch: String,
    /// What could not be done, a table each.
    pub(super) refused: Vec<CaptureError>,
    /// The tables that had gone without the right triggers, each with the row of the outbox that says so.
    pub(super) mended: Vec<(String, i64)>,
    /// The version of the schema, which any change of it changes.
    pub(super) schema_version: i64,
}

/// Makes sure that the outbox is there and that every table has its triggers. Within a transaction that writes.
pub(super) async fn install(
    connection: &mut SqliteConnection,
    tables: &[Table],
    limit: i64,
) -> Result<Installed, CaptureError> {
    let mut installed = Installed { epoch: outbox(connection, limit).await?, ..Installed::default() };
    for table in tables {
        match bind(connection, table).await {
            Ok(None) => {}
            Ok(Some(seq)) => installed.mended.push((table.name.clone(), seq)),
            Err(error @ CaptureError::Unsupported { .. }) => installed.refused.push(error),
            Err(error) => return Err(error),
        }
    }
    installed.schema_version = schema_version(connection).await?;
    Ok(installed)
}

/// The number that SQLite counts up whenever the schema changes.
pub(super) async fn schema_version(connection: &mut SqliteConnection) -> Result<i64, CaptureError> {
    Ok(sqlx::query_scalar("PRAGMA main.schema_version").fetch_one(connection).await?)
}

/// The last sequence number that was given to a change.
pub(super) async fn present(connection: &mut SqliteConnection) -> Result<i64, CaptureError> {
    let query = "SELECT seq FROM main.sqlite_sequence WHERE name = 'waterway_outbox'";
    Ok(sqlx::query_scalar(query).fetch_optional(connection).await?.unwrap_or(0))
}

/// Makes the outbox when there is none, and tells its epoch. Places in an outbox that is no more are forgotten.
async fn outbox(connection: &mut SqliteConnection, limit: i64) -> Result<String, CaptureError> {
    let query =
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'waterway_outbox')";
    let exists: bool = sqlx::query_scalar(query).fetch_one(&mut *connection).await?;
    sqlx::raw_sql(triggers::SCHEMA).execute(&mut *connection).await?;
    if !exists {
        let anew = "DELETE FROM waterway_outbox_epoch; DELETE FROM waterway_cursor;
            INSERT INTO waterway_outbox_epoch VALUES (lower(hex(randomblob(8))));";
        sqlx::raw_sql(anew).execute(&mut *connection).await?;
    }
    let bound = triggers::bound(limit);
    if of_table(connection, "waterway_outbox").await? != std::slice::from_ref(&bound) {
        replace(connection, &[bound]).await?;
    }
    let epoch =
        sqlx::query_scalar("SELECT epoch FROM waterway_outbox_epoch").fetch_optional(connection).await?;
    epoch.ok_or_else(|| {
        CaptureError::Outbox("waterway_outbox_epoch is empty; drop waterway_outbox".to_owned())
    })
}

/// Gives a table its triggers, unless it has them. If it had not, the loss is told to every reader of the outbox.
async fn bind(connection: &mut SqliteConnection, table: &Table) -> Result<Option<i64>, CaptureError> {
    let layout = inspect(connection, table).await?;
    let wanted = triggers::of_table(&layout);
    let mut found = of_table(connection, &layout.name).await?;
    // SQLite runs the triggers that were made last first. Ours have to be first: what others do to the same table
    // is then told after what made them do it.
    let mut last = found.split_off(found.len().saturating_sub(wanted.len()));
    last.sort_by(|left, right| left.name.cmp(&right.name));
    let mut expected = wanted.clone();
    expected.sort_by(|left, right| left.name.cmp(&right.name));
    if last == expected {
        return Ok(None);
    }
    replace(connection, &wanted).await?;
    check(connection, &layout).await?;
    sqlx::query("DELETE FROM waterway_displaced WHERE tbl = ?")
        .bind(&layout.name)
        .execute(&mut *connection)
        .await?;
    let reset = sqlx::query("INSERT INTO waterway_outbox (tbl) VALUES (?)").bind(&layout.name);
    Ok(Some(reset.execute(connection).await?.last_insert_rowid()))
}

/// The triggers of a table, in the order in which they were made.
async fn of_table(connection: &mut SqliteConnection, table: &str) -> Result<Vec<Trigger>, CaptureError> {
    let query = "SELECT name, sql FROM main.sqlite_schema
        WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE ORDER BY rowid";
    let rows = sqlx::query(query).bind(table).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(Trigger { name: row.try_get(0)?, sql: row.try_get(1)? })).collect()
}

async fn replace(connection: &mut SqliteConnection, triggers: &[Trigger]) -> Result<(), CaptureError> {
    for trigger in triggers {
        let drop = format!("DROP TRIGGER IF EXISTS main.{}", quoted(&trigger.name));
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *connection).await?;
        sqlx::raw_sql(AssertSqlSafe(trigger.sql.clone())).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Has SQLite translate statements that run the triggers, because it does not look at what is in a trigger before
/// that, and the writer would be the one to fail.
async fn check(connection: &mut SqliteConnection, layout: &Layout) -> Result<(), CaptureError> {
    let (table, key) = (quoted(&layout.name), quoted(&layout.key));
    for statement in [
        format!("EXPLAIN INSERT INTO main.{table} DEFAULT VALUES"),
        format!("EXPLAIN UPDATE main.{table} SET {key} = {key}"),
        format!("EXPLAIN DELETE FROM main.{table}"),
    ] {
        let explained = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await;
        explained.map_err(|error| {
            CaptureError::unsupported(&layout.name, format!("its triggers would not run: {error}"))
        })?;
    }
    Ok(())
}
