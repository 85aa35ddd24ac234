//! Random statements: whoever applies what is told, and nothing else, has the table after every commit.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sqlx::Row;
use tokio::runtime::Runtime;

use super::*;

/// The columns of every table here, in the order of their names.
const COLUMNS: [&str; 4] = ["a", "b", "id", "x"];

/// A table, and which keys may be written to it.
const TABLES: [(&str, [&str; 5]); 6] = [
    ("id INTEGER PRIMARY KEY, a UNIQUE, b TEXT UNIQUE COLLATE NOCASE, x)", NUMBERS),
    (
        "id INTEGER PRIMARY KEY, a UNIQUE, b TEXT UNIQUE COLLATE NOCASE, x) WITHOUT ROWID",
        ["1", "2", "3", "4", "5"],
    ),
    ("id TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, a UNIQUE, b TEXT UNIQUE COLLATE NOCASE, x)", TEXTS),
    (
        "id INTEGER PRIMARY KEY, a, b TEXT, x, UNIQUE (a, b)); CREATE UNIQUE INDEX i ON t(x) WHERE a = 1",
        NUMBERS,
    ),
    (
        "id INTEGER PRIMARY KEY, a UNIQUE, b TEXT UNIQUE COLLATE NOCASE,
        x REFERENCES t ON DELETE SET NULL ON UPDATE CASCADE)",
        NUMBERS,
    ),
    (
        "id INTEGER PRIMARY KEY, a UNIQUE, b TEXT UNIQUE COLLATE NOCASE,
        x REFERENCES t ON DELETE CASCADE ON UPDATE SET NULL)",
        NUMBERS,
    ),
];

const NUMBERS: [&str; 5] = ["NULL", "-1", "1", "2", "3"];
const TEXTS: [&str; 5] = ["'k'", "'K'", "'l'", "'L'", "'m'"];

/// Triggers that a table may have of its own.
const TRIGGERS: [&str; 4] = [
    "",
    "CREATE TRIGGER own1 AFTER INSERT ON t BEGIN UPDATE t SET x = ifnull(x, 0) + 100 WHERE id = NEW.id; END;
     CREATE TRIGGER own2 AFTER UPDATE ON t WHEN NEW.x < 100 BEGIN UPDATE t SET x = NEW.x + 100 WHERE id = NEW.id; END",
    "CREATE TRIGGER own AFTER INSERT ON t WHEN NEW.x = 2
     BEGIN INSERT OR IGNORE INTO t(a, b, x) VALUES (NEW.a + 1, NEW.b || 'q', 50); END",
    "CREATE TRIGGER own1 AFTER DELETE ON t WHEN OLD.x = 2 BEGIN DELETE FROM t WHERE x = 1; END;
     CREATE TRIGGER own2 BEFORE INSERT ON t WHEN NEW.x = 1 BEGIN UPDATE t SET x = 3 WHERE x = 2; END",
];

const POLICIES: [&str; 8] =
    ["", "", "OR REPLACE", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ABORT", "OR ROLLBACK"];

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(values)
}

fn a() -> impl Strategy<Value = &'static str> + Clone {
    one_of(&["NULL", "1", "2", "3"])
}

fn b() -> impl Strategy<Value = &'static str> + Clone {
    one_of(&["NULL", "'u'", "'U'", "'v'", "'w'"])
}

fn x() -> impl Strategy<Value = &'static str> + Clone {
    one_of(&["NULL", "0", "1", "2", "3"])
}

fn statement(keys: [&'static str; 5]) -> impl Strategy<Value = String> {
    let id = prop::sample::select(keys.to_vec());
    let row = (id.clone(), a(), b(), x()).prop_map(|(id, a, b, x)| format!("({id}, {a}, {b}, {x})"));
    let rows = prop::collection::vec(row, 1..4).prop_map(|rows| rows.join(", "));
    let on_conflict = (id.clone(), a(), x(), 0..4).prop_map(|(id, a, x, kind)| match kind {
        0 => "ON CONFLICT DO NOTHING".to_owned(),
        1 => format!("ON CONFLICT DO UPDATE SET x = excluded.x, a = {a}"),
        2 => format!("ON CONFLICT DO UPDATE SET x = {x}, id = {id}"),
        _ => String::new(),
    });
    let insert = (one_of(&POLICIES), rows, on_conflict).prop_map(|(policy, rows, conflict)| {
        format!("INSERT {policy} INTO t (id, a, b, x) VALUES {rows} {conflict}")
    });
    let set = (id.clone(), a(), b(), x(), 1..16).prop_map(|(id, a, b, x, mask)| {
        let sets = [format!("id = {id}"), format!("a = {a}"), format!("b = {b}"), format!("x = {x}")];
        let chosen = sets.into_iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
        chosen.map(|(_, set)| set).collect::<Vec<_>>().join(", ")
    });
    let condition = (id, a(), x(), 0..4).prop_map(|(id, a, x, kind)| match kind {
        0 => String::new(),
        1 => format!("WHERE id = {id}"),
        2 => format!("WHERE a = {a}"),
        _ => format!("WHERE x = {x}"),
    });
    let update = (one_of(&POLICIES), set, condition.clone())
        .prop_map(|(policy, set, condition)| format!("UPDATE {policy} t SET {set} {condition}"));
    let delete = condition.prop_map(|condition| format!("DELETE FROM t {condition}"));
    let transaction = one_of(&["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s", "RELEASE s"]);
    prop_oneof![6 => insert, 4 => update, 1 => delete, 3 => transaction.prop_map(str::to_owned)]
}

type Rows = BTreeMap<String, Columns>;

fn key(row: &Columns) -> String {
    row.get("id").unwrap().to_owned()
}

/// Does to the model what was told; `is_strict` when every old row has to be the one that the model has.
fn apply(model: &mut Rows, changes: Vec<Recorded>, is_strict: bool) -> Result<(), TestCaseError> {
    for Recorded { kind, .. } in changes {
        let (old, new) = match kind {
            Kind::Insert(new) => (None, Some(new)),
            Kind::Update { old, new } => (Some(old), Some(new)),
            Kind::Delete(old) => (Some(old), None),
            Kind::Reset | Kind::ResetAll => return Err(TestCaseError::fail("nothing is lost")),
        };
        if let Some(old) = old {
            let known = model.remove(&key(&old));
            prop_assert!(!is_strict || known.as_ref() == Some(&old), "{known:?} is not {old:?}");
        }
        if let Some(new) = new {
            let known = model.insert(key(&new), new);
            prop_assert!(!is_strict || known.is_none(), "{known:?} was there");
        }
    }
    Ok(())
}

async fn table_of(t: &mut Captured) -> Rows {
    let rows = sqlx::query("SELECT a || '', b, id || '', x || '' FROM t")
        .fetch_all(&mut t.connection)
        .await
        .unwrap();
    let row = |row: sqlx::sqlite::SqliteRow| -> Columns {
        COLUMNS.iter().enumerate().map(|(at, column)| ((*column).to_owned(), row.get(at))).collect()
    };
    rows.into_iter().map(row).map(|row| (key(&row), row)).collect()
}

/// A transaction is open exactly when another cannot begin.
async fn is_in_transaction(t: &mut Captured) -> bool {
    let began = try_run(&mut t.connection, "BEGIN").await.is_ok();
    if began {
        t.run("COMMIT").await;
    }
    !began
}

async fn play(
    ddl: &str,
    triggers: &str,
    recursive: bool,
    statements: &[String],
) -> Result<(), TestCaseError> {
    let setup = format!(
        "PRAGMA recursive_triggers = {recursive}; PRAGMA foreign_keys = 1; CREATE TABLE t({ddl}; {triggers}"
    );
    let mut t = Captured::new(&setup, "t").await;
    let mut model = Rows::new();
    // Where triggers and foreign keys run in the middle of a statement, a row may be told in an order of its own.
    let is_strict = triggers.is_empty() && !ddl.contains("REFERENCES");
    for statement in statements {
        let done = try_run(&mut t.connection, statement).await;
        if let Err(error) = done {
            let error = error.to_string();
            let is_due = [
                "constraint failed",
                "transaction",
                "no such savepoint",
                "too many levels",
                "datatype mismatch",
            ];
            prop_assert!(is_due.iter().any(|due| error.contains(due)), "{statement}: {error}");
        }
        if !is_in_transaction(&mut t).await {
            apply(&mut model, t.changes().await, is_strict)?;
            prop_assert_eq!(&model, &table_of(&mut t).await, "after {}", statement);
        }
    }
    Ok(())
}

#[test]
fn whoever_applies_what_is_told_has_the_table() {
    let runtime: Runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cases = (0..TABLES.len()).prop_flat_map(|table| {
        let statements = prop::collection::vec(statement(TABLES[table].1), 1..40);
        (Just(TABLES[table].0), one_of(&TRIGGERS), any::<bool>(), statements)
    });
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) };
    proptest!(config, |((ddl, triggers, recursive, statements) in cases)| {
        runtime.block_on(play(ddl, triggers, recursive, &statements))?;
    });
}
