//! The fan-out server itself, as a program: two of them on one real Redis are one server.

#[cfg(test)]
mod python;
#[path = "../../../channel-layer/tests/it/redis_server.rs"]
#[expect(dead_code, reason = "other tests hurt the server in more ways")]
mod redis_server;
mod two_processes;
