//! The proof that a backend keeps the contract of a [`ChannelLayer`]: every clause is one test, and a backend
//! registers for all of them with one line.
//!
//! ```
//! use std::sync::Arc;
//! use async_trait::async_trait;
//! use channel_layer::conformance::Backend;
//! use channel_layer::{ChannelLayer, InMemoryLayer, Limits};
//!
//! struct InMemory;
//!
//! #[async_trait]
//! impl Backend for InMemory {
//!     async fn layers(&self, limits: Limits, processes: usize) -> Vec<Arc<dyn ChannelLayer>> {
//!         let layer = InMemoryLayer::new(limits);
//!         (0..processes).map(|_| Arc::new(layer.clone()) as Arc<dyn ChannelLayer>).collect()
//!     }
//! }
//!
//! channel_layer::conformance!(in_memory: InMemory, [Queueing, Capacity, Expiry, GroupExpiry]);
//! # fn main() {}
//! ```
//!
//! The list at the end says what the backend can do. A clause that needs anything else is stamped as an *ignored*
//! test, so that a test run shows what was not proven.
//!
//! Clauses wait by the clock of tokio: under a paused clock they take no time, against a server they take up to
//! some seconds. [`Clause::run`] runs one by hand, as a test of the suite itself does.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::{ChannelLayer, Limits};

mod capacity;
mod content;
mod delivery;
mod expiry;
mod groups;
mod life;
mod list;
mod names;
mod processes;
mod racing;
mod tools;

use tools::Verdict;

/// How long a clause may take before it counts as broken; some backends hang where others fail.
const CLAUSE_TIME: Duration = Duration::from_secs(60);

/// What the suite needs to know of a backend: how to make layers of it.
#[async_trait]
pub trait Backend: Sync {
    /// As many layers as asked for, all on one fresh and empty backend and with these limits; each stands for a
    /// process of its own. Only clauses that need [`Capability::Processes`] ask for more than one.
    async fn layers(&self, limits: Limits, processes: usize) -> Vec<Arc<dyn ChannelLayer>>;

    /// Where a clause runs: on one thread and with a real clock by default. A backend that never leaves the process
    /// starts it with a paused clock.
    fn runtime(&self) -> Runtime {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs no more than a free descriptor")
    }
}

/// What not every backend can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Normal channels keep messages while nobody listens.
    Queueing,
    /// Capacities are kept.
    Capacity,
    /// Messages that are too old are dropped.
    Expiry,
    /// Memberships end when they are not renewed.
    GroupExpiry,
    /// Messages reach the mailboxes of other processes, by name and by group.
    Processes,
    /// A process may add and discard the mailboxes of another.
    RemoteMembers,
}

/// A clause at work.
type Running<'a> = Pin<Box<dyn Future<Output = Verdict> + 'a>>;

/// One promise of the contract.
pub struct Clause {
    /// Its name, which is that of its test.
    pub name: &'static str,
    /// What it promises, and in brackets where that comes from: a section of the specification of Channels, a test
    /// of an upstream suite, or `layer` for the documentation of [`ChannelLayer`].
    pub says: &'static str,
    /// What a backend must be able to do for it.
    pub needs: &'static [Capability],
    holds: fn(&dyn Backend) -> Running<'_>,
}

impl Clause {
    /// Every clause there is.
    pub const ALL: &[Self] = CLAUSES;

    /// The clause of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|clause| clause.name == name)
    }

    /// Whether the backend keeps the clause.
    ///
    /// # Errors
    /// [`Broken`] when it does not; it says what was seen.
    pub fn run(&self, backend: &dyn Backend) -> Result<(), Broken> {
        let verdict = backend.runtime().block_on(async { timeout(CLAUSE_TIME, (self.holds)(backend)).await });
        let seen = match verdict {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(fault)) => fault.to_string(),
            Err(_) => format!("it did not end within {} seconds", CLAUSE_TIME.as_secs()),
        };
        Err(Broken { clause: self.name, says: self.says.trim(), seen })
    }
}

impl fmt::Debug for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clause").field("name", &self.name).field("needs", &self.needs).finish_non_exhaustive()
    }
}

/// A clause that a backend does not keep.
#[derive(Debug, thiserror::Error)]
#[error("`{clause}` is broken: {seen}\n  It promises: {says}")]
pub struct Broken {
    clause: &'static str,
    says: &'static str,
    seen: String,
}

/// Makes the table of the list.
macro_rules! table {
    (() $($theme:ident { $($(#[doc = $says:literal])+ $clause:ident [$($need:ident)*])+ })+) => {
        const CLAUSES: &[Clause] = &[$($(Clause {
            name: stringify!($clause),
            says: concat!($($says),+),
            needs: &[$(Capability::$need),*],
            holds: |backend| Box::pin($theme::$clause(backend)),
        }),+),+];
    };
}

crate::__conformance_clauses! { [table!] () }
