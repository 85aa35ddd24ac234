//! Looks at a table before it is bound: its columns, its key, and what else of it is unique. What cannot be captured
//! exactly is refused.

use sqlx::{Row, SqliteConnection};

use super::predicate::predicate;
use crate::capture::CaptureError;
use crate::capture::outbox::Table;

/// What triggers have to know about a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// As the schema writes it.
    pub(super) name: String,
    /// The column of the primary key.
    pub(super) key: String,
    /// The key is the number of the row, which SQLite gives only after triggers that come before an insert.
    pub(super) is_rowid: bool,
    /// All columns, generated ones too.
    pub(super) columns: Vec<String>,
    /// What is unique; the primary key comes first.
    pub(super) unique: Vec<Unique>,
}

/// Columns of which no two rows have the same values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unique {
    pub(super) columns: Vec<UniqueColumn>,
    /// Only rows of which this is true count.
    pub(super) predicate: Option<String>,
}

/// A column as a unique index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UniqueColumn {
    pub(super) name: String,
    /// How the index compares; `None` for the number of the row.
    pub(super) collation: Option<String>,
    /// What `OR REPLACE` puts where NULL is not allowed: an expression.
    pub(super) default: Option<String>,
}

/// A column as the table has it.
struct Column {
    name: String,
    not_null: bool,
    default: Option<String>,
    in_key: bool,
}

/// Looks at a table.
///
/// # Errors
/// [`CaptureError::Unsupported`] for a table that cannot be captured exactly.
pub(super) async fn inspect(
    connection: &mut SqliteConnection,
    table: &Table,
) -> Result<Layout, CaptureError> {
    let refuse = |reason: &str| CaptureError::unsupported(&table.name, reason);
    let (name, without_rowid) = find(connection, table).await?;
    let columns = columns(connection, &name).await?;
    let keys: Vec<&Column> = columns.iter().filter(|column| column.in_key).collect();
    let [key] = keys[..] else {
        return Err(refuse("its primary key has to be a single column; give it one"));
    };
    if !key.name.eq_ignore_ascii_case(&table.key) {
        return Err(refuse(&format!("its primary key is the column {:?}, not {:?}", key.name, table.key)));
    }
    let (by_index, others): (Vec<_>, Vec<_>) =
        unique(connection, table, &name, &columns).await?.into_iter().partition(|(origin, _)| origin == "pk");
    let is_rowid = by_index.is_empty();
    if !is_rowid && !without_rowid && !key.not_null {
        return Err(refuse("SQLite lets its key be NULL; declare the key NOT NULL, or INTEGER PRIMARY KEY"));
    }
    let number = UniqueColumn { name: key.name.clone(), collation: None, default: None };
    let key_of_rows = Unique { columns: vec![number], predicate: None };
    let primary = by_index.into_iter().next().map_or(key_of_rows, |(_, unique)| unique);
    Ok(Layout {
        key: key.name.clone(),
        name,
        is_rowid,
        unique: std::iter::once(primary).chain(others.into_iter().map(|(_, unique)| unique)).collect(),
        columns: columns.into_iter().map(|column| column.name).collect(),
    })
}

/// The name of the table as the schema writes it, and whether it has no row numbers.
async fn find(connection: &mut SqliteConnection, table: &Table) -> Result<(String, bool), CaptureError> {
    let refuse = |reason: &str| Err(CaptureError::unsupported(&table.name, reason));
    let query =
        "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ? COLLATE NOCASE";
    let Some(row) = sqlx::query(query).bind(&table.name).fetch_optional(connection).await? else {
        return refuse(
            "there is no such table, or it is temporary and belongs to another connection; migrate first",
        );
    };
    let name: String = row.try_get(0)?;
    let lower = name.to_ascii_lowercase();
    match row.try_get::<String, _>(1)?.as_str() {
        "table" if lower.starts_with("sqlite_") => refuse("it belongs to SQLite"),
        "table" if lower.starts_with("waterway_outbox") => refuse("it belongs to change capture itself"),
        "table" if matches!(lower.as_str(), "waterway_cursor" | "waterway_displaced") => {
            refuse("it belongs to change capture itself")
        }
        "table" if matches!(lower.as_str(), "new" | "old") => {
            refuse("triggers cannot tell it from the rows that they are about; give it another name")
        }
        "table" => Ok((name, row.try_get(2)?)),
        "view" => refuse("it is a view; bind the tables that it shows"),
        _ => refuse("it is a virtual table, which can have no triggers; bind the table that it indexes"),
    }
}

async fn columns(connection: &mut SqliteConnection, table: &str) -> Result<Vec<Column>, CaptureError> {
    let query = "SELECT name, \"notnull\", dflt_value, pk FROM pragma_table_xinfo(?, 'main') ORDER BY cid";
    let rows = sqlx::query(query).bind(table).fetch_all(connection).await?;
    let column = |row: sqlx::sqlite::SqliteRow| {
        Ok(Column {
            name: row.try_get(0)?,
            not_null: row.try_get(1)?,
            default: row.try_get(2)?,
            in_key: row.try_get::<i64, _>(3)? > 0,
        })
    };
    rows.into_iter().map(column).collect()
}

/// What the unique indexes of a table hold, each with where it comes from: `pk` is the primary key's.
async fn unique(
    connection: &mut SqliteConnection,
    table: &Table,
    name: &str,
    columns: &[Column],
) -> Result<Vec<(String, Unique)>, CaptureError> {
    let query = "SELECT l.name, l.origin, CASE WHEN l.partial THEN s.sql END FROM pragma_index_list(?1, 'main') AS l
        LEFT JOIN main.sqlite_schema AS s ON s.type = 'index' AND s.name = l.name WHERE l.\"unique\" ORDER BY l.name";
    let mut found = Vec::new();
    for row in sqlx::query(query).bind(name).fetch_all(&mut *connection).await? {
        let (index, origin, sql): (String, String, Option<String>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let refuse = |what: &str| {
            CaptureError::unsupported(&table.name, format!("its unique index {index:?} is on {what}"))
        };
        let unreadable = || refuse("a condition that cannot be read; write it without comments");
        let predicate =
            sql.map(|sql| predicate(&sql).map(str::to_owned).ok_or_else(unreadable)).transpose()?;
        let columns = index_columns(connection, &index, columns).await?;
        let columns = columns.ok_or_else(|| {
            refuse("an expression, whose conflicts triggers cannot foresee; use a generated column instead")
        })?;
        found.push((origin, Unique { columns, predicate }));
    }
    Ok(found)
}

/// The columns of an index; `None` when one is an expression.
async fn index_columns(
    connection: &mut SqliteConnection,
    index: &str,
    columns: &[Column],
) -> Result<Option<Vec<UniqueColumn>>, CaptureError> {
    let query = "SELECT name, coll FROM pragma_index_xinfo(?, 'main') WHERE key ORDER BY seqno";
    let mut found = Vec::new();
    for row in sqlx::query(query).bind(index).fetch_all(connection).await? {
        let Some(name) = row.try_get::<Option<String>, _>(0)? else { return Ok(None) };
        let column = columns.iter().find(|column| column.name == name && column.not_null);
        let default = column.and_then(|column| column.default.clone());
        found.push(UniqueColumn { name, collation: row.try_get(1)?, default });
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{AssertSqlSafe, Connection};

    async fn look(sql: &str, name: &str, key: &str) -> Result<Layout, CaptureError> {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        inspect(&mut connection, &Table { name: name.into(), key: key.into() }).await
    }

    #[tokio::test]
    async fn everything_unique_is_found() {
        let sql = r#"CREATE TABLE "T x"(id INTEGER PRIMARY KEY, a TEXT UNIQUE COLLATE NOCASE, b NOT NULL DEFAULT (1+1),
            c AS (a || b) STORED, d AS (a), UNIQUE(b, c)); CREATE INDEX plain ON "T x"(a);
            CREATE UNIQUE INDEX part ON "T x"(d) WHERE a > 1;"#;
        let layout = look(sql, "t X", "ID").await.unwrap();
        assert_eq!((layout.name.as_str(), layout.key.as_str(), layout.is_rowid), ("T x", "id", true));
        assert_eq!(layout.columns, ["id", "a", "b", "c", "d"]);
        let unique: Vec<String> = layout.unique.iter().map(|unique| format!("{unique:?}")).collect();
        assert_eq!(unique.len(), 4, "{unique:#?}");
        assert_eq!(layout.unique[0].columns[0].name, "id");
        assert_eq!(layout.unique[1].predicate.as_deref(), Some(" a > 1"));
        assert_eq!(layout.unique[2].columns[0].collation.as_deref(), Some("NOCASE"));
        assert_eq!(layout.unique[3].columns[0].default.as_deref(), Some("1+1"));
    }

    #[tokio::test]
    async fn keys_of_every_kind_are_told_apart() {
        for (key, is_rowid) in [
            ("id INTEGER PRIMARY KEY)", true),
            ("id BIGINT NOT NULL PRIMARY KEY)", false),
            ("id TEXT NOT NULL PRIMARY KEY)", false),
            ("id INTEGER PRIMARY KEY DESC NOT NULL)", false),
            ("id INTEGER PRIMARY KEY) WITHOUT ROWID", false),
            ("id TEXT PRIMARY KEY) WITHOUT ROWID", false),
        ] {
            let layout = look(&format!("CREATE TABLE t({key}"), "t", "id").await.unwrap();
            assert_eq!((layout.is_rowid, layout.unique.len()), (is_rowid, 1), "{key}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_captured_is_refused() {
        for (sql, name, hint) in [
            ("SELECT 1", "t", "no such table"),
            ("CREATE TEMP TABLE t(id INTEGER PRIMARY KEY)", "t", "temporary"),
            ("CREATE TABLE b(id INTEGER PRIMARY KEY); CREATE VIEW t AS SELECT * FROM b", "t", "view"),
            ("CREATE VIRTUAL TABLE t USING fts5(id)", "t", "virtual"),
            ("CREATE TABLE t(id INTEGER)", "t", "single column"),
            ("CREATE TABLE t(id INTEGER, b, PRIMARY KEY(id, b))", "t", "single column"),
            ("CREATE TABLE t(pk INTEGER PRIMARY KEY, id)", "t", "\"pk\""),
            ("CREATE TABLE t(id TEXT PRIMARY KEY)", "t", "NOT NULL"),
            (
                "CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE UNIQUE INDEX i ON t(lower(a))",
                "t",
                "expression",
            ),
            ("CREATE TABLE waterway_outbox(id INTEGER PRIMARY KEY)", "Waterway_Outbox", "itself"),
            ("CREATE TABLE waterway_cursor(id INTEGER PRIMARY KEY)", "waterway_cursor", "itself"),
            ("CREATE TABLE old(id INTEGER PRIMARY KEY)", "old", "another name"),
            ("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT)", "sqlite_sequence", "SQLite"),
        ] {
            let error = look(sql, name, "id").await.unwrap_err();
            assert!(matches!(error, CaptureError::Unsupported { .. }), "{sql}: {error:?}");
            assert!(error.to_string().contains(hint), "{sql}: {error}");
        }
    }
}
