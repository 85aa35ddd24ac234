//! Statements over a bound table whose columns are known only when the program runs.

use serde_json::Value;

use crate::capture::{CaptureError, Columns, Table, columns_of, row_as_json};
use crate::db::{Arg, Dialect, Query, Transaction, query, quoted};

/// A bound table, as statements name it and its columns.
pub(super) struct TableSql {
    dialect: Dialect,
    name: String,
    key: String,
    key_type: Option<String>,
    /// Each column, and its type where values have to be cast to it.
    columns: Vec<(String, Option<String>)>,
    /// The SQL of a row's texts as a JSON object.
    row: String,
}

impl TableSql {
    /// Looks the table up.
    pub(super) async fn read(transaction: &mut Transaction, table: &Table) -> Result<Self, CaptureError> {
        let dialect = transaction.dialect();
        let name = match dialect {
            Dialect::Sqlite => quoted(&table.name),
            Dialect::Postgres => table.name.split('.').map(quoted).collect::<Vec<_>>().join("."),
        };
        let columns = match dialect {
            Dialect::Sqlite => {
                query("SELECT name, NULL AS type FROM pragma_table_xinfo($1)").bind(table.name.as_str())
            }
            // Without the length, which a cast would cut to instead of refusing what is longer.
            Dialect::Postgres => query(
                "SELECT CAST(attname AS TEXT) AS name, format_type(atttypid, -1) AS type FROM pg_attribute
                 WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
            )
            .bind(name.as_str()),
        };
        let columns = columns.fetch_all(&mut *transaction).await?;
        let columns = columns
            .iter()
            .map(|row| Ok((row.get("name")?, row.get("type")?)))
            .collect::<Result<Vec<(String, Option<String>)>, sqlx::Error>>()?;
        let row = row_as_json(transaction, table, "t").await?;
        let key_type =
            columns.iter().find(|(name, _)| *name == table.key).and_then(|(_, type_)| type_.clone());
        Ok(Self { dialect, name, key: quoted(&table.key), key_type, columns, row })
    }

    /// The rows, or those in which a column has a value; at most so many.
    pub(super) async fn select(
        &self,
        transaction: &mut Transaction,
        narrowed: Option<(&str, Arg)>,
        limit: usize,
    ) -> Result<Vec<Columns>, CaptureError> {
        let Self { name, row, .. } = self;
        let (condition, value) = match narrowed {
            Some((column, value)) => (format!(" WHERE t.{} = $1", quoted(column)), Some(value)),
            None => (String::new(), None),
        };
        let select = statement(format!("SELECT {row} AS row FROM {name} t{condition} LIMIT {limit}"));
        let rows = value.into_iter().fold(select, Query::bind).fetch_all(transaction).await?;
        rows.iter().map(|row| columns_of(self.dialect, &row.get::<String>("row")?)).collect()
    }

    /// One row, which nobody else changes until the transaction ends.
    pub(super) async fn lock(
        &self,
        transaction: &mut Transaction,
        pk: &str,
    ) -> Result<Option<Columns>, CaptureError> {
        let Self { name, key, row, .. } = self;
        let pk_value = self.cast(1, self.key_type.as_deref());
        let lock = match self.dialect {
            // A transaction that may write has the whole file.
            Dialect::Sqlite => "",
            Dialect::Postgres => " FOR UPDATE",
        };
        let select = statement(format!("SELECT {row} AS row FROM {name} t WHERE t.{key} = {pk_value}{lock}"));
        let row = select.bind(pk).fetch_optional(transaction).await?;
        row.map(|row| columns_of(self.dialect, &row.get::<String>("row")?)).transpose()
    }

    /// Makes a row of these columns, and gives its key.
    pub(super) async fn insert(
        &self,
        transaction: &mut Transaction,
        columns: &Columns,
    ) -> Result<String, sqlx::Error> {
        let Self { name, key, .. } = self;
        let (mut names, mut values, mut args) = (Vec::new(), Vec::new(), Vec::new());
        for (column, value) in columns.iter() {
            names.push(quoted(column));
            args.push(Arg::from(value));
            values.push(self.cast(args.len(), self.type_of(column)));
        }
        let insert = if names.is_empty() {
            format!("INSERT INTO {name} DEFAULT VALUES RETURNING CAST({key} AS TEXT) AS pk")
        } else {
            let (names, values) = (names.join(", "), values.join(", "));
            format!("INSERT INTO {name} ({names}) VALUES ({values}) RETURNING CAST({key} AS TEXT) AS pk")
        };
        let insert = args.into_iter().fold(statement(insert), Query::bind);
        insert.fetch_one(transaction).await?.get("pk")
    }

    /// Changes these columns of a row.
    pub(super) async fn update(
        &self,
        transaction: &mut Transaction,
        pk: &str,
        columns: &Columns,
    ) -> Result<(), sqlx::Error> {
        let Self { name, key, .. } = self;
        let (mut sets, mut args) = (Vec::new(), Vec::new());
        for (column, value) in columns.iter() {
            args.push(Arg::from(value));
            sets.push(format!("{} = {}", quoted(column), self.cast(args.len(), self.type_of(column))));
        }
        if sets.is_empty() {
            return Ok(());
        }
        args.push(Arg::from(pk));
        let (sets, pk_value) = (sets.join(", "), self.cast(args.len(), self.key_type.as_deref()));
        let update = statement(format!("UPDATE {name} SET {sets} WHERE {key} = {pk_value}"));
        args.into_iter().fold(update, Query::bind).execute(transaction).await.map(drop)
    }

    /// Deletes a row.
    pub(super) async fn delete(&self, transaction: &mut Transaction, pk: &str) -> Result<(), sqlx::Error> {
        let Self { name, key, .. } = self;
        let pk_value = self.cast(1, self.key_type.as_deref());
        let delete = statement(format!("DELETE FROM {name} WHERE {key} = {pk_value}"));
        delete.bind(pk).execute(transaction).await.map(drop)
    }

    /// What a client says as the text of a column; a truth is written as the database shows it.
    pub(super) fn text_of(&self, value: &Value) -> Option<String> {
        match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            Value::Bool(truth) if self.dialect == Dialect::Sqlite => Some(u8::from(*truth).to_string()),
            other => Some(other.to_string()),
        }
    }

    fn type_of(&self, column: &str) -> Option<&str> {
        self.columns.iter().find(|(name, _)| name == column).and_then(|(_, type_)| type_.as_deref())
    }

    /// The nth argument, a text, as a value of a column. SQLite converts by the column's affinity.
    fn cast(&self, nth: usize, type_: Option<&str>) -> String {
        match type_ {
            Some(type_) => format!("CAST(CAST(${nth} AS TEXT) AS {type_})"),
            None => format!("${nth}"),
        }
    }
}

/// A statement that is made of quoted identifiers, types and this module's own text; values come as arguments.
fn statement(sql: String) -> Query {
    query(sqlx::AssertSqlSafe(sql))
}
