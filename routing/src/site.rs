//! What the routers share when they stand under a server: layers, limits, the handle for their end.

use std::sync::Arc;
use std::time::Duration;

use consumers::{ChannelLayers, Shutdown};

/// What a router needs to turn handshakes into sockets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Site {
    pub(crate) layers: ChannelLayers,
    /// Shared, since each socket keeps it.
    pub(crate) sockets: Arc<SocketConfig>,
    pub(crate) shutdown: Shutdown,
}

/// A year: time that is added to the present must not overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The limits of WebSockets.
#[derive(Debug, Clone)]
pub struct SocketConfig {
    pub(crate) handshake_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) pong_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) message_limit: usize,
    pub(crate) read_buffer: usize,
}

impl SocketConfig {
    /// How long a consumer may take to accept or refuse a handshake, which is then answered with 503; 5 seconds by
    /// default, as in Daphne.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// After how long a silence the client is pinged; 25 seconds by default, which is below the 30 or 60 seconds of
    /// common proxies.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval.min(LONGEST);
        self
    }

    /// How long a pinged client may be silent until it counts as lost (1006); 8 seconds by default, and again as long
    /// whenever it has taken some of a backlog before the ping meanwhile, or sent a piece of something long.
    #[must_use]
    pub fn pong_timeout(mut self, timeout: Duration) -> Self {
        self.pong_timeout = timeout.min(LONGEST);
        self
    }

    /// How long the client may take to answer our close frame, and to hang up afterwards; 2 seconds by default. A client that
    /// has not taken what stands before the frame has a minute for all of it, unless the server ends.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout.min(LONGEST);
        self
    }

    /// The most bytes in a message, and in a frame, from the client; more closes with 1009. 1 MiB by default.
    #[must_use]
    pub fn message_limit(mut self, bytes: usize) -> Self {
        self.message_limit = bytes;
        self
    }

    /// The bytes of read buffer that each idle socket holds; 64 by default, since the sockets of a thread share a
    /// larger one by which they read. Who sends a larger message gets a buffer for it, which tungstenite may keep as long as
    /// the socket lives; where many send large ones once, lower the [`message_limit`](Self::message_limit).
    #[must_use]
    pub fn read_buffer(mut self, bytes: usize) -> Self {
        self.read_buffer = bytes;
        self
    }
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            close_timeout: Duration::from_secs(2),
            message_limit: 1 << 20,
            read_buffer: 64,
        }
    }
}

/// Gives a router the methods by which it stands under a server; both routers have the same.
macro_rules! stands_under_a_server {
    ($router:ident) => {
        impl $router {
            /// Gives consumers their channel layers. [`serve`](crate::serve) does this; under a [`Server`](crate::Server) or
            /// another one it is yours to do, for the router that stands under the server: within another its own do not
            /// count.
            #[must_use]
            pub fn with_channel_layer(mut self, layers: impl Into<consumers::ChannelLayers>) -> Self {
                self.site.layers = layers.into();
                self
            }

            /// Sets the limits of the sockets, for the router that stands under the server.
            #[must_use]
            pub fn with_sockets(mut self, config: crate::SocketConfig) -> Self {
                self.site.sockets = std::sync::Arc::new(config);
                self
            }

            /// The handle that ends this router's sockets in order, where it stands under the server itself.
            /// [`serve`](crate::serve) uses it, and a [`Server`](crate::Server) that was
            /// [given](crate::Server::with_shutdown) it; under another server, await its `drain` when that server has
            /// stopped accepting.
            #[must_use]
            pub fn shutdown(&self) -> consumers::Shutdown {
                self.site.shutdown.clone()
            }
        }
    };
}

pub(crate) use stands_under_a_server;
