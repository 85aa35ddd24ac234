//! One server's subscription: a connection that is supervised, kept alive and made anew for ever, with everything
//! that was asked for subscribed again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::{PubSub, PubSubSink};
use redis::{Client, Msg, RedisError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::LayerError;

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
}

pub(crate) struct Subscriber {
    requests: mpsc::Sender<Request>,
    is_ready: watch::Receiver<bool>,
}

/// Topics to subscribe, or to unsubscribe.
struct Request {
    subscribe: bool,
    topics: Vec<String>,
    done: oneshot::Sender<Result<(), LayerError>>,
}

/// What the task knows between two connections.
struct Task {
    client: Client,
    pattern: String,
    wanted: BTreeSet<String>,
    requests: mpsc::Receiver<Request>,
    hearer: Arc<dyn Hearer>,
    is_ready: watch::Sender<bool>,
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
        client: Client,
        pattern: String,
        hearer: Arc<dyn Hearer>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let (ready, is_ready) = watch::channel(false);
        tasks.spawn(
            Task { client, pattern, wanted: BTreeSet::new(), requests, hearer, is_ready: ready }.run(),
        );
        Self { requests: sender, is_ready }
    }

    /// Waits until the pattern was subscribed for the first time.
    pub(crate) async fn ready(&self) -> Result<(), LayerError> {
        match timeout(PATIENCE, self.is_ready.clone().wait_for(|is_ready| *is_ready)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(LayerError::Closed),
            Err(_) => Err(LayerError::Unavailable("Redis is away".to_owned())),
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
        let mut had_connection = false;
        loop {
            let Some(connection) = self.connect().await else {
                self.refuse_for(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            };
            if std::mem::replace(&mut had_connection, true) {
                tracing::info!("subscribed to Redis again");
                self.hearer.missed();
            }
            self.is_ready.send_replace(true);
            pause = FIRST_PAUSE;
            match self.listen(connection).await {
                End::Over => return,
                End::Broken => tracing::warn!("the subscription to Redis broke: trying again for ever"),
            }
        }
    }

    /// A connection on which everything that is wanted is subscribed.
    async fn connect(&self) -> Option<PubSub> {
        let connecting = async {
            let mut connection = self.client.get_async_pubsub().await?;
            connection.psubscribe(&self.pattern).await?;
            if !self.wanted.is_empty() {
                connection.subscribe(self.wanted.iter().collect::<Vec<_>>()).await?;
            }
            Ok::<_, RedisError>(connection)
        };
        match timeout(PATIENCE, connecting).await {
            Ok(Ok(connection)) => Some(connection),
            Ok(Err(cause)) => {
                tracing::debug!(%cause, "subscribing to Redis failed");
                None
            }
            Err(_) => None,
        }
    }

    async fn listen(&mut self, connection: PubSub) -> End {
        let (mut sink, mut stream) = connection.split();
        let mut ping = interval(PING);
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(message) => self.hear(&message).await,
                    None => return End::Broken,
                },
                request = self.requests.recv() => match request {
                    Some(request) => if !self.change(request, &mut sink).await { return End::Broken },
                    None => return End::Over,
                },
                _ = ping.tick() => {
                    let answer = timeout(PATIENCE, sink.ping::<redis::Value>()).await;
                    if !matches!(answer, Ok(Ok(_))) {
                        return End::Broken;
                    }
                }
            }
        }
    }

    async fn hear(&self, message: &Msg) {
        self.hearer
            .hear(message.get_channel_name(), Bytes::copy_from_slice(message.get_payload_bytes()))
            .await;
    }

    /// Makes a change and says whether the connection still works.
    async fn change(&mut self, request: Request, sink: &mut PubSubSink) -> bool {
        self.note(&request);
        let changing = async {
            if request.subscribe {
                sink.subscribe(&request.topics).await
            } else {
                sink.unsubscribe(&request.topics).await
            }
        };
        let outcome = match timeout(PATIENCE, changing).await {
            Ok(outcome) => outcome.map_err(|error| LayerError::Unavailable(error.to_string())),
            Err(_) => Err(LayerError::Unavailable("Redis did not answer in time".to_owned())),
        };
        let works = outcome.is_ok();
        // Who has asked may have given up.
        let _ = request.done.send(outcome);
        works
    }

    fn note(&mut self, request: &Request) {
        if request.subscribe {
            self.wanted.extend(request.topics.iter().cloned());
        } else {
            self.wanted.retain(|topic| !request.topics.contains(topic));
        }
    }

    /// Waits for the next attempt. What is asked for meanwhile is remembered for it, but cannot be confirmed.
    async fn refuse_for(&mut self, pause: Duration) {
        let until = tokio::time::Instant::now() + pause;
        while let Ok(Some(request)) = tokio::time::timeout_at(until, self.requests.recv()).await {
            self.note(&request);
            let _ = request.done.send(Err(LayerError::Unavailable("Redis is away".to_owned())));
        }
        tokio::time::sleep_until(until).await;
    }
}
