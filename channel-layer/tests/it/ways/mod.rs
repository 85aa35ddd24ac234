//! The ways to a Redis: over TLS, by a socket in the file system, as a user with few rights,
//! behind sentinels. Each on a real server, with
//! the load of a trial, and through a restart.

mod acl;
pub(crate) mod sentinel;
mod tls;
mod unix;

use std::time::Duration;

use channel_layer::{ChannelLayer, GroupName, LayerError, Message, RedisConfig};
use tokio::time::Instant;

use crate::faults::trial::{BACK, Kind, Trial, until};
use crate::redis_server::RedisServer;

/// How soon somebody is told who cannot be let in, on a busy machine.
const SOON: Duration = Duration::from_secs(2);

/// Everything works in this way, also after Redis was killed.
async fn works_and_comes_back(kind: Kind, server: RedisServer, config: &RedisConfig) {
    let mut trial = Trial::start_by(kind, server, config).await;
    trial.server.kill();
    trial.server.start_again();
    trial.is_back().await;
    until("every mailbox is told", BACK, async || trial.all_told()).await;
    trial.finish().await;
}

/// Whoever sends or joins is told why they cannot.
async fn is_refused(kind: Kind, config: RedisConfig, hint: &str) {
    let layer = kind.layer_of(config);
    for _ in 0..2 {
        let start = Instant::now();
        for refused in [send(layer.as_ref()).await, join(layer.as_ref()).await] {
            match refused {
                Err(LayerError::Unavailable(cause)) if cause.to_lowercase().contains(hint) => {}
                other => panic!("instead of being told of {hint:?}: {other:?}"),
            }
        }
        assert!(start.elapsed() < SOON, "it took {:?}", start.elapsed());
    }
}

async fn send(layer: &dyn ChannelLayer) -> Result<(), LayerError> {
    let message = Message::new(&std::collections::BTreeMap::from([("type", "way.message")]))?;
    layer.group_send(&GroupName::new("g")?, message).await
}

async fn join(layer: &dyn ChannelLayer) -> Result<(), LayerError> {
    let mailbox = layer.new_channel("specific").await?;
    layer.group_add(&GroupName::new("g")?, mailbox.name()).await
}
