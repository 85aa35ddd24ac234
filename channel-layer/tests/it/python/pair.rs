//! Two peers on the same Redis, one here and one in Python, that are set alike.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use channel_layer::{
    Capacities, ChannelLayer, ChannelName, Delivery, Format, GroupName, Limits, Mailbox, Message,
    RedisConfig, RedisLayer, RedisPubSubLayer,
};
use redis::{Cmd, FromRedisValue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::peer::Peer;
use crate::redis_server::RedisServer;
use crate::ways::sentinel::Watched;

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What masters are called, in the order of hosts.
const MASTERS: [&str; 2] = ["one", "two"];

/// How a pair is set.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    /// How many servers there are.
    pub(super) hosts: usize,
    /// Whether both sides are told of sentinels, and not of the servers.
    pub(super) sentinels: bool,
    pub(super) prefix: &'static str,
    pub(super) format: Format,
    /// The encryption keys of each side.
    pub(super) rust_keys: &'static [&'static str],
    pub(super) python_keys: &'static [&'static str],
    pub(super) capacity: usize,
    pub(super) expiry: u64,
    pub(super) random_prefix_length: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Core,
    PubSub,
}

pub(super) struct Pair {
    pub(super) rust: Arc<dyn ChannelLayer>,
    pub(super) python: Peer,
    servers: Vec<RedisServer>,
    _watched: Option<Watched>,
    plan: Plan,
}

impl Plan {
    /// The defaults of both sides.
    pub(super) const CORE: Self = Self {
        kind: Kind::Core,
        hosts: 1,
        sentinels: false,
        prefix: "asgi",
        format: Format::Msgpack,
        rust_keys: &[],
        python_keys: &[],
        capacity: 100,
        expiry: 60,
        random_prefix_length: 12,
    };

    pub(super) const PUB_SUB: Self = Self { kind: Kind::PubSub, ..Self::CORE };

    /// Starts the servers and both peers.
    pub(super) fn start(self) -> Pair {
        let mut watched = self.sentinels.then(|| Watched::start(&MASTERS[..self.hosts]));
        let servers = match &mut watched {
            Some(watched) => std::mem::take(&mut watched.masters),
            None => (0..self.hosts).map(|_| RedisServer::start()).collect(),
        };
        let rust = self.rust(match &watched {
            Some(watched) => watched.config(&MASTERS[..self.hosts].join(",")),
            None => RedisConfig::new(servers.iter().map(RedisServer::url)),
        });
        let hosts: Vec<_> = match &watched {
            Some(watched) => MASTERS[..self.hosts].iter().map(|name| watched.host_of_python(name)).collect(),
            // redis-py 8 gives up on a read after 5 s, which is as long as channels_redis blocks for a message: its
            // users have to raise the timeout, as here.
            None => servers.iter().map(|s| json!({ "address": s.url(), "socket_timeout": null })).collect(),
        };
        let python = self.python(&hosts);
        Pair { rust, python, servers, _watched: watched, plan: self }
    }

    fn rust(&self, config: RedisConfig) -> Arc<dyn ChannelLayer> {
        let limits = Limits::default()
            .capacity(Capacities::new(self.capacity))
            .expiry(Duration::from_secs(self.expiry));
        let config = config
            .prefix(self.prefix)
            .limits(limits)
            .format(self.format)
            .encryption_keys(self.rust_keys.iter().copied())
            .random_prefix_length(self.random_prefix_length);
        match self.kind {
            Kind::Core => Arc::new(RedisLayer::new(config).unwrap()),
            Kind::PubSub => Arc::new(RedisPubSubLayer::new(config).unwrap()),
        }
    }

    fn python(&self, hosts: &[Value]) -> Peer {
        let mut config = json!({
            "hosts": hosts,
            "prefix": self.prefix,
            "serializer_format": if self.format == Format::Json { "json" } else { "msgpack" },
        });
        if !self.python_keys.is_empty() {
            config["symmetric_encryption_keys"] = json!(self.python_keys);
        }
        if self.kind == Kind::PubSub {
            return Peer::start("pubsub", &config);
        }
        config["capacity"] = json!(self.capacity);
        config["expiry"] = json!(self.expiry);
        config["random_prefix_length"] = json!(self.random_prefix_length);
        Peer::start("core", &config)
    }
}

impl Pair {
    /// A channel in Python that hears what is sent from now on.
    pub(super) async fn python_channel(&self) -> ChannelName {
        let channel = self.python.new_channel().await;
        if self.plan.kind == Kind::PubSub {
            self.subscribed(&channel, 1).await;
        }
        ChannelName::new(channel).unwrap()
    }

    pub(super) async fn mailbox(&self) -> Mailbox {
        self.rust.new_channel("specific").await.unwrap()
    }

    /// Makes members on both sides, so many here, and waits until both are there.
    pub(super) async fn join(&self, group: &GroupName, channel: &ChannelName, mailboxes: &[Mailbox]) {
        self.python.group_add(group.as_str(), channel.as_str()).await;
        for mailbox in mailboxes {
            self.rust.group_add(group, mailbox.name()).await.unwrap();
        }
        if self.plan.kind == Kind::PubSub {
            self.subscribed(&self.topic(group), 1 + usize::from(!mailboxes.is_empty())).await;
        }
    }

    /// The pub/sub channel of a group.
    pub(super) fn topic(&self, group: &GroupName) -> String {
        format!("{}__group__{group}", self.plan.prefix)
    }

    /// Waits until a pub/sub channel has so many subscribers; Python does not wait for Redis to confirm.
    pub(super) async fn subscribed(&self, topic: &str, subscribers: usize) {
        self.until(topic, async || {
            let mut count = 0;
            for host in 0..self.servers.len() {
                let mut query = redis::cmd("PUBSUB");
                query.arg("NUMSUB").arg(topic);
                count += self.query::<(String, usize)>(host, &query).await.1;
            }
            count == subscribers
        })
        .await;
    }

    /// Waits until something is so, which nobody tells.
    pub(super) async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so().await {
            assert!(Instant::now() < deadline, "{what} does not come about");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks a server something directly.
    pub(super) async fn query<T: FromRedisValue>(&self, host: usize, query: &Cmd) -> T {
        let client = redis::Client::open(self.servers[host].url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        query.query_async(&mut connection).await.unwrap()
    }

    /// Runs a command of one line on the first server.
    pub(super) async fn redis<T: FromRedisValue>(&self, line: &str) -> T {
        let mut words = line.split(' ');
        let mut query = redis::cmd(words.next().expect("a line has words"));
        query.arg(words.collect::<Vec<_>>());
        self.query(0, &query).await
    }

    /// Puts something into a queue, on the first server, that no peer would.
    pub(super) async fn plant(&self, key: &str, score: f64, member: &[u8]) {
        let mut plant = redis::cmd("ZADD");
        self.query::<()>(0, plant.arg(key).arg(score).arg(member)).await;
    }
}

/// The clock by which both sides stamp.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The plainest of messages.
#[derive(Serialize, Deserialize, Debug)]
#[serde(tag = "type", rename = "said")]
struct Said {
    text: String,
}

/// A message as it is sent from here.
pub(super) fn said(text: &str) -> Message {
    Message::new(&Said { text: text.to_owned() }).unwrap()
}

/// The same as Python writes it.
pub(super) fn literal(text: &str) -> String {
    format!("{{'type': 'said', 'text': '{text}'}}")
}

/// What a message says.
pub(super) fn text(message: &Message) -> String {
    message.decode::<Said>().unwrap().text.clone()
}

/// The next message of a mailbox.
pub(super) async fn heard(mailbox: &mut Mailbox) -> Message {
    let delivery = tokio::time::timeout(PATIENCE, mailbox.recv()).await;
    match delivery.expect("the mailbox hears within seconds") {
        Delivery::Message(message) => message,
        Delivery::Missed(missed) => panic!("{missed} messages were missed"),
    }
}

/// The next message of a normal channel.
pub(super) async fn received(layer: &dyn ChannelLayer, channel: &ChannelName) -> Message {
    let received = tokio::time::timeout(PATIENCE, layer.receive(channel)).await;
    received.expect("a message comes within seconds").unwrap()
}

pub(super) fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

pub(super) fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

/// Bytes from hexadecimal digits.
pub(super) fn hex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}
