//! The layers of production: they share a Redis with one another and with Python's `channels_redis` 4.3, to whose
//! bytes they keep.
//!
//! [`RedisLayer`] is `channels_redis.core`: queues and groups are sorted sets. What it does differently is invisible
//! to Python: one script where Python makes several round trips, one poller per process instead of one per socket,
//! one member per process and group, plain pops instead of the shared in-flight key, ages that are checked on
//! receipt, and losses that are told.
//!
//! - [`keys`] names what stands in Redis, [`shards`] says on which host, and [`clock`] stamps it.
//! - [`wire`] turns a message into those bytes and back: [`envelope`] says for whom it is, [`json`] is the other
//!   body format, [`fernet`] encrypts.
//! - [`host`] is where a server is and opens connections to it ([`sentinel`]: where it is at the moment), [`shard`]
//!   keeps those connections ([`commands`] is what all share), [`core`] sends, [`receiver`] and [`reader`] receive.

mod clock;
mod commands;
mod config;
mod core;
mod envelope;
mod fernet;
mod host;
mod json;
mod keys;
mod reader;
mod receiver;
mod sentinel;
mod shard;
mod shards;
mod wire;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod vectors;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::registrar::{Memberships, Registrar};
use crate::{ChannelLayer, ChannelName, GroupName, LayerError, Losses, Mailbox, Message};

pub(crate) use self::host::{Host, unavailable};
pub(crate) use self::keys::Keys;
pub(crate) use self::shard::Shard;
pub(crate) use self::shards::shard;
pub(crate) use self::wire::Codec;
pub use config::{InvalidUrl, RedisConfig};
pub use wire::Format;

use self::core::Core;
use self::reader::Readers;

/// A channel layer over Redis, compatible with Python's `channels_redis.core` 4.3: queues last up to `expiry`, groups
/// reach every process, and normal channels have one reader for each message, here and in Python.
///
/// It needs Redis 5 or later. Clones share its connections.
///
/// ```no_run
/// use channel_layer::{RedisConfig, RedisLayer};
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = RedisLayer::new(RedisConfig::new(["redis://127.0.0.1:6379"]))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisLayer {
    inner: Arc<Inner>,
}

struct Inner {
    shared_as: String,
    core: Arc<Core>,
    registrar: Arc<Registrar>,
    readers: Readers,
    pollers: Mutex<Pollers>,
}

/// The tasks that receive; they end with the layer.
#[derive(Default)]
struct Pollers {
    tasks: JoinSet<()>,
    /// The remote parts, such as `specific.<process>!`, whose queues are polled.
    remotes: HashSet<String>,
}

impl RedisLayer {
    /// A layer that connects when it is first used, and again whenever it has to.
    ///
    /// # Errors
    /// When a host is no address that Redis can be reached by, or a key cannot be used.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(config: RedisConfig) -> Result<Self, LayerError> {
        let shared_as = config.shared_as("core");
        let core = Arc::new(Core::new(config)?);
        let registrar =
            Registrar::start(core.hub(), Arc::clone(&core) as Arc<dyn Memberships>, core.heartbeat());
        let readers = Readers::new(&core);
        Ok(Self { inner: Arc::new(Inner { shared_as, core, registrar, readers, pollers: Mutex::default() }) })
    }

    /// Makes sure that the queue of a remote part, such as `specific.<process>!`, is polled, on every host: Python
    /// puts its direct sends on any.
    fn poll(&self, remote: &str) {
        let mut pollers = self.inner.pollers.lock();
        if pollers.remotes.insert(remote.to_owned()) {
            for shard in self.inner.core.shards() {
                let registrar = Arc::downgrade(&self.inner.registrar);
                pollers.tasks.spawn(receiver::poll(
                    Arc::clone(&self.inner.core),
                    Arc::clone(shard),
                    remote.to_owned(),
                    registrar,
                ));
            }
        }
    }
}

#[async_trait]
impl ChannelLayer for RedisLayer {
    async fn new_channel(&self, prefix: &str) -> Result<Mailbox, LayerError> {
        let mailbox = self.inner.core.hub().new_mailbox(prefix)?;
        self.poll(mailbox.name().non_local());
        Ok(mailbox)
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<(), LayerError> {
        // Even to a mailbox of our own it goes through Redis: it must not overtake what was sent to a group before.
        self.inner.core.hub().check_open()?;
        self.inner.core.send(channel, &message).await
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message, LayerError> {
        if channel.is_process_specific() {
            return Err(LayerError::NotReceivable(channel.clone()));
        }
        self.inner.core.hub().check_open()?;
        self.inner.readers.receive(channel).await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        let core = &self.inner.core;
        core.hub().check_open()?;
        if !core.hub().is_ours(channel) {
            return core.add_member(group, channel).await;
        }
        self.poll(&core.own_remote());
        self.inner.registrar.add(group, channel).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<(), LayerError> {
        let core = &self.inner.core;
        if core.hub().is_ours(channel) {
            core.hub().group_discard(group, channel);
            // A Python program may have added it by itself.
        }
        core.remove_member(group, channel).await
    }

    async fn group_send(&self, group: &GroupName, message: Message) -> Result<(), LayerError> {
        self.inner.core.hub().check_open()?;
        self.inner.core.group_send(group, &message).await
    }

    async fn flush(&self) -> Result<(), LayerError> {
        self.inner.core.hub().flush();
        self.inner.core.flush().await
    }

    async fn close(&self) -> Result<(), LayerError> {
        self.inner.core.hub().close();
        self.inner.readers.close();
        self.inner.pollers.lock().tasks.abort_all();
        self.inner.registrar.close().await
    }

    fn group_expiry(&self) -> Duration {
        self.inner.core.hub().limits().group_expiry
    }

    fn losses(&self) -> Losses {
        self.inner.core.hub().losses()
    }

    fn shared_as(&self) -> Option<String> {
        Some(self.inner.shared_as.clone())
    }
}

impl fmt::Debug for RedisLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLayer").field("core", &self.inner.core).finish_non_exhaustive()
    }
}
