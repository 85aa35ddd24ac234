//! What the program does, seen from outside: each test runs it, with a database of its own, and talks to it as
//! operators, browsers and scripts do.

#[cfg(test)]
mod addresses;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod first_run;
#[cfg(test)]
mod http;
#[cfg(test)]
mod program;
#[cfg(test)]
mod python;
#[cfg(test)]
mod server;
#[cfg(test)]
mod socket;
#[cfg(test)]
mod sockets;
