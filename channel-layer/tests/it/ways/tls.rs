//! Over TLS: what is trusted, and what is refused.

use std::path::PathBuf;

use channel_layer::{Delivery, GroupName, Message, RedisConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::faults::on_both_layers;
use crate::faults::trial::Kind;
use crate::redis_server::{RedisServer, free_port};

on_both_layers!(
    everything_works_and_comes_back,
    another_authority_is_refused,
    the_system_does_not_know_the_authority,
    another_host_name_is_refused,
    an_address_says_it_all,
    sentinels_are_asked_over_tls_too,
);

/// A server that speaks TLS too.
struct Secured {
    server: RedisServer,
    port: u16,
    folder: tempfile::TempDir,
}

impl Secured {
    /// A server with a certificate for this name, by an authority of its own.
    fn start(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issuer = authority(&folder, "ca.pem");
        authority(&folder, "other-ca.pem");
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let file = |name: &str, pem: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (certificate, key) =
            (file("server.pem", &certificate.pem()), file("key.pem", &key.serialize_pem()));
        let port = free_port();
        let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
        let server = RedisServer::start_with(&[&["--tls-port", &port.to_string()], &files[..]].concat());
        Self { server, port, folder }
    }

    /// A sentinel with the certificate of the server, and its port.
    fn sentinel(&self) -> (RedisServer, u16) {
        let (port, master) = (free_port(), self.port);
        let [certificate, key] = ["server.pem", "key.pem"].map(|name| self.file(name).display().to_string());
        let sentinel = RedisServer::start_sentinel(&format!(
            "tls-port {port}\ntls-cert-file {certificate}\ntls-key-file {key}\ntls-auth-clients no\n\
             sentinel monitor shop 127.0.0.1 {master} 1\n"
        ));
        (sentinel, port)
    }

    fn config(&self) -> RedisConfig {
        RedisConfig::new([format!("rediss://127.0.0.1:{}", self.port)])
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Makes an authority and writes its certificate to a file.
fn authority(folder: &tempfile::TempDir, file: &str) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(folder.path().join(file), params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}

async fn everything_works_and_comes_back(kind: Kind) {
    let secured = Secured::start("127.0.0.1");
    let config = secured.config().ca(secured.file("ca.pem"));
    super::works_and_comes_back(kind, secured.server, &config).await;
}

async fn another_authority_is_refused(kind: Kind) {
    let secured = Secured::start("127.0.0.1");
    let config = secured.config().ca(secured.file("other-ca.pem"));
    super::is_refused(kind, config, "invalid peer certificate").await;
}

async fn the_system_does_not_know_the_authority(kind: Kind) {
    let secured = Secured::start("127.0.0.1");
    super::is_refused(kind, secured.config(), "invalid peer certificate").await;
}

async fn another_host_name_is_refused(kind: Kind) {
    let secured = Secured::start("redis.example");
    let config = secured.config().ca(secured.file("ca.pem"));
    super::is_refused(kind, config, "not valid for name").await;
}

async fn an_address_says_it_all(kind: Kind) {
    let secured = Secured::start("127.0.0.1");
    let scheme = if kind == Kind::Core { "rediss" } else { "rediss+pubsub" };
    let ca = secured.file("ca.pem");
    passes(&format!("{scheme}://127.0.0.1:{}?prefix=shop&ca={}", secured.port, ca.display())).await;
}

async fn sentinels_are_asked_over_tls_too(kind: Kind) {
    let secured = Secured::start("127.0.0.1");
    let (_sentinel, port) = secured.sentinel();
    let scheme = if kind == Kind::Core { "rediss+sentinel" } else { "rediss+pubsub+sentinel" };
    let ca = secured.file("ca.pem");
    passes(&format!("{scheme}://127.0.0.1:{port}/shop?ca={}", ca.display())).await;
    let stranger = RedisConfig::new([format!("rediss+sentinel://127.0.0.1:{port}/shop")]);
    super::is_refused(kind, stranger.ca(secured.file("other-ca.pem")), "invalid peer certificate").await;
}

/// A message passes over what an address opens.
async fn passes(url: &str) {
    let layer = channel_layer::open(url).unwrap();
    let mut mailbox = layer.new_channel("specific").await.unwrap();
    let group = GroupName::new("g").unwrap();
    layer.group_add(&group, mailbox.name()).await.unwrap();
    let message = Message::new(&std::collections::BTreeMap::from([("type", "t")])).unwrap();
    layer.group_send(&group, message.clone()).await.unwrap();
    assert_eq!(mailbox.recv().await, Delivery::Message(message));
}
