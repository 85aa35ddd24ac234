//! The limits that every backend shares, with the defaults of Channels.

use std::time::Duration;

use crate::Capacities;

/// How much a layer keeps, and for how long.
///
/// ```
/// use channel_layer::{Capacities, InMemoryLayer, Limits};
/// use std::time::Duration;
/// let limits = Limits::default().capacity(Capacities::new(500)).expiry(Duration::from_secs(5));
/// let layer = InMemoryLayer::new(limits);
/// ```
#[derive(Debug, Clone)]
pub struct Limits {
    pub(crate) capacities: Capacities,
    pub(crate) expiry: Duration,
    pub(crate) group_expiry: Duration,
}

impl Limits {
    /// Unread messages that a channel holds; 100 by default.
    #[must_use]
    pub fn capacity(mut self, capacities: Capacities) -> Self {
        self.capacities = capacities;
        self
    }

    /// How old an unread message may get; 60 seconds by default.
    #[must_use]
    pub fn expiry(mut self, expiry: Duration) -> Self {
        self.expiry = expiry;
        self
    }

    /// How long a membership lasts without being renewed; 86,400 seconds by default.
    #[must_use]
    pub fn group_expiry(mut self, expiry: Duration) -> Self {
        self.group_expiry = expiry;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capacities: Capacities::default(),
            expiry: Duration::from_secs(60),
            group_expiry: Duration::from_secs(86_400),
        }
    }
}
