//! `RedisPubSubLayer`: the layer that Python's `channels_redis.pubsub` is. Redis passes messages on and keeps none.

mod inbox;
mod subscriber;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use redis::cmd;
use tokio::task::JoinSet;

use self::subscriber::{Hearer, Subscriber};
use crate::hub::Hub;
use crate::losses::count;
use crate::redis::{Codec, Keys, RedisConfig, Shard, shard};
use crate::registrar::{Memberships, Registrar};
use crate::{ChannelLayer, ChannelName, GroupName, LayerError, Losses, Mailbox, Message};

/// How often subscriptions are confirmed anew; they do not lapse, so this only mends what nobody has noticed.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// A channel layer over Redis' publish and subscribe, compatible with Python's `channels_redis.pubsub` 4.3: the
/// fastest one between processes, but what is sent while nobody listens, or while Redis is away, is lost.
///
/// Unlike in Python, mailboxes are bounded by `capacity` and told what they missed. A normal channel is heard by
/// every process that has received from it. A process adds only mailboxes of its own to groups.
///
/// It needs Redis 6 or later. What comes faster than it is passed on waits, up to 65,536 messages or 64 MiB per host;
/// what comes then is dropped, and the mailboxes are told.
///
/// ```no_run
/// use channel_layer::{RedisConfig, RedisPubSubLayer};
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = RedisPubSubLayer::new(RedisConfig::new(["redis://127.0.0.1:6379"]))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisPubSubLayer {
    inner: Arc<Inner>,
}

struct Inner {
    shared_as: String,
    wire: Arc<Wire>,
    hosts: Arc<Hosts>,
    registrar: Arc<Registrar>,
    /// The normal channels that are heard here. They stay so, since between two receives nothing may be lost.
    heard: Mutex<HashSet<ChannelName>>,
    /// The subscribers' tasks, which end with the layer.
    tasks: Mutex<JoinSet<()>>,
}

/// What comes and goes, and whom it is for here.
struct Wire {
    hub: Arc<Hub>,
    keys: Keys,
    codec: Codec,
}

/// The servers.
struct Hosts {
    shards: Vec<Shard>,
    subscribers: Vec<Subscriber>,
    keys: Keys,
}

impl RedisPubSubLayer {
    /// A layer that connects at once, and again whenever it has to.
    ///
    /// # Errors
    /// When a host is no address that Redis can be reached by.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(config: RedisConfig) -> Result<Self, LayerError> {
        let shared_as = config.shared_as("pubsub");
        let shards = Shard::all(&config)?;
        let (keys, codec) = (Keys::new(&config.prefix), config.codec());
        let wire = Arc::new(Wire { hub: Hub::new(config.limits), keys: keys.clone(), codec });
        let mut tasks = JoinSet::new();
        // Our mailboxes all have the process in their name, so one pattern hears them all.
        let pattern = format!("*.{}!*", wire.hub.process());
        let subscribe = |shard: &Shard| {
            let hearer = Arc::clone(&wire) as Arc<dyn Hearer>;
            Subscriber::start(Arc::clone(shard.host()), pattern.clone(), hearer, &mut tasks)
        };
        let subscribers = shards.iter().map(subscribe).collect();
        let hosts = Arc::new(Hosts { shards, subscribers, keys });
        let registrar = Registrar::start(&wire.hub, Arc::clone(&hosts) as Arc<dyn Memberships>, HEARTBEAT);
        let (heard, tasks) = (Mutex::default(), Mutex::new(tasks));
        Ok(Self { inner: Arc::new(Inner { shared_as, wire, hosts, registrar, heard, tasks }) })
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.inner.wire.hub
    }

    /// Publishes a message; whether anybody was there to hear it.
    async fn publish(&self, topic: &str, message: &Message) -> Result<bool, LayerError> {
        let body = self.inner.wire.codec.encode_plain(message)?;
        let mut publish = cmd("PUBLISH");
        publish.arg(topic).arg(&body[..]);
        let host = &self.inner.hosts.shards[self.inner.hosts.index(topic)];
        Ok(host.command::<u64>(&publish).await? > 0)
    }

    /// Makes sure that a normal channel is heard here.
    async fn hear(&self, channel: &ChannelName) -> Result<(), LayerError> {
        if !self.inner.heard.lock().insert(channel.clone()) {
            return Ok(());
        }
        let hosts = &self.inner.hosts;
        let topic = channel.as_str();
        let heard = hosts.subscribers[hosts.index(topic)].change(true, vec![topic.to_owned()]).await;
        if heard.is_err() {
            self.inner.heard.lock().remove(channel);
        }
        heard
    }
}

#[async_trait]
impl ChannelLayer for RedisPubSubLayer {
    async fn new_channel(&self, prefix: &str) -> Result<Mailbox, LayerError> {
        let mailbox = self.hub().new_mailbox(prefix)?;
        for subscriber in &self.inner.hosts.subscribers {
            subscriber.ready().await?;
        }
        Ok(mailbox)
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<(), LayerError> {
        // Even to a mailbox of our own it goes through Redis: it must not overtake what was sent to a group before.
        self.hub().check_open()?;
        if !self.publish(channel.as_str(), &message).await? {
            count(&self.hub().counters().unroutable, 1);
        }
        Ok(())
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message, LayerError> {
        if !channel.is_process_specific() {
            self.hub().check_open()?;
            self.hear(channel).await?;
        }
        self.hub().receive(channel).await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        if channel.is_process_specific() && !self.hub().is_ours(channel) {
            return Err(LayerError::NotReceivable(channel.clone()));
        }
        self.inner.registrar.add(group, channel).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        self.hub().group_discard(group, channel);
        Ok(())
    }

    async fn group_send(&self, group: &GroupName, message: Message) -> Result<(), LayerError> {
        self.hub().check_open()?;
        // A group that nobody is in is nobody's loss.
        self.publish(&self.inner.hosts.keys.group_topic(group), &message).await.map(|_| ())
    }

    async fn flush(&self) -> Result<(), LayerError> {
        self.hub().flush();
        Ok(())
    }

    async fn close(&self) -> Result<(), LayerError> {
        self.hub().close();
        let left = self.inner.registrar.close().await;
        self.inner.tasks.lock().abort_all();
        left
    }

    fn group_expiry(&self) -> Duration {
        self.hub().limits().group_expiry
    }

    fn losses(&self) -> Losses {
        self.hub().losses()
    }

    fn shared_as(&self) -> Option<String> {
        Some(self.inner.shared_as.clone())
    }
}

impl Hosts {
    /// The server of a topic: by the name in Redis, as in Python.
    fn index(&self, topic: &str) -> usize {
        shard(topic, self.shards.len())
    }

    async fn change(&self, subscribe: bool, groups: &[GroupName]) -> Result<(), LayerError> {
        let Some(first) = groups.first() else { return Ok(()) };
        let topics = groups.iter().map(|group| self.keys.group_topic(group)).collect();
        self.subscribers[self.host(first)].change(subscribe, topics).await
    }
}

#[async_trait]
impl Memberships for Hosts {
    async fn join(&self, groups: &[GroupName]) -> Result<Vec<GroupName>, LayerError> {
        // A subscription ends with its connection only, which is noticed elsewhere.
        self.change(true, groups).await.map(|()| Vec::new())
    }

    async fn leave(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        self.change(false, groups).await
    }

    fn hosts(&self) -> usize {
        self.shards.len()
    }

    fn host(&self, group: &GroupName) -> usize {
        self.index(&self.keys.group_topic(group))
    }
}

#[async_trait]
impl Hearer for Wire {
    async fn hear(&self, topic: &str, body: Bytes) {
        let Some(message) = self.hub.readable(topic, self.codec.decode_plain(&body)) else { return };
        // A hub that is closed, or a channel that is full (which is counted), has nobody to tell.
        if let Some(group) = self.keys.group_of(topic) {
            let _ = self.hub.group_send(&group, &message).await;
        } else if let Ok(channel) = ChannelName::new(topic) {
            if channel.is_process_specific() {
                self.hub.deliver(&channel, &message);
            } else {
                let _ = self.hub.send(&channel, &message).await;
            }
        }
    }

    fn missed(&self) {
        self.hub.miss_unknown();
    }

    fn overflowed(&self, messages: u64) {
        tracing::warn!(messages, "Redis published faster than this process could hear");
        count(&self.hub.counters().overflowed, messages);
        self.hub.miss_unknown();
    }
}

impl fmt::Debug for RedisPubSubLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPubSubLayer")
            .field("hosts", &self.inner.hosts.shards.len())
            .field("limits", self.hub().limits())
            .finish_non_exhaustive()
    }
}
