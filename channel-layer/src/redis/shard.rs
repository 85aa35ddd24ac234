//! The connections to one Redis server: one that everybody's commands share, and a pool for commands that block.

use std::time::Duration;

use deadpool_redis::{Manager, Pool, Runtime};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo, RedisError, ScriptInvocation,
};

use super::commands::Commands;
use super::config::RedisConfig;
use crate::LayerError;

/// How long connecting may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The most blocking connections: one for the process' own queue, and one for each normal channel that is read.
const BLOCKING_CONNECTIONS: usize = 256;

/// One server.
pub(crate) struct Shard {
    client: Client,
    commands: Commands,
    blocking: Pool,
}

impl Shard {
    /// The servers of a configuration, in its order.
    pub(crate) fn all(config: &RedisConfig) -> Result<Vec<Self>, LayerError> {
        if config.hosts.is_empty() {
            return Err(LayerError::Unavailable("no Redis host is configured".to_owned()));
        }
        config.hosts.iter().map(|host| Self::new(host)).collect()
    }

    /// Connections that are opened when they are first used, so that a program can start before its Redis.
    fn new(url: &str) -> Result<Self, LayerError> {
        let info = url.into_connection_info().map_err(|error| unavailable(&error))?;
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = info.set_tcp_settings(tcp);
        let client = Client::open(info.clone()).map_err(|error| unavailable(&error))?;
        let commands = Commands::new(client.clone());
        // A blocking command answers when it has something to answer.
        let waiting = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let manager = Manager::new_with_config(info, waiting).map_err(|error| unavailable(&error))?;
        let blocking = Pool::builder(manager)
            .max_size(BLOCKING_CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .map_err(|error| LayerError::Unavailable(error.to_string()))?;
        Ok(Self { client, commands, blocking })
    }

    /// Opens further connections to the same server.
    pub(crate) fn client(&self) -> &Client {
        &self.client
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
    pub(crate) async fn blocking(&self) -> Result<deadpool_redis::Connection, LayerError> {
        self.blocking.get().await.map_err(|error| LayerError::Unavailable(error.to_string()))
    }
}

pub(crate) fn unavailable(error: &RedisError) -> LayerError {
    LayerError::Unavailable(error.to_string())
}
