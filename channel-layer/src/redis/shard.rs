//! The connections to one Redis server: one that everybody's commands share, and a pool for commands that block.

use std::sync::Arc;

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, ErrorKind, FromRedisValue, ProtocolVersion, RedisError, ScriptInvocation,
};

use super::commands::Commands;
use super::config::RedisConfig;
use super::host::{CONNECT_TIMEOUT, Host, unavailable};
use crate::LayerError;

/// The most blocking connections: one for the process' own queue, and one for each normal channel that is read.
const BLOCKING_CONNECTIONS: usize = 256;

/// One server.
pub(crate) struct Shard {
    host: Arc<Host>,
    commands: Commands,
    /// The pool over the server that was found last; sentinels may name another one when it fails.
    blocking: Mutex<Option<Pool>>,
}

impl Shard {
    /// The servers of a configuration, in its order.
    pub(crate) fn all(config: &RedisConfig) -> Result<Vec<Self>, LayerError> {
        if config.hosts.is_empty() {
            return Err(LayerError::Unavailable("no Redis host is configured".to_owned()));
        }
        config.hosts.iter().map(|address| Ok(Self::new(Host::new(address, config)?))).collect()
    }

    /// Connections that are opened when they are first used, so that a program can start before its Redis.
    fn new(host: Host) -> Self {
        let host = Arc::new(host);
        Self { commands: Commands::new(Arc::clone(&host)), host, blocking: Mutex::default() }
    }

    /// Opens further connections to the same server.
    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Runs a script over the shared connection.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, LayerError> {
        let connection = self.commands.connection();
        let answer = async { script.invoke_async(&mut connection.clone().await?).await };
        self.commands.answer(&connection, answer).await
    }

    /// Runs a pipeline over the shared connection.
    pub(crate) async fn pipe<T: FromRedisValue>(&self, pipeline: &redis::Pipeline) -> Result<T, LayerError> {
        let connection = self.commands.connection();
        let answer = async { pipeline.query_async(&mut connection.clone().await?).await };
        self.commands.answer(&connection, answer).await
    }

    /// Runs a command over the shared connection.
    pub(crate) async fn command<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, LayerError> {
        let connection = self.commands.connection();
        let answer = async { command.query_async(&mut connection.clone().await?).await };
        self.commands.answer(&connection, answer).await
    }

    /// A connection for blocking commands.
    pub(crate) async fn blocking(&self) -> Result<Connection, LayerError> {
        let known = self.blocking.lock().clone();
        let pool = match known {
            Some(pool) => pool,
            None => {
                let pool = self.pool().await.map_err(|error| unavailable(&error))?;
                self.blocking.lock().insert(pool).clone()
            }
        };
        pool.get().await.map_err(|error| {
            *self.blocking.lock() = None;
            match error {
                PoolError::Backend(error) => unavailable(&error),
                error => LayerError::Unavailable(error.to_string()),
            }
        })
    }

    /// Drops a connection that failed instead of giving it back, and asks anew where the server is: it may have been
    /// the master until now.
    pub(crate) fn discard(&self, connection: Connection) {
        drop(Connection::take(connection));
        *self.blocking.lock() = None;
    }

    /// A pool over the server as it is found now.
    async fn pool(&self) -> Result<Pool, RedisError> {
        let server = self.host.find(ProtocolVersion::RESP2).await?;
        // A blocking command answers when it has something to answer.
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let pool = Pool::builder(Manager::new_with_config(server, settings)?)
            .max_size(BLOCKING_CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT));
        pool.build().map_err(|error| RedisError::from((ErrorKind::Io, "no pool", error.to_string())))
    }
}
