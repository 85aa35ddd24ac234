//! Where Redis is, and what has to be the same for all who share it.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use sha2::{Digest, Sha256};

use super::fernet::Keyring;
use super::wire::{Codec, Format};
use crate::{Capacities, Limits};

/// How much older than a message its encryption may be, as in channels_redis.
const TOKEN_GRACE: Duration = Duration::from_secs(10);

/// The configuration of the Redis layers; its defaults are those of channels_redis 4.3.
///
/// Programs that share a Redis must agree on the hosts and their order, the prefix, the format and the keys, and had
/// better agree on expiry and capacity, by which a process knows that Python has dropped something of its queue (of
/// fewer than 16 messages, full says nothing).
///
/// # Rights
///
/// A user of Redis' access control needs, with the prefix `shop`:
///
/// - for [`RedisLayer`](crate::RedisLayer): `~shop* +ping +unwatch +evalsha +script|load +bzpopmin +zpopmin +zadd +zrem +zcard
///   +zrange +zremrangebyscore +expire`, and for [`flush`](crate::ChannelLayer::flush) also `+scan +del`;
/// - for [`RedisPubSubLayer`](crate::RedisPubSubLayer): `&* +ping +publish +subscribe +unsubscribe +psubscribe`. Every
///   channel must be allowed, since a process hears its own by a pattern that begins with `*`, and Redis allows
///   patterns word for word;
/// - `+select` for a database other than 0, and `+role` behind sentinels, whose own user needs
///   `+sentinel|get-master-addr-by-name`.
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
    pub(crate) ca: Option<PathBuf>,
    pub(crate) sentinel_user: Option<String>,
    pub(crate) sentinel_password: Option<String>,
}

/// An address of a Redis layer that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Redis address is not valid: {reason}; the forms are redis[s]://[user:password@]host:port[,host:port…][/db][?prefix=…&expiry=…&capacity=…], redis[s]+sentinel://[user:password@]host:port[,host:port…]/MASTER[/db][?…] and redis+unix:///path[?…]"
)]
pub struct InvalidUrl {
    reason: String,
}

impl InvalidUrl {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    fn not_text(name: &str) -> Self {
        Self::new(format!("{name} is no text"))
    }
}

impl RedisConfig {
    /// The defaults over these hosts: each a URL such as `redis://127.0.0.1:6379/0`, `rediss://redis.example`,
    /// `redis+unix:///run/redis.sock` or `redis+sentinel://one,two,three/mymaster`. With several, groups and channels are spread over them, and all programs must name them in one order.
    pub fn new<H: Into<String>>(hosts: impl IntoIterator<Item = H>) -> Self {
        Self {
            hosts: hosts.into_iter().map(Into::into).collect(),
            prefix: "asgi".to_owned(),
            limits: Limits::default(),
            keys: Vec::new(),
            format: Format::default(),
            random_prefix_length: 12,
            ca: None,
            sentinel_user: None,
            sentinel_password: None,
        }
    }

    /// Reads `redis://[user:password@]host:port[,host:port…][/db][?option=value&…]`, the same with `rediss` for TLS, or
    /// `redis+unix:///path/to/socket[?user=…&pass=…&db=…&option=value…]`.
    ///
    /// With `redis+sentinel://[user:password@]host[:port],…/MASTER[/db]` (or `rediss+sentinel`) the hosts are sentinels,
    /// who are asked where the master is; of several masters, with commas between them, each is one host of the layer.
    /// The login and the database are the masters'; [`sentinel_user`](Self::sentinel_user) and
    /// [`sentinel_password`](Self::sentinel_password) are options. After a failover the layer finds the new master
    /// by itself; what was not replicated yet is lost, and what was handed out a moment before may come again. With TLS, the certificates must be valid for what the sentinels
    /// call the master, which is its IP address unless they were told to announce host names.
    ///
    /// The options are `prefix`, `expiry`, `group_expiry` (seconds), `capacity` (messages), `format` (`msgpack` or
    /// `json`) and [`ca`](Self::ca) (a file). As everywhere in a URL, `%` and two digits stand for what would be
    /// mistaken for a separator.
    ///
    /// # Errors
    /// [`InvalidUrl`], which says what cannot be read.
    pub fn from_url(url: &str) -> Result<Self, InvalidUrl> {
        let (address, options) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, rest) =
            address.split_once("://").ok_or_else(|| InvalidUrl::new("there is no scheme"))?;
        let options = options.split('&').filter(|option| !option.is_empty());
        // A socket's address has no other place to say who comes.
        let of_host = |option: &&str| {
            scheme.ends_with("unix") && ["user=", "pass=", "db="].iter().any(|name| option.starts_with(name))
        };
        let (of_host, options): (Vec<_>, Vec<_>) = options.partition(of_host);
        let mut config = match scheme {
            _ if scheme.ends_with("unix") => Self::new([format!("{address}?{}", of_host.join("&"))]),
            _ => Self::new(hosts(scheme, rest)?),
        };
        for option in options {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = percent_decode_str(value).decode_utf8().map_err(|_| InvalidUrl::not_text(name))?;
            config = config.with_option(name, &value)?;
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
            "ca" => self.ca = Some(value.into()),
            "sentinel_user" => self.sentinel_user = Some(value.to_owned()),
            "sentinel_password" => self.sentinel_password = Some(value.to_owned()),
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

    /// What all who have this configuration know their layer by: a hash of kind, prefix and places.
    pub(crate) fn shared_as(&self, kind: &str) -> String {
        let mut hash = Sha256::new_with_prefix(format!("{kind} {}", self.prefix));
        for address in &self.hosts {
            // Whoever logs in otherwise shares the layer all the same.
            let (scheme, rest) = address.split_once("://").unwrap_or_default();
            let (_, hosts, path) = split_login(rest);
            hash.update(format!(" {scheme}://{hosts}/{}", path.split('?').next().unwrap_or_default()));
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
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

    /// The PEM file of the authority that has signed the certificates of `rediss://` hosts. Without it the
    /// authorities count that the system trusts. The file is read when the layer is made.
    #[must_use]
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// The user as whom the sentinels are asked, if they want to know; the master's is part of its address.
    #[must_use]
    pub fn sentinel_user(mut self, user: impl Into<String>) -> Self {
        self.sentinel_user = Some(user.into());
        self
    }

    /// The password with which the sentinels are asked, if they want one; the master's is part of its address.
    #[must_use]
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(password.into());
        self
    }

    /// The random bytes before each message, which tell equal messages apart; 12 by default.
    #[must_use]
    pub fn random_prefix_length(mut self, bytes: usize) -> Self {
        self.random_prefix_length = bytes;
        self
    }
}

/// The address of each of several hosts, or of several masters of one set of sentinels, that one address names.
fn hosts(scheme: &str, rest: &str) -> Result<Vec<String>, InvalidUrl> {
    let (login, hosts, path) = split_login(rest);
    if hosts.split(',').any(str::is_empty) {
        return Err(InvalidUrl::new("a host is missing"));
    }
    if !scheme.ends_with("+sentinel") {
        return Ok(hosts.split(',').map(|host| format!("{scheme}://{login}{host}/{path}")).collect());
    }
    let (masters, db) = path.split_once('/').unwrap_or((path, ""));
    if masters.split(',').any(str::is_empty) {
        return Err(InvalidUrl::new("the name of a master is missing after the sentinels"));
    }
    Ok(masters.split(',').map(|name| format!("{scheme}://{login}{hosts}/{name}/{db}")).collect())
}

/// The login with its `@`, the hosts, and the path of what follows a scheme.
pub(super) fn split_login(rest: &str) -> (&str, &str, &str) {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    (login, hosts, path)
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
        let unix =
            RedisConfig::from_url("redis+unix:///run/redis.sock?user=u&prefix=p&pass=a%26b&db=1").unwrap();
        assert_eq!(unix.hosts, ["redis+unix:///run/redis.sock?user=u&pass=a%26b&db=1"]);
        assert_eq!(unix.prefix, "p");
        let tls = RedisConfig::from_url("rediss://a?ca=/etc/our%20ca.pem").unwrap();
        assert_eq!(tls.ca, Some(PathBuf::from("/etc/our ca.pem")));
        let masters =
            RedisConfig::from_url("redis+sentinel://:pw@a:1,b/one,two/3?sentinel_password=x").unwrap();
        let login = "redis+sentinel://:pw@a:1,b";
        assert_eq!(masters.hosts, [format!("{login}/one/3"), format!("{login}/two/3")]);
        assert_eq!(masters.sentinel_password.as_deref(), Some("x"));
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
            ("redis://a?user=ana", "user"),
            ("redis+sentinel://a:1,b:2", "master"),
            ("redis+sentinel://a:1/one,,two", "master"),
            ("redis://a?prefix=%ff", "prefix"),
        ] {
            let error = RedisConfig::from_url(url).unwrap_err().to_string();
            assert!(error.contains(hint), "{url}: {error}");
        }
    }

    #[test]
    fn who_shares_a_layer_is_told_by_kind_prefix_and_places() {
        let name = |url: &str, kind| RedisConfig::from_url(url).unwrap().shared_as(kind);
        let core = name("redis://a:1,b:2/3?expiry=5", "core");
        assert_eq!(core.len(), 32);
        assert_eq!(core, name("redis://ana:secret@a:1,b:2/3", "core"));
        for (url, kind) in [
            ("redis://a:1,b:2/3", "pubsub"),
            ("redis://a:1,b:2/3?prefix=p", "core"),
            ("redis://b:2,a:1/3", "core"),
            ("redis://a:1,b:2", "core"),
        ] {
            assert_ne!(core, name(url, kind), "{url} {kind}");
        }
    }

    #[test]
    fn debug_output_has_no_secrets() {
        let config = RedisConfig::new(["redis://:secret@a"]).encryption_keys(["secret"]);
        assert!(!format!("{config:?}").contains("secret"));
    }
}
