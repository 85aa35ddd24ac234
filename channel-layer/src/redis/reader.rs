//! The readers of normal channels: each channel that somebody here waits for has one task that pops from Redis, so
//! that a receiver that is cancelled takes no message with it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::core::Core;
use super::receiver;
use super::shard::Shard;
use crate::losses::count;
use crate::{ChannelName, LayerError, Message};

/// How many receivers may wait for one channel in one process.
const WAITING: usize = 1024;

/// How long one pop waits on the only host, or on each of several in turn.
const WAIT: Duration = Duration::from_secs(1);
const TURN: Duration = Duration::from_millis(100);

/// How long a reader without receivers stays.
const IDLE: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(500);

/// Who waits for a message.
type Waiter = oneshot::Sender<Popped>;

/// A message that was popped, with what is needed to put it back.
struct Popped {
    message: Message,
    body: Vec<u8>,
    score: f64,
    shard: Arc<Shard>,
}

/// The readers of one layer.
pub(crate) struct Readers {
    core: Arc<Core>,
    open: Arc<Mutex<HashMap<ChannelName, mpsc::Sender<Waiter>>>>,
}

impl Readers {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core), open: Arc::default() }
    }

    /// The next message of a normal channel.
    pub(crate) async fn receive(&self, channel: &ChannelName) -> Result<Message, LayerError> {
        let (waiter, popped) = oneshot::channel();
        let mut waiting = Waiting { popped, core: &self.core, channel };
        let mut waiter = Some(waiter);
        while let Some(again) = waiter.take() {
            let reader = self.reader(channel);
            match reader.send(again).await {
                Ok(()) => {}
                // The reader has just ended; another one takes its place.
                Err(mpsc::error::SendError(again)) => waiter = Some(again),
            }
        }
        (&mut waiting.popped).await.map(|popped| popped.message).map_err(|_| LayerError::Closed)
    }

    /// Ends every reader; who waits gets `Closed`.
    pub(crate) fn close(&self) {
        self.open.lock().clear();
    }

    fn reader(&self, channel: &ChannelName) -> mpsc::Sender<Waiter> {
        let mut open = self.open.lock();
        if let Some(reader) = open.get(channel).filter(|reader| !reader.is_closed()) {
            return reader.clone();
        }
        let (reader, waiters) = mpsc::channel(WAITING);
        open.insert(channel.clone(), reader.clone());
        tokio::spawn(read(Arc::downgrade(&self.core), channel.clone(), waiters));
        reader
    }
}

/// A receiver's place in the line. If it is given up after a message was handed over, the message goes back.
struct Waiting<'a> {
    popped: oneshot::Receiver<Popped>,
    core: &'a Arc<Core>,
    channel: &'a ChannelName,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.popped.close();
        if let Ok(popped) = self.popped.try_recv() {
            let (core, channel) = (Arc::clone(self.core), self.channel.clone());
            tokio::spawn(
                async move { core.give_back(&popped.shard, &channel, &popped.body, popped.score).await },
            );
        }
    }
}

/// The task of one channel: as long as somebody waits, it pops, from each host in turn.
async fn read(core: Weak<Core>, channel: ChannelName, mut waiters: mpsc::Receiver<Waiter>) {
    let mut line = VecDeque::new();
    let mut turn = 0;
    loop {
        if line.is_empty() {
            match tokio::time::timeout(IDLE, waiters.recv()).await {
                Ok(Some(waiter)) => line.push_back(waiter),
                Ok(None) | Err(_) => return,
            }
        }
        while let Ok(waiter) = waiters.try_recv() {
            line.push_back(waiter);
        }
        line.retain(|waiter| !waiter.is_closed());
        if line.is_empty() {
            continue;
        }
        let Some(core) = core.upgrade() else { return };
        if core.hub().check_open().is_err() {
            return;
        }
        let hosts = core.shards();
        turn = (turn + 1) % hosts.len();
        match pop(&core, &hosts[turn], &channel, hosts.len() == 1).await {
            Ok(Some(popped)) => hand_over(&core, &channel, &mut line, popped).await,
            Ok(None) => {}
            Err(cause) => {
                tracing::warn!(%cause, %channel, "reading from Redis failed: trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Pops one message that can be read and is young enough, if one comes in time.
async fn pop(
    core: &Core,
    shard: &Arc<Shard>,
    channel: &ChannelName,
    is_only: bool,
) -> Result<Option<Popped>, LayerError> {
    let mut connection = shard.blocking().await?;
    let wait = if is_only { WAIT } else { TURN };
    let key = core.keys().queue(channel);
    let popped = match receiver::pop(&key, wait, &mut connection).await {
        Ok(popped) => popped,
        Err(error) => return Err(receiver::broken(shard, connection, &error)),
    };
    let Some((body, score)) = popped else { return Ok(None) };
    if core.is_expired(score) {
        count(&core.hub().counters().expired, 1);
        return Ok(None);
    }
    let decoded = core.hub().readable(&key, core.codec().decode(&body.clone().into()));
    Ok(decoded.map(|(message, _)| Popped { message, body, score, shard: Arc::clone(shard) }))
}

/// Gives a message to the first in line who still waits, or back to Redis.
async fn hand_over(core: &Core, channel: &ChannelName, line: &mut VecDeque<Waiter>, mut popped: Popped) {
    while let Some(waiter) = line.pop_front() {
        match waiter.send(popped) {
            Ok(()) => return,
            Err(unwanted) => popped = unwanted,
        }
    }
    core.give_back(&popped.shard, channel, &popped.body, popped.score).await;
}
