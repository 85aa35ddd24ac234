//! Cursors: how far a reader has come, written down as a snapshot, and who may read by a shared one.

use std::collections::BTreeSet;
use std::fmt::Write;

use sqlx::{PgConnection, Row};

use super::super::outbox::Cursor;
use super::super::seen::Transactions;
use super::CaptureError;
use super::turn::Page;

/// What a cursor is called in its table.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) name: String,
    /// Whether several processes read by it, one at a time.
    pub(super) is_shared: bool,
}

impl Name {
    pub(super) fn of(cursor: Cursor) -> Result<Self, CaptureError> {
        Ok(match cursor {
            Cursor::Own => Self { name: format!("own {}", random_id()?), is_shared: false },
            Cursor::Shared(name) => Self { name: format!("shared {name}"), is_shared: true },
        })
    }
}

/// An id that nobody else has.
pub(super) fn random_id() -> Result<String, CaptureError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    Ok(random.iter().fold(String::with_capacity(32), |mut id, byte| {
        write!(id, "{byte:02x}").expect("a text takes everything");
        id
    }))
}

/// Begins a cursor at the present, unless there is one already.
pub(super) async fn make(connection: &mut PgConnection, cursor: &Name) -> Result<(), CaptureError> {
    let insert = "
        INSERT INTO waterway_cursor (name, is_shared, position) VALUES ($1, $2, pg_current_snapshot())
        ON CONFLICT (name) DO NOTHING";
    sqlx::query(insert).bind(&cursor.name).bind(cursor.is_shared).execute(connection).await?;
    Ok(())
}

/// Tries to be the one who reads by a cursor, for as long as the connection lives. Nobody else has our own.
///
/// The lock's number is 64 bits of a hash: of two layers that share a number one would never be served, which with 32
/// bits could happen.
pub(super) async fn lock(connection: &mut PgConnection, cursor: &Name) -> Result<bool, CaptureError> {
    if !cursor.is_shared {
        return Ok(true);
    }
    let lock = "
        SELECT pg_try_advisory_lock(hashtextextended('waterway relay ' || current_schema() || ' ' || $1, 0))";
    let row = sqlx::query(lock).bind(&cursor.name).fetch_one(connection).await?;
    Ok(row.try_get(0)?)
}

/// What is written down; `None` when there is no such cursor any more, or when the server's history has been set back
/// to before it, as a backup does: then it says nothing about what is to come.
pub(super) async fn load(
    connection: &mut PgConnection,
    cursor: &Name,
) -> Result<Option<(Transactions, Option<Page>)>, CaptureError> {
    let select = "
        SELECT position::text, pg_snapshot_xmax(coalesce(page, position)) <= pg_snapshot_xmax(pg_current_snapshot()),
               page::text, page_last
        FROM waterway_cursor WHERE name = $1";
    let Some(row) = sqlx::query(select).bind(&cursor.name).fetch_optional(&mut *connection).await? else {
        return Ok(None);
    };
    if row.try_get(1)? {
        let page = match (row.try_get::<Option<String>, _>(2)?, row.try_get(3)?) {
            (Some(present), Some(last)) => Some(Page { present: present.parse()?, last }),
            _ => None,
        };
        return Ok(Some((row.try_get::<String, _>(0)?.parse()?, page)));
    }
    // The outbox's numbers were set back as well; with another epoch no key is ever used again.
    let renew = "UPDATE waterway_outbox_epoch SET id = gen_random_uuid()";
    sqlx::query(renew).execute(connection).await?;
    Ok(None)
}

/// Moves a cursor to the present, and makes it when there is none.
pub(super) async fn restart(
    connection: &mut PgConnection,
    cursor: &Name,
) -> Result<Transactions, CaptureError> {
    let upsert = "
        INSERT INTO waterway_cursor AS c (name, is_shared, position) VALUES ($1, $2, pg_current_snapshot())
        ON CONFLICT (name) DO UPDATE
        SET position = excluded.position, page = NULL, page_last = NULL, renewed = clock_timestamp()
        RETURNING position::text";
    let row = sqlx::query(upsert).bind(&cursor.name).bind(cursor.is_shared).fetch_one(connection).await?;
    Ok(row.try_get::<String, _>(0)?.parse()?)
}

/// Writes down how far it has come, and where it is in the midst of what comes next; `false` when the cursor is gone.
pub(super) async fn write(
    connection: &mut PgConnection,
    cursor: &Name,
    position: &Transactions,
    page: Option<&Page>,
) -> Result<bool, CaptureError> {
    let update = "
        UPDATE waterway_cursor SET position = $2::text::pg_snapshot, page = $3::text::pg_snapshot, page_last = $4,
               renewed = clock_timestamp()
        WHERE name = $1";
    let query = sqlx::query(update).bind(&cursor.name).bind(text_of(position));
    let query = query.bind(page.map(|page| text_of(&page.present))).bind(page.map(|page| page.last));
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

/// Forgets the cursors that nobody renews. One that is just being renewed is not waited for.
pub(super) async fn bury(connection: &mut PgConnection) -> Result<(), CaptureError> {
    let delete = "
        DELETE FROM waterway_cursor WHERE name IN (
            SELECT name FROM waterway_cursor
            WHERE renewed < clock_timestamp() - CASE WHEN is_shared THEN interval '24 h' ELSE interval '30 s' END
            FOR UPDATE SKIP LOCKED)";
    sqlx::query(delete).execute(connection).await?;
    Ok(())
}

/// A snapshot as PostgreSQL reads and shows it.
pub(super) fn text_of(seen: &Transactions) -> String {
    let begin = seen.running.first().copied().unwrap_or(seen.end);
    let running: Vec<_> = seen.running.iter().map(i64::to_string).collect();
    format!("{begin}:{}:{}", seen.end, running.join(","))
}

/// What all of these see.
pub(super) fn seen_by_all(snapshots: &[Transactions]) -> Transactions {
    let end = snapshots.iter().map(|seen| seen.end).min().unwrap_or(0);
    let running = snapshots.iter().flat_map(|seen| &seen.running).copied().filter(|id| *id < end);
    Transactions { end, running: running.collect::<BTreeSet<_>>() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Seen;

    #[test]
    fn a_snapshot_is_written_as_it_was_read() {
        for text in ["20:20:", "10:20:10,14,15", "3:4:3"] {
            assert_eq!(text_of(&text.parse().unwrap()), text);
        }
    }

    #[test]
    fn all_see_what_each_of_them_sees() {
        let snapshots: Vec<Transactions> =
            ["10:20:10,14", "12:17:12", "9:30:9,17,25"].map(|text| text.parse().unwrap()).into();
        let all = Seen::Transactions(seen_by_all(&snapshots));
        for id in 1..40 {
            let expected = snapshots.iter().all(|seen| Seen::Transactions(seen.clone()).holds(id));
            assert_eq!(all.holds(id), expected, "{id}");
        }
        assert_eq!(seen_by_all(&[]), Transactions::default());
    }
}
