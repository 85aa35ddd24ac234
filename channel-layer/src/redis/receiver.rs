//! The poller: takes what arrives for this process out of its queue on one host, for ever and whatever happens to
//! Redis, and hands it to the hub.
//!
//! Senders drop what a full queue has no room for, and what nobody takes in time, and only the poller can tell those who
//! missed it. Our own senders leave [`LOST`] in the queue then. Python's leave nothing, so a queue that is found full
//! counts as one that has lost something, unless it has room for fewer than 16. A connection that breaks may take with it
//! what was taken out of the queue, and a process that was stopped may have been taken out of its groups: it joins them
//! again. All that is told before whatever comes next.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use deadpool_redis::Connection;
use redis::{ErrorKind, FromRedisValue, RedisError, cmd};
use tokio::time::Instant;

use super::core::{Core, HEARTBEAT, LEASE};
use super::host::unavailable;
use super::shard::Shard;
use crate::LayerError;
use crate::losses::count;
use crate::registrar::Registrar;

/// How long one wait for a message lasts.
const WAIT: Duration = Duration::from_secs(5);

/// How much longer than that Redis may take until the connection counts as dead.
const GRACE: Duration = Duration::from_secs(3);

/// How many messages are taken at once when more than one is there: that many, or a whole queue of up to so many.
const BATCH: usize = 256;
const LARGEST_BATCH: usize = 1024;

/// The waits between attempts to reconnect; below two seconds, since receivers should be back by then.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How an entry begins that a sender of ours leaves in the full queue of one of our processes when it drops a message to a
/// group. It is no message, and there is one at most behind each message, however much is dropped.
pub(super) const LOST: &str = "waterway.lost";

/// A queue with less room than this is full now and then without having lost anything.
const SMALLEST_ROOM: usize = 16;

/// A message as it stood in the queue, and its score.
pub(super) type Entry = (Vec<u8>, f64);

/// Receives what comes to one queue of this process on one host: that of a remote part, such as `specific.<process>!`.
pub(crate) async fn poll(core: Arc<Core>, shard: Arc<Shard>, remote: String, registrar: Weak<Registrar>) {
    let mut queue = Incoming::new(&core, &remote, registrar);
    let mut pause = FIRST_PAUSE;
    loop {
        match connected(&mut queue, &shard).await {
            Ok(never) => match never {},
            Err(cause) => {
                if !queue.is_away {
                    tracing::warn!(%cause, "receiving from Redis failed: trying again for ever");
                    pause = FIRST_PAUSE;
                }
                queue.is_away = true;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Receives over one connection, until it breaks.
async fn connected(queue: &mut Incoming<'_>, shard: &Shard) -> Result<std::convert::Infallible, LayerError> {
    let mut connection = shard.blocking().await?;
    loop {
        if let Err(error) = queue.drain(&mut connection).await {
            return Err(broken(shard, connection, &error));
        }
        if let Err(error) = queue.wait(&mut connection).await {
            return Err(broken(shard, connection, &error));
        }
    }
}

/// A queue of this process, and whether something of it may have been lost before it was taken.
struct Incoming<'a> {
    core: &'a Core,
    key: String,
    /// How full senders fill it, in messages; they are taken to be configured as we are.
    capacity: usize,
    /// How many messages were taken since it was last seen empty: so many may have been in it at one time.
    taken: usize,
    /// Some of them were to groups: who sends to a channel is told when it is full.
    to_groups: bool,
    /// When Redis last answered, and so when we last lived.
    heard: Instant,
    registrar: Weak<Registrar>,
    /// The connection broke, or this process was stopped, and Redis has not answered since.
    is_away: bool,
}

impl<'a> Incoming<'a> {
    fn new(core: &'a Core, remote: &str, registrar: Weak<Registrar>) -> Self {
        Self {
            core,
            key: core.keys().remote_queue(remote),
            capacity: core.capacity_of(remote),
            taken: 0,
            to_groups: false,
            heard: Instant::now(),
            registrar,
            is_away: false,
        }
    }

    /// Receives all that is there.
    async fn drain(&mut self, connection: &mut Connection) -> Result<(), RedisError> {
        // As many as there can be, so that a queue that was full is known by it.
        let most = BATCH.max(self.capacity.min(LARGEST_BATCH));
        let mut more = cmd("ZPOPMIN");
        more.arg(&self.key).arg(most);
        loop {
            let entries = entries(in_time(GRACE, more.query_async(connection)).await?)?;
            self.come_back(Duration::ZERO);
            let is_last = entries.len() < most;
            for entry in entries {
                self.deliver(entry).await;
            }
            if is_last {
                (self.taken, self.to_groups) = (0, false);
                return Ok(());
            }
        }
    }

    /// Waits a while for a message.
    async fn wait(&mut self, connection: &mut Connection) -> Result<(), RedisError> {
        self.look_at_the_clock(Duration::ZERO);
        let popped = pop(&self.key, WAIT, connection).await?;
        self.come_back(WAIT);
        if let Some(entry) = popped {
            self.deliver(entry).await;
        }
        Ok(())
    }

    /// Notes that this process was stopped for so long, beyond what it waited, that messages may have grown too old, or its
    /// memberships.
    fn look_at_the_clock(&mut self, waited: Duration) {
        self.is_away |= self.heard.elapsed() > self.longest_stop() + waited;
        self.heard = Instant::now();
    }

    fn longest_stop(&self) -> Duration {
        let lease = Duration::from_secs(LEASE).saturating_sub(HEARTBEAT + WAIT);
        Duration::from_secs(self.core.expiry()).min(lease)
    }

    /// Redis has answered, after so much waiting. If we were away, joins everything again, since Redis may have lost our
    /// memberships and what was sent meanwhile.
    fn come_back(&mut self, waited: Duration) {
        self.look_at_the_clock(waited);
        if std::mem::take(&mut self.is_away) {
            tracing::info!(queue = self.key, "receiving from Redis again");
            self.registrar.upgrade().inspect(|registrar| registrar.rejoin_all());
        }
    }

    fn tell_of_losses(&self) {
        tracing::warn!(queue = self.key, "more came than was taken: whoever may have missed it is told");
        self.core.hub().miss_unknown();
    }

    /// Hands one message to those it names.
    async fn deliver(&mut self, (body, score): Entry) {
        let core = self.core;
        if body.starts_with(LOST.as_bytes()) {
            return self.tell_of_losses();
        }
        // It may stand behind a loss of which nobody has been told.
        self.registrar.upgrade().inspect(|registrar| registrar.tell_now());
        self.taken += 1;
        let decoded = core.codec().decode(&body.into());
        let Some((message, receivers)) = core.hub().readable(&self.key, decoded) else { return };
        if receivers.names.is_empty() {
            count(&core.hub().counters().unroutable, 1);
        }
        let is_expired = core.is_expired(score);
        if is_expired {
            // Where one message was too old, others may have been dropped for it.
            core.hub().miss_unknown();
        }
        for name in &receivers.names {
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
        self.to_groups |= receivers.are_members;
        self.look_at_the_room();
    }

    /// Tells of a loss when so many were taken that the queue was full: what it has lost then came behind them. One more may
    /// have been handed over before, and then it came behind the next.
    fn look_at_the_room(&mut self) {
        let full = self.capacity.max(SMALLEST_ROOM);
        if self.to_groups && self.taken >= full {
            self.tell_of_losses();
        }
        if self.taken > full {
            self.taken = 0;
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

/// An answer, if it comes before the connection counts as dead. It is waited for in halves, of which one does not count that
/// took much longer: then it was this process that was stopped, and the answer may have been there all the time.
async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    let mut answer = pin!(answer);
    let mut halves = 2;
    while halves > 0 {
        let began = Instant::now();
        match tokio::time::timeout(limit / 2, &mut answer).await {
            Ok(answer) => return answer,
            Err(_) if began.elapsed() > limit => {}
            Err(_) => halves -= 1,
        }
    }
    Err(RedisError::from((ErrorKind::Io, "Redis does not answer")))
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;
    use tokio::time::{advance, sleep};

    #[tokio::test(start_paused = true)]
    async fn who_was_stopped_while_an_answer_came_still_takes_it() {
        let (answer, answered) = oneshot::channel();
        let waiting = tokio::spawn(in_time(GRACE, async { Ok(answered.await.unwrap()) }));
        tokio::task::yield_now().await;
        // The clock is looked at before the connection is.
        advance(2 * GRACE).await;
        sleep(Duration::from_millis(1)).await;
        answer.send("late").unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), "late");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_silent_counts_as_dead() {
        let start = Instant::now();
        let answer: Result<(), RedisError> = in_time(GRACE, std::future::pending()).await;
        assert!(answer.is_err());
        assert!(
            (GRACE..GRACE + Duration::from_millis(10)).contains(&start.elapsed()),
            "{:?}",
            start.elapsed()
        );
    }
}
