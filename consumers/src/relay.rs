//! Relays: events of a group rendered once per process and passed on, finished, to every socket that wants them.
//!
//! A relay is one member of its group with a task of its own. It gathers what arrives in one turn, renders each
//! event once, and hands the same bytes to every socket's outbound queue, so that a thousand sockets cost a
//! thousand writes and nothing else.

use std::any::TypeId;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use channel_layer::{ChannelLayer, Delivery, GroupName, LayerError, Mailbox, Message, Missed};
use parking_lot::{Mutex, MutexGuard};
use serde::de::DeserializeOwned;
use slab::Slab;
use tokio::sync::{Notify, OnceCell};

use crate::demultiplexer::Envelope;
use crate::outbound::{FrameKey, LatestFrame, UNSENT_BYTES};
use crate::{Frame, Outbound};

/// The most frames that one turn gathers into one write per socket. What makes a socket full ends a turn, too.
const FRAMES_PER_TURN: usize = 128;

/// How many sockets are served between two looks at what else there is to do.
const SOCKETS_PER_TURN: usize = 64;

/// How many of them are written to, some microseconds each, before who wants to come or go gets the relay's lock.
const SOCKETS_PER_LOCK: usize = 8;

/// The most messages that wait while sockets are served: a relay stands for many sockets, and takes longer for a
/// message than other members do.
const WAITING: usize = 1024;

/// How a message becomes a frame, or none.
type Render = Box<dyn Fn(&Message) -> Option<Rendered> + Send + Sync>;

/// What became of a message.
struct Rendered {
    frame: Frame,
    /// Of frames with the same key only the latest is wanted.
    key: Option<Arc<FrameKey>>,
}

/// What a relay does with events: makes frames of them, and tells which of these newer ones replace.
pub(crate) struct Rendering<E> {
    pub(crate) render: fn(&E) -> Option<Frame>,
    pub(crate) latest_by: Option<fn(&E) -> String>,
}

/// The relays of one layer in this process.
#[derive(Default)]
pub(crate) struct Relays {
    open: Mutex<HashMap<Key, Arc<Relay>>>,
}

/// Sockets share a relay when they relay the same group by the same functions, on the same stream if on any.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    group: GroupName,
    functions: Functions,
    envelope: Option<Arc<Envelope>>,
}

/// What a rendering is known by.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Functions {
    event: TypeId,
    render: usize,
    latest_by: Option<usize>,
}

impl<E: 'static> Rendering<E> {
    fn functions(&self) -> Functions {
        let latest_by = self.latest_by.map(|latest_by| latest_by as usize);
        Functions { event: TypeId::of::<E>(), render: self.render as usize, latest_by }
    }
}

/// The socket that a relay passes events on to, or the stream of one, and what it puts around them.
pub(crate) struct Receiver<'a> {
    pub(crate) outbound: &'a Outbound,
    pub(crate) envelope: Option<&'a Arc<Envelope>>,
}

struct Relay {
    key: Key,
    render: Render,
    started: OnceCell<()>,
    sockets: Mutex<Sockets>,
    stop: Notify,
}

#[derive(Default)]
struct Sockets {
    slots: Slab<Outbound>,
    /// The last socket has left: the relay ends and takes no more.
    is_over: bool,
}

impl Relays {
    /// Passes the events of a group on to a socket until the membership is dropped.
    pub(crate) async fn join<E: DeserializeOwned + Send + Sync + 'static>(
        self: &Arc<Self>,
        layer: &Arc<dyn ChannelLayer>,
        group: &GroupName,
        rendering: &Rendering<E>,
        to: Receiver<'_>,
    ) -> Result<Membership, LayerError> {
        let envelope = to.envelope.cloned();
        let key = Key { group: group.clone(), functions: rendering.functions(), envelope };
        let membership = loop {
            let relay = Arc::clone(
                self.open
                    .lock()
                    .entry(key.clone())
                    .or_insert_with_key(|key| Arc::new(Relay::new(key.clone(), rendering))),
            );
            if let Some(slot) = relay.add(to.outbound) {
                break Membership { relay, slot, relays: Arc::downgrade(self) };
            }
            self.forget(&relay);
        };
        let relay = &membership.relay;
        relay.started.get_or_try_init(|| relay.start(Arc::clone(layer))).await?;
        Ok(membership)
    }

    fn forget(&self, relay: &Arc<Relay>) {
        let mut open = self.open.lock();
        if open.get(&relay.key).is_some_and(|known| Arc::ptr_eq(known, relay)) {
            open.remove(&relay.key);
        }
    }
}

impl std::fmt::Debug for Relays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relays").field("open", &self.open.lock().len()).finish()
    }
}

/// One socket's part in a relay; dropping it ends the part, and the last one the relay.
pub(crate) struct Membership {
    relay: Arc<Relay>,
    slot: usize,
    relays: Weak<Relays>,
}

impl Membership {
    pub(crate) fn group(&self) -> &GroupName {
        &self.relay.key.group
    }

    /// Whether this passes on the same group by the same functions.
    pub(crate) fn is<E: 'static>(&self, group: &GroupName, rendering: &Rendering<E>) -> bool {
        let key = &self.relay.key;
        key.group == *group && key.functions == rendering.functions()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut sockets = self.relay.sockets.lock();
        sockets.slots.remove(self.slot);
        if !sockets.slots.is_empty() {
            return;
        }
        sockets.is_over = true;
        drop(sockets);
        self.relay.stop.notify_one();
        if let Some(relays) = self.relays.upgrade() {
            relays.forget(&self.relay);
        }
    }
}

impl Relay {
    fn new<E: DeserializeOwned + Send + Sync + 'static>(key: Key, rendering: &Rendering<E>) -> Self {
        /// Tells the relays of this process apart, so that one never replaces what another has passed on.
        static RELAYS: AtomicU64 = AtomicU64::new(0);
        let relay = RELAYS.fetch_add(1, Ordering::Relaxed);
        let envelope = key.envelope.clone();
        let Rendering { render, latest_by } = *rendering;
        let render = move |message: &Message| match message.decode::<E>() {
            Ok(event) => {
                let frame = render(&event)?;
                let frame = match &envelope {
                    None => frame,
                    Some(envelope) => envelope.around_relayed(&frame)?,
                };
                let key = latest_by.map(|text| Arc::new(FrameKey { relay, text: text(&event) }));
                Some(Rendered { frame, key })
            }
            Err(cause) => {
                tracing::debug!(%cause, kind = message.kind(), "an event that the relay does not know was dropped");
                None
            }
        };
        Self {
            key,
            render: Box::new(render),
            started: OnceCell::new(),
            sockets: Mutex::default(),
            stop: Notify::new(),
        }
    }

    fn add(&self, socket: &Outbound) -> Option<usize> {
        let mut sockets = self.sockets.lock();
        (!sockets.is_over).then(|| sockets.slots.insert(socket.clone()))
    }

    /// Joins the group, so that whatever is sent after this is passed on, and starts the task.
    async fn start(self: &Arc<Self>, layer: Arc<dyn ChannelLayer>) -> Result<(), LayerError> {
        let mailbox = layer.new_channel("relay").await?;
        layer.group_add(&self.key.group, mailbox.name()).await?;
        tokio::spawn(Arc::clone(self).run(layer, mailbox));
        Ok(())
    }

    async fn run(self: Arc<Self>, layer: Arc<dyn ChannelLayer>, mut mailbox: Mailbox) {
        let mut renewal = crate::heartbeat::renewal(&*layer);
        let mut waiting = VecDeque::new();
        loop {
            tokio::select! {
                () = self.stop.notified() => return,
                delivery = next(&mut waiting, &mut mailbox) => {
                    waiting.push_front(delivery);
                    let batch = self.gather(&mut waiting, &mut mailbox).await;
                    self.deliver(&batch, &mut waiting, &mut mailbox).await;
                }
                _ = renewal.tick() => {
                    crate::heartbeat::renew(&*layer, [&self.key.group], mailbox.name()).await;
                }
            }
        }
    }

    /// Renders what has arrived, and what else arrives while others have their turn.
    async fn gather(&self, waiting: &mut VecDeque<Delivery>, mailbox: &mut Mailbox) -> Batch {
        tokio::task::yield_now().await;
        let mut wire = BytesMut::new();
        let mut batch = Batch::default();
        while batch.frames < FRAMES_PER_TURN
            && wire.len() < UNSENT_BYTES
            && let Some(delivery) = waiting.pop_front().or_else(|| mailbox.try_recv())
        {
            self.take(delivery, &mut wire, &mut batch);
        }
        batch.wire = wire.freeze();
        batch
    }

    fn take(&self, delivery: Delivery, wire: &mut BytesMut, batch: &mut Batch) {
        match delivery {
            Delivery::Message(message) => {
                // A panic in one event's rendering must not end the relay for everyone.
                match catch_unwind(AssertUnwindSafe(|| (self.render)(&message))) {
                    Ok(Some(Rendered { frame, key: None })) => {
                        frame.encode(wire);
                        batch.frames += 1;
                    }
                    Ok(Some(Rendered { frame, key: Some(key) })) => {
                        let frame = LatestFrame { key, wire: frame.wire() };
                        wire.extend_from_slice(&frame.wire);
                        batch.latest.push(frame);
                        batch.frames += 1;
                    }
                    Ok(None) => {}
                    Err(_) => {
                        tracing::error!(kind = message.kind(), "rendering an event panicked: it is missed");
                        batch.miss(Missed::Count(1));
                    }
                }
            }
            Delivery::Missed(missed) => batch.miss(missed),
        }
    }

    async fn deliver(&self, batch: &Batch, waiting: &mut VecDeque<Delivery>, mailbox: &mut Mailbox) {
        if batch.frames == 0 && batch.missed.is_none() {
            return;
        }
        let mut slots = 0..SOCKETS_PER_TURN;
        loop {
            let end = self.serve(slots.clone(), batch);
            if slots.end >= end {
                return;
            }
            slots = slots.end..slots.end + SOCKETS_PER_TURN;
            tokio::task::yield_now().await;
            // Whatever arrives meanwhile must not fill the mailbox.
            while waiting.len() < WAITING
                && let Some(delivery) = mailbox.try_recv()
            {
                waiting.push_back(delivery);
            }
        }
    }

    /// Passes a batch on to the sockets in these slots; how many slots there are.
    fn serve(&self, slots: Range<usize>, batch: &Batch) -> usize {
        let mut sockets = self.sockets.lock();
        // All at the same time: to take a socket's lock would wait for that socket alone.
        slots.clone().filter_map(|slot| sockets.slots.get(slot)).for_each(Outbound::fetch);
        for slot in slots {
            if let Some(socket) = sockets.slots.get(slot) {
                batch.pass_on(socket);
            }
            if slot.is_multiple_of(SOCKETS_PER_LOCK) {
                MutexGuard::bump(&mut sockets);
            }
        }
        sockets.slots.capacity()
    }
}

/// What waits already, or else what comes next.
pub(crate) async fn next(waiting: &mut VecDeque<Delivery>, mailbox: &mut Mailbox) -> Delivery {
    match waiting.pop_front() {
        Some(delivery) => delivery,
        None => mailbox.recv().await,
    }
}

/// What one turn gathered: finished frames in one piece of bytes, and how many messages were lost before it.
#[derive(Default)]
struct Batch {
    wire: Bytes,
    frames: usize,
    /// The same frames one by one, when only the latest of each key is wanted.
    latest: Vec<LatestFrame>,
    missed: Option<Missed>,
}

impl Batch {
    fn miss(&mut self, missed: Missed) {
        self.missed = Some(self.missed.map_or(missed, |before| before.and(missed)));
    }

    fn pass_on(&self, socket: &Outbound) {
        if let Some(missed) = self.missed {
            socket.miss(missed);
        }
        // A socket that has ended is about to drop its membership.
        if !self.latest.is_empty() {
            socket.pass_on_latest(&self.wire, &self.latest);
        } else if self.frames > 0 {
            socket.pass_on(&self.wire, self.frames);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use channel_layer::InMemoryLayer;
    use serde::{Deserialize, Serialize};
    use std::time::Duration;
    use tokio::io::AsyncReadExt;

    #[derive(Serialize, Deserialize)]
    struct Said {
        r#type: String,
        text: String,
    }

    fn render(said: &Said) -> Option<Frame> {
        assert_ne!(said.text, "panic", "rendering this panics");
        (said.text != "hidden").then(|| Frame::text(said.text.clone()))
    }

    fn said(text: &str) -> Message {
        Message::new(&Said { r#type: "said".into(), text: text.into() }).unwrap()
    }

    fn fixture() -> (Arc<Relays>, Arc<dyn ChannelLayer>, GroupName) {
        (Arc::default(), Arc::new(InMemoryLayer::default()), GroupName::new("g").unwrap())
    }

    async fn read(reader: &mut tokio::io::DuplexStream, expected: &[&str]) {
        let expected: Vec<u8> = expected.iter().flat_map(|text| Frame::text(*text).wire()).collect();
        let mut bytes = vec![0; expected.len()];
        reader.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, expected);
    }

    /// What a consumer would be told, as a connection's task does: then it lets go what stands behind.
    async fn told(socket: &Outbound) -> Option<Missed> {
        let missed = socket.take_missed();
        socket.release();
        let flush = std::future::poll_fn(|cx| socket.poll_flush(cx));
        tokio::time::timeout(Duration::from_secs(1), flush).await.unwrap().unwrap();
        missed
    }

    /// Everything is passed on.
    const ALL: Rendering<Said> = Rendering { render, latest_by: None };

    fn plain(outbound: &Outbound) -> Receiver<'_> {
        Receiver { outbound, envelope: None }
    }

    fn socket() -> (Outbound, tokio::io::DuplexStream) {
        let (reader, writer) = tokio::io::duplex(4096);
        let outbound = Outbound::new();
        outbound.attach(writer);
        (outbound, reader)
    }

    #[tokio::test(start_paused = true)]
    async fn sockets_share_one_relay_which_ends_with_the_last() {
        let (relays, layer, group) = fixture();
        let (first, mut first_reader) = socket();
        let (second, mut second_reader) = socket();
        let one = relays.join(&layer, &group, &ALL, plain(&first)).await.unwrap();
        let two = relays.join(&layer, &group, &ALL, plain(&second)).await.unwrap();
        assert_eq!(relays.open.lock().len(), 1);
        layer.group_send(&group, said("both")).await.unwrap();
        read(&mut first_reader, &["both"]).await;
        read(&mut second_reader, &["both"]).await;
        drop(one);
        layer.group_send(&group, said("second")).await.unwrap();
        read(&mut second_reader, &["second"]).await;
        drop(two);
        assert_eq!(relays.open.lock().len(), 0);
        let again = relays.join(&layer, &group, &ALL, plain(&first)).await.unwrap();
        layer.group_send(&group, said("again")).await.unwrap();
        read(&mut first_reader, &["again"]).await;
        drop(again);
    }

    #[tokio::test(start_paused = true)]
    async fn one_bad_event_is_missed_and_does_not_end_the_relay() {
        let (relays, layer, group) = fixture();
        let (socket, mut reader) = socket();
        let _membership = relays.join(&layer, &group, &ALL, plain(&socket)).await.unwrap();
        let unknown = Message::new(&std::collections::BTreeMap::from([("type", "unknown")])).unwrap();
        for message in [said("1"), said("hidden"), unknown, said("panic"), said("2")] {
            layer.group_send(&group, message).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(told(&socket).await, Some(Missed::Count(1)));
        read(&mut reader, &["1", "2"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_membership_outlives_the_expiry_of_the_group() {
        let (relays, _, group) = fixture();
        let limits = channel_layer::Limits::default().group_expiry(Duration::from_secs(3));
        let layer: Arc<dyn ChannelLayer> = Arc::new(InMemoryLayer::new(limits));
        let (socket, mut reader) = socket();
        let _membership = relays.join(&layer, &group, &ALL, plain(&socket)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        layer.group_send(&group, said("still here")).await.unwrap();
        read(&mut reader, &["still here"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_relay_itself_missed_is_told_to_every_socket() {
        let (relays, _, group) = fixture();
        let limits = channel_layer::Limits::default().capacity(channel_layer::Capacities::new(2));
        let layer: Arc<dyn ChannelLayer> = Arc::new(InMemoryLayer::new(limits));
        let (socket, mut reader) = socket();
        let _membership = relays.join(&layer, &group, &ALL, plain(&socket)).await.unwrap();
        // All at once, for a send that finds a member behind lets that member run.
        let sends = (0..5).map(|n| layer.group_send(&group, said(&n.to_string())));
        futures_util::future::join_all(sends).await;
        let mut byte = [0];
        let early = tokio::time::timeout(Duration::from_secs(1), reader.read(&mut byte)).await;
        assert!(early.is_err(), "the loss is told before what is passed on with it");
        assert_eq!(told(&socket).await, Some(Missed::Count(3)));
        read(&mut reader, &["0", "1"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_not_larger_than_what_makes_a_socket_full() {
        let (relays, layer, group) = fixture();
        let (socket, _reader) = socket();
        let _membership = relays.join(&layer, &group, &ALL, plain(&socket)).await.unwrap();
        let large = "x".repeat(UNSENT_BYTES / 2);
        // Two make a turn, and two turns a full socket, since some of the first leaves.
        let sends = (0..7).map(|_| layer.group_send(&group, said(&large)));
        futures_util::future::join_all(sends).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(socket.take_missed(), Some(Missed::Count(3)));
    }
}
