//! As a user of Redis' access control who may do what a layer needs, and nothing else.

use channel_layer::RedisConfig;

use crate::faults::on_both_layers;
use crate::faults::trial::Kind;
use crate::redis_server::RedisServer;

on_both_layers!(few_rights_are_enough, a_right_that_is_missing_is_named, a_wrong_password_is_told_at_once);

/// The rights that the documentation of `RedisConfig` names.
fn rights(kind: Kind) -> &'static str {
    match kind {
        Kind::Core => {
            "~shop* +ping +unwatch +evalsha +script|load +bzpopmin +zpopmin +zadd +zrem +zcard +zrange +zremrangebyscore \
             +expire +scan +del"
        }
        Kind::PubSub => "&* +ping +publish +subscribe +unsubscribe +psubscribe",
    }
}

/// A server that knows one user only, with these rights.
fn server(rights: &str) -> RedisServer {
    let mut options = vec!["--user", "default", "off", "--user", "app", "on", ">right", "resetchannels"];
    options.extend(rights.split_whitespace());
    RedisServer::start_with(&options)
}

fn config(server: &RedisServer, password: &str) -> RedisConfig {
    let url = server.url().replace("://", &format!("://app:{password}@"));
    RedisConfig::new([url]).prefix("shop")
}

async fn few_rights_are_enough(kind: Kind) {
    let server = server(rights(kind));
    let config = config(&server, "right");
    let layer = kind.layer_of(config.clone());
    super::join(layer.as_ref()).await.unwrap();
    layer.flush().await.unwrap();
    layer.close().await.unwrap();
    drop(layer);
    super::works_and_comes_back(kind, server, &config).await;
}

async fn a_right_that_is_missing_is_named(kind: Kind) {
    let server = server(&rights(kind).replace("~shop*", "~other*").replace("&*", "&shop*"));
    let layer = kind.layer_of(config(&server, "right"));
    let refused = super::join(layer.as_ref()).await.unwrap_err().to_string();
    let right = if kind == Kind::Core { "keys" } else { "channels" };
    assert!(refused.contains("no permissions") && refused.contains(right), "{refused}");
}

async fn a_wrong_password_is_told_at_once(kind: Kind) {
    let server = server(rights(kind));
    let config = config(&server, "wrong");
    super::is_refused(kind, config, "password").await;
}
