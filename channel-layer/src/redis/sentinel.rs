//! Redis Sentinel: which of several servers is the master is asked for every connection anew, so that whoever connects
//! again after a failover finds the new one.

use futures_util::FutureExt;
use futures_util::future::select_ok;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisError, RedisResult, Role, cmd,
};

use super::config::{RedisConfig, split_login};
use super::host::{open, secured, unavailable};
use crate::LayerError;

/// The port of a sentinel whose address names none.
const PORT: u16 = 26379;

/// A master, and who knows where it is.
pub(super) struct Sentinels {
    sentinels: Vec<ConnectionInfo>,
    name: String,
    /// How the master is spoken to; where it is, is filled in.
    master: ConnectionInfo,
}

impl Sentinels {
    /// Reads `[login@]host[:port],…/MASTER[/db]`. The login and the database are those of the master.
    pub(super) fn new(
        scheme: &str,
        rest: &str,
        config: &RedisConfig,
        ca: Option<&[u8]>,
    ) -> Result<Self, LayerError> {
        let (login, hosts, path) = split_login(rest);
        let (name, db) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() {
            let advice = "the address of sentinels ends with the name of their master, as in /mymaster";
            return Err(LayerError::Unavailable(advice.to_owned()));
        }
        let server = |address: String| {
            let info = address.into_connection_info().map_err(|error| unavailable(&error))?;
            secured(info, ca)
        };
        let sentinel = |host: &str| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            let port = if has_port { String::new() } else { format!(":{PORT}") };
            let info = server(format!("{scheme}://{host}{port}"))?;
            let mut login = info.redis_settings().clone();
            if let Some(user) = &config.sentinel_user {
                login = login.set_username(user);
            }
            if let Some(password) = &config.sentinel_password {
                login = login.set_password(password);
            }
            Ok(info.set_redis_settings(login))
        };
        Ok(Self {
            sentinels: hosts.split(',').map(sentinel).collect::<Result<_, LayerError>>()?,
            name: name.to_owned(),
            master: server(format!("{scheme}://{login}master/{db}"))?,
        })
    }

    /// Finds the master, and opens a connection to it, by the first sentinel that is right: all are asked at once, since
    /// some may be down, hang, or not have heard of a failover yet.
    pub(super) async fn find(
        &self,
        protocol: ProtocolVersion,
        settings: &AsyncConnectionConfig,
    ) -> RedisResult<(ConnectionInfo, MultiplexedConnection)> {
        let ways = self.sentinels.iter().map(|sentinel| self.find_by(sentinel, protocol, settings).boxed());
        select_ok(ways).await.map(|(found, _)| found)
    }

    async fn find_by(
        &self,
        sentinel: &ConnectionInfo,
        protocol: ProtocolVersion,
        settings: &AsyncConnectionConfig,
    ) -> RedisResult<(ConnectionInfo, MultiplexedConnection)> {
        let (host, port) = self.ask(sentinel).await?;
        let master = self.master.clone().set_addr(moved(self.master.addr(), host, port));
        let mut connection = open(&master, protocol, settings).await?;
        match cmd("ROLE").query_async(&mut connection).await? {
            Role::Primary { .. } => Ok((master, connection)),
            _ => Err((ErrorKind::Io, "what a sentinel says is the master is not, or not yet").into()),
        }
    }

    /// Where a sentinel believes that the master is.
    async fn ask(&self, sentinel: &ConnectionInfo) -> RedisResult<(String, u16)> {
        let asking = async {
            let mut connection =
                open(sentinel, ProtocolVersion::RESP2, &AsyncConnectionConfig::new()).await?;
            let mut ask = cmd("SENTINEL");
            ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
            ask.query_async::<Option<(String, u16)>>(&mut connection).await
        };
        let about = |cause: RedisError| {
            let cause = format!("{}: {cause}", sentinel.addr());
            RedisError::from((ErrorKind::Io, "a sentinel does not say where the master is", cause))
        };
        let unknown = || (ErrorKind::Io, "a sentinel does not know the master", self.name.clone()).into();
        asking.await.map_err(about)?.ok_or_else(unknown)
    }
}

/// The same kind of address, elsewhere.
fn moved(address: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match address {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str) -> Result<Sentinels, LayerError> {
        let config = RedisConfig::new([""]).sentinel_user("sam").sentinel_password("open");
        Sentinels::new("redis", rest, &config, None)
    }

    #[test]
    fn sentinels_and_their_master_have_logins_of_their_own() {
        let read = read("ana:s%3Acret@one,two:1,[::1],[::1]:2/shop/3").unwrap();
        let places: Vec<_> = read.sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
        assert_eq!(places, ["one:26379", "two:1", "::1:26379", "::1:2"]);
        for sentinel in &read.sentinels {
            let login = sentinel.redis_settings();
            assert_eq!((login.username(), login.password(), login.db()), (Some("sam"), Some("open"), 0));
        }
        let login = read.master.redis_settings();
        assert_eq!((login.username(), login.password(), login.db()), (Some("ana"), Some("s:cret"), 3));
        assert_eq!(read.name, "shop");
    }

    #[test]
    fn a_master_without_a_name_or_a_database_without_a_number_is_refused() {
        for rest in ["one", "one/", "one//3", "one/shop/x"] {
            assert!(read(rest).is_err(), "{rest}");
        }
    }
}
