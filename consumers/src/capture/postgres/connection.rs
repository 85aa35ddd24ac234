//! Connections that are not the pool's: they stay, and nothing on them waits for ever.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor, PgConnection, PgPool, Row};

use super::super::CaptureError;

/// How long a statement of ours, or a few that belong together, may take, with the way there and back.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long one table may take to be given its triggers. How long it waits for locks is much less.
const INSTALL_WITHIN: Duration = Duration::from_secs(30);

/// What holds for every connection of ours, whatever the pool's or the server's settings are.
const SETTINGS: [(&str, &str); 14] = [
    ("lock_timeout", "1s"),
    ("statement_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "10s"),
    // A process whose machine is gone must not keep its turn for the two hours that are usual.
    ("tcp_keepalives_idle", "2"),
    ("tcp_keepalives_interval", "1"),
    ("tcp_keepalives_count", "3"),
    // Nobody asks whether it is alive while something that was sent to it is not acknowledged, for a quarter of an hour.
    ("tcp_user_timeout", "5s"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    // When a crash forgets our last commits, changes are told twice, as after every crash. What a cursor has seen is
    // never forgotten before the cursor is, since the server writes down everything in order.
    ("synchronous_commit", "off"),
    // The outbox changes faster than its statistics, so the plans of the few statements are made once, and with
    // indices.
    ("enable_seqscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    ("client_min_messages", "warning"),
];

/// The server and the schema in which the outbox is.
#[derive(Debug, Clone)]
pub(super) struct Server {
    options: PgConnectOptions,
    /// Not quoted.
    pub(super) schema: String,
    /// Whether transactions can be prepared. They may not notify, and it would fail them.
    pub(super) can_prepare: bool,
}

impl Server {
    /// Where the pool's connections go, and the first connection, which still has the search path of the pool's.
    pub(super) async fn of(pool: &PgPool) -> Result<(Self, PgConnection), CaptureError> {
        let options = pool.connect_options().as_ref().clone();
        let options = options.application_name("waterway relay").options(SETTINGS);
        bounded(async {
            let mut connection = options.connect().await?;
            let row = connection.fetch_one(ASK).await?;
            if row.try_get::<i32, _>("version")? < 130_000 {
                return Err(CaptureError::Refused("the server is older than PostgreSQL 13".into()));
            }
            if row.try_get("is_replica")? {
                let reason = "the server is a replica, which cannot be written to: connect to the primary";
                return Err(CaptureError::Refused(reason.into()));
            }
            let schema: Option<String> = row.try_get("schema")?;
            let schema = schema.ok_or_else(|| {
                CaptureError::Refused(
                    "no schema of the search path exists: make one, or set search_path".into(),
                )
            })?;
            let can_prepare = row.try_get("can_prepare")?;
            Ok((Self { options, schema, can_prepare }, connection))
        })
        .await
    }

    /// A new connection that finds the outbox by its bare name.
    pub(super) async fn connect(&self) -> Result<PgConnection, CaptureError> {
        bounded(async {
            let mut connection = self.options.connect().await?;
            self.use_schema(&mut connection).await?;
            Ok(connection)
        })
        .await
    }

    /// Lets a connection find the outbox by its bare name, and nothing else but what the server brings.
    pub(super) async fn use_schema(&self, connection: &mut PgConnection) -> Result<(), CaptureError> {
        let set = "SELECT set_config('search_path', quote_ident($1) || ', pg_temp', false)";
        sqlx::query(set).bind(&self.schema).execute(connection).await?;
        Ok(())
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }
}

/// What is to be known about a server. An outbox that is there is used, wherever in the search path.
const ASK: &str = "
SELECT current_setting('server_version_num')::int AS version,
       pg_is_in_recovery() AS is_replica,
       current_setting('max_prepared_transactions')::int > 0 AS can_prepare,
       coalesce((SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = to_regclass('waterway_outbox') AND c.relpersistence <> 't'),
                current_schema())::text AS schema";

/// Waits for an answer, but not for ever: a network may swallow everything, and says so to nobody.
pub(super) async fn bounded<T>(
    work: impl Future<Output = Result<T, CaptureError>>,
) -> Result<T, CaptureError> {
    let answer = tokio::time::timeout(ANSWER_WITHIN, work).await;
    answer.unwrap_or(Err(CaptureError::Late(ANSWER_WITHIN)))
}

/// The same for an installation.
pub(super) async fn bounded_install<T>(
    work: impl Future<Output = Result<T, CaptureError>>,
) -> Result<T, CaptureError> {
    let answer = tokio::time::timeout(INSTALL_WITHIN, work).await;
    answer.unwrap_or(Err(CaptureError::Late(INSTALL_WITHIN)))
}
