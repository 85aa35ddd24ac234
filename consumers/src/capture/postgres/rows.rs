//! Rows of the outbox: which of them are new, and what they say.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::super::Columns;
use super::super::outbox::{BATCH, Kind, Recorded};
use super::super::seen::Transactions;
use super::CaptureError;
use super::catalog::Watch;
use super::cursor::text_of;

/// One more than a batch, to know whether there are more.
const LIMIT: i64 = BATCH as i64 + 1;

/// How much one read takes, in bytes as they are stored; the row that goes beyond is still taken. Long rows are stored
/// compressed, and how long they are is known only once they are unpacked: it may be a hundred times as much.
pub(super) const BATCH_BYTES: i64 = 1 << 20;

/// What is new by now, and the snapshot that says so: of one statement, so both are of one moment.
///
/// Rows of transactions that had not begun are found by the index, and so are those of the transactions that ran then
/// and have ended now; rows that were read before, rows that were rolled back, and the rows of long transactions that
/// still run, are not looked at. What comes before a marker that everything was lost need not be told. `seq + 0` keeps
/// the planner from walking through all numbers instead. Only the rows of the batch are unpacked, and shown as texts.
pub(super) const FIRST: &str = "
SELECT present::text AS present, e.id || '-' || f.seq AS key, f.seq, f.xid::text::bigint AS xid, f.table_schema,
       f.table_name, f.op, f.old_row::text, f.new_row::text, f.is_followed
FROM waterway_outbox_epoch AS e
CROSS JOIN (SELECT pg_current_snapshot() AS present, $1::text::pg_snapshot AS past) AS s
LEFT JOIN LATERAL (
    SELECT *, lead(seq) OVER earlier IS NOT NULL AS is_followed,
           sum(coalesce(pg_column_size(old_row), 0) + coalesce(pg_column_size(new_row), 0)) OVER earlier AS bytes
    FROM (
        SELECT *
        FROM (SELECT * FROM waterway_outbox WHERE xid >= pg_snapshot_xmax($1::text::pg_snapshot)
              UNION ALL
              SELECT * FROM waterway_outbox WHERE xid = ANY (ARRAY(
                  SELECT pg_snapshot_xip($1::text::pg_snapshot) EXCEPT SELECT pg_snapshot_xip(pg_current_snapshot())))
             ) AS fresh
        WHERE seq + 0 >= coalesce((SELECT max(seq) FROM waterway_outbox
                                   WHERE op = 'R' AND NOT pg_visible_in_snapshot(xid, past)), 0)
        ORDER BY seq + 0 LIMIT $2) AS batch
    WINDOW earlier AS (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) AS f ON coalesce(f.bytes, 0) < $3
ORDER BY f.seq";

/// What the snapshot of the first page has found after a number.
const NEXT: &str = "
SELECT e.id || '-' || seq AS key, seq, xid::text::bigint AS xid, table_schema, table_name, op, old_row::text,
       new_row::text, is_followed
FROM waterway_outbox_epoch AS e
CROSS JOIN (
    SELECT *, lead(seq) OVER earlier IS NOT NULL AS is_followed,
           sum(coalesce(pg_column_size(old_row), 0) + coalesce(pg_column_size(new_row), 0)) OVER earlier AS bytes
    FROM (SELECT * FROM waterway_outbox
          WHERE seq > $4 AND pg_visible_in_snapshot(xid, (SELECT $3::text::pg_snapshot))
                AND NOT pg_visible_in_snapshot(xid, (SELECT $1::text::pg_snapshot))
          ORDER BY seq LIMIT $2) AS batch
    WINDOW earlier AS (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS f
WHERE coalesce(bytes, 0) < $5
ORDER BY seq";

/// A row of the outbox.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) seq: i64,
    key: String,
    xid: i64,
    /// The table that was changed; a marker has none.
    table: Option<(String, String)>,
    op: String,
    old: Option<String>,
    new: Option<String>,
    /// Whether there are more, whether they were read as well or not.
    pub(super) is_followed: bool,
}

/// The first rows that are new since a snapshot, and the snapshot that sees them.
pub(super) async fn first(
    connection: &mut PgConnection,
    past: &Transactions,
) -> Result<(Transactions, Vec<Row>), CaptureError> {
    let query = sqlx::query(FIRST).bind(text_of(past)).bind(LIMIT).bind(BATCH_BYTES);
    let found = query.fetch_all(connection).await?;
    let Some(row) = found.first() else {
        return Err(CaptureError::Outbox("its epoch is gone".into()));
    };
    let present = row.try_get::<String, _>("present")?.parse()?;
    let has_rows = row.try_get::<Option<i64>, _>("seq")?.is_some();
    let rows = found.iter().filter(|_| has_rows).map(Row::of).collect::<Result<_, _>>()?;
    Ok((present, rows))
}

/// The rows after those.
pub(super) async fn next(
    connection: &mut PgConnection,
    past: &Transactions,
    present: &Transactions,
    last: i64,
) -> Result<Vec<Row>, CaptureError> {
    let query = sqlx::query(NEXT).bind(text_of(past)).bind(LIMIT).bind(text_of(present)).bind(last);
    query.bind(BATCH_BYTES).fetch_all(connection).await?.iter().map(Row::of).collect()
}

impl Row {
    fn of(row: &PgRow) -> Result<Self, CaptureError> {
        let schema: Option<String> = row.try_get("table_schema")?;
        let name: Option<String> = row.try_get("table_name")?;
        Ok(Self {
            seq: row.try_get("seq")?,
            key: row.try_get("key")?,
            xid: row.try_get("xid")?,
            table: schema.zip(name),
            op: row.try_get("op")?,
            old: row.try_get("old_row")?,
            new: row.try_get("new_row")?,
            is_followed: row.try_get("is_followed")?,
        })
    }

    /// What it says, unless it is about a table that is not bound here.
    pub(super) fn into_change(self, watch: &Watch) -> Option<Recorded> {
        let table = match &self.table {
            Some((schema, name)) => watch.bound(schema, name)?.to_owned(),
            None => String::new(),
        };
        let kind = self.kind().unwrap_or_else(|error| {
            // Whoever subscribes looks at the table instead; the relay goes on.
            tracing::error!(key = self.key, table, %error, "a change cannot be read");
            if self.table.is_some() { Kind::Reset } else { Kind::ResetAll }
        });
        Some(Recorded { key: self.key, position: self.xid, table, kind })
    }

    fn kind(&self) -> Result<Kind, String> {
        let columns = |text: &Option<String>| match text {
            Some(text) => columns(text).map_err(|error| error.to_string()),
            None => Err("a row is missing".to_owned()),
        };
        Ok(match self.op.as_str() {
            "I" => Kind::Insert(columns(&self.new)?),
            "U" => Kind::Update { old: columns(&self.old)?, new: columns(&self.new)? },
            "D" => Kind::Delete(columns(&self.old)?),
            "T" => Kind::Reset,
            "R" => Kind::ResetAll,
            op => return Err(format!("{op:?} is no operation")),
        })
    }
}

/// Reads a row as PostgreSQL writes it: a number is taken as it stands there, and so are lists and maps.
pub(super) fn columns(text: &str) -> Result<Columns, serde_json::Error> {
    let columns: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
    Ok(columns.into_iter().map(|(column, value)| (column, value_of(value.get()))).collect())
}

fn value_of(json: &str) -> Option<String> {
    match json.as_bytes().first() {
        Some(b'n') => None,
        // A column of JSON may hold what no text can be, such as half of a character; it is shown as it is written.
        Some(b'"') => Some(serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())),
        _ => Some(json.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_and_stay_exact() {
        let text = r#"{"n":12345678901234567890.1200,"t":"zoë \"x\"\n","none":null,"b":true,"list":[1.50, null],"na me":"NaN",
            "map": {"a" : 1e2},"half":"\ud800","nul":"\u0000"}"#;
        let columns = columns(text).unwrap();
        let expected = [
            ("b", Some("true")),
            ("half", Some(r#""\ud800""#)),
            ("list", Some("[1.50, null]")),
            ("map", Some(r#"{"a" : 1e2}"#)),
            ("n", Some("12345678901234567890.1200")),
            ("na me", Some("NaN")),
            ("none", None),
            ("nul", Some("\0")),
            ("t", Some("zoë \"x\"\n")),
        ];
        assert_eq!(columns.iter().collect::<Vec<_>>(), expected);
    }
}
