//! A bounded queue of messages that remembers what it had to refuse, and where.

use std::collections::HashMap;
use std::future::pending;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::line::Line;
use crate::{ChannelName, Delivery, GroupName, Message, Missed};

/// The queue of one channel, for one mailbox or for all receivers of a normal channel. It counts in 32 bits, since there
/// may be very many. What a message that arrives touches stands together, for it may have to come from far away.
#[repr(C)]
pub(crate) struct Queue {
    /// For those who wait for a normal channel; a mailbox has one owner, who waits elsewhere.
    arrived: Option<Box<Notify>>,
    state: Mutex<State>,
    name: ChannelName,
    /// The groups of a mailbox and its slot in each; `None` once the mailbox is gone.
    pub(crate) memberships: Mutex<Option<HashMap<GroupName, usize>>>,
}

#[repr(C)]
struct State {
    capacity: u32,
    /// Entries that are messages.
    messages: u32,
    /// The task of a mailbox's owner while it waits: one look-up less than a list of those who wait.
    owner: Option<Waker>,
    entries: Line<Entry>,
    receivers: u32,
}

/// What became of a message that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    Stored,
    /// Stored, and its reader waits for it, if it is not woken already.
    Awaited,
    /// Stored, but more than half of the room is taken: its reader is behind.
    Crowded,
    Full,
}

enum Entry {
    Message { message: Message, arrived: Instant },
    Missed(Missed),
}

impl Queue {
    pub(crate) fn new(name: ChannelName, capacity: usize) -> Self {
        let arrived = (!name.is_process_specific()).then(Box::default);
        let state = State {
            capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
            messages: 0,
            owner: None,
            entries: Line::default(),
            receivers: 0,
        };
        Self { arrived, state: Mutex::new(state), name, memberships: Mutex::new(Some(HashMap::new())) }
    }

    pub(crate) fn name(&self) -> &ChannelName {
        &self.name
    }

    /// Appends a message if there is room, and wakes a receiver.
    pub(crate) fn push(&self, message: &Message, now: Instant) -> Pushed {
        let mut state = self.state.lock();
        let pushed = state.push(message, now);
        if pushed != Pushed::Full {
            self.tell(state);
        }
        pushed
    }

    /// The same for a mailbox whose owner is left asleep, until [`wake`](Self::wake) or the next message.
    pub(crate) fn push_asleep(&self, message: &Message, now: Instant) -> Pushed {
        self.state.lock().push(message, now)
    }

    /// Wakes the owner of a mailbox who waits although there is something to read; whether there was one.
    pub(crate) fn wake(&self) -> bool {
        let state = self.state.lock();
        !state.entries.is_empty() && self.tell(state)
    }

    /// Notes, in its place in the queue, that messages were missed.
    pub(crate) fn miss(&self, missed: Missed) {
        let mut state = self.state.lock();
        if let Some(Entry::Missed(before)) = state.entries.back_mut() {
            *before = before.and(missed);
        } else {
            state.entries.push_back(Entry::Missed(missed));
        }
        self.tell(state);
    }

    /// Wakes who waits; whether it was the owner of a mailbox.
    fn tell(&self, mut state: MutexGuard<'_, State>) -> bool {
        let owner = state.owner.take();
        drop(state);
        let is_awaited = owner.is_some();
        owner.into_iter().for_each(Waker::wake);
        self.pass_baton();
        is_awaited
    }

    /// Wakes one of those who wait for a normal channel, or the next who comes to.
    fn pass_baton(&self) {
        self.arrived.iter().for_each(|arrived| arrived.notify_one());
    }

    /// Drops messages that are too old from the front, and says how many; a mailbox is left a note of it.
    pub(crate) fn expire(&self, now: Instant, expiry: Duration) -> u64 {
        self.state.lock().expire(oldest_allowed(now, expiry), &self.name)
    }

    /// Takes what is in front and not too old; and how many messages were. An empty queue does not ask what time it is.
    pub(crate) fn pop(&self, expiry: Duration) -> (u64, Option<Delivery>) {
        self.take(&mut self.state.lock(), expiry)
    }

    /// The same for a mailbox's owner; when there is nothing, the owner's task is woken by what arrives next.
    pub(crate) fn poll_pop(&self, cx: &Context<'_>, expiry: Duration) -> (u64, Poll<Delivery>) {
        let mut state = self.state.lock();
        let (expired, delivery) = self.take(&mut state, expiry);
        let polled = delivery.map_or_else(|| state.wait(cx), Poll::Ready);
        (expired, polled)
    }

    fn take(&self, state: &mut State, expiry: Duration) -> (u64, Option<Delivery>) {
        if state.entries.is_empty() {
            return (0, None);
        }
        let expired = state.expire(oldest_allowed(Instant::now(), expiry), &self.name);
        let delivery = state.entries.pop_front().map(|entry| match entry {
            Entry::Message { message, .. } => {
                state.messages -= 1;
                Delivery::Message(message)
            }
            Entry::Missed(missed) => Delivery::Missed(missed),
        });
        if !state.entries.is_empty() {
            // One arrival wakes one receiver, who may have been cancelled.
            self.pass_baton();
        }
        (expired, delivery)
    }

    /// Completes after something has arrived in a normal channel, also before this was asked.
    pub(crate) async fn arrival(&self) {
        match &self.arrived {
            Some(arrived) => arrived.notified().await,
            None => pending().await,
        }
    }

    /// When the oldest message arrived.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.state.lock().entries.iter().find_map(|entry| match entry {
            Entry::Message { arrived, .. } => Some(*arrived),
            Entry::Missed(_) => None,
        })
    }

    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        state.entries = Line::default();
        state.messages = 0;
    }

    pub(crate) fn add_receiver(&self) {
        self.state.lock().receivers += 1;
    }

    pub(crate) fn remove_receiver(&self) {
        self.state.lock().receivers -= 1;
        // A wake-up that was meant for the one who left goes to another.
        self.pass_baton();
    }

    /// Whether nobody would notice if this queue were dropped.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.entries.is_empty() && state.receivers == 0
    }
}

impl State {
    fn push(&mut self, message: &Message, now: Instant) -> Pushed {
        if self.messages >= self.capacity {
            return Pushed::Full;
        }
        self.messages += 1;
        self.entries.push_back(Entry::Message { message: message.clone(), arrived: now });
        match (self.messages > self.capacity / 2, &self.owner) {
            (true, _) => Pushed::Crowded,
            (false, Some(_)) => Pushed::Awaited,
            (false, None) => Pushed::Stored,
        }
    }

    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        if !self.owner.as_ref().is_some_and(|owner| owner.will_wake(cx.waker())) {
            self.owner = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn expire(&mut self, oldest: Option<Instant>, name: &ChannelName) -> u64 {
        let Some(oldest) = oldest else { return 0 };
        let (mut expired, mut note) = (0, None::<Missed>);
        loop {
            match self.entries.front() {
                Some(Entry::Message { arrived, .. }) if *arrived < oldest => {
                    expired += 1;
                    self.messages -= 1;
                    note = Some(note.map_or(Missed::Count(1), |note| note.and(Missed::Count(1))));
                }
                Some(Entry::Missed(missed)) => note = Some(note.map_or(*missed, |note| note.and(*missed))),
                _ => break,
            }
            self.entries.pop_front();
        }
        if let Some(note) = note.filter(|_| name.is_process_specific()) {
            self.entries.push_front(Entry::Missed(note));
        }
        expired
    }
}

/// The arrival time before which messages are too old; `None` when the clock is younger than that.
pub(crate) fn oldest_allowed(now: Instant, expiry: Duration) -> Option<Instant> {
    now.checked_sub(expiry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    fn message(text: &str) -> Message {
        Message::new(&BTreeMap::from([("type", text)])).unwrap()
    }

    fn queue(capacity: usize) -> Queue {
        Queue::new(ChannelName::new("a!b").unwrap(), capacity)
    }

    const EXPIRY: Duration = Duration::from_secs(60);

    fn pop(queue: &Queue) -> Option<Delivery> {
        queue.pop(EXPIRY).1
    }

    #[test]
    fn what_was_missed_is_told_in_its_place() {
        let (queue, now) = (queue(2), Instant::now());
        for text in ["a", "b", "c", "d"] {
            if queue.push(&message(text), now) == Pushed::Full {
                queue.miss(Missed::Count(1));
            }
        }
        assert_eq!(pop(&queue), Some(Delivery::Message(message("a"))));
        assert_eq!(queue.push(&message("e"), now), Pushed::Crowded);
        assert_eq!(pop(&queue), Some(Delivery::Message(message("b"))));
        assert_eq!(pop(&queue), Some(Delivery::Missed(Missed::Count(2))));
        assert_eq!(pop(&queue), Some(Delivery::Message(message("e"))));
        assert_eq!(pop(&queue), None);
    }

    #[test]
    fn expired_messages_become_a_note_and_make_room() {
        let queue = queue(2);
        let start = Instant::now();
        let later = start + EXPIRY + Duration::from_secs(5);
        assert_eq!(queue.push(&message("old"), start), Pushed::Stored);
        assert_eq!(queue.push(&message("new"), later), Pushed::Crowded);
        queue.miss(Missed::Count(1));
        assert_eq!(queue.expire(later, EXPIRY), 1);
        assert_eq!(queue.push(&message("room"), later), Pushed::Crowded);
        assert_eq!(pop(&queue), Some(Delivery::Missed(Missed::Count(1))));
        assert_eq!(pop(&queue), Some(Delivery::Message(message("new"))));
        assert_eq!(pop(&queue), Some(Delivery::Missed(Missed::Count(1))));
        assert_eq!(pop(&queue), Some(Delivery::Message(message("room"))));
    }

    #[test]
    fn the_task_that_polled_last_is_woken_once_and_loses_nothing() {
        let (queue, now) = (queue(9), Instant::now());
        let tasks: [_; 2] = std::array::from_fn(|_| Arc::new(AtomicUsize::new(0)));
        let poll = |task: &Arc<AtomicUsize>| {
            let waker = Arc::new(Counted(Arc::clone(task))).into();
            queue.poll_pop(&Context::from_waker(&waker), EXPIRY).1
        };
        let woken = || tasks.each_ref().map(|task| task.load(Ordering::Relaxed));
        assert!(tasks.iter().all(|task| poll(task).is_pending()));
        queue.push(&message("a"), now);
        queue.push(&message("b"), now);
        assert_eq!(woken(), [0, 1], "the first one has given up");
        for text in ["a", "b"] {
            assert_eq!(poll(&tasks[0]), Poll::Ready(Delivery::Message(message(text))));
        }
        assert!(poll(&tasks[0]).is_pending());
        queue.miss(Missed::Count(1));
        assert_eq!(woken(), [1, 1]);
    }

    /// Counts how often a task is woken.
    struct Counted(Arc<AtomicUsize>);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_unknown_number_stays_unknown() {
        let queue = queue(1);
        queue.miss(Missed::Count(3));
        queue.miss(Missed::Unknown);
        queue.miss(Missed::Count(1));
        assert_eq!(pop(&queue), Some(Delivery::Missed(Missed::Unknown)));
    }
}
