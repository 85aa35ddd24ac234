//! The SQL of the outbox and of the triggers that fill it.
//!
//! The triggers run inside whatever program writes, so they use nothing that SQLite 3.38 does not have, and there is
//! no value that makes them fail.
//!
//! A row that `OR REPLACE` displaces fires no trigger of its own, unless `recursive_triggers` is on. So triggers
//! *before* an insert or update note the rows that stand in the way of the new one, in `waterway_displaced`, without
//! knowing whether the statement will displace them, ignore the conflict, fail, or update one of them. What is noted
//! stays true: later changes of such a row are noted too. The triggers *after* tell those that are gone from the
//! table, and forget what was noted for statements of their kind: an update may be in the middle of an insert that
//! has yet to displace its rows, when a foreign key or another trigger makes it, and the other way round. So a row may
//! be noted twice.

use super::tables::{Layout, Unique, UniqueColumn};
use crate::db::quoted;

/// What the outbox is made of, besides its bound.
///
/// `waterway_displaced` has no constraint, because `OR ABORT` in a writer's statement holds inside triggers as well,
/// whatever those say.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS waterway_outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, tbl, old, new);
    CREATE TABLE IF NOT EXISTS waterway_outbox_epoch (epoch TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS waterway_cursor (
        name TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL, renewed INTEGER NOT NULL, lives INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS waterway_displaced (tbl, op, pk, old);
    CREATE INDEX IF NOT EXISTS waterway_displaced_pk ON waterway_displaced (tbl, pk);";

/// The largest value that is told, in bytes. A row with a larger one is told as a change that cannot be told.
const VALUE_LIMIT: usize = 1 << 20;

/// What a row may come to, in bytes, before it is made JSON, which takes up to six times that. SQLite takes a text of
/// 1,000,000,000 bytes at most, and the writer would fail.
const ROW_LIMIT: usize = 100_000_000;

/// How many columns one call takes: a function of SQLite has at most 127 arguments.
const COLUMNS_OF_A_CALL: usize = 50;

/// What is told in the place of a value that is too large: a number, which no reader takes for a text. The old row has
/// another than the new one, so that these are never taken for the same.
const OLD: u8 = 0;
const NEW: u8 = 1;

/// A trigger as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trigger {
    pub(super) name: String,
    /// The statement that makes it, as SQLite keeps it.
    pub(super) sql: String,
}

impl Trigger {
    fn new(name: String, rest: &str) -> Self {
        Self { sql: format!("CREATE TRIGGER {} {rest}", quoted(&name)), name }
    }
}

/// Keeps the outbox from growing without end when no server runs. The loss is told by a row without a table, which
/// takes the place of the last one that is dropped: whoever was past it has lost nothing, and does not see it.
pub(super) fn bound(limit: i64) -> Trigger {
    let rest = format!(
        "AFTER INSERT ON waterway_outbox
        WHEN NEW.seq % 1024 = 0 AND EXISTS (SELECT 1 FROM waterway_outbox WHERE seq <= NEW.seq - {limit}) BEGIN
        DELETE FROM waterway_outbox WHERE seq <= NEW.seq - {limit};
        INSERT INTO waterway_outbox (seq) VALUES (NEW.seq - {limit});
        END"
    );
    Trigger::new("waterway_bound".to_owned(), &rest)
}

/// The triggers of a table.
pub(super) fn of_table(layout: &Layout) -> Vec<Trigger> {
    let sql = Sql::new(layout);
    let named = |kind, rest: String| Trigger::new(format!("waterway_{kind}_{}", layout.name), &rest);
    vec![
        named("inserting", sql.inserting()),
        named("updating", sql.updating()),
        named("inserted", sql.inserted()),
        named("updated", sql.updated()),
        named("deleted", sql.deleted()),
    ]
}

/// The SQL that shows a row by its table's alias, as the triggers write it down, but with values of any size: who reads
/// fails no writer.
pub(super) fn row_as_json(layout: &Layout, alias: &str) -> String {
    Sql::new(layout).row(alias, None)
}

/// A text as SQL writes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The parts of the triggers of one table.
struct Sql<'a> {
    layout: &'a Layout,
    /// The table as a name, and as a text.
    table: String,
    text: String,
    key: String,
    /// How keys are compared.
    collate: String,
}

impl<'a> Sql<'a> {
    fn new(layout: &'a Layout) -> Self {
        Self {
            layout,
            table: quoted(&layout.name),
            text: literal(&layout.name),
            key: quoted(&layout.key),
            collate: collate(layout.unique[0].columns[0].collation.as_deref()),
        }
    }

    /// Before an insert: notes what stands in its way.
    fn inserting(&self) -> String {
        let Self { table, key, .. } = self;
        let conflicts =
            |unique: &Unique| format!("SELECT {table}.{key} FROM {table} WHERE {}", same(table, unique));
        let conflicts: Vec<String> = self.layout.unique.iter().map(conflicts).collect();
        let when: Vec<String> = conflicts.iter().map(|rows| format!("EXISTS ({rows})")).collect();
        format!(
            "BEFORE INSERT ON {table} WHEN {} BEGIN {} END",
            when.join(" OR "),
            self.note('I', &conflicts.join(" UNION ALL "))
        )
    }

    /// Before an update: notes what stands in its way, if it changes anything that is unique.
    fn updating(&self) -> String {
        let Self { table, key, collate, .. } = self;
        let conflicts = |unique: &Unique| {
            let same = same(table, unique);
            format!("SELECT {table}.{key} FROM {table} WHERE {same} AND {table}.{key} <> OLD.{key}{collate}")
        };
        let conflicts: Vec<String> = self.layout.unique.iter().map(conflicts).collect();
        let when = self.layout.unique.iter().zip(&conflicts);
        let when: Vec<String> =
            when.map(|(unique, rows)| format!("({}) AND EXISTS ({rows})", changes(unique))).collect();
        format!(
            "BEFORE UPDATE ON {table} WHEN {} BEGIN {} END",
            when.join(" OR "),
            self.note('U', &conflicts.join(" UNION ALL "))
        )
    }

    /// Forgets what an earlier statement of this kind has noted in vain, and notes the rows with these keys.
    fn note(&self, operation: char, keys: &str) -> String {
        let Self { table, text, key, collate, .. } = self;
        let gone = self.gone();
        let row = self.row(table, Some(OLD));
        format!(
            "DELETE FROM waterway_displaced WHERE tbl = {text} AND op = '{operation}' AND NOT {gone};
            INSERT INTO waterway_displaced (tbl, op, pk, old)
            SELECT {text}, '{operation}', {table}.{key}, {row} FROM {table}
            WHERE {table}.{key}{collate} IN ({keys});"
        )
    }

    /// After an insert: tells the rows that it has displaced, and then the new one, as a change if it has displaced
    /// the row with its own key.
    fn inserted(&self) -> String {
        let Self { table, text, key, collate, .. } = self;
        let gone = self.gone();
        let displaced = "waterway_displaced";
        let row = self.row("NEW", Some(NEW));
        format!(
            "AFTER INSERT ON {table} BEGIN
            INSERT INTO waterway_outbox (tbl, old) SELECT DISTINCT tbl, old FROM {displaced} WHERE tbl = {text} AND {gone};
            INSERT INTO waterway_outbox (tbl, old, new) SELECT {text}, o, n FROM (SELECT
            (SELECT old FROM {displaced} WHERE tbl = {text} AND pk = NEW.{key}{collate}) AS o, {row} AS n LIMIT 1)
            WHERE o IS NOT n;
            DELETE FROM {displaced} WHERE tbl = {text} AND (op = 'I' OR pk = NEW.{key}{collate} OR {gone});
            END"
        )
    }

    /// After an update: tells the rows that it has displaced, and then its own, as it is by now in the table, because
    /// a foreign key of the row to itself may have changed it since. LIMIT keeps SQLite from making each JSON twice.
    fn updated(&self) -> String {
        let Self { table, text, key, collate, .. } = self;
        let gone = self.gone();
        let displaced = "waterway_displaced";
        let (old, new) = (self.row("OLD", Some(OLD)), self.row(table, Some(NEW)));
        let other = format!("tbl = {text} AND pk <> OLD.{key}{collate}");
        let row = format!("FROM {table} WHERE {table}.{key} = NEW.{key}{collate}");
        format!(
            "AFTER UPDATE ON {table} BEGIN
            INSERT INTO waterway_outbox (tbl, old) SELECT DISTINCT tbl, old FROM {displaced}
            WHERE {other} AND (pk = NEW.{key}{collate} OR {gone});
            INSERT INTO waterway_outbox (tbl, old, new)
            SELECT {text}, o, n FROM (SELECT {old} AS o, {new} AS n {row} LIMIT 1) WHERE o IS NOT n;
            DELETE FROM {displaced} WHERE {other} AND (op = 'U' OR pk = NEW.{key}{collate} OR {gone});
            UPDATE {displaced} SET pk = NEW.{key}, old = (SELECT {new} {row})
            WHERE tbl = {text} AND pk = OLD.{key}{collate};
            END"
        )
    }

    /// After a delete: tells it. It may be one that a foreign key does in the middle of a statement that has
    /// displaced other rows, and that statement's own triggers may then find nothing to come after.
    fn deleted(&self) -> String {
        let Self { table, text, key, collate, .. } = self;
        let gone = self.gone();
        let displaced = "waterway_displaced";
        let row = self.row("OLD", Some(OLD));
        format!(
            "AFTER DELETE ON {table} BEGIN
            INSERT INTO waterway_outbox (tbl, old) VALUES ({text}, {row});
            INSERT INTO waterway_outbox (tbl, old) SELECT DISTINCT tbl, old FROM {displaced}
            WHERE tbl = {text} AND pk <> OLD.{key}{collate} AND {gone};
            DELETE FROM {displaced} WHERE tbl = {text} AND (pk = OLD.{key}{collate} OR {gone});
            END"
        )
    }

    /// Whether a row that was noted is no longer in the table.
    fn gone(&self) -> String {
        let Self { table, key, collate, .. } = self;
        format!("NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.{key} = waterway_displaced.pk{collate})")
    }

    /// A row as JSON: an object of texts and NULLs, and `large`, if there is one, for what is too large.
    fn row(&self, of: &str, large: Option<u8>) -> String {
        let columns = &self.layout.columns;
        let limit = large.map(|large| (VALUE_LIMIT.min(ROW_LIMIT / columns.len()), large));
        let member = |column: &String| {
            let place = format!("{of}.{}", quoted(column));
            let is_number = self.layout.is_rowid && *column == self.layout.key;
            let value = if is_number { format!("{place} || ''") } else { text_of(&place, limit) };
            format!("{}, {value}", literal(column))
        };
        let call = |columns: &[String]| {
            let members: Vec<String> = columns.iter().map(member).collect();
            format!("json_object({})", members.join(", "))
        };
        let join =
            |left: String, right: String| format!("rtrim({left}, '}}') || ',' || ltrim({right}, '{{')");
        columns.chunks(COLUMNS_OF_A_CALL).map(call).reduce(join).unwrap_or_else(|| "'{}'".to_owned())
    }
}

/// A value as an exact text; NULL stays NULL, and what is beyond a limit becomes the number beside it.
///
/// A real number is what SQLite shows, with 15 digits, if that is read as the same number, and not only by SQLite,
/// which reads exactly what is of a usual size. Otherwise it has 17 digits. Joining an empty text makes a text of
/// whatever it is, and of JSON, which would go in as it is, as well.
fn text_of(value: &str, limit: Option<(usize, u8)>) -> String {
    let within = |text: String| match limit {
        Some((limit, large)) => {
            format!("CASE WHEN length(CAST({value} AS BLOB)) > {limit} THEN {large} ELSE {text} END")
        }
        None => text,
    };
    let (text, blob) = (within(format!("{value} || ''")), within(format!("hex({value})")));
    let short = format!("CAST({value} AS TEXT)");
    format!(
        "CASE typeof({value}) WHEN 'text' THEN {text} \
         WHEN 'real' THEN CASE WHEN abs({value}) BETWEEN 1e-7 AND 1e15 AND CAST({short} AS REAL) = {value} \
         THEN {short} ELSE printf('%!.17g', {value}) END \
         WHEN 'blob' THEN {blob} ELSE {value} || '' END"
    )
}

fn collate(collation: Option<&str>) -> String {
    collation.map(|collation| format!(" COLLATE {}", quoted(collation))).unwrap_or_default()
}

/// Whether a row of the table has the same unique values as the new one, under the table's own name, for a condition
/// may use that.
fn same(table: &str, unique: &Unique) -> String {
    let same = |column: &UniqueColumn| {
        let name = quoted(&column.name);
        let new = match &column.default {
            Some(default) => format!("ifnull(NEW.{name}, ({default}\n))"),
            None => format!("NEW.{name}"),
        };
        format!("{table}.{name} = {new}{}", collate(column.collation.as_deref()))
    };
    let predicate = unique.predicate.iter().map(|predicate| format!("({predicate}\n)"));
    unique.columns.iter().map(same).chain(predicate).collect::<Vec<_>>().join(" AND ")
}

/// Whether an update changes unique values. Of a partial index, other columns decide as well.
fn changes(unique: &Unique) -> String {
    if unique.predicate.is_some() {
        return "1".to_owned();
    }
    let changes = |column: &UniqueColumn| {
        let name = quoted(&column.name);
        format!("NEW.{name} IS NOT OLD.{name}{}", collate(column.collation.as_deref()))
    };
    unique.columns.iter().map(changes).collect::<Vec<_>>().join(" OR ")
}
