//! The poller: takes what arrives for this process out of its queue on one host, for ever and whatever happens to
//! Redis, and hands it to the hub.

use std::sync::{Arc, Weak};
use std::time::Duration;

use deadpool_redis::Connection;
use redis::{ErrorKind, FromRedisValue, RedisError, cmd};

use super::core::Core;
use super::host::unavailable;
use super::shard::Shard;
use crate::LayerError;
use crate::losses::count;
use crate::registrar::Registrar;

/// How long one wait for a message lasts.
const WAIT: Duration = Duration::from_secs(5);

/// How much longer than that Redis may take until the connection counts as dead.
const GRACE: Duration = Duration::from_secs(3);

/// How many messages are taken at once when more than one is there.
const BATCH: usize = 256;

/// The waits between attempts to reconnect; below two seconds, since receivers should be back by then.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A message as it stood in the queue, and its score.
pub(super) type Entry = (Vec<u8>, f64);

/// Receives what comes to one queue of this process on one host.
pub(crate) async fn poll(core: Arc<Core>, shard: Arc<Shard>, key: String, registrar: Weak<Registrar>) {
    let mut pause = FIRST_PAUSE;
    let mut was_away = false;
    loop {
        match connected(&core, &shard, &key, &registrar, &mut was_away).await {
            Ok(never) => match never {},
            Err(cause) => {
                if !was_away {
                    tracing::warn!(%cause, "receiving from Redis failed: trying again for ever");
                    pause = FIRST_PAUSE;
                }
                was_away = true;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Receives over one connection, until it breaks.
async fn connected(
    core: &Core,
    shard: &Shard,
    key: &str,
    registrar: &Weak<Registrar>,
    was_away: &mut bool,
) -> Result<std::convert::Infallible, LayerError> {
    let mut connection = shard.blocking().await?;
    loop {
        if let Err(error) = drain(core, key, &mut connection).await {
            return Err(broken(shard, connection, &error));
        }
        if std::mem::take(was_away) {
            tracing::info!("receiving from Redis again");
            // Redis may have lost our memberships, and what was sent meanwhile.
            registrar.upgrade().inspect(|registrar| registrar.rejoin_all());
        }
        match pop(key, WAIT, &mut connection).await {
            Ok(Some(entry)) => deliver(core, key, entry).await,
            Ok(None) => {}
            Err(error) => return Err(broken(shard, connection, &error)),
        }
    }
}

/// Waits so long for a message.
pub(super) async fn pop(
    key: &str,
    wait: Duration,
    connection: &mut Connection,
) -> Result<Option<Entry>, RedisError> {
    let mut pop = cmd("BZPOPMIN");
    // As text, whole seconds have no point, which Redis 5 would refuse.
    pop.arg(key).arg(wait.as_secs_f64().to_string());
    let first: Option<(String, Vec<u8>, f64)> = in_time(wait + GRACE, pop.query_async(connection)).await?;
    Ok(first.map(|(_, body, score)| (body, score)))
}

/// Receives all that is there.
async fn drain(core: &Core, key: &str, connection: &mut Connection) -> Result<(), RedisError> {
    let mut more = cmd("ZPOPMIN");
    more.arg(key).arg(BATCH);
    loop {
        let entries = entries(in_time(GRACE, more.query_async(connection)).await?)?;
        let is_last = entries.len() < BATCH;
        for entry in entries {
            deliver(core, key, entry).await;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// An answer, if it comes before the connection counts as dead.
async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    let late = |_| Err(RedisError::from((ErrorKind::Io, "Redis does not answer")));
    tokio::time::timeout(limit, answer).await.unwrap_or_else(late)
}

/// A connection that failed is not given back to the pool.
pub(super) fn broken(shard: &Shard, connection: Connection, error: &RedisError) -> LayerError {
    shard.discard(connection);
    unavailable(error)
}

/// Reads what ZPOPMIN answers: a flat list in RESP2, pairs in RESP3.
fn entries(value: redis::Value) -> Result<Vec<Entry>, RedisError> {
    Vec::<Entry>::from_redis_value(value).map_err(RedisError::from)
}

/// Hands one message to those it names.
async fn deliver(core: &Core, key: &str, (body, score): Entry) {
    let Some((message, names)) = core.hub().readable(key, core.codec().decode(&body.into())) else { return };
    if names.is_empty() {
        count(&core.hub().counters().unroutable, 1);
    }
    let is_expired = core.is_expired(score);
    for name in &names {
        let group = core.group_of(name);
        if is_expired {
            core.hub().miss_expired(group.as_ref(), name);
            continue;
        }
        match group {
            Some(group) => {
                // A hub that is closed has nobody left to hear it.
                let _ = core.hub().group_send(&group, &message).await;
            }
            None => core.hub().deliver(name, &message),
        }
    }
}
