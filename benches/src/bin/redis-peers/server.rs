//! The Redis server between the processes: one of our own, or one that runs already.

use crate::Failure;
use crate::redis_server::RedisServer;

pub(crate) struct Redis {
    url: String,
    /// Ends with the bench.
    _own: Option<RedisServer>,
}

impl Redis {
    /// Starts a server on a free port of the loopback address, with its data in a temporary folder.
    pub(crate) fn start() -> Result<Self, Failure> {
        let own = RedisServer::start();
        Ok(Self { url: own.url(), _own: Some(own) })
    }

    /// A server that runs already. Its other users' work would be counted as ours.
    pub(crate) fn at(url: &str) -> Result<Self, Failure> {
        if !url.starts_with("redis://") || url.contains('?') {
            return Err("--layer is redis://HOST:PORT without options: both layers are measured there".into());
        }
        Ok(Self { url: url.to_owned(), _own: None })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// User and system time of the server until now, as the server says, so that it may be anywhere.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, Failure> {
        let info = self.info("cpu")?;
        Ok(field(&info, "used_cpu_user")?.parse::<f64>()? + field(&info, "used_cpu_sys")?.parse::<f64>()?)
    }

    pub(crate) fn version(&self) -> Result<String, Failure> {
        Ok(field(&self.info("server")?, "redis_version")?.to_owned())
    }

    fn info(&self, section: &str) -> Result<String, Failure> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        Ok(redis::cmd("INFO").arg(section).query(&mut connection)?)
    }
}

/// The value of a line `name:value`.
fn field<'a>(info: &'a str, name: &str) -> Result<&'a str, Failure> {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.ok_or_else(|| format!("Redis does not tell its {name}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let info = "# CPU\r\nused_cpu_sys_children:9\r\nused_cpu_sys:1.5\r\n";
        assert_eq!(field(info, "used_cpu_sys").unwrap(), "1.5");
        assert!(field(info, "used_cpu_user").is_err());
    }

    #[test]
    fn only_addresses_that_suit_both_layers_are_taken() {
        assert!(Redis::at("redis://127.0.0.1:6379").is_ok());
        assert!(Redis::at("redis+pubsub://127.0.0.1:6379").is_err());
        assert!(Redis::at("redis://127.0.0.1:6379?capacity=1").is_err());
    }
}
