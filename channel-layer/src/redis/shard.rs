//! The connections to one Redis server: one that everybody's commands share, and a pool for commands that block.

use std::time::Duration;

use deadpool_redis::{Manager, Pool, Runtime};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo, RedisError, ScriptInvocation,
};

use crate::LayerError;

/// How long a command may take until Redis counts as away.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The most commands that one write gathers; more than are sent at once by many tasks.
const PIPELINE: usize = 1024;

/// The most blocking connections: one for the process' own queue, and one for each normal channel that is read.
const BLOCKING_CONNECTIONS: usize = 256;

/// One server.
pub(crate) struct Shard {
    client: Client,
    commands: ConnectionManager,
    blocking: Pool,
}

impl Shard {
    /// Connections that are opened when they are first used, so that a program can start before its Redis.
    pub(crate) fn new(url: &str) -> Result<Self, LayerError> {
        let info = url.into_connection_info().map_err(|error| unavailable(&error))?;
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = info.set_tcp_settings(tcp);
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(200))
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(COMMAND_TIMEOUT))
            .set_pipeline_buffer_size(PIPELINE);
        let client = Client::open(info.clone()).map_err(|error| unavailable(&error))?;
        let commands = ConnectionManager::new_lazy_with_config(client.clone(), config)
            .map_err(|error| unavailable(&error))?;
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
        let mut commands = self.commands.clone();
        bounded(script.invoke_async(&mut commands)).await
    }

    /// Runs a pipeline over the shared connection.
    pub(crate) async fn pipe(&self, pipeline: &redis::Pipeline) -> Result<(), LayerError> {
        let mut commands = self.commands.clone();
        bounded(pipeline.exec_async(&mut commands)).await
    }

    /// Runs a command over the shared connection.
    pub(crate) async fn command<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, LayerError> {
        let mut commands = self.commands.clone();
        bounded(command.query_async(&mut commands)).await
    }

    /// A connection for blocking commands.
    pub(crate) async fn blocking(&self) -> Result<deadpool_redis::Connection, LayerError> {
        self.blocking.get().await.map_err(|error| LayerError::Unavailable(error.to_string()))
    }
}

/// Whatever the connection does, nobody waits longer than this.
async fn bounded<T>(answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, LayerError> {
    match tokio::time::timeout(COMMAND_TIMEOUT + CONNECT_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| unavailable(&error)),
        Err(_) => Err(LayerError::Unavailable("Redis did not answer in time".to_owned())),
    }
}

pub(crate) fn unavailable(error: &RedisError) -> LayerError {
    LayerError::Unavailable(error.to_string())
}
