//! What a subscription has received and nobody has looked at yet: bounded, since Redis sends whether we keep up or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc;

/// The most messages, and the most bytes of them, that wait.
const MESSAGES: usize = 65_536;
const BYTES: usize = 64 * 1024 * 1024;

/// How many messages are taken out at once.
const BATCH: usize = 256;

/// A message, and the Redis channel on which it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) topic: Bytes,
    pub(super) body: Bytes,
    /// How many messages were dropped that would stand before it.
    pub(super) dropped: u64,
}

/// Where the connection puts what it receives. It never waits: what there is no room for is dropped, and then all that comes
/// until half of the room is free, since everybody is told of each gap, and that must not be one for every batch.
pub(super) struct Inlet {
    queue: mpsc::Sender<Heard>,
    level: Arc<Level>,
}

/// What comes out.
pub(super) struct Inbox {
    queue: mpsc::Receiver<Heard>,
    level: Arc<Level>,
}

#[derive(Default)]
struct Level {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

/// An empty inbox.
pub(super) fn inbox() -> (Inlet, Inbox) {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    let level = Arc::new(Level::default());
    (Inlet { queue: sender, level: Arc::clone(&level) }, Inbox { queue: receiver, level })
}

impl Inlet {
    /// Takes what Redis has pushed, if it is a message and there is room.
    pub(super) fn put(&self, push: PushInfo) {
        let Some(mut heard) = Heard::from_push(push) else { return };
        let (size, dropped) = (heard.size(), self.level.dropped.swap(0, Ordering::Relaxed));
        heard.dropped = dropped;
        if !self.has_room(size, dropped > 0) || self.queue.try_send(heard).is_err() {
            self.level.bytes.fetch_sub(size, Ordering::Relaxed);
            self.level.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }

    /// Counts the bytes of a message, and says whether it may go in.
    fn has_room(&self, size: usize, is_dropping: bool) -> bool {
        let bytes = self.level.bytes.fetch_add(size, Ordering::Relaxed) + size;
        let is_half_free = self.queue.capacity() >= MESSAGES / 2 && bytes <= BYTES / 2;
        bytes <= BYTES && (is_half_free || !is_dropping)
    }
}

impl Inbox {
    /// Some messages in the order in which they came; none when the connection is gone and all were taken.
    pub(super) async fn take(&mut self, into: &mut Vec<Heard>) -> usize {
        let taken = self.queue.recv_many(into, BATCH).await;
        let size = into.iter().rev().take(taken).map(Heard::size).sum();
        self.level.bytes.fetch_sub(size, Ordering::Relaxed);
        taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many messages were dropped behind all that were not.
    pub(super) fn dropped(&self) -> u64 {
        self.level.dropped.swap(0, Ordering::Relaxed)
    }
}

impl Heard {
    /// Everything else that is pushed (a confirmation, the end of the connection) is noticed in other ways.
    fn from_push(push: PushInfo) -> Option<Self> {
        let mut data = push.data.into_iter();
        match push.kind {
            PushKind::Message => {}
            // The pattern stands before the channel.
            PushKind::PMessage => drop(data.next()),
            _ => return None,
        }
        match (data.next(), data.next()) {
            (Some(Value::BulkString(topic)), Some(Value::BulkString(body))) => {
                Some(Self { topic: topic.into(), body: body.into(), dropped: 0 })
            }
            _ => None,
        }
    }

    fn size(&self) -> usize {
        self.topic.len() + self.body.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(kind: PushKind, data: &[&str]) -> PushInfo {
        let data = data.iter().map(|text| Value::BulkString(text.as_bytes().to_vec())).collect();
        PushInfo { kind, data }
    }

    async fn take(inbox: &mut Inbox) -> Vec<Heard> {
        let mut heard = Vec::new();
        inbox.take(&mut heard).await;
        heard
    }

    #[tokio::test]
    async fn messages_come_out_in_order_and_nothing_else_does() {
        let (inlet, mut inbox) = inbox();
        inlet.put(push(PushKind::Subscribe, &["topic", "1"]));
        inlet.put(push(PushKind::Message, &["topic", "one"]));
        inlet.put(push(PushKind::Disconnection, &[]));
        inlet.put(push(PushKind::PMessage, &["*", "other", "two"]));
        inlet.put(push(PushKind::Message, &["topic"]));
        let heard = |topic: &'static str, body: &'static str| {
            let (topic, body) = (topic.into(), body.into());
            Heard { topic, body, dropped: 0 }
        };
        assert_eq!(take(&mut inbox).await, [heard("topic", "one"), heard("other", "two")]);
        drop(inlet);
        assert_eq!(take(&mut inbox).await, []);
        assert_eq!(inbox.dropped(), 0);
    }

    #[tokio::test]
    async fn what_is_over_the_bound_is_dropped_and_counted() {
        let (inlet, mut inbox) = inbox();
        for _ in 0..MESSAGES + 10 {
            inlet.put(push(PushKind::Message, &["t", "m"]));
        }
        assert_eq!((inbox.dropped(), inbox.dropped()), (10, 0));
        assert_eq!(take(&mut inbox).await.len(), BATCH);
        inlet.put(push(PushKind::Message, &["t", "m"]));
        assert_eq!(inbox.dropped(), 0, "there was room again");
    }

    #[tokio::test]
    async fn what_comes_behind_a_gap_says_so_and_there_is_not_one_for_every_batch() {
        let (inlet, mut inbox) = inbox();
        for _ in 0..MESSAGES + 10 {
            inlet.put(push(PushKind::Message, &["t", "m"]));
        }
        let batches = MESSAGES / BATCH;
        for nth in 1..=batches {
            assert!(take(&mut inbox).await.iter().all(|heard| heard.dropped == 0));
            inlet.put(push(PushKind::Message, &["t", &nth.to_string()]));
        }
        let behind = take(&mut inbox).await;
        assert_eq!(behind[0].body, (batches / 2).to_string(), "what came earlier was dropped, too");
        let gaps: Vec<u64> = behind.iter().map(|heard| heard.dropped).collect();
        let dropped = 10 + (batches / 2 - 1) as u64;
        assert_eq!(gaps[0], dropped);
        assert_eq!(gaps.iter().sum::<u64>(), dropped, "there is one gap");
    }

    #[tokio::test]
    async fn large_messages_are_bounded_by_their_bytes() {
        let (inlet, mut inbox) = inbox();
        let large = "x".repeat(BYTES / 4);
        for _ in 0..5 {
            inlet.put(push(PushKind::Message, &["", &large]));
        }
        assert_eq!(inbox.dropped(), 1);
        assert_eq!(take(&mut inbox).await.len(), 4);
        for _ in 0..5 {
            inlet.put(push(PushKind::Message, &["", &large]));
        }
        inlet.put(push(PushKind::Message, &["", "small"]));
        assert_eq!(take(&mut inbox).await.len(), 4, "what was taken out has made room");
        inlet.put(push(PushKind::Message, &["", "small"]));
        assert_eq!(take(&mut inbox).await[0].dropped, 2, "a small one, too, while there was little room");
    }
}
