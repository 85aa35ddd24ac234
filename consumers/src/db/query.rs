//! Statements that either database runs: one text with `$n` for its arguments, on the pool or in a transaction.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    Decode, Error, PgConnection, PgPool, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, SqliteConnection,
    Type,
};

use super::value::{self, Arg};
use super::{Db, SqliteDb, Transaction};

/// A statement with its arguments; made by [`query`].
#[derive(Debug)]
#[must_use = "a query does nothing until it is executed or fetched"]
pub struct Query {
    sql: SqlStr,
    args: Vec<Arg>,
}

/// Begins a query: SQL that both databases take, with `$1`, `$2` and so on where [`Query::bind`] puts values.
pub fn query(sql: impl SqlSafeStr) -> Query {
    Query { sql: sql.into_sql_str(), args: Vec::new() }
}

/// Where a query runs: `&Db` is any connection of the pool, `&mut Transaction` is that transaction.
#[derive(Debug)]
#[non_exhaustive]
pub enum Target<'c> {
    /// Any connection to SQLite.
    SqlitePool(&'c SqliteDb),
    /// This connection to SQLite.
    Sqlite(&'c mut SqliteConnection),
    /// Any connection to PostgreSQL.
    PostgresPool(&'c PgPool),
    /// This connection to PostgreSQL.
    Postgres(&'c mut PgConnection),
}

impl<'c> From<&'c Db> for Target<'c> {
    fn from(db: &'c Db) -> Self {
        match db {
            Db::Sqlite(db) => Self::SqlitePool(db),
            Db::Postgres(db) => Self::PostgresPool(&db.pool),
        }
    }
}

impl<'c> From<&'c mut Transaction> for Target<'c> {
    fn from(transaction: &'c mut Transaction) -> Self {
        match transaction {
            Transaction::Sqlite(inner, ..) => Self::Sqlite(inner),
            Transaction::Postgres(inner, _) => Self::Postgres(inner),
        }
    }
}

/// Whether a statement that returns rows may write, too, as `INSERT … RETURNING` does.
fn may_write(sql: &str) -> bool {
    let mut words =
        sql.split(|part: char| !part.is_alphanumeric() && part != '_').filter(|word| !word.is_empty());
    let is_one = |word: &str, of: &[&str]| of.iter().any(|other| word.eq_ignore_ascii_case(other));
    let reads = ["SELECT", "VALUES", "EXPLAIN", "PRAGMA"];
    let only_reads = words.clone().next().is_none_or(|first| is_one(first, &reads));
    !only_reads && words.any(|word| is_one(word, &["INSERT", "UPDATE", "DELETE", "REPLACE"]))
}

impl Query {
    /// Gives the next argument its value.
    pub fn bind(mut self, value: impl Into<Arg>) -> Self {
        self.args.push(value.into());
        self
    }

    /// Runs it and tells how many rows it touched.
    ///
    /// # Errors
    /// As the database says.
    pub async fn execute(self, target: impl Into<Target<'_>> + Send) -> Result<u64, Error> {
        let Self { sql, args } = self;
        Ok(match target.into() {
            Target::SqlitePool(on) => {
                let _turn = on.writers.turn().await?;
                let done = sqlx::query_with(sql, value::for_sqlite(args)?).execute(&on.pool).await?;
                on.commits.tell();
                done.rows_affected()
            }
            Target::Sqlite(on) => {
                sqlx::query_with(sql, value::for_sqlite(args)?).execute(on).await?.rows_affected()
            }
            Target::PostgresPool(on) => {
                sqlx::query_with(sql, value::for_postgres(args)?).execute(on).await?.rows_affected()
            }
            Target::Postgres(on) => {
                sqlx::query_with(sql, value::for_postgres(args)?).execute(on).await?.rows_affected()
            }
        })
    }

    /// All its rows.
    ///
    /// # Errors
    /// As the database says.
    pub async fn fetch_all(self, target: impl Into<Target<'_>> + Send) -> Result<Vec<Row>, Error> {
        let Self { sql, args } = self;
        Ok(match target.into() {
            Target::SqlitePool(on) => {
                let may_write = may_write(sql.as_str());
                let _turn = if may_write { Some(on.writers.turn().await?) } else { None };
                let rows = sqlx::query_with(sql, value::for_sqlite(args)?).fetch_all(&on.pool).await?;
                if may_write {
                    on.commits.tell();
                }
                sqlite_rows(rows)
            }
            Target::Sqlite(on) => {
                sqlite_rows(sqlx::query_with(sql, value::for_sqlite(args)?).fetch_all(on).await?)
            }
            Target::PostgresPool(on) => {
                postgres_rows(sqlx::query_with(sql, value::for_postgres(args)?).fetch_all(on).await?)
            }
            Target::Postgres(on) => {
                postgres_rows(sqlx::query_with(sql, value::for_postgres(args)?).fetch_all(on).await?)
            }
        })
    }

    /// Its first row, if there is any. All rows are read, so it is for queries that find one.
    ///
    /// # Errors
    /// As the database says.
    pub async fn fetch_optional(self, target: impl Into<Target<'_>> + Send) -> Result<Option<Row>, Error> {
        Ok(self.fetch_all(target).await?.into_iter().next())
    }

    /// Its first row.
    ///
    /// # Errors
    /// As the database says; [`Error::RowNotFound`] when there is none.
    pub async fn fetch_one(self, target: impl Into<Target<'_>> + Send) -> Result<Row, Error> {
        self.fetch_optional(target).await?.ok_or(Error::RowNotFound)
    }
}

fn sqlite_rows(rows: Vec<SqliteRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Sqlite).collect()
}

fn postgres_rows(rows: Vec<PgRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Postgres).collect()
}

/// A row of an answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// The value of a column: a `bool`, an `i64`, a `String`, or an `Option` of those.
    ///
    /// # Errors
    /// When there is no such column, or it holds something else.
    pub fn get<T>(&self, column: &str) -> Result<T, Error>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    /// The value of a column of decimals.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn decimal(&self, column: &str) -> Result<Decimal, Error> {
        match self {
            Self::Sqlite(row) => value::decimal_of(column, row.try_get(column)?),
            Self::Postgres(row) => Ok(row.try_get::<Decimal, _>(column)?.normalize()),
        }
    }

    /// The value of a column of times.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn time(&self, column: &str) -> Result<DateTime<Utc>, Error> {
        match self {
            Self::Sqlite(row) => value::time_of(column, row.try_get(column)?),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// An identifier as a statement of either database takes it, whatever is in it.
pub(crate) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Runs several statements that take no arguments.
///
/// # Errors
/// The first statement that fails, as the database says; those before it were run.
pub async fn script(target: impl Into<Target<'_>> + Send, sql: impl SqlSafeStr) -> Result<(), Error> {
    let script = sqlx::raw_sql(sql);
    match target.into() {
        Target::SqlitePool(on) => {
            let _turn = on.writers.turn().await?;
            script.execute(&on.pool).await?;
            on.commits.tell();
            Ok(())
        }
        Target::Sqlite(on) => script.execute(on).await.map(drop),
        Target::PostgresPool(on) => script.execute(on).await.map(drop),
        Target::Postgres(on) => script.execute(on).await.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_told_from_writes() {
        for sql in [
            "SELECT replace(a, 'x', 'y') FROM t",
            "\n  select updated_at FROM t",
            "/* a comment */ SELECT 1",
            "WITH n AS (SELECT 1) SELECT * FROM n",
            "PRAGMA user_version",
            "VALUES (1)",
        ] {
            assert!(!may_write(sql), "{sql}");
        }
        for sql in
            ["insert into t values (1) returning id", "WITH n AS (SELECT 1) DELETE FROM t RETURNING id"]
        {
            assert!(may_write(sql), "{sql}");
        }
    }
}
