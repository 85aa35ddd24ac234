//! One socket that follows a binding: from a moment on, and each change once.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use channel_layer::GroupName;
use parking_lot::Mutex;

use super::Action;
use super::feed::LOST;
use super::publish::PublishedChange;
use crate::capture::Seen;
use crate::demultiplexer::Envelope;
use crate::outbound::UNSENT_FRAMES;
use crate::{Context, Frame, Outbound};

/// Where a follower's changes go: a socket, or one stream of it.
pub(crate) struct Target {
    outbound: Outbound,
    envelope: Option<Arc<Envelope>>,
}

impl Target {
    pub(super) fn of(ctx: &Context) -> Self {
        let envelope = ctx.stream().map(|stream| Arc::clone(stream.envelope()));
        Self { outbound: ctx.outbound().clone(), envelope }
    }

    /// The finished bytes of a change.
    fn wire(&self, json: &str) -> Bytes {
        match &self.envelope {
            Some(envelope) => envelope.around(json, None).wire(),
            None => Frame::text(json).wire(),
        }
    }
}

pub(super) struct Follower {
    target: Target,
    state: Mutex<State>,
}

enum State {
    /// Its snapshot is being taken: what it hears is kept.
    Waiting(Vec<Kept>),
    /// It hears what its snapshot does not hold.
    Live {
        seen: Seen,
        /// The last change, which a follower of several groups hears in each of them.
        last: Option<(Arc<str>, Action)>,
    },
    Gone,
}

/// A change that was heard before its follower's moment was known.
struct Kept {
    position: i64,
    identity: (Arc<str>, Action),
    wire: Bytes,
}

/// A change as it has arrived.
pub(super) struct Heard {
    pub(super) group: GroupName,
    position: i64,
    key: Arc<str>,
    action: Action,
    json: String,
}

impl Heard {
    pub(super) fn new(published: &PublishedChange) -> Option<Self> {
        let json = serde_json::to_string(&published.payload);
        Some(Self {
            group: published.group.clone(),
            position: published.position,
            key: Arc::from(published.key.as_str()),
            action: published.action,
            json: json.inspect_err(|cause| tracing::error!(%cause, "a change has no form as JSON")).ok()?,
        })
    }

    fn identity(&self) -> (Arc<str>, Action) {
        (Arc::clone(&self.key), self.action)
    }
}

/// Changes of one group that follow one another, and their finished bytes for each stream that wants them.
pub(super) struct Run<'a> {
    changes: &'a [Heard],
    wires: Vec<(Option<Arc<Envelope>>, Wires)>,
}

/// The bytes of each change, and of all together.
#[derive(Clone)]
struct Wires {
    each: Arc<[Bytes]>,
    all: Bytes,
}

impl<'a> Run<'a> {
    pub(super) fn new(changes: &'a [Heard]) -> Self {
        Self { changes, wires: Vec::new() }
    }

    fn wires(&mut self, target: &Target) -> Wires {
        if let Some((_, wires)) = self.wires.iter().find(|(envelope, _)| *envelope == target.envelope) {
            return wires.clone();
        }
        let each: Arc<[Bytes]> = self.changes.iter().map(|heard| target.wire(&heard.json)).collect();
        let mut all = BytesMut::with_capacity(each.iter().map(Bytes::len).sum());
        each.iter().for_each(|wire| all.extend_from_slice(wire));
        let wires = Wires { each, all: all.freeze() };
        self.wires.push((target.envelope.clone(), wires.clone()));
        wires
    }
}

impl Follower {
    pub(super) fn new(target: Target) -> Self {
        Self { target, state: Mutex::new(State::Waiting(Vec::new())) }
    }

    /// Takes changes of one group.
    pub(super) fn hear(&self, run: &mut Run<'_>) {
        let mut state = self.state.lock();
        if matches!(*state, State::Gone) {
            return;
        }
        let wires = run.wires(&self.target);
        match &mut *state {
            State::Gone => {}
            State::Waiting(kept) => {
                let room = UNSENT_FRAMES.saturating_sub(kept.len());
                let keep = |(heard, wire): (&Heard, &Bytes)| Kept {
                    position: heard.position,
                    identity: heard.identity(),
                    wire: wire.clone(),
                };
                kept.extend(run.changes.iter().zip(&*wires.each).take(room).map(keep));
                if run.changes.len() > room {
                    self.target.outbound.miss(LOST);
                }
            }
            State::Live { seen, last } => {
                let mut is_new = |heard: &Heard| {
                    let is_repeated = last.as_ref() == Some(&heard.identity());
                    *last = Some(heard.identity());
                    !seen.holds(heard.position) && !is_repeated
                };
                let are_new: Vec<bool> = run.changes.iter().map(&mut is_new).collect();
                if !are_new.contains(&false) {
                    self.target.outbound.pass_on(&wires.all, run.changes.len());
                    return;
                }
                for (wire, _) in wires.each.iter().zip(are_new).filter(|(_, is_new)| *is_new) {
                    self.target.outbound.pass_on(wire, 1);
                }
            }
        }
    }

    /// Lets go what was kept, and from here on hears what the snapshot does not hold.
    pub(super) fn begin(&self, seen: Seen) {
        let mut state = self.state.lock();
        let State::Waiting(kept) = &mut *state else { return };
        let mut last = None;
        for Kept { position, identity, wire } in kept.drain(..) {
            if !seen.holds(position) && last.as_ref() != Some(&identity) {
                self.target.outbound.pass_on(&wire, 1);
                last = Some(identity);
            }
        }
        *state = State::Live { seen, last };
    }

    /// Tells its consumer that changes were lost.
    pub(super) fn miss(&self) {
        self.target.outbound.miss(LOST);
    }

    /// Ends it: nothing is passed on once this has returned.
    pub(super) fn end(&self) {
        *self.state.lock() = State::Gone;
    }
}
