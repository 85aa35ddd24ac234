//! A layer by its address, for programs whose operators choose it.

use std::sync::Arc;

use crate::{ChannelLayer, InMemoryLayer, InvalidUrl, LayerError, RedisConfig, RedisLayer, RedisPubSubLayer};

/// The ways to a Redis.
const WAYS: [&str; 5] = ["redis", "rediss", "redis+unix", "redis+sentinel", "rediss+sentinel"];

/// Why an address does not lead to a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The scheme is not one of ours.
    #[error(
        "the channel layer {0:?} is not known: use memory://, redis://HOST:PORT or redis+pubsub://HOST:PORT; rediss is TLS, +sentinel and +unix are other ways there"
    )]
    Unknown(String),
    /// A Redis address that cannot be read.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The layer cannot be made.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// Opens the layer of an address: `memory://`; `redis://HOST:PORT[,HOST:PORT…][/DB][?prefix=…&expiry=…&capacity=…]`
/// for [`RedisLayer`]; the same with `redis+pubsub://` for [`RedisPubSubLayer`]. `rediss` instead of `redis` is TLS;
/// `redis+sentinel` and `redis+unix` (with `+pubsub` after `redis` for that layer) lead there in other ways. The forms
/// and options are those of [`RedisConfig::from_url`].
///
/// # Errors
/// When the address cannot be read. That nobody answers there is found out later, by who sends.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn open(address: &str) -> Result<Arc<dyn ChannelLayer>, OpenError> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    if scheme == "memory" {
        return Ok(Arc::new(InMemoryLayer::default()));
    }
    let way = scheme.replacen("+pubsub", "", 1);
    if !WAYS.contains(&way.as_str()) {
        return Err(OpenError::Unknown(excerpt(address)));
    }
    let config = RedisConfig::from_url(&format!("{way}://{rest}"))?;
    if way == scheme {
        Ok(Arc::new(RedisLayer::new(config)?))
    } else {
        Ok(Arc::new(RedisPubSubLayer::new(config)?))
    }
}

/// An address may hold a password: an error shows its scheme only.
fn excerpt(address: &str) -> String {
    address.split_once("://").map_or("?", |(scheme, _)| scheme).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_lead_to_their_layers() {
        for (address, name) in [
            ("memory://", "InMemoryLayer"),
            ("redis://127.0.0.1:1?prefix=p", "RedisLayer"),
            ("redis+pubsub://127.0.0.1:1,127.0.0.1:2", "RedisPubSubLayer"),
            ("redis+unix:///run/redis.sock", "RedisLayer"),
            ("redis+pubsub+unix:///run/redis.sock", "RedisPubSubLayer"),
            ("redis+sentinel://127.0.0.1:1,127.0.0.1:2/shop/0", "RedisLayer"),
            ("rediss+pubsub+sentinel://127.0.0.1:1/shop?sentinel_password=x", "RedisPubSubLayer"),
        ] {
            assert!(format!("{:?}", open(address).unwrap()).starts_with(name), "{address}");
        }
    }

    #[tokio::test]
    async fn an_address_that_leads_nowhere_is_an_error_and_shows_no_password() {
        for address in [
            "",
            "rediss+unix:///secret",
            "kafka://ana:secret@host",
            "redis://:secret@a?colour=red",
            "redis://:secret@a b",
        ] {
            let error = open(address).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn tls_needs_no_preparation() {
        for address in ["rediss://127.0.0.1:1", "rediss+pubsub://127.0.0.1:1"] {
            assert!(open(address).is_ok(), "{address}");
        }
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
