//! The Redis layer keeps every clause of the contract, on a real server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use channel_layer::conformance::Backend;
use channel_layer::{ChannelLayer, Limits, RedisConfig, RedisLayer, RedisPubSubLayer};

use crate::redis_server::RedisServer;

channel_layer::conformance!(
    core: OneHost,
    [Queueing, Capacity, Expiry, GroupExpiry, Processes, RemoteMembers]
);

/// One server for all tests of a process; each test has a prefix of its own.
fn server() -> &'static RedisServer {
    static SERVER: OnceLock<RedisServer> = OnceLock::new();
    SERVER.get_or_init(RedisServer::start)
}

channel_layer::conformance!(pub_sub: PubSub, [Processes]);

/// A configuration that no other test shares.
fn config(limits: Limits) -> RedisConfig {
    static TESTS: AtomicUsize = AtomicUsize::new(0);
    let prefix = format!("t{}.", TESTS.fetch_add(1, Ordering::Relaxed));
    RedisConfig::new([server().url()]).prefix(prefix).limits(limits)
}

struct OneHost;

#[async_trait]
impl Backend for OneHost {
    async fn layers(&self, limits: Limits, processes: usize) -> Vec<Arc<dyn ChannelLayer>> {
        let config = config(limits);
        let layer = || RedisLayer::new(config.clone()).expect("the address is good");
        (0..processes).map(|_| Arc::new(layer()) as Arc<dyn ChannelLayer>).collect()
    }
}

struct PubSub;

#[async_trait]
impl Backend for PubSub {
    async fn layers(&self, limits: Limits, processes: usize) -> Vec<Arc<dyn ChannelLayer>> {
        let config = config(limits);
        let layer = || RedisPubSubLayer::new(config.clone()).expect("the address is good");
        (0..processes).map(|_| Arc::new(layer()) as Arc<dyn ChannelLayer>).collect()
    }
}
