//! Whether the triggers of the bound tables are what they should be, and how they become so.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{Executor, PgConnection, Row};

use super::super::outbox::Table;
use super::CaptureError;
use super::connection::{Server, bounded, bounded_install};
use super::install;
use super::tables::{self, Place};
use super::triggers::{ROW_TRIGGER, TRUNCATE_TRIGGER};

/// How long an installation waits for the writers of a table when the program starts. Other writers wait behind it.
const PATIENCE: &str = "SET lock_timeout = '3s'; SET statement_timeout = '25s'";

/// The same when triggers are put back, while a relay waits.
const MENDING_PATIENCE: &str = "SET lock_timeout = '500ms'; SET statement_timeout = '5s'";

/// The bound tables, and what their triggers looked like when they were right.
#[derive(Debug)]
pub(super) struct Watch {
    bound: Vec<Bound>,
    /// What bindings call each table, by its place.
    names: HashMap<String, HashMap<String, String>>,
}

#[derive(Debug)]
struct Bound {
    table: Table,
    place: Place,
    /// Changes whenever the table, a trigger or the function does, even when it is changed back: there were moments
    /// without. `None` while there is no such table.
    mark: Option<String>,
    /// What is in the log already of its sad state.
    lament: Option<String>,
}

/// What the catalog says about a table and its triggers.
#[derive(Debug)]
pub(super) struct State {
    pub(super) mark: Option<String>,
    pub(super) triggers: Triggers,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Triggers {
    Right,
    /// They are right, but do not always fire.
    Off,
    /// One is missing, or is another.
    Wrong,
}

impl Watch {
    /// Looks at the tables and installs what is missing. The connection has the search path in which they are named; it
    /// finds the outbox afterwards.
    pub(super) async fn install(
        server: &Server,
        connection: &mut PgConnection,
        tables: Vec<Table>,
    ) -> Result<Self, CaptureError> {
        let mut watch = Self { bound: Vec::new(), names: HashMap::new() };
        for table in tables {
            let place = bounded(tables::find(connection, &table)).await?;
            watch.add(table, place)?;
        }
        bounded(server.use_schema(connection)).await?;
        for Bound { table, place, .. } in &watch.bound {
            bounded(tables::check(connection, table, place)).await?;
        }
        connection.execute(PATIENCE).await?;
        bounded_install(install::outbox(server, connection)).await?;
        for Bound { table, place, .. } in &watch.bound {
            bounded_install(install::triggers(server, connection, table, place)).await?;
        }
        connection.execute("RESET lock_timeout; RESET statement_timeout").await?;
        let states = bounded(watch.states(connection)).await?;
        watch.bound.iter_mut().zip(states).for_each(|(bound, state)| bound.mark = state.mark);
        Ok(watch)
    }

    fn add(&mut self, table: Table, place: Place) -> Result<(), CaptureError> {
        let names = self.names.entry(place.schema.clone()).or_default();
        match names.get(&place.name) {
            // Two bindings of one table share its changes.
            Some(name) if *name == table.name => return Ok(()),
            Some(name) => {
                let reason = format!("it is bound under the name {name:?} already: use one name for it");
                return Err(CaptureError::unsupported(&table.name, reason));
            }
            None => names.insert(place.name.clone(), table.name.clone()),
        };
        self.bound.push(Bound { table, place, mark: None, lament: None });
        Ok(())
    }

    /// What bindings call the table at a place; `None` when it is not bound.
    pub(super) fn bound(&self, schema: &str, name: &str) -> Option<&str> {
        self.names.get(schema)?.get(name).map(String::as_str)
    }

    /// Whether nothing has happened to any trigger.
    pub(super) async fn is_well(&self, connection: &mut PgConnection) -> Result<bool, CaptureError> {
        let states = self.states(connection).await?;
        // An outbox that is gone makes no state, and then all are ill.
        Ok(states.len() == self.bound.len()
            && self.bound.iter().zip(&states).all(|(bound, state)| bound.is_well(state)))
    }

    /// Puts right what is not, and names the tables to which something had happened.
    pub(super) async fn mend(&mut self, server: &Server) -> Result<Vec<String>, CaptureError> {
        let mut connection = server.connect().await?;
        let connection = &mut connection;
        connection.execute(MENDING_PATIENCE).await?;
        bounded(install::outbox(server, connection)).await?;
        let before = bounded(self.states(connection)).await?;
        let mut failure = None;
        for (bound, state) in self.bound.iter_mut().zip(&before) {
            if !bound.is_well(state)
                && let Err(error) = bound.mend(server, connection).await
            {
                failure = Some(error);
            }
        }
        let after = bounded(self.states(connection)).await?;
        let mut mended = Vec::new();
        for (bound, state) in self.bound.iter_mut().zip(after) {
            if bound.mark != state.mark && state.triggers == Triggers::Right {
                mended.push(bound.table.name.clone());
                bound.lament = None;
            }
            // One that could not be mended is looked at again, since its triggers are not right.
            bound.mark = state.mark;
        }
        // What was mended must be told, and the next call finds again what was not.
        match failure {
            Some(error) if mended.is_empty() => Err(error),
            _ => Ok(mended),
        }
    }

    async fn states(&self, connection: &mut PgConnection) -> Result<Vec<State>, CaptureError> {
        let schemas: Vec<_> = self.bound.iter().map(|bound| bound.place.schema.as_str()).collect();
        let names: Vec<_> = self.bound.iter().map(|bound| bound.place.name.as_str()).collect();
        states(connection, &schemas, &names).await
    }
}

impl Bound {
    fn is_well(&self, state: &State) -> bool {
        self.mark == state.mark && (state.mark.is_none() || state.triggers == Triggers::Right)
    }

    /// Puts back the triggers of a table, if it can have any and nobody has it locked: neither must keep the relay from
    /// its work for the other tables. That is no error, since the next call tries again.
    async fn mend(&mut self, server: &Server, connection: &mut PgConnection) -> Result<(), CaptureError> {
        let work = async {
            tables::check(connection, &self.table, &self.place).await?;
            install::triggers(server, connection, &self.table, &self.place).await
        };
        match bounded(work).await {
            Err(error @ (CaptureError::Unsupported { .. } | CaptureError::Locked { .. })) => {
                let lament = error.to_string();
                if self.lament.as_ref() != Some(&lament) {
                    tracing::error!(error = lament, "changes of a bound table are not captured");
                }
                self.lament = Some(lament);
                Ok(())
            }
            outcome => outcome,
        }
    }
}

/// The state of one table.
pub(super) async fn state(connection: &mut PgConnection, place: &Place) -> Result<State, CaptureError> {
    let states = states(connection, &[&place.schema], &[&place.name]).await?;
    states.into_iter().next().ok_or_else(|| CaptureError::Outbox("its function is gone".into()))
}

/// The state of tables, in this order; of none when there is no function or outbox. Bits of a trigger's type: for each
/// row 1, insert 4, delete 8, update 16, truncate 32.
const STATES: &str = "
SELECT CASE WHEN c.oid IS NOT NULL THEN
           concat_ws(' ', o.oid, f.oid, f.xmin::text, c.oid, string_agg(g.oid || '@' || g.xmin, ' ' ORDER BY g.tgname))
       END AS mark,
       count(*) FILTER (WHERE is_right) = 2 AS are_right,
       count(*) FILTER (WHERE is_right AND g.tgenabled = 'A') = 2 AS are_on
FROM pg_proc AS f
JOIN pg_class AS o ON o.oid = to_regclass('waterway_outbox')
CROSS JOIN unnest($1::text[], $2::text[]) WITH ORDINALITY AS t (schema_name, table_name, place)
LEFT JOIN pg_namespace AS n ON n.nspname = t.schema_name
LEFT JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = t.table_name AND c.relkind = 'r'
LEFT JOIN pg_trigger AS g ON g.tgrelid = c.oid AND g.tgname IN ($3, $4)
CROSS JOIN LATERAL (SELECT g.tgfoid = f.oid AND g.tgqual IS NULL AND g.tgattr::text = '' AND NOT g.tgdeferrable
                           AND g.tgtype = CASE WHEN g.tgname = $3 THEN 29 ELSE 32 END AS is_right) AS r
WHERE f.oid = to_regprocedure('waterway_capture()')
GROUP BY t.place, o.oid, f.oid, f.xmin::text, c.oid ORDER BY t.place";

async fn states(
    connection: &mut PgConnection,
    schemas: &[&str],
    names: &[&str],
) -> Result<Vec<State>, CaptureError> {
    let query = sqlx::query(STATES).bind(schemas).bind(names).bind(ROW_TRIGGER).bind(TRUNCATE_TRIGGER);
    let rows = query.fetch_all(connection).await?;
    let state = |row: &PgRow| {
        let triggers = match (row.try_get("are_right")?, row.try_get("are_on")?) {
            (_, true) => Triggers::Right,
            (true, false) => Triggers::Off,
            (false, false) => Triggers::Wrong,
        };
        Ok(State { mark: row.try_get("mark")?, triggers })
    };
    rows.iter().map(state).collect()
}
