//! Where Redis is, and what has to be the same for all who share it.

use std::time::Duration;

use super::fernet::Keyring;
use super::wire::{Codec, Format};
use crate::{Capacities, Limits};

/// How much older than a message its encryption may be, as in channels_redis.
const TOKEN_GRACE: Duration = Duration::from_secs(10);

/// The configuration of the Redis layers; its defaults are those of channels_redis 4.3.
///
/// Programs that share a Redis must agree on the hosts and their order, the prefix, the format and the keys, and had
/// better agree on expiry and capacity.
///
/// ```
/// use channel_layer::RedisConfig;
/// let config = RedisConfig::from_url("redis://127.0.0.1:6379,127.0.0.1:6380/0?prefix=shop&expiry=30&capacity=500")?;
/// assert_eq!(config.hosts().len(), 2);
/// # Ok::<(), channel_layer::InvalidUrl>(())
/// ```
#[derive(Clone)]
pub struct RedisConfig {
    pub(crate) hosts: Vec<String>,
    pub(crate) prefix: String,
    pub(crate) limits: Limits,
    pub(crate) keys: Vec<String>,
    pub(crate) format: Format,
    pub(crate) random_prefix_length: usize,
}

/// An address of a Redis layer that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Redis address is not valid: {reason}; the form is redis://[user:password@]host:port[,host:port…][/db][?prefix=…&expiry=…&capacity=…]"
)]
pub struct InvalidUrl {
    reason: String,
}

impl InvalidUrl {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl RedisConfig {
    /// The defaults over these hosts: each a URL such as `redis://127.0.0.1:6379/0` or `redis+unix:///run/redis.sock`.
    /// With several, groups and channels are spread over them, and all programs must name them in one order.
    pub fn new<H: Into<String>>(hosts: impl IntoIterator<Item = H>) -> Self {
        Self {
            hosts: hosts.into_iter().map(Into::into).collect(),
            prefix: "asgi".to_owned(),
            limits: Limits::default(),
            keys: Vec::new(),
            format: Format::default(),
            random_prefix_length: 12,
        }
    }

    /// Reads `redis://host:port[,host:port…][/db][?option=value&…]`. The options are `prefix`, `expiry`,
    /// `group_expiry` (seconds), `capacity` (messages) and `format` (`msgpack` or `json`).
    ///
    /// # Errors
    /// [`InvalidUrl`], which says what cannot be read.
    pub fn from_url(url: &str) -> Result<Self, InvalidUrl> {
        let (address, options) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, rest) =
            address.split_once("://").ok_or_else(|| InvalidUrl::new("there is no scheme"))?;
        let mut config = if scheme.ends_with("unix") {
            Self::new([address])
        } else {
            let (hosts, db) = rest.split_once('/').unwrap_or((rest, ""));
            let (login, hosts) = hosts.rsplit_once('@').map_or(("", hosts), |(login, hosts)| (login, hosts));
            let at = if login.is_empty() { "" } else { "@" };
            if hosts.split(',').any(str::is_empty) {
                return Err(InvalidUrl::new("a host is missing"));
            }
            Self::new(hosts.split(',').map(|host| format!("{scheme}://{login}{at}{host}/{db}")))
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            config = config.with_option(name, value)?;
        }
        Ok(config)
    }

    fn with_option(mut self, name: &str, value: &str) -> Result<Self, InvalidUrl> {
        let number = || match value.parse::<u32>() {
            Ok(number @ 1..) => Ok(number),
            _ => Err(InvalidUrl::new(format!("{name} must be a whole number above 0"))),
        };
        match name {
            "prefix" => self.prefix = value.to_owned(),
            "expiry" => self.limits = self.limits.expiry(Duration::from_secs(number()?.into())),
            "group_expiry" => self.limits = self.limits.group_expiry(Duration::from_secs(number()?.into())),
            "capacity" => self.limits = self.limits.capacity(Capacities::new(number()? as usize)),
            "format" => {
                self.format = match value {
                    "msgpack" => Format::Msgpack,
                    "json" => Format::Json,
                    _ => return Err(InvalidUrl::new("format is msgpack or json")),
                }
            }
            _ => return Err(InvalidUrl::new(format!("there is no option {name:?}"))),
        }
        Ok(self)
    }

    /// How this configuration writes messages.
    pub(crate) fn codec(&self) -> Codec {
        Codec {
            format: self.format,
            keyring: Keyring::new(&self.keys),
            random_prefix_length: self.random_prefix_length,
            ttl: Some(self.limits.expiry + TOKEN_GRACE),
        }
    }

    /// The hosts, in the order that all programs must share.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// What every key begins with; `asgi` by default.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Capacities, expiry and group expiry; those of Channels by default. Expiries count in whole seconds here.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Encrypts messages with the first of these keys and decrypts with any of them, so that keys can be rotated.
    /// Names of channels and groups stay readable.
    #[must_use]
    pub fn encryption_keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// How messages are written; msgpack by default.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// The random bytes before each message, which tell equal messages apart; 12 by default.
    #[must_use]
    pub fn random_prefix_length(mut self, bytes: usize) -> Self {
        self.random_prefix_length = bytes;
        self
    }
}

impl std::fmt::Debug for RedisConfig {
    /// Leaves out hosts and keys, which may hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConfig")
            .field("hosts", &self.hosts.len())
            .field("prefix", &self.prefix)
            .field("limits", &self.limits)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_their_options() {
        let url = "redis://ana:s%3Acret@a:1,b:2/3?prefix=p&expiry=5&group_expiry=7&capacity=9&format=json";
        let config = RedisConfig::from_url(url).unwrap();
        assert_eq!(config.hosts, ["redis://ana:s%3Acret@a:1/3", "redis://ana:s%3Acret@b:2/3"]);
        assert_eq!((config.prefix.as_str(), config.format), ("p", Format::Json));
        assert_eq!(config.limits.expiry, Duration::from_secs(5));
        assert_eq!(config.limits.group_expiry, Duration::from_secs(7));
        let unix = RedisConfig::from_url("redis+unix:///run/redis.sock?prefix=p").unwrap();
        assert_eq!(unix.hosts, ["redis+unix:///run/redis.sock"]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (url, hint) in [
            ("localhost:6379", "scheme"),
            ("redis://a:1,,b:2", "host"),
            ("redis://a?expiry=0", "expiry"),
            ("redis://a?expiry=1.5", "expiry"),
            ("redis://a?format=xml", "format"),
            ("redis://a?colour=red", "colour"),
        ] {
            let error = RedisConfig::from_url(url).unwrap_err().to_string();
            assert!(error.contains(hint), "{url}: {error}");
        }
    }

    #[test]
    fn debug_output_has_no_secrets() {
        let config = RedisConfig::new(["redis://:secret@a"]).encryption_keys(["secret"]);
        assert!(!format!("{config:?}").contains("secret"));
    }
}
