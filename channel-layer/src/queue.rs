//! A bounded queue of messages that remembers what it had to refuse, and where.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::line::Line;
use crate::{ChannelName, Delivery, GroupName, Message, Missed};

/// The queue of one channel, for one mailbox or for all receivers of a normal channel.
pub(crate) struct Queue {
    name: ChannelName,
    capacity: usize,
    state: Mutex<State>,
    arrived: Notify,
    /// The groups of a mailbox and its slot in each; `None` once the mailbox is gone.
    pub(crate) memberships: Mutex<Option<HashMap<GroupName, usize>>>,
}

#[derive(Default)]
struct State {
    entries: Line<Entry>,
    /// Entries that are messages.
    messages: usize,
    receivers: usize,
}

/// What became of a message that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    Stored,
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
        Self {
            name,
            capacity,
            state: Mutex::default(),
            arrived: Notify::new(),
            memberships: Mutex::new(Some(HashMap::new())),
        }
    }

    pub(crate) fn name(&self) -> &ChannelName {
        &self.name
    }

    /// Appends a message if there is room, and wakes a receiver.
    pub(crate) fn push(&self, message: &Message, now: Instant) -> Pushed {
        let mut state = self.state.lock();
        if state.messages >= self.capacity {
            return Pushed::Full;
        }
        state.messages += 1;
        state.entries.push_back(Entry::Message { message: message.clone(), arrived: now });
        let is_crowded = state.messages * 2 > self.capacity;
        drop(state);
        self.arrived.notify_one();
        if is_crowded { Pushed::Crowded } else { Pushed::Stored }
    }

    /// Notes, in its place in the queue, that messages were missed.
    pub(crate) fn miss(&self, missed: Missed) {
        let mut state = self.state.lock();
        if let Some(Entry::Missed(before)) = state.entries.back_mut() {
            *before = before.and(missed);
        } else {
            state.entries.push_back(Entry::Missed(missed));
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Drops messages that are too old from the front, and says how many; a mailbox is left a note of it.
    pub(crate) fn expire(&self, now: Instant, expiry: Duration) -> u64 {
        self.state.lock().expire(oldest_allowed(now, expiry), &self.name)
    }

    /// Takes what is in front and not too old; and how many messages were. An empty queue does not ask what time it is.
    pub(crate) fn pop(&self, expiry: Duration) -> (u64, Option<Delivery>) {
        let mut state = self.state.lock();
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
            // One arrival wakes one receiver, who may have been cancelled: pass the baton to the next.
            self.arrived.notify_one();
        }
        (expired, delivery)
    }

    /// Completes after something has arrived.
    pub(crate) fn arrival(&self) -> Notified<'_> {
        self.arrived.notified()
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
        self.arrived.notify_one();
    }

    /// Whether nobody would notice if this queue were dropped.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.entries.is_empty() && state.receivers == 0
    }
}

impl State {
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
    fn an_unknown_number_stays_unknown() {
        let queue = queue(1);
        queue.miss(Missed::Count(3));
        queue.miss(Missed::Unknown);
        queue.miss(Missed::Count(1));
        assert_eq!(pop(&queue), Some(Delivery::Missed(Missed::Unknown)));
    }
}
