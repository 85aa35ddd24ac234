//! The local part of every layer: names, bounded queues, groups, expiry. A backend only moves messages between
//! processes.
//!
//! Locks are taken in this order, so that none waits for another in a circle: a mailbox's memberships, the groups,
//! one group's members, a queue's entries. None is held across an await.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use crate::crowd::{CrowdSend, visit_in_turns};
use crate::group::Group;
use crate::losses::{LossCounters, count};
use crate::queue::{Pushed, Queue, oldest_allowed};
use crate::{
    ChannelName, Delivery, GroupName, InvalidName, LayerError, Limits, Losses, Mailbox, Message, Missed,
};

/// How many normal channels a send looks at for old messages; two, so that the sweep outruns the growth.
const SWEEPS_PER_SEND: usize = 2;

pub(crate) struct Hub {
    limits: Limits,
    /// Stands between the prefix and the `!` of every name made here, as channels_redis' client prefix does.
    process: String,
    channels: RwLock<HashMap<ChannelName, Arc<Queue>>>,
    groups: RwLock<HashMap<GroupName, Arc<Group>>>,
    /// Normal channels in the order in which their oldest message will expire.
    unread: Mutex<VecDeque<(Instant, ChannelName)>>,
    losses: LossCounters,
    closed: AtomicBool,
    closing: Notify,
    /// Told of every group that has lost its last member here, so that a backend can leave it too.
    on_empty: OnceLock<OnEmpty>,
}

/// [`Queue::push`], or [`Queue::push_asleep`].
type Push = fn(&Queue, &Message, Instant) -> Pushed;

type OnEmpty = Box<dyn Fn(&GroupName) + Send + Sync>;

impl Hub {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            process: Uuid::new_v4().simple().to_string(),
            channels: RwLock::default(),
            groups: RwLock::default(),
            unread: Mutex::default(),
            losses: LossCounters::default(),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            on_empty: OnceLock::new(),
        })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The part that stands between the prefix and the `!` of the names made here.
    pub(crate) fn process(&self) -> &str {
        &self.process
    }

    /// Sets who is told of groups that have become empty; the first call counts.
    pub(crate) fn on_empty(&self, told: impl Fn(&GroupName) + Send + Sync + 'static) {
        // A second backend on one hub would be a mistake of this crate's own.
        let _ = self.on_empty.set(Box::new(told));
    }

    /// Whether a group has members here.
    pub(crate) fn has_group(&self, name: &GroupName) -> bool {
        self.groups.read().contains_key(name)
    }

    /// The groups that have members here.
    pub(crate) fn group_names(&self) -> Vec<GroupName> {
        self.groups.read().keys().cloned().collect()
    }

    /// Whether a process-specific name is one of ours, though its mailbox may be gone.
    pub(crate) fn is_ours(&self, channel: &ChannelName) -> bool {
        let remote = channel.non_local().strip_suffix('!');
        remote.is_some_and(|remote| remote.ends_with(self.process()))
    }

    /// Tells every mailbox that it has missed nobody knows what.
    pub(crate) fn miss_unknown(&self) {
        let mailboxes: Vec<_> = self.channels.read().values().cloned().collect();
        let mailboxes = mailboxes.iter().filter(|queue| queue.name().is_process_specific());
        mailboxes.for_each(|queue| queue.miss(Missed::Unknown));
    }

    /// Counts a message that expired before it came here, and tells the members of its group or its mailbox.
    pub(crate) fn miss_expired(&self, group: Option<&GroupName>, channel: &ChannelName) {
        count(&self.losses.expired, 1);
        if let Some(group) = group.and_then(|group| self.groups.read().get(group).cloned()) {
            group.visit_mailboxes(0..usize::MAX, |queue, _| queue.miss(Missed::Count(1)));
        } else if let Some(queue) = self.channels.read().get(channel) {
            queue.miss(Missed::Count(1));
        }
    }

    /// Hands over a message that came from another process; its sender cannot be told that a mailbox is full, so the
    /// mailbox is.
    pub(crate) fn deliver(&self, channel: &ChannelName, message: &Message) {
        let queue = self.channels.read().get(channel).cloned();
        match queue {
            Some(queue) => {
                self.push_or_miss(&queue, message, Instant::now(), Queue::push);
            }
            None => count(&self.losses.unroutable, 1),
        }
    }

    /// What was decoded of bytes from a backend; bytes that are no message are logged with where they stood, counted,
    /// and dropped.
    pub(crate) fn readable<T>(&self, place: &str, decoded: Result<T, LayerError>) -> Option<T> {
        decoded
            .inspect_err(|cause| {
                tracing::warn!(%cause, place, "a message in Redis cannot be read: it was dropped");
                count(&self.losses.undecodable, 1);
            })
            .ok()
    }

    /// Counts a loss of another kind.
    pub(crate) fn counters(&self) -> &LossCounters {
        &self.losses
    }

    pub(crate) fn losses(&self) -> Losses {
        self.losses.read()
    }

    pub(crate) fn new_mailbox(self: &Arc<Self>, prefix: &str) -> Result<Mailbox, InvalidName> {
        let name = ChannelName::new(format!("{prefix}.{}!{}", self.process, Uuid::new_v4().simple()))?;
        let queue = Arc::new(self.new_queue(name.clone()));
        self.channels.write().insert(name, Arc::clone(&queue));
        Ok(Mailbox::new(queue, Arc::clone(self)))
    }

    pub(crate) fn remove_mailbox(&self, queue: &Arc<Queue>) {
        self.channels.write().remove(queue.name());
        let memberships = queue.memberships.lock().take();
        for (group, slot) in memberships.into_iter().flatten() {
            self.change_group(&group, |group| group.remove_mailbox(slot));
        }
    }

    /// Appends a message to a channel; when its reader is behind, lets other tasks run, of which one may be the
    /// reader, so that a loop of sends does not fill the channel all by itself.
    pub(crate) async fn send(&self, channel: &ChannelName, message: &Message) -> Result<(), LayerError> {
        self.check_open()?;
        match self.push(channel, message, Instant::now()) {
            Pushed::Stored | Pushed::Awaited => Ok(()),
            Pushed::Crowded => {
                tokio::task::yield_now().await;
                Ok(())
            }
            Pushed::Full => {
                count(&self.losses.refused, 1);
                Err(LayerError::ChannelFull(channel.clone()))
            }
        }
    }

    /// Takes the oldest message of a normal channel.
    pub(crate) async fn receive(self: &Arc<Self>, channel: &ChannelName) -> Result<Message, LayerError> {
        if channel.is_process_specific() {
            return Err(LayerError::NotReceivable(channel.clone()));
        }
        let receiver = Receiver::new(self, channel);
        loop {
            let closing = self.closing.notified();
            self.check_open()?;
            match self.pop(&receiver.queue) {
                Some(Delivery::Message(message)) => return Ok(message),
                Some(Delivery::Missed(_)) => {}
                None => tokio::select! { () = receiver.queue.arrival() => {}, () = closing => {} },
            }
        }
    }

    /// The next delivery of a queue that is young enough.
    pub(crate) fn pop(&self, queue: &Queue) -> Option<Delivery> {
        let (expired, delivery) = queue.pop(self.limits.expiry);
        count(&self.losses.expired, expired);
        delivery
    }

    /// The same for a mailbox's owner.
    pub(crate) fn poll_pop(&self, queue: &Queue, cx: &Context<'_>) -> Poll<Delivery> {
        let (expired, polled) = queue.poll_pop(cx, self.limits.expiry);
        count(&self.losses.expired, expired);
        polled
    }

    /// Makes a channel a member, or renews its membership; whether it is a new one.
    pub(crate) fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<bool, LayerError> {
        self.check_open()?;
        let now = Instant::now();
        if !channel.is_process_specific() {
            return Ok(self.enter_group(group, |group| group.add_channel(channel.clone(), now)));
        }
        // A mailbox that is gone has left every group, and joins none.
        let Some(queue) = self.channels.read().get(channel).cloned() else { return Ok(false) };
        let mut memberships = queue.memberships.lock();
        let Some(slots) = memberships.as_mut() else { return Ok(false) };
        if let Some(slot) = slots.get(group) {
            self.enter_group(group, |group| group.renew_mailbox(*slot, now));
            return Ok(false);
        }
        let slot = self.enter_group(group, |group| group.add_mailbox(Arc::clone(&queue), now));
        slots.insert(group.clone(), slot);
        Ok(true)
    }

    pub(crate) fn group_discard(&self, group: &GroupName, channel: &ChannelName) {
        if !channel.is_process_specific() {
            self.change_group(group, |group| group.remove_channel(channel));
            return;
        }
        let Some(queue) = self.channels.read().get(channel).cloned() else { return };
        let mut memberships = queue.memberships.lock();
        if let Some(slot) = memberships.as_mut().and_then(|slots| slots.remove(group)) {
            self.change_group(group, |group| group.remove_mailbox(slot));
        }
    }

    /// Hands one shared message to every member; lets other tasks run now and then, and when a member is behind. Most of a
    /// crowd are still asleep when this returns.
    pub(crate) async fn group_send(&self, name: &GroupName, message: &Message) -> Result<(), LayerError> {
        self.check_open()?;
        let Some(group) = self.groups.read().get(name).cloned() else { return Ok(()) };
        let crowd = CrowdSend::to(&group).await;
        let now = Instant::now();
        let oldest = oldest_allowed(now, self.limits.group_expiry);
        let (mut outdated, mut is_crowded) = (Vec::new(), false);
        let is_crowd = crowd.is_some();
        let push = if is_crowd { Queue::push_asleep } else { Queue::push };
        let hand_over = |queue: &Queue, added| match oldest {
            Some(oldest) if added < oldest => {
                outdated.push(queue.name().clone());
                false
            }
            _ => {
                let pushed = self.push_or_miss(queue, message, now, push);
                is_crowded |= pushed == Pushed::Crowded;
                // Who sleeps in a crowd may be behind, too.
                pushed == Pushed::Awaited || is_crowd && pushed == Pushed::Crowded
            }
        };
        visit_in_turns(&group, crowd, hand_over).await;
        for (channel, added) in group.channels() {
            if oldest.is_some_and(|oldest| added < oldest) {
                outdated.push(channel);
            } else if self.push(&channel, message, now) == Pushed::Full {
                count(&self.losses.overflowed, 1);
            }
        }
        outdated.iter().for_each(|channel| self.group_discard(name, channel));
        if is_crowded {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    pub(crate) fn flush(&self) {
        let mut channels = self.channels.write();
        channels.values().for_each(|queue| queue.clear());
        channels.retain(|name, queue| name.is_process_specific() || !queue.is_idle());
        let mailboxes: Vec<_> = channels.values().cloned().collect();
        drop(channels);
        self.unread.lock().clear();
        for queue in mailboxes {
            let mut memberships = queue.memberships.lock();
            for (group, slot) in memberships.as_mut().into_iter().flat_map(HashMap::drain) {
                self.change_group(&group, |group| group.remove_mailbox(slot));
            }
        }
        // What is left are the memberships of normal channels, which nothing points back to.
        self.groups.write().retain(|_, group| group.remove_channels());
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
    }

    pub(crate) fn check_open(&self) -> Result<(), LayerError> {
        if self.closed.load(Ordering::Acquire) { Err(LayerError::Closed) } else { Ok(()) }
    }

    fn new_queue(&self, name: ChannelName) -> Queue {
        let capacity = self.limits.capacities.of(&name);
        Queue::new(name, capacity)
    }

    /// Stores a message; one that nobody is there to miss counts as stored.
    fn push(&self, channel: &ChannelName, message: &Message, now: Instant) -> Pushed {
        if !channel.is_process_specific() {
            return self.push_unread(channel, message, now);
        }
        let queue = self.channels.read().get(channel).cloned();
        let Some(queue) = queue else {
            count(&self.losses.unroutable, 1);
            return Pushed::Stored;
        };
        self.offer(&queue, message, now, Queue::push)
    }

    /// Pushes, if need be into the place of messages that are too old.
    fn offer(&self, queue: &Queue, message: &Message, now: Instant, push: Push) -> Pushed {
        match push(queue, message, now) {
            Pushed::Full if self.expire(queue, now) > 0 => push(queue, message, now),
            pushed => pushed,
        }
    }

    fn push_or_miss(&self, queue: &Queue, message: &Message, now: Instant, push: Push) -> Pushed {
        let pushed = self.offer(queue, message, now, push);
        if pushed == Pushed::Full {
            queue.miss(Missed::Count(1));
            count(&self.losses.overflowed, 1);
        }
        pushed
    }

    /// Pushes to a normal channel, whose queue exists only as long as there is something to remember.
    fn push_unread(&self, channel: &ChannelName, message: &Message, now: Instant) -> Pushed {
        self.sweep(now);
        let mut channels = self.channels.write();
        let queue =
            channels.entry(channel.clone()).or_insert_with(|| Arc::new(self.new_queue(channel.clone())));
        self.expire(queue, now);
        let first = queue.oldest().is_none();
        let pushed = queue.push(message, now);
        drop(channels);
        if first && pushed != Pushed::Full {
            self.unread.lock().push_back((now + self.limits.expiry, channel.clone()));
        }
        pushed
    }

    fn expire(&self, queue: &Queue, now: Instant) -> u64 {
        let expired = queue.expire(now, self.limits.expiry);
        count(&self.losses.expired, expired);
        expired
    }

    /// Forgets normal channels that nobody reads, a few at a time and oldest first.
    fn sweep(&self, now: Instant) {
        for _ in 0..SWEEPS_PER_SEND {
            let mut unread = self.unread.lock();
            let Some((_, channel)) = unread.pop_front_if(|(due, _)| *due < now) else { return };
            drop(unread);
            let mut channels = self.channels.write();
            let Some(queue) = channels.get(&channel) else { continue };
            self.expire(queue, now);
            match queue.oldest() {
                Some(oldest) => self.unread.lock().push_back((oldest + self.limits.expiry, channel)),
                None if queue.is_idle() => drop(channels.remove(&channel)),
                None => {}
            }
        }
    }

    /// Makes a change to a group that is made if need be.
    fn enter_group<T>(&self, name: &GroupName, change: impl Fn(&Group) -> T) -> T {
        if let Some(group) = self.groups.read().get(name) {
            // The read lock is held during the change, so that nobody removes the group as empty meanwhile.
            return change(group);
        }
        change(self.groups.write().entry(name.clone()).or_default())
    }

    /// Makes a change that may leave a group empty, and forgets it then.
    fn change_group(&self, name: &GroupName, change: impl FnOnce(&Group)) {
        let groups = self.groups.read();
        let Some(group) = groups.get(name) else { return };
        change(group);
        let is_empty = group.is_empty();
        drop(groups);
        if is_empty && self.forget_group(name) {
            self.on_empty.get().into_iter().for_each(|told| told(name));
        }
    }

    /// Forgets a group if it is still empty.
    fn forget_group(&self, name: &GroupName) -> bool {
        let mut groups = self.groups.write();
        let is_empty = groups.get(name).is_some_and(|group| group.is_empty());
        is_empty && groups.remove(name).is_some()
    }

    /// How many channels and groups are known, for tests that look for leaks.
    #[cfg(test)]
    pub(crate) fn census(&self) -> (usize, usize) {
        (self.channels.read().len(), self.groups.read().len())
    }

    /// A group with members here, for tests that look into it.
    #[cfg(test)]
    pub(crate) fn group(&self, name: &GroupName) -> Arc<Group> {
        Arc::clone(&self.groups.read()[name])
    }
}

/// A reader of a normal channel: while one waits, the queue that it waits at stays the channel's queue.
struct Receiver {
    hub: Arc<Hub>,
    queue: Arc<Queue>,
}

impl Receiver {
    fn new(hub: &Arc<Hub>, channel: &ChannelName) -> Self {
        let mut channels = hub.channels.write();
        let queue =
            channels.entry(channel.clone()).or_insert_with(|| Arc::new(hub.new_queue(channel.clone())));
        queue.add_receiver();
        Self { hub: Arc::clone(hub), queue: Arc::clone(queue) }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut channels = self.hub.channels.write();
        self.queue.remove_receiver();
        if self.queue.is_idle() {
            channels.remove(self.queue.name());
        }
    }
}

#[cfg(test)]
mod tests;
