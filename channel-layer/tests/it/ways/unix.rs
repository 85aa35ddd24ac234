//! By a socket in the file system.

use channel_layer::RedisConfig;

use crate::faults::on_both_layers;
use crate::faults::trial::Kind;
use crate::redis_server::RedisServer;

on_both_layers!(everything_works_and_comes_back, a_user_a_password_and_a_database_can_be_said);

async fn everything_works_and_comes_back(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let socket = socket.to_str().unwrap();
    let server = RedisServer::start_with(&["--unixsocket", socket]);
    let config = RedisConfig::from_url(&format!("redis+unix://{socket}?prefix=shop")).unwrap();
    super::works_and_comes_back(kind, server, &config).await;
}

async fn a_user_a_password_and_a_database_can_be_said(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let socket = socket.to_str().unwrap();
    let user = ["--user", "ana", "on", ">s&cret", "~*", "&*", "+@all", "--user", "default", "off"];
    let server = RedisServer::start_with(&[&["--unixsocket", socket], &user[..]].concat());
    let address = format!("redis+unix://{socket}?db=3&user=ana&prefix=shop");
    let config = RedisConfig::from_url(&format!("{address}&pass=s%26cret")).unwrap();
    super::works_and_comes_back(kind, server, &config).await;
}
