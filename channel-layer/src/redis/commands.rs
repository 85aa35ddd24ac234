//! The connection to one server that everybody's commands share: opened when it is first needed, and anew after it
//! has failed, whatever the failure was.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, ProtocolVersion, RedisError, RedisResult, ServerErrorKind};
use tokio::time::{sleep, timeout};

use super::host::{CONNECT_TIMEOUT, Host, unavailable};
use crate::LayerError;

/// How long a command may take until Redis counts as away.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a failed attempt to connect answers for all who come, so that they do not storm a Redis in trouble.
const PAUSE: Duration = Duration::from_millis(50);

/// The most commands that one write gathers; more than are sent at once by many tasks.
const PIPELINE: usize = 1024;

/// An attempt to connect, which all commands of its time share, and then the connection.
pub(crate) type Attempt = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

pub(crate) struct Commands {
    host: Arc<Host>,
    current: Mutex<Option<Attempt>>,
}

impl Commands {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self { host, current: Mutex::default() }
    }

    /// The connection, or the attempt at one.
    pub(crate) fn connection(&self) -> Attempt {
        let mut current = self.current.lock();
        current.get_or_insert_with(|| connect(Arc::clone(&self.host)).boxed().shared()).clone()
    }

    /// Waits for what a command over a connection answers, but not for ever; gives the connection up if it is dead.
    pub(crate) async fn answer<T>(
        &self,
        connection: &Attempt,
        answer: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, LayerError> {
        let answer = timeout(CONNECT_TIMEOUT + COMMAND_TIMEOUT, answer).await;
        let was_never_open = matches!(connection.peek(), Some(Err(_)));
        if was_never_open || answer.as_ref().map_or(true, |answer| answer.as_ref().is_err_and(is_dead)) {
            self.give_up(connection);
        }
        match answer {
            Ok(answer) => answer.map_err(|error| unavailable(&error)),
            Err(_) => Err(LayerError::Unavailable("Redis did not answer in time".to_owned())),
        }
    }

    /// Lets the next command connect anew, unless another one does already.
    fn give_up(&self, connection: &Attempt) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|current| current.ptr_eq(connection)) {
            *current = None;
        }
    }
}

async fn connect(host: Arc<Host>) -> RedisResult<MultiplexedConnection> {
    let settings = AsyncConnectionConfig::new()
        .set_response_timeout(Some(COMMAND_TIMEOUT))
        .set_pipeline_buffer_size(PIPELINE);
    let connection = host.connect(ProtocolVersion::RESP2, &settings).await;
    if connection.is_err() {
        sleep(PAUSE).await;
    }
    connection
}

/// Whether a connection on which this happened is of no more use. One that does not answer may be half open: its
/// peer is gone, and nobody has told us. A server that became a replica may have given its name to another.
fn is_dead(error: &RedisError) -> bool {
    let is_replica = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
    error.is_unrecoverable_error() || error.is_timeout() || is_replica
}
