//! Behind sentinels: a master that dies is replaced, and the layer finds its successor.

use std::time::Duration;

use channel_layer::{GroupName, RedisConfig};
use tokio::time::Instant;

use crate::faults::on_both_layers;
use crate::faults::trial::{BACK, Kind, Trial, until};
use crate::redis_server::RedisServer;

on_both_layers!(
    a_master_that_dies_is_replaced,
    a_master_that_is_relieved_is_left,
    several_masters_are_several_hosts,
    a_master_that_nobody_knows_is_told,
);

/// The password of the sentinels.
const PASSWORD: &str = "watch";

/// How long the sentinels may take to agree on a new master, on a busy machine.
const FAILOVER: Duration = Duration::from_secs(15);

/// Three sentinels, of which two have to agree, and what they watch: masters by name, each with a replica.
pub(crate) struct Watched {
    pub(crate) masters: Vec<RedisServer>,
    replicas: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl Watched {
    pub(crate) fn start(names: &[&str]) -> Self {
        let masters: Vec<_> = names.iter().map(|_| RedisServer::start()).collect();
        let replicas = masters.iter().map(|master| {
            let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
            wait("the replica", || {
                master.command::<String>(&["INFO", "replication"]).contains("state=online")
            });
            replica
        });
        let replicas = replicas.collect();
        let watch = |(name, master): (&&str, &RedisServer)| {
            let port = master.port();
            format!(
                "sentinel monitor {name} 127.0.0.1 {port} 2\nsentinel down-after-milliseconds {name} 500\n\
                 sentinel failover-timeout {name} 3000\n"
            )
        };
        let config: String = names.iter().zip(&masters).map(watch).collect();
        let config = format!("requirepass {PASSWORD}\nsentinel sentinel-pass {PASSWORD}\n{config}");
        let sentinels: Vec<_> = (0..3).map(|_| RedisServer::start_sentinel(&config)).collect();
        for sentinel in &sentinels {
            wait("the sentinels", || names.iter().all(|name| knows_all(sentinel, name)));
        }
        Self { masters, replicas, sentinels }
    }

    /// One of the masters as `channels_redis` is told of it.
    pub(crate) fn host_of_python(&self, name: &str) -> serde_json::Value {
        let places: Vec<_> = self.sentinels.iter().map(|s| ("127.0.0.1", s.port())).collect();
        serde_json::json!({
            "sentinels": places,
            "master_name": name,
            "sentinel_kwargs": { "password": PASSWORD },
            "socket_timeout": null,
        })
    }

    /// All of the masters, with commas between them.
    pub(crate) fn config(&self, names: &str) -> RedisConfig {
        let places: Vec<_> = self.sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port())).collect();
        let address = format!("redis+sentinel://{}/{names}?sentinel_password={PASSWORD}", places.join(","));
        RedisConfig::from_url(&address).unwrap()
    }
}

/// Whether a sentinel knows the replica of a master and both other sentinels.
fn knows_all(sentinel: &RedisServer, name: &str) -> bool {
    let known: std::collections::HashMap<String, String> = sentinel.command(&["SENTINEL", "MASTER", name]);
    known["num-slaves"] == "1" && known["num-other-sentinels"] == "2"
}

fn wait(what: &str, holds: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(15), "{what} did not find each other");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The worst at once: the master is killed, and the first sentinel hangs.
async fn a_master_that_dies_is_replaced(kind: Kind) {
    let mut watched = Watched::start(&["shop"]);
    let config = watched.config("shop");
    let mut trial = Trial::start_by(kind, watched.masters.remove(0), &config).await;
    watched.sentinels[0].pause();
    trial.server.kill();
    until("a failure", BACK, async || trial.failures() > 0).await;
    trial.all_hear(Instant::now(), FAILOVER).await;
    until("every mailbox is told", BACK, async || trial.all_told()).await;
    assert!(watched.replicas[0].command::<String>(&["INFO", "replication"]).contains("role:master"));
    trial.finish_after_failover().await;
}

/// An operator asks for a failover: the old master lives on, as a replica.
async fn a_master_that_is_relieved_is_left(kind: Kind) {
    let mut watched = Watched::start(&["shop"]);
    let config = watched.config("shop");
    let trial = Trial::start_by(kind, watched.masters.remove(0), &config).await;
    let _: () = watched.sentinels[0].command(&["SENTINEL", "FAILOVER", "shop"]);
    let is_relieved = || master(&watched.sentinels[1]) == watched.replicas[0].port().to_string();
    until("the failover", FAILOVER, async || is_relieved()).await;
    trial.all_hear(Instant::now(), FAILOVER).await;
    until("every mailbox is told", FAILOVER, async || trial.all_told()).await;
    trial.finish_after_failover().await;
}

/// The port of the master, as a sentinel knows it.
fn master(sentinel: &RedisServer) -> String {
    let (_, port): (String, String) = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop"]);
    port
}

async fn several_masters_are_several_hosts(kind: Kind) {
    let watched = Watched::start(&["one", "two"]);
    let layer = kind.layer_of(watched.config("one,two"));
    let mailbox = layer.new_channel("specific").await.unwrap();
    for number in 0..20 {
        layer.group_add(&GroupName::new(format!("g{number}")).unwrap(), mailbox.name()).await.unwrap();
    }
    let groups = |master: &RedisServer| match kind {
        Kind::Core => master.command::<Vec<String>>(&["KEYS", "asgi:group:*"]).len(),
        Kind::PubSub => master.command::<Vec<String>>(&["PUBSUB", "CHANNELS", "asgi__group__*"]).len(),
    };
    let [one, two] = [groups(&watched.masters[0]), groups(&watched.masters[1])];
    assert!(one > 2 && two > 2 && one + two == 20, "{one} and {two}");
}

async fn a_master_that_nobody_knows_is_told(kind: Kind) {
    let watched = Watched::start(&["shop"]);
    super::is_refused(kind, watched.config("other"), "does not know the master").await;
    let wrong = watched.config("shop").sentinel_password("wrong");
    super::is_refused(kind, wrong, "password").await;
}
