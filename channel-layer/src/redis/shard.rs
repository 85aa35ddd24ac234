//! The connections to one Redis server: one that everybody's commands share, and a pool for commands that block.

use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleResult};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, ProtocolVersion, RedisError, ScriptInvocation, cmd};

use super::commands::Commands;
use super::config::RedisConfig;
use super::host::{CONNECT_TIMEOUT, Host, unavailable};
use crate::LayerError;

/// The most blocking connections: one for the process' own queue, and one for each normal channel that is read.
const BLOCKING_CONNECTIONS: usize = 256;

/// How long after it was taken a connection is trusted without being asked: busy readers save a round trip.
const TRUSTED: Duration = Duration::from_secs(1);

/// One server.
pub(crate) struct Shard {
    host: Arc<Host>,
    commands: Commands,
    blocking: Pool<Opener>,
}

/// A connection for blocking commands, which goes back to its pool.
pub(crate) type Blocking = Object<Opener>;

/// Opens the connections of the pool.
pub(crate) struct Opener {
    host: Arc<Host>,
}

impl Shard {
    /// The servers of a configuration, in its order.
    pub(crate) fn all(config: &RedisConfig) -> Result<Vec<Self>, LayerError> {
        if config.hosts.is_empty() {
            return Err(LayerError::Unavailable("no Redis host is configured".to_owned()));
        }
        config.hosts.iter().map(|address| Self::new(Host::new(address, config)?)).collect()
    }

    /// Connections that are opened when they are first used, so that a program can start before its Redis.
    fn new(host: Host) -> Result<Self, LayerError> {
        let host = Arc::new(host);
        let blocking = Pool::builder(Opener { host: Arc::clone(&host) })
            .max_size(BLOCKING_CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .map_err(|error| LayerError::Unavailable(error.to_string()))?;
        Ok(Self { commands: Commands::new(Arc::clone(&host)), host, blocking })
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
    pub(crate) async fn pipe(&self, pipeline: &redis::Pipeline) -> Result<(), LayerError> {
        let connection = self.commands.connection();
        let answer = async { pipeline.exec_async(&mut connection.clone().await?).await };
        self.commands.answer(&connection, answer).await
    }

    /// Runs a command over the shared connection.
    pub(crate) async fn command<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, LayerError> {
        let connection = self.commands.connection();
        let answer = async { command.query_async(&mut connection.clone().await?).await };
        self.commands.answer(&connection, answer).await
    }

    /// A connection for blocking commands.
    pub(crate) async fn blocking(&self) -> Result<Blocking, LayerError> {
        self.blocking.get().await.map_err(|error| match error {
            PoolError::Backend(error) => unavailable(&error),
            error => LayerError::Unavailable(error.to_string()),
        })
    }
}

impl Manager for Opener {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<MultiplexedConnection, RedisError> {
        // A blocking command answers when it has something to answer.
        let settings = AsyncConnectionConfig::new().set_response_timeout(None);
        self.host.connect(ProtocolVersion::RESP2, &settings).await
    }

    /// Finds out whether a connection that was not used for a while still works.
    async fn recycle(
        &self,
        connection: &mut MultiplexedConnection,
        metrics: &Metrics,
    ) -> RecycleResult<RedisError> {
        if metrics.last_used() >= TRUSTED {
            cmd("PING").exec_async(connection).await?;
        }
        Ok(())
    }
}
