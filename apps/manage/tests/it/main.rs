//! What the program does, seen from outside: each test runs it, with a database of its own, and talks to it as
//! operators, browsers and scripts do.

#[cfg(test)]
mod addresses;
#[cfg(test)]
mod capture_client;
#[cfg(test)]
mod capture_dice;
#[cfg(test)]
mod capture_kill;
#[cfg(test)]
mod capture_site;
#[cfg(test)]
mod capture_writer;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod first_run;
#[cfg(test)]
mod http;
#[cfg(test)]
mod losses;
#[cfg(test)]
mod program;
#[cfg(test)]
mod python;
#[cfg(test)]
#[path = "../../../../channel-layer/tests/it/redis_server.rs"]
#[expect(dead_code, reason = "other tests hurt the server, here it only runs")]
mod redis_server;
#[cfg(test)]
mod server;
#[cfg(test)]
mod socket;
#[cfg(test)]
mod sockets;
