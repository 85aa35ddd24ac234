//! What goes into the database and how each one holds it. Where the two differ, this file knows, and nobody else.
//!
//! | value | SQLite | PostgreSQL |
//! |---|---|---|
//! | [`Decimal`] | text without trailing zeros, for its NUMERIC is a float | NUMERIC |
//! | [`DateTime`] | text in UTC, as Django writes it | TIMESTAMPTZ |

use chrono::{DateTime, NaiveDateTime, Utc};
use rust_decimal::Decimal;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Error};

use super::Dialect;

/// How SQLite's texts write a time: as Django's backend does, in UTC.
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.6f";

/// An argument of a [`Query`](super::Query); `From` makes it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Arg {
    /// Yes or no.
    Bool(bool),
    /// A whole number, or NULL.
    Number(Option<i64>),
    /// A text, or NULL.
    Text(Option<String>),
    /// An exact decimal.
    Decimal(Decimal),
    /// A moment; microseconds are kept.
    Time(DateTime<Utc>),
}

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Number(Some(value))
    }
}

impl From<Option<i64>> for Arg {
    fn from(value: Option<i64>) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<Option<&str>> for Arg {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Decimal> for Arg {
    fn from(value: Decimal) -> Self {
        Self::Decimal(value)
    }
}

impl From<DateTime<Utc>> for Arg {
    fn from(value: DateTime<Utc>) -> Self {
        Self::Time(value)
    }
}

impl Dialect {
    /// The SQL that sorts a column of decimals by value.
    #[must_use]
    pub fn decimal_order(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("{column} COLLATE decimal"),
            Self::Postgres => column.to_owned(),
        }
    }

    /// The SQL of a decimal's text without trailing zeros, as people write it.
    #[must_use]
    pub fn decimal_text(self, column: &str) -> String {
        match self {
            Self::Sqlite => column.to_owned(),
            Self::Postgres => format!("CAST(trim_scale({column}) AS TEXT)"),
        }
    }
}

pub(super) fn for_sqlite(args: Vec<Arg>) -> Result<SqliteArguments, Error> {
    let mut list = SqliteArguments::default();
    args.into_iter().try_for_each(|arg| add_to_sqlite(&mut list, arg)).map_err(Error::Encode)?;
    Ok(list)
}

fn add_to_sqlite(list: &mut SqliteArguments, arg: Arg) -> Result<(), BoxDynError> {
    match arg {
        Arg::Bool(value) => list.add(value),
        Arg::Number(value) => list.add(value),
        Arg::Text(value) => list.add(value),
        Arg::Decimal(value) => list.add(value.normalize().to_string()),
        Arg::Time(value) => list.add(value.format(TIME_FORMAT).to_string()),
    }
}

pub(super) fn for_postgres(args: Vec<Arg>) -> Result<PgArguments, Error> {
    let mut list = PgArguments::default();
    args.into_iter().try_for_each(|arg| add_to_postgres(&mut list, arg)).map_err(Error::Encode)?;
    Ok(list)
}

fn add_to_postgres(list: &mut PgArguments, arg: Arg) -> Result<(), BoxDynError> {
    match arg {
        Arg::Bool(value) => list.add(value),
        Arg::Number(value) => list.add(value),
        // PostgreSQL refuses a text with NUL in it, which anybody may look for; with the sign for what cannot be
        // shown in its place it is merely not found.
        Arg::Text(value) => list.add(value.map(|text| text.replace('\0', "\u{fffd}"))),
        Arg::Decimal(value) => list.add(value),
        Arg::Time(value) => list.add(value),
    }
}

/// Reads a decimal exactly, with an exponent or without: a number that is computed in SQL goes into a text of SQLite as
/// `5.0e-05`. Zeros at its end are dropped.
///
/// # Errors
/// When the text is no decimal, or has more digits than one holds.
pub fn read_decimal(text: &str) -> Result<Decimal, rust_decimal::Error> {
    let exact = Decimal::from_str_exact(text).or_else(|error| {
        let (digits, _) = text.split_once(['e', 'E']).ok_or(error)?;
        // On their own first, because together they would be rounded when there are too many.
        Decimal::from_str_exact(digits)?;
        Decimal::from_scientific(text)
    });
    exact.map(|decimal| decimal.normalize())
}

/// Reads a decimal that is a text. What it is called is for the error.
pub(super) fn decimal_of(column: &str, text: &str) -> Result<Decimal, Error> {
    read_decimal(text).map_err(|error| undecodable(column, error))
}

/// Reads a time that is a text, as Django writes it, who leaves a fraction of zero out, or as RFC 3339 does.
pub(crate) fn read_time(text: &str) -> Result<DateTime<Utc>, chrono::ParseError> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").map(|time| time.and_utc());
    time.or_else(|_| DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()))
}

/// The same; what it is called is for the error.
pub(super) fn time_of(column: &str, text: &str) -> Result<DateTime<Utc>, Error> {
    read_time(text).map_err(|error| undecodable(column, error))
}

fn undecodable(column: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::query;
    use crate::db::testing::TestDatabase;

    #[tokio::test]
    async fn every_value_comes_back_as_it_went() {
        let database = TestDatabase::new();
        let db = database.open().await;
        let exact: Decimal = "-123456789.1234560".parse().unwrap();
        let moment = DateTime::from_timestamp_micros(1_795_236_596_582_017).unwrap();
        let create = match db.dialect() {
            Dialect::Sqlite => "CREATE TABLE t (b BOOLEAN, n BIGINT, t TEXT, d TEXT, m TEXT)",
            Dialect::Postgres => {
                "CREATE TABLE t (b BOOLEAN, n BIGINT, t TEXT, d NUMERIC(15, 6), m TIMESTAMPTZ)"
            }
        };
        query(create).execute(&db).await.unwrap();
        let insert = query("INSERT INTO t VALUES ($1, $2, $3, $4, $5)").bind(true).bind(i64::MIN);
        insert.bind("zoë").bind(exact).bind(moment).execute(&db).await.unwrap();
        let row = query("SELECT * FROM t").fetch_one(&db).await.unwrap();
        assert!(row.get::<bool>("b").unwrap());
        assert_eq!(row.get::<i64>("n").unwrap(), i64::MIN);
        assert_eq!(row.get::<String>("t").unwrap(), "zoë");
        assert_eq!(row.decimal("d").unwrap().to_string(), "-123456789.123456");
        assert_eq!(row.time("m").unwrap(), moment);

        let nulls = query("INSERT INTO t (n, t) VALUES ($1, $2)").bind(None::<i64>).bind(None::<&str>);
        nulls.execute(&db).await.unwrap();
        let count = query("SELECT count(*) AS c FROM t WHERE n IS NULL AND t IS NULL");
        assert_eq!(count.fetch_one(&db).await.unwrap().get::<i64>("c").unwrap(), 1);
    }

    #[tokio::test]
    async fn a_text_with_nul_is_not_found_and_no_failure() {
        let database = TestDatabase::new();
        let db = database.open().await;
        query("CREATE TABLE t (t TEXT)").execute(&db).await.unwrap();
        query("INSERT INTO t VALUES ('a')").execute(&db).await.unwrap();
        let found = query("SELECT t FROM t WHERE t = $1").bind("a\0").fetch_optional(&db).await.unwrap();
        assert!(found.is_none());
    }

    #[test]
    fn texts_are_written_as_django_writes_them() {
        let text = "2026-11-21 04:49:56.582017";
        let moment = time_of("created", text).unwrap();
        assert_eq!(moment.timestamp_micros(), 1_795_236_596_582_017);
        assert_eq!(moment.format(TIME_FORMAT).to_string(), text);
        assert_eq!(time_of("created", "2026-11-21 04:49:56").unwrap().timestamp(), 1_795_236_596);
        assert!(time_of("created", "yesterday").is_err());
        assert!(decimal_of("price", "much").unwrap_err().to_string().contains("price"));
    }

    #[test]
    fn texts_of_other_writers_are_read_as_well() {
        let decimal = |text| decimal_of("price", text).map(|decimal| decimal.to_string());
        for (text, expected) in [
            ("5.0e-05", "0.00005"),
            ("-1.25E+3", "-1250"),
            ("1e28", "10000000000000000000000000000"),
            ("1.500000", "1.5"),
        ] {
            assert_eq!(decimal(text).unwrap(), expected);
        }
        for text in ["", "e", "1e", "e5", "1e29", "1e-29", "0.12345678901234567890123456789e1", "Inf", "NaN"]
        {
            assert!(decimal(text).is_err(), "{text}");
        }
        let moment = time_of("created", "2026-11-21T05:49:56.582017+01:00").unwrap();
        assert_eq!(moment.timestamp_micros(), 1_795_236_596_582_017);
        assert_eq!(time_of("created", "2026-11-21T04:49:56Z").unwrap().timestamp(), 1_795_236_596);
    }
}
