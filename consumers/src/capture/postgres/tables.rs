//! Looks at a table before it is bound, and refuses what triggers on it could not tell.

use crate::db::quoted;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::super::outbox::Table;
use super::CaptureError;
use super::triggers::OWN_TABLES;

/// Where a table is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Neither is quoted.
    pub(super) schema: String,
    pub(super) name: String,
}

impl Place {
    /// As a statement names it.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// A name is what it says, with its schema before it if it is not in the search path; quoted as statements do, or bare.
const FIND: &str = "
SELECT n.nspname::text, c.relname::text
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND ((pg_table_is_visible(c.oid) AND $1 IN (c.relname, quote_ident(c.relname)))
           OR $1 IN (n.nspname || '.' || c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname)))
ORDER BY pg_table_is_visible(c.oid) AND c.relname = $1 DESC, 1, 2 LIMIT 1";

/// Finds a table by the name that statements use.
pub(super) async fn find(connection: &mut PgConnection, table: &Table) -> Result<Place, CaptureError> {
    let row = sqlx::query(FIND).bind(&table.name).fetch_optional(connection).await?;
    let row = row.ok_or_else(|| missing(table))?;
    Ok(Place { schema: row.try_get(0)?, name: row.try_get(1)? })
}

fn missing(table: &Table) -> CaptureError {
    let reason =
        "there is no such table in the search path: create it first, or put its schema before the name";
    CaptureError::unsupported(&table.name, reason)
}

/// What there is to know about a table. A replaced primary key that is checked at the end of the transaction does not
/// count, for then two transactions can write one key at a time.
const FACTS: &str = r#"
SELECT c.relkind::text AS kind, c.relpersistence::text AS persistence, c.relispartition AS is_partition,
       EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid) AS is_child,
       EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) AS is_parent,
       n.nspname = current_schema() AS is_near,
       (SELECT array_agg(a.attname::text)
        FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
        WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate) AS key
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2"#;

/// Refuses a table that cannot be bound.
pub(super) async fn check(
    connection: &mut PgConnection,
    table: &Table,
    place: &Place,
) -> Result<(), CaptureError> {
    let facts = sqlx::query(FACTS).bind(&place.schema).bind(&place.name).fetch_optional(connection).await?;
    let facts = facts.ok_or_else(|| missing(table))?;
    let reason = match reason_against(&facts, place)? {
        Some(reason) => reason.to_owned(),
        None => match facts.try_get::<Option<Vec<String>>, _>("key")? {
            Some(key) if key == [table.key.as_str()] => return Ok(()),
            Some(key) if key.len() == 1 => format!("its primary key is {:?}, not {:?}", key[0], table.key),
            Some(key) => format!("its primary key has several columns ({}): one is due", key.join(", ")),
            None => "it has no primary key that is checked at once: add one".to_owned(),
        },
    };
    Err(CaptureError::unsupported(&table.name, reason))
}

/// What it is, if that is enough against it.
fn reason_against(facts: &PgRow, place: &Place) -> Result<Option<&'static str>, CaptureError> {
    let kind: String = facts.try_get("kind")?;
    let persistence: String = facts.try_get("persistence")?;
    Ok(Some(match (kind.as_str(), persistence.as_str()) {
        ("v", _) => "it is a view: bind the tables that it reads",
        ("m", _) => {
            "it is a materialized view, which is refreshed without triggers: bind the tables that it reads"
        }
        ("f", _) => "it is a foreign table: others write it where no trigger of ours can see it",
        ("p", _) => "it is partitioned, which is not supported",
        (_, "t") => "it is temporary: nobody else can see it",
        (_, "u") => "it is unlogged: a crash empties it silently. ALTER TABLE ... SET LOGGED makes it last",
        _ if facts.try_get("is_partition")? => "it is a partition, which is not supported",
        _ if facts.try_get("is_child")? || facts.try_get("is_parent")? => {
            "it inherits, or others inherit from it, which is not supported"
        }
        _ if facts.try_get("is_near")? && OWN_TABLES.contains(&place.name.as_str()) => {
            "it is a table of the capture itself"
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted() {
        let place = Place { schema: "select".into(), name: "a \"b\"; --".into() };
        assert_eq!(place.sql(), r#""select"."a ""b""; --""#);
    }
}
