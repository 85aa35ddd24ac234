//! Reads what the triggers have written.

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::capture::outbox::{BATCH, Kind, Recorded, Table};
use crate::capture::{CaptureError, Columns};

/// How much one read takes, in bytes; the row that goes beyond is still taken.
const BATCH_BYTES: usize = 8 << 20;

const READ: &str = "SELECT seq, tbl, old, new FROM waterway_outbox WHERE seq > ? ORDER BY seq LIMIT ?";

/// What one read has found.
pub(super) struct Found {
    pub(super) changes: Vec<Recorded>,
    /// The last sequence number among them.
    pub(super) last: i64,
    pub(super) has_more: bool,
}

/// Reads what comes after a sequence number.
pub(super) async fn after(
    connection: &mut SqliteConnection,
    seq: i64,
    epoch: &str,
    tables: &[Table],
) -> Result<Found, CaptureError> {
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let mut rows = sqlx::query(READ).bind(seq).bind(limit).fetch(connection);
    let mut found = Found { changes: Vec::new(), last: seq, has_more: false };
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        found.last = row.try_get(0)?;
        bytes += size(&row);
        found.changes.push(change(&row, found.last, epoch, tables));
        found.has_more = found.changes.len() == BATCH || bytes > BATCH_BYTES;
        if found.has_more {
            break;
        }
    }
    Ok(found)
}

/// The bytes of a column, whatever they are: nothing that a writer has put into the outbox may stop the relay.
fn bytes<'r>(row: &'r SqliteRow, column: usize) -> Option<&'r [u8]> {
    row.try_get_unchecked::<Option<&'r [u8]>, _>(column).ok().flatten()
}

fn size(row: &SqliteRow) -> usize {
    (1..=3).filter_map(|column| bytes(row, column)).map(<[u8]>::len).sum()
}

fn change(row: &SqliteRow, position: i64, epoch: &str, tables: &[Table]) -> Recorded {
    let table = bytes(row, 1).map(String::from_utf8_lossy);
    let (old, new) = (bytes(row, 2), bytes(row, 3));
    let kind = match (&table, columns(old), columns(new)) {
        (None, ..) => Kind::ResetAll,
        (_, Ok(None), Ok(Some(new))) => Kind::Insert(new),
        (_, Ok(Some(old)), Ok(Some(new))) => Kind::Update { old, new },
        (_, Ok(Some(old)), Ok(None)) => Kind::Delete(old),
        (_, Ok(None), Ok(None)) => Kind::Reset,
        (_, Err(error), _) | (_, _, Err(error)) => {
            tracing::warn!(?table, position, %error, "a change cannot be told, so everyone starts anew");
            Kind::Reset
        }
    };
    // A row without a table takes the place of one that was lost, and must not have its key.
    let suffix = if kind == Kind::ResetAll { "-lost" } else { "" };
    let table = table.unwrap_or_default();
    let bound = tables.iter().find(|bound| bound.name.eq_ignore_ascii_case(&table));
    Recorded {
        key: format!("{epoch}-{position}{suffix}"),
        position,
        table: bound.map_or_else(|| table.clone().into_owned(), |bound| bound.name.clone()),
        kind,
    }
}

/// Why a row cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("a value is too large, or the row is not what triggers write ({0})")]
struct Unreadable(#[from] serde_json::Error);

/// A row that a trigger wrote. Texts that are no UTF-8 have the sign for what cannot be shown in their place.
fn columns(json: Option<&[u8]>) -> Result<Option<Columns>, Unreadable> {
    let json = json.map(String::from_utf8_lossy);
    Ok(json.map(|json| serde_json::from_str(&json)).transpose()?)
}

/// The same for a row that was read by itself.
pub(super) fn of_json(json: &str) -> Result<Columns, CaptureError> {
    let row = columns(Some(json.as_bytes())).map_err(|cause| CaptureError::Outbox(cause.to_string()))?;
    Ok(row.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_texts_and_nulls() {
        assert_eq!(columns(None).unwrap(), None);
        let read = columns(Some(b"{\"a\":\"1\",\"b\":null,\"c\":\"x\xff\\u0000\"}")).unwrap().unwrap();
        assert_eq!((read.get("a"), read.get("b"), read.get("c")), (Some("1"), None, Some("x\u{fffd}\0")));
        for json in ["", "[]", "{\"a\":0}", "null", "{\"a\":{}}"] {
            assert!(columns(Some(json.as_bytes())).is_err(), "{json}");
        }
    }
}
