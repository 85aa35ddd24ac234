//! Our side's processes: one sends to a group, the other holds its members. `benches/python/redis_peers.py` does the
//! same with `channels_redis`.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use routing::consumers::channel_layer::{self, ChannelLayer, Delivery, GroupName, Mailbox, Message};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Failure;
use crate::messages::{Due, Go, Heard, Layer, Ready, Role, Sent, Task};

/// What is sent besides the time, in bytes.
const PAYLOAD: usize = 128;

/// The time of a message that only opens connections; it is not counted.
const WARM_UP: u64 = 0;

/// How long a receiver hears nothing until it takes the rest for lost.
const QUIET: Duration = Duration::from_secs(2);

/// How long a receiver may be behind: messages expire after this time.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename = "bench.message")]
struct Tick {
    sent: u64,
    payload: String,
}

/// Does a task that is given as JSON, and ends with the standard input.
pub(crate) fn run(task: &str) -> Result<(), Failure> {
    let task: Task = serde_json::from_str(task)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let layer = channel_layer::open(&address(&task))?;
        match task.role {
            Role::Sender => send(Arc::clone(&layer), task).await?,
            Role::Receiver => receive(&layer, &task).await?,
        }
        layer.close().await?;
        Ok(())
    })
}

fn address(task: &Task) -> String {
    let url = format!("{}?capacity={}", task.redis, task.capacity);
    match task.layer {
        Layer::PubSub => url.replacen("redis://", "redis+pubsub://", 1),
        Layer::Core => url,
    }
}

async fn send(layer: Arc<dyn ChannelLayer>, task: Task) -> Result<(), Failure> {
    let group = GroupName::new(&task.group)?;
    layer.group_send(&group, tick(WARM_UP)?).await?;
    tell(&Ready { versions: format!("Waterway {}", env!("CARGO_PKG_VERSION")) })?;
    let Go = ask().await?;
    let began = now();
    let end = Instant::now() + Duration::from_secs_f64(task.seconds);
    let mut sending = JoinSet::new();
    for _ in 0..task.senders {
        sending.spawn(send_until(end, Arc::clone(&layer), group.clone(), task.pause));
    }
    let mut sends = 0;
    while let Some(by_one) = sending.join_next().await {
        sends += by_one??;
    }
    tell(&Sent { sends, began, ended: now() })?;
    until_the_end().await
}

async fn send_until(
    end: Instant,
    layer: Arc<dyn ChannelLayer>,
    group: GroupName,
    pause: f64,
) -> Result<u64, Failure> {
    let mut sends = 0;
    while Instant::now() < end {
        layer.group_send(&group, tick(now())?).await?;
        sends += 1;
        if pause > 0.0 {
            sleep(Duration::from_secs_f64(pause)).await;
        }
    }
    Ok(sends)
}

/// What the members of the group count together.
#[derive(Default)]
struct Ears {
    notes_latencies: bool,
    deliveries: AtomicU64,
    last: AtomicU64,
    latencies: Mutex<Vec<u64>>,
}

async fn receive(layer: &Arc<dyn ChannelLayer>, task: &Task) -> Result<(), Failure> {
    let group = GroupName::new(&task.group)?;
    let ears = Arc::new(Ears { notes_latencies: task.pause > 0.0, ..Ears::default() });
    let mut members = JoinSet::new();
    for _ in 0..task.members {
        let mailbox = layer.new_channel("specific").await?;
        layer.group_add(&group, mailbox.name()).await?;
        members.spawn(Arc::clone(&ears).listen(mailbox));
    }
    tell(&Ready { versions: format!("Waterway {}", env!("CARGO_PKG_VERSION")) })?;
    let due: Due = ask().await?;
    ears.wait_for(due.deliveries).await;
    tell(&ears.heard())?;
    until_the_end().await?;
    // The mailboxes go with their tasks, and leave the group.
    members.shutdown().await;
    Ok(())
}

impl Ears {
    async fn listen(self: Arc<Self>, mut mailbox: Mailbox) {
        loop {
            // What was missed is missing in the number of deliveries.
            let Delivery::Message(message) = mailbox.recv().await else { continue };
            match message.decode::<Tick>() {
                Ok(tick) if tick.sent != WARM_UP => self.note(tick.sent),
                _ => {}
            }
        }
    }

    fn note(&self, sent: u64) {
        let now = now();
        self.last.fetch_max(now, Ordering::Relaxed);
        if self.notes_latencies {
            self.latencies.lock().push(now.saturating_sub(sent));
        }
        self.deliveries.fetch_add(1, Ordering::Release);
    }

    async fn wait_for(&self, due: u64) {
        let longest = Instant::now() + LONGEST_WAIT;
        let (mut heard, mut patience) = (0, Instant::now() + QUIET);
        while heard < due && Instant::now() < patience.min(longest) {
            sleep(Duration::from_millis(10)).await;
            let so_far = self.deliveries.load(Ordering::Acquire);
            if so_far > heard {
                (heard, patience) = (so_far, Instant::now() + QUIET);
            }
        }
    }

    fn heard(&self) -> Heard {
        let mut latencies = self.latencies.lock().clone();
        latencies.sort_unstable();
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).map(|ns| *ns as f64 / 1e6);
        let deliveries = self.deliveries.load(Ordering::Acquire);
        Heard { deliveries, last: self.last.load(Ordering::Relaxed), p50: at(50), p99: at(99) }
    }
}

fn tick(sent: u64) -> Result<Message, Failure> {
    Ok(Message::new(&Tick { sent, payload: "x".repeat(PAYLOAD) })?)
}

/// Nanoseconds of the clock that all processes of the machine share.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn tell(what: &impl Serialize) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(what)?)?)
}

/// Waits for a line without keeping the members from hearing.
async fn ask<T: DeserializeOwned>() -> Result<T, Failure> {
    let line = tokio::task::spawn_blocking(|| std::io::stdin().lines().next()).await?;
    Ok(serde_json::from_str(&line.ok_or("the bench ended")??)?)
}

async fn until_the_end() -> Result<(), Failure> {
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_noted() {
        let ears = Ears { notes_latencies: true, ..Ears::default() };
        *ears.latencies.lock() = (0..100).rev().map(|ms| ms * 1_000_000).collect();
        let heard = ears.heard();
        assert_eq!((heard.p50, heard.p99), (Some(50.0), Some(99.0)));
        assert_eq!(Ears::default().heard().p99, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_gives_up_when_nothing_more_comes() {
        let ears = Arc::new(Ears::default());
        let begun = Instant::now();
        let late = Arc::clone(&ears);
        tokio::spawn(async move {
            sleep(QUIET / 2).await;
            late.note(now());
        });
        ears.wait_for(2).await;
        assert_eq!(ears.heard().deliveries, 1);
        assert!(begun.elapsed() > QUIET, "what came has renewed its patience");
        assert!(begun.elapsed() < QUIET * 2);
    }
}
