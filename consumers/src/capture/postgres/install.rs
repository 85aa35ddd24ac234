//! Installs the outbox and the triggers: only what is missing, by one process at a time, and never waiting long for
//! writers.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, Error, Executor, PgConnection, Row};

use super::super::outbox::Table;
use super::CaptureError;
use super::catalog::{Triggers, state};
use super::connection::Server;
use super::tables::Place;
use super::triggers::{self, OWN_TABLES, VERSION};

/// What PostgreSQL says when a lock was not to be had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Makes the outbox and its function, when they are missing or old.
pub(super) async fn outbox(server: &Server, connection: &mut PgConnection) -> Result<(), CaptureError> {
    if is_right(server, connection).await? {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    lock_installation(&mut transaction).await?;
    // The one who installed it meanwhile may have left nothing to do, or be of a later version.
    if !is_right(server, &mut transaction).await? {
        transaction.execute(triggers::TABLES).await.map_err(locked(OWN_TABLES[0]))?;
        transaction.execute(AssertSqlSafe(triggers::function(&server.schema))).await?;
    }
    Ok(transaction.commit().await?)
}

/// Installs the triggers of a table if they are not right. If they are, no lock is taken, for that would wait for the
/// longest transaction that writes.
pub(super) async fn triggers(
    server: &Server,
    connection: &mut PgConnection,
    table: &Table,
    place: &Place,
) -> Result<(), CaptureError> {
    if state(connection, place).await?.triggers == Triggers::Right {
        return Ok(());
    }
    check_ownership(connection, table, place).await?;
    let mut transaction = connection.begin().await?;
    lock_installation(&mut transaction).await?;
    let sql = match state(&mut transaction, place).await?.triggers {
        Triggers::Right => return Ok(()),
        Triggers::Off => triggers::always(&place.sql()),
        Triggers::Wrong => triggers::triggers(&place.sql(), &server.schema),
    };
    transaction.execute(AssertSqlSafe(sql)).await.map_err(locked(&table.name))?;
    Ok(transaction.commit().await?)
}

/// One installation at a time, so that two processes that start do not get into each other's way.
async fn lock_installation(connection: &mut PgConnection) -> Result<(), CaptureError> {
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('waterway install ' || current_schema(), 0))";
    connection.execute(lock).await.map_err(locked(OWN_TABLES[0]))?;
    Ok(())
}

fn locked(table: &str) -> impl FnOnce(Error) -> CaptureError {
    move |error| match error.as_database_error().and_then(|error| error.code()) {
        Some(code) if code == LOCK_NOT_AVAILABLE => CaptureError::Locked { table: table.to_owned() },
        _ => error.into(),
    }
}

/// What there is, and what we may do. Of what is not there, the rights cannot be asked for; who makes it has them.
const OBJECTS: &str = "
SELECT current_user::text AS me, current_schema()::text AS schema,
       has_schema_privilege(current_schema(), 'CREATE') AS may_create,
       (SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest($1::text[]) AS name)
           AND EXISTS (SELECT FROM pg_attribute
                       WHERE attrelid = to_regclass('waterway_cursor') AND attname = 'page_last') AS has_tables,
       (SELECT string_agg(due.due || ' on ' || due.name, ', ' ORDER BY due.name, due.due)
        FROM unnest($1::text[]) AS t (name)
        JOIN (VALUES ('waterway_outbox', 'SELECT'), ('waterway_outbox', 'UPDATE'), ('waterway_outbox', 'DELETE'),
                     ('waterway_cursor', 'SELECT'), ('waterway_cursor', 'UPDATE'), ('waterway_cursor', 'DELETE'),
                     ('waterway_cursor', 'INSERT'), ('waterway_outbox_epoch', 'SELECT'),
                     ('waterway_outbox_epoch', 'UPDATE')) AS due (name, due)
             USING (name)
        WHERE NOT has_table_privilege(to_regclass(name), due)) AS lacking,
       (SELECT (prosrc = $2 OR coalesce(substring(prosrc FROM 'waterway capture, version (\\d+)')::int, 0) > $3)
               AND prosecdef
        FROM pg_proc WHERE oid = to_regprocedure('waterway_capture()')) AS has_function,
       (SELECT pg_has_role(proowner, 'USAGE')
        FROM pg_proc WHERE oid = to_regprocedure('waterway_capture()')) AS may_replace";

/// The epoch is that of the outbox that is there.
const EPOCH: &str = "SELECT EXISTS (SELECT FROM waterway_outbox_epoch WHERE outbox = to_regclass('waterway_outbox')) AS is_right";

/// Whether the outbox is all there. When it is not, and cannot be made by us, that is an error.
async fn is_right(server: &Server, connection: &mut PgConnection) -> Result<bool, CaptureError> {
    let body = triggers::body(&server.schema);
    let query = sqlx::query(OBJECTS).bind(OWN_TABLES).bind(body).bind(VERSION);
    let objects = query.fetch_one(&mut *connection).await?;
    let has_tables = objects.try_get("has_tables")?;
    let has_function = objects.try_get::<Option<bool>, _>("has_function")?;
    match reason_against(&objects, has_tables, has_function)? {
        Some(reason) => Err(CaptureError::Refused(reason)),
        None if has_tables && has_function == Some(true) => {
            Ok(connection.fetch_one(EPOCH).await?.try_get("is_right")?)
        }
        None => Ok(false),
    }
}

/// Which right is lacking.
fn reason_against(
    row: &PgRow,
    has_tables: bool,
    has_function: Option<bool>,
) -> Result<Option<String>, Error> {
    let (me, schema): (String, String) = (row.try_get("me")?, row.try_get("schema")?);
    if let Some(lacking) = row.try_get::<Option<String>, _>("lacking")? {
        return Ok(Some(format!(
            "role {me:?} lacks {lacking}: grant it, or use the role that installed them"
        )));
    }
    let must_create = !has_tables || has_function.is_none();
    if must_create && !row.try_get::<bool, _>("may_create")? {
        let reason = format!(
            "role {me:?} lacks CREATE on schema {schema:?}, where the outbox is to be made: grant it, or let a role \
             that has it start first"
        );
        return Ok(Some(reason));
    }
    if has_function == Some(false) && row.try_get::<Option<bool>, _>("may_replace")? != Some(true) {
        let reason = format!(
            "function waterway_capture in schema {schema:?} is of another version, and role {me:?} does not own it: \
             let its owner start first"
        );
        return Ok(Some(reason));
    }
    Ok(None)
}

const OWNERSHIP: &str = "
SELECT current_user::text AS me, pg_get_userbyid(c.relowner)::text AS owner,
       pg_has_role(c.relowner, 'USAGE') AS is_owner,
       has_function_privilege(to_regprocedure('waterway_capture()'), 'EXECUTE') AS may_use
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2";

/// Only a table's owner can make triggers that always fire.
async fn check_ownership(
    connection: &mut PgConnection,
    table: &Table,
    place: &Place,
) -> Result<(), CaptureError> {
    let query = sqlx::query(OWNERSHIP).bind(&place.schema).bind(&place.name);
    let Some(row) = query.fetch_optional(connection).await? else { return Ok(()) };
    let (me, owner): (String, String) = (row.try_get("me")?, row.try_get("owner")?);
    let reason = match (row.try_get("is_owner")?, row.try_get("may_use")?) {
        (true, true) => return Ok(()),
        (false, _) => {
            format!("role {me:?} does not own it, as who installs triggers must: let {owner:?} do it once")
        }
        (true, false) => format!("role {me:?} lacks EXECUTE on function waterway_capture(): grant it"),
    };
    Err(CaptureError::unsupported(&table.name, reason))
}
