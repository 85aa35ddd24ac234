//! One server's subscription: a connection that is supervised, kept alive and made anew for ever, with everything
//! that was asked for subscribed again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisError, RedisResult, cmd};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until, timeout, timeout_at};

use super::inbox::{Inbox, inbox};
use crate::LayerError;
use crate::redis::{Host, unavailable};

/// How many changes may wait for the subscriber.
const REQUESTS: usize = 256;

/// How long Redis may take to answer until the connection counts as dead.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long somebody who asks for a change waits for it.
const LONGEST_CHANGE: Duration = Duration::from_secs(3);

/// How often it is asked whether it lives.
const PING: Duration = Duration::from_secs(2);

/// The waits between attempts to reconnect.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Who gets what is published.
#[async_trait]
pub(crate) trait Hearer: Send + Sync + 'static {
    async fn hear(&self, topic: &str, body: Bytes);

    /// Messages may have been lost, nobody knows how many.
    fn missed(&self);

    /// So many messages came faster than they were heard, and were dropped.
    fn overflowed(&self, messages: u64);
}

pub(crate) struct Subscriber {
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<State>,
}

/// Whether the pattern was ever subscribed.
enum State {
    /// Nobody knows whether it can be.
    Trying,
    /// The last attempt ended so.
    Failed(String),
    /// It was; after an outage it is again, without anybody's doing.
    Subscribed,
}

/// Topics to subscribe, or to unsubscribe.
struct Request {
    subscribe: bool,
    topics: Vec<String>,
    done: oneshot::Sender<Result<(), LayerError>>,
}

/// What the task knows between two connections.
struct Task {
    host: Arc<Host>,
    hearer: Arc<dyn Hearer>,
    state: watch::Sender<State>,
    wishes: Wishes,
}

/// What is to be subscribed, and who asks for changes.
struct Wishes {
    pattern: String,
    topics: BTreeSet<String>,
    requests: mpsc::Receiver<Request>,
}

/// Why a connection ended.
enum End {
    /// It broke.
    Broken,
    /// Nobody needs it any more.
    Over,
}

impl Subscriber {
    /// Subscribes a pattern for good, and starts the task that hears it.
    pub(crate) fn start(
        host: Arc<Host>,
        pattern: String,
        hearer: Arc<dyn Hearer>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let (told, state) = watch::channel(State::Trying);
        let wishes = Wishes { pattern, topics: BTreeSet::new(), requests };
        tasks.spawn(Task { host, hearer, state: told, wishes }.run());
        Self { requests: sender, state }
    }

    /// Waits until the pattern was subscribed for the first time, but no longer than for one attempt to end.
    pub(crate) async fn ready(&self) -> Result<(), LayerError> {
        let mut state = self.state.clone();
        // An attempt that has failed already is no news: Redis may be back since.
        if !matches!(*state.borrow_and_update(), State::Subscribed) {
            match timeout(PATIENCE, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(LayerError::Closed),
                Err(_) => return Err(LayerError::Unavailable("Redis is away".to_owned())),
            }
        }
        match &*state.borrow() {
            State::Failed(cause) => Err(LayerError::Unavailable(cause.clone())),
            State::Trying | State::Subscribed => Ok(()),
        }
    }

    /// Subscribes topics, or unsubscribes them, and waits until Redis has confirmed it. A change that could not be
    /// confirmed in time may be made later all the same.
    pub(crate) async fn change(&self, subscribe: bool, topics: Vec<String>) -> Result<(), LayerError> {
        let (done, answer) = oneshot::channel();
        let request = Request { subscribe, topics, done };
        let asking = async {
            self.requests.send(request).await.map_err(|_| LayerError::Closed)?;
            answer.await.map_err(|_| LayerError::Closed)?
        };
        // The task may be connecting, and others may have asked before.
        let late = |_| Err(LayerError::Unavailable("Redis did not answer in time".to_owned()));
        timeout(LONGEST_CHANGE, asking).await.unwrap_or_else(late)
    }
}

impl Task {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let (connection, inbox) = match self.connect().await {
                Ok(connected) => connected,
                Err(cause) => {
                    self.note_failure(&cause);
                    self.wishes.refuse_for(pause, &cause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
            };
            if matches!(self.state.send_replace(State::Subscribed), State::Subscribed) {
                tracing::info!("subscribed to Redis again");
                self.hearer.missed();
            }
            pause = FIRST_PAUSE;
            let end = tokio::select! {
                end = hear(inbox, self.hearer.as_ref()) => end,
                end = self.wishes.fulfil(connection) => end,
            };
            match end {
                End::Over => return,
                End::Broken => tracing::warn!("the subscription to Redis broke: trying again for ever"),
            }
        }
    }

    /// A connection on which everything that is wanted is subscribed.
    async fn connect(&self) -> RedisResult<(MultiplexedConnection, Inbox)> {
        let (inlet, inbox) = inbox();
        // The inlet goes with the connection; that it is gone is how the end of the connection is noticed.
        let put = move |push: PushInfo| {
            inlet.put(push);
            Ok::<_, std::convert::Infallible>(())
        };
        let settings = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE)).set_push_sender(put);
        let mut connection = self.host.connect(ProtocolVersion::RESP3, &settings).await?;
        connection.psubscribe(&self.wishes.pattern).await?;
        if !self.wishes.topics.is_empty() {
            connection.subscribe(self.wishes.topics.iter().collect::<Vec<_>>()).await?;
        }
        Ok((connection, inbox))
    }

    fn note_failure(&self, cause: &RedisError) {
        tracing::debug!(%cause, "subscribing to Redis failed");
        self.state.send_if_modified(|state| {
            let is_first = !matches!(state, State::Subscribed);
            if is_first {
                *state = State::Failed(cause.to_string());
            }
            is_first
        });
    }
}

/// Passes on what was received, until the connection is gone.
async fn hear(mut inbox: Inbox, hearer: &dyn Hearer) -> End {
    let mut batch = Vec::new();
    while inbox.take(&mut batch).await > 0 {
        for heard in batch.drain(..) {
            report(heard.dropped, hearer);
            // Nobody here has a name that is no text.
            if let Ok(topic) = std::str::from_utf8(&heard.topic) {
                hearer.hear(topic, heard.body).await;
            }
        }
        if inbox.is_empty() {
            report(inbox.dropped(), hearer);
        }
    }
    report(inbox.dropped(), hearer);
    End::Broken
}

fn report(dropped: u64, hearer: &dyn Hearer) {
    if dropped > 0 {
        hearer.overflowed(dropped);
    }
}

impl Wishes {
    /// Makes the changes that are asked for, and asks now and then whether Redis is still there.
    async fn fulfil(&mut self, mut connection: MultiplexedConnection) -> End {
        let mut ping = interval(PING);
        loop {
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(request) => if !self.change(request, &mut connection).await { return End::Broken },
                    None => return End::Over,
                },
                _ = ping.tick() => if cmd("PING").exec_async(&mut connection).await.is_err() {
                    return End::Broken;
                },
            }
        }
    }

    /// Makes a change and says whether the connection still works.
    async fn change(&mut self, request: Request, connection: &mut MultiplexedConnection) -> bool {
        self.note(&request);
        let outcome = if request.subscribe {
            connection.subscribe(&request.topics).await
        } else {
            connection.unsubscribe(&request.topics).await
        };
        let works = outcome.is_ok();
        // Who has asked may have given up.
        let _ = request.done.send(outcome.map_err(|error| unavailable(&error)));
        works
    }

    fn note(&mut self, request: &Request) {
        if request.subscribe {
            self.topics.extend(request.topics.iter().cloned());
        } else {
            self.topics.retain(|topic| !request.topics.contains(topic));
        }
    }

    /// Waits for the next attempt. What is asked for meanwhile is remembered for it, but cannot be confirmed.
    async fn refuse_for(&mut self, pause: Duration, cause: &RedisError) {
        let until = Instant::now() + pause;
        while let Ok(Some(request)) = timeout_at(until, self.requests.recv()).await {
            self.note(&request);
            let _ = request.done.send(Err(unavailable(cause)));
        }
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use redis::{PushKind, Value};

    /// Notes what it is told.
    #[derive(Default)]
    struct Noted {
        heard: Mutex<usize>,
        overflowed: Mutex<Vec<u64>>,
    }

    #[async_trait]
    impl Hearer for Noted {
        async fn hear(&self, _: &str, _: Bytes) {
            *self.heard.lock() += 1;
        }

        fn missed(&self) {}

        fn overflowed(&self, messages: u64) {
            self.overflowed.lock().push(messages);
        }
    }

    #[tokio::test]
    async fn what_comes_too_fast_is_told_once_after_the_rest_was_heard() {
        let (inlet, inbox) = inbox();
        let text = |text: &str| Value::BulkString(text.into());
        for _ in 0..100_000 {
            inlet.put(PushInfo { kind: PushKind::Message, data: vec![text("topic"), text("body")] });
        }
        drop(inlet);
        let noted = Noted::default();
        assert!(matches!(hear(inbox, &noted).await, End::Broken));
        let heard = *noted.heard.lock() as u64;
        assert_eq!(*noted.overflowed.lock(), [100_000 - heard]);
    }
}
