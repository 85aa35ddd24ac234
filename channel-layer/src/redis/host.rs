//! One Redis host: what its address says, and how a connection to it is opened. Whoever needs a connection gets it here.

use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, RedisError, RedisResult, TlsCertificates,
};
use rustls::crypto::{CryptoProvider, ring};
use tokio::time::timeout;

use super::config::RedisConfig;
use super::sentinel::Sentinels;
use crate::LayerError;

/// After how long without an acknowledgement the system gives a connection up, with all that was to be sent.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(3);

/// How long connecting may take, whatever it consists of.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What every certificate in a PEM file begins with.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// One of those that share the keys.
pub(crate) struct Host {
    place: Place,
}

/// Where it is.
enum Place {
    Server(ConnectionInfo),
    Sentinels(Sentinels),
}

impl Host {
    /// Reads an address, and the file of the authority that it is to be trusted by.
    pub(crate) fn new(address: &str, config: &RedisConfig) -> Result<Self, LayerError> {
        let ca = config.ca.as_deref().map(read_ca).transpose()?;
        let place = match address.split_once("+sentinel://") {
            Some((scheme, rest)) => Place::Sentinels(Sentinels::new(scheme, rest, config, ca.as_deref())?),
            None => {
                let server = address.into_connection_info().map_err(|error| unavailable(&error))?;
                Place::Server(secured(server, ca.as_deref())?)
            }
        };
        Ok(Self { place })
    }

    /// Opens a connection, in one second or not at all. A protocol is said because only a subscriber needs RESP3,
    /// which Redis 5 does not speak.
    pub(crate) async fn connect(
        &self,
        protocol: ProtocolVersion,
        settings: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let connecting = async {
            match &self.place {
                Place::Server(server) => open(server, protocol, settings).await,
                Place::Sentinels(sentinels) => Ok(sentinels.find(protocol, settings).await?.1),
            }
        };
        in_time(connecting).await
    }

    /// Where the server is at the moment, and how it is spoken to.
    pub(crate) async fn find(&self, protocol: ProtocolVersion) -> RedisResult<ConnectionInfo> {
        match &self.place {
            Place::Server(server) => Ok(speaking(server, protocol)),
            Place::Sentinels(sentinels) => {
                let settings = AsyncConnectionConfig::new();
                let (master, _) = in_time(sentinels.find(protocol, &settings)).await?;
                Ok(speaking(&master, protocol))
            }
        }
    }
}

/// Opens a connection to a server.
pub(super) async fn open(
    server: &ConnectionInfo,
    protocol: ProtocolVersion,
    settings: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let client = Client::open(speaking(server, protocol))?;
    client.get_multiplexed_async_connection_with_config(settings).await
}

fn speaking(server: &ConnectionInfo, protocol: ProtocolVersion) -> ConnectionInfo {
    let login = server.redis_settings().clone().set_protocol(protocol);
    server.clone().set_redis_settings(login)
}

async fn in_time<T>(connecting: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    let late = |_| Err(RedisError::from((ErrorKind::Io, "connecting to Redis took too long")));
    timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(late)
}

fn read_ca(path: &Path) -> Result<Vec<u8>, LayerError> {
    let cannot = |why: &dyn std::fmt::Display| {
        LayerError::Unavailable(format!("the CA file {} cannot be used: {why}", path.display()))
    };
    let pem = std::fs::read(path).map_err(|error| cannot(&error))?;
    if !pem.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE) {
        return Err(cannot(&"there is no certificate in it"));
    }
    Ok(pem)
}

/// Prepares a server's address for TLS, if it asks for it.
pub(super) fn secured(server: ConnectionInfo, ca: Option<&[u8]>) -> Result<ConnectionInfo, LayerError> {
    // Commands are small and many: one must not wait for the acknowledgement of another.
    let tcp = TcpSettings::default().set_nodelay(true);
    // A pop that was given up must not be carried out later, when the network is back: its answer would reach nobody.
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(UNACKNOWLEDGED);
    let server = server.set_tcp_settings(tcp);
    let ConnectionAddr::TcpTls { insecure, .. } = server.addr() else {
        let refuse = LayerError::Unavailable("a CA file is for rediss:// addresses only".to_owned());
        return if ca.is_some() { Err(refuse) } else { Ok(server) };
    };
    if *insecure {
        let refuse = "certificates are always checked; name a private authority by the option ca";
        return Err(LayerError::Unavailable(refuse.to_owned()));
    }
    provide_crypto();
    let Some(root_cert) = ca else { return Ok(server) };
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(root_cert.to_vec()) };
    let client = Client::build_with_tls(server, certificates).map_err(|error| unavailable(&error))?;
    Ok(client.get_connection_info().clone())
}

/// Sees to it that rustls knows how to encrypt. Without this it panics in programs that contain several ways to do so
/// and have chosen none; a program's own choice stands.
fn provide_crypto() {
    if CryptoProvider::get_default().is_none() {
        // It fails if another thread was faster, which is as good.
        let _ = ring::default_provider().install_default();
    }
}

pub(crate) fn unavailable(error: &RedisError) -> LayerError {
    LayerError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(config: &RedisConfig) -> String {
        Host::new(&config.hosts()[0], config).err().expect("it is refused").to_string()
    }

    #[test]
    fn what_cannot_be_trusted_is_refused_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let no_certificate = folder.path().join("key.pem");
        std::fs::write(&no_certificate, "-----BEGIN PRIVATE KEY-----").unwrap();
        for (address, ca, hint) in [
            ("rediss://localhost", Some(folder.path().join("absent.pem")), "absent.pem"),
            ("rediss://localhost", Some(no_certificate), "no certificate"),
            ("rediss://localhost/#insecure", None, "always checked"),
        ] {
            let mut config = RedisConfig::new([address]);
            config.ca = ca;
            let said = refusal(&config);
            assert!(said.contains(hint), "{said}");
        }
    }

    #[test]
    fn a_ca_without_tls_is_a_mistake_and_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, CERTIFICATE).unwrap();
        for address in ["redis://localhost", "redis+unix:///run/redis.sock"] {
            assert!(refusal(&RedisConfig::new([address]).ca(&ca)).contains("rediss://"));
        }
    }
}
