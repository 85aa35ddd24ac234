//! The members of one group. Members keep their slot while they stay, so that a send can walk over the slots in
//! turns while others come and go, and nobody who stayed is passed over.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard};
use slab::Slab;
use tokio::time::Instant;

use crate::ChannelName;
use crate::crowd::Waking;
use crate::queue::Queue;

/// How many slots are looked at before who wants to come or go gets the lock.
const SLOTS_PER_LOCK: usize = 128;

#[derive(Default)]
pub(crate) struct Group {
    mailboxes: RwLock<Slab<Member>>,
    channels: RwLock<HashMap<ChannelName, Instant>>,
    pub(crate) waking: Waking,
}

struct Member {
    queue: Arc<Queue>,
    added: Instant,
}

impl Group {
    pub(crate) fn add_mailbox(&self, queue: Arc<Queue>, now: Instant) -> usize {
        self.mailboxes.write().insert(Member { queue, added: now })
    }

    pub(crate) fn renew_mailbox(&self, slot: usize, now: Instant) {
        if let Some(member) = self.mailboxes.write().get_mut(slot) {
            member.added = now;
        }
    }

    pub(crate) fn remove_mailbox(&self, slot: usize) {
        let mut mailboxes = self.mailboxes.write();
        let removed = mailboxes.try_remove(slot);
        if mailboxes.is_empty() {
            // A slab never shrinks by itself, and a group may have been large once.
            *mailboxes = Slab::new();
        }
        drop(mailboxes);
        // Who leaves a crowd asleep is found by no round any more.
        if let Some(member) = removed {
            member.queue.wake();
        }
    }

    pub(crate) fn add_channel(&self, channel: ChannelName, now: Instant) -> bool {
        self.channels.write().insert(channel, now).is_none()
    }

    pub(crate) fn remove_channel(&self, channel: &ChannelName) {
        self.channels.write().remove(channel);
    }

    /// Removes all normal channels, and says whether anyone is left.
    pub(crate) fn remove_channels(&self) -> bool {
        self.channels.write().clear();
        !self.is_empty()
    }

    /// Shows the mailboxes in these slots and when each was added; false when there are no slots behind them.
    pub(crate) fn visit_mailboxes(
        &self,
        slots: Range<usize>,
        mut visit: impl FnMut(&Queue, Instant),
    ) -> bool {
        let mut mailboxes = self.mailboxes.read();
        for slot in slots.start..mailboxes.capacity().min(slots.end) {
            if slot.is_multiple_of(SLOTS_PER_LOCK) {
                RwLockReadGuard::bump(&mut mailboxes);
            }
            if let Some(member) = mailboxes.get(slot) {
                visit(&member.queue, member.added);
            }
        }
        mailboxes.capacity() > slots.end
    }

    /// How many mailboxes there are.
    pub(crate) fn mailboxes(&self) -> usize {
        self.mailboxes.read().len()
    }

    /// The normal channels and when each was added.
    pub(crate) fn channels(&self) -> Vec<(ChannelName, Instant)> {
        self.channels.read().iter().map(|(channel, added)| (channel.clone(), *added)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mailboxes.read().is_empty() && self.channels.read().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_stays_is_seen_although_others_leave_between_turns() {
        let group = Group::default();
        let now = Instant::now();
        let slots: Vec<_> = (0..8)
            .map(|n| {
                let name = ChannelName::new(format!("a!{n}")).unwrap();
                group.add_mailbox(Arc::new(Queue::new(name, 1)), now)
            })
            .collect();
        let mut seen = Vec::new();
        assert!(group.visit_mailboxes(0..4, |queue, _| seen.push(queue.name().to_string())));
        group.remove_mailbox(slots[0]);
        assert!(!group.visit_mailboxes(4..8, |queue, _| seen.push(queue.name().to_string())));
        assert_eq!(seen.len(), 8);
    }

    #[test]
    fn an_empty_group_keeps_no_memory() {
        let group = Group::default();
        let queue = Arc::new(Queue::new(ChannelName::new("a!b").unwrap(), 1));
        let slots: Vec<_> = (0..100).map(|_| group.add_mailbox(Arc::clone(&queue), Instant::now())).collect();
        slots.into_iter().for_each(|slot| group.remove_mailbox(slot));
        assert!(group.is_empty());
        assert_eq!(group.mailboxes.read().capacity(), 0);
    }
}
