//! What a client sees of this crate over real sockets: the server, the routers and the protocol.

#[cfg(test)]
mod axum;
#[cfg(test)]
mod chat;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod handshake;
#[cfg(test)]
mod keepalive;
#[cfg(test)]
mod origin;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod server;
#[cfg(test)]
mod support;
#[cfg(test)]
mod traits;
