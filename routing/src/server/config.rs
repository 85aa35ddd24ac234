//! The limits of the server.

use std::time::Duration;

use crate::site::LONGEST;

/// The limits of a [`Server`](crate::Server); those of its sockets are in [`SocketConfig`](crate::SocketConfig).
#[derive(Debug, Clone)]
pub struct ServerConfig {
    pub(crate) connection_limit: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) header_limit: usize,
    pub(crate) drain_deadline: Duration,
}

impl ServerConfig {
    /// The most connections at a time, HTTP and WebSocket together; more are answered with 503. 65,536 by default.
    #[must_use]
    pub fn connection_limit(mut self, connections: usize) -> Self {
        self.connection_limit = connections.min(tokio::sync::Semaphore::MAX_PERMITS);
        self
    }

    /// How long a client may take to send the head of a request; 10 seconds by default.
    #[must_use]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout.min(LONGEST);
        self
    }

    /// The most bytes in the head of a request; 16 KiB by default, and 8 KiB at least.
    #[must_use]
    pub fn header_limit(mut self, bytes: usize) -> Self {
        self.header_limit = bytes.max(8 * 1024);
        self
    }

    /// How long handlers and requests may go on when the server ends; 10 seconds by default.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connection_limit: 65_536,
            header_timeout: Duration::from_secs(10),
            header_limit: 16 * 1024,
            drain_deadline: Duration::from_secs(10),
        }
    }
}
