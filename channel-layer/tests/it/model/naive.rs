//! A layer as one would explain it: deques of what is unread and a map of who is where, searched and swept in full.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use channel_layer::{ChannelName, Delivery, GroupName, Losses, Message, Missed};

#[derive(Default)]
pub(super) struct Model {
    pub(super) losses: Losses,
    /// By the beginning of a name; the first counts.
    capacities: Vec<(&'static str, usize)>,
    expiry: Duration,
    group_expiry: Duration,
    now: Duration,
    mailboxes: BTreeSet<ChannelName>,
    channels: BTreeMap<ChannelName, VecDeque<(Delivery, Duration)>>,
    members: BTreeMap<(GroupName, ChannelName), Duration>,
}

impl Model {
    pub(super) fn new(
        capacities: Vec<(&'static str, usize)>,
        expiry: Duration,
        group_expiry: Duration,
    ) -> Self {
        Self { capacities, expiry, group_expiry, ..Self::default() }
    }

    pub(super) fn open(&mut self, name: &ChannelName) {
        self.mailboxes.insert(name.clone());
    }

    pub(super) fn drop(&mut self, name: &ChannelName) {
        self.mailboxes.remove(name);
        self.channels.remove(name);
        self.members.retain(|(_, member), _| member != name);
    }

    /// Whether the message found room, or nobody who could miss it.
    pub(super) fn send(&mut self, to: &ChannelName, message: &Message) -> bool {
        if !self.exists(to) {
            self.losses.unroutable += 1;
            return true;
        }
        let (_, capacity) =
            self.capacities.iter().find(|(prefix, _)| to.as_str().starts_with(prefix)).unwrap();
        let items = self.channels.entry(to.clone()).or_default();
        let unread = items.iter().filter(|(item, _)| matches!(item, Delivery::Message(_))).count();
        if unread < *capacity {
            items.push_back((Delivery::Message(message.clone()), self.now));
        }
        unread < *capacity
    }

    pub(super) fn add(&mut self, group: &GroupName, member: &ChannelName) {
        if self.exists(member) {
            self.members.insert((group.clone(), member.clone()), self.now);
        }
    }

    pub(super) fn discard(&mut self, group: &GroupName, member: &ChannelName) {
        self.members.remove(&(group.clone(), member.clone()));
    }

    pub(super) fn group_send(&mut self, group: &GroupName, message: &Message) {
        let members: Vec<_> = self.members.keys().filter(|(of, _)| of == group).cloned().collect();
        for (_, member) in members {
            if !self.send(&member, message) {
                self.losses.overflowed += 1;
                self.tell(&member);
            }
        }
    }

    pub(super) fn take(&mut self, from: &ChannelName) -> Option<Delivery> {
        self.channels.get_mut(from)?.pop_front().map(|(item, _)| item)
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now += by;
        let (now, expiry, group_expiry) = (self.now, self.expiry, self.group_expiry);
        self.members.retain(|_, added| now - *added <= group_expiry);
        for (name, items) in &mut self.channels {
            let mut gone = 0;
            while let Some((item, _)) =
                items.pop_front_if(|(item, at)| missed(item) > 0 || now - *at > expiry)
            {
                self.losses.expired += u64::from(missed(&item) == 0);
                gone += missed(&item).max(1);
            }
            if gone > 0 && name.is_process_specific() {
                items.push_front((note(gone), now));
            }
        }
    }

    fn tell(&mut self, member: &ChannelName) {
        let items = self.channels.entry(member.clone()).or_default();
        if member.is_process_specific() {
            let before = items.pop_back_if(|(item, _)| missed(item) > 0);
            items.push_back((note(1 + before.map_or(0, |(item, _)| missed(&item))), self.now));
        }
    }

    fn exists(&self, name: &ChannelName) -> bool {
        !name.is_process_specific() || self.mailboxes.contains(name)
    }
}

fn note(missed: u64) -> Delivery {
    Delivery::Missed(Missed::Count(missed))
}

/// How many messages an item says were missed; none for a message.
fn missed(item: &Delivery) -> u64 {
    if let Delivery::Missed(Missed::Count(count)) = item { *count } else { 0 }
}
