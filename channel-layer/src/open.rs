//! A layer by its address, for programs whose operators choose it.

use std::sync::Arc;

use crate::{ChannelLayer, InMemoryLayer, InvalidUrl, LayerError, RedisConfig, RedisLayer, RedisPubSubLayer};

/// Why an address does not lead to a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The scheme is not one of ours.
    #[error(
        "the channel layer {0:?} is not known: use memory://, redis://HOST:PORT or redis+pubsub://HOST:PORT"
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
/// for [`RedisLayer`]; the same with `redis+pubsub://` for [`RedisPubSubLayer`]. The options are those of
/// [`RedisConfig::from_url`].
///
/// # Errors
/// When the address cannot be read. That nobody answers there is found out later, by who sends.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn open(address: &str) -> Result<Arc<dyn ChannelLayer>, OpenError> {
    let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme);
    match scheme {
        "memory" => Ok(Arc::new(InMemoryLayer::default())),
        "redis" | "rediss" | "redis+unix" => Ok(Arc::new(RedisLayer::new(RedisConfig::from_url(address)?)?)),
        "redis+pubsub" | "rediss+pubsub" => {
            let config = RedisConfig::from_url(&address.replacen("+pubsub", "", 1))?;
            Ok(Arc::new(RedisPubSubLayer::new(config)?))
        }
        _ => Err(OpenError::Unknown(excerpt(address))),
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
        ] {
            assert!(format!("{:?}", open(address).unwrap()).starts_with(name), "{address}");
        }
    }

    #[tokio::test]
    async fn an_address_that_leads_nowhere_is_an_error_and_shows_no_password() {
        for address in ["", "kafka://ana:secret@host", "redis://:secret@a?colour=red", "redis://:secret@a b"]
        {
            let error = open(address).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    /// Without TLS compiled in, an address that asks for it is refused rather than spoken to in clear.
    #[tokio::test]
    async fn tls_is_refused_and_not_forgotten() {
        assert!(open("rediss://127.0.0.1:6379").is_err());
    }
}
