//! The programs of this crate, on one real Redis: two fan-out servers are one server, and what needs Python; and
//! what the load generator finds.

mod load;
#[cfg(test)]
mod python;
#[path = "../../../channel-layer/tests/it/redis_server.rs"]
#[expect(dead_code, reason = "other tests hurt the server in more ways")]
mod redis_server;
mod server;
mod two_processes;
