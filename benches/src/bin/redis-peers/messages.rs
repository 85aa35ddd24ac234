//! What the command and its two processes tell each other, one JSON value a line; `benches/python/redis_peers.py`
//! speaks the same. Times are nanoseconds of the machine's wall clock, which all processes share.

use serde::{Deserialize, Serialize};

/// What a process is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) role: Role,
    pub(crate) layer: Layer,
    /// The server's `redis://` address.
    pub(crate) redis: String,
    /// Messages that a channel may hold, so many that a receiver may be seconds behind.
    pub(crate) capacity: usize,
    pub(crate) group: String,
    /// Members of the group, all in the receiving process.
    pub(crate) members: u64,
    /// Tasks that send, each awaiting its own sends.
    pub(crate) senders: u64,
    /// How long they send.
    pub(crate) seconds: f64,
    /// Seconds that they wait between two sends; when there are any, the receiver notes latencies.
    pub(crate) pause: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Sender,
    Receiver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layer {
    PubSub,
    Core,
}

/// The first line of each process: it is connected, the receiver has joined the group. It says what it is made of.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) versions: String,
}

/// Tells the sender to send.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Go;

/// The sender's answer, when its time is over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) sends: u64,
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

/// Tells the receiver how many deliveries there should be in all.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Due {
    pub(crate) deliveries: u64,
}

/// The receiver's answer, when it has heard all of them or nothing more comes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) deliveries: u64,
    /// When the last one came.
    pub(crate) last: u64,
    /// From before the send until the member has the message, in milliseconds; none when they were not noted.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
}
