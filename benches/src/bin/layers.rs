//! How fast a channel layer is between two processes' worth of layer: one sends to a group, the other has its members
//! and keeps up. Run it as `layers --layer URL [--members N] [--seconds S]`; the URL's capacity should be large.

#![expect(clippy::print_stdout, reason = "a bench reports on its terminal")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use routing::consumers::channel_layer::{self, ChannelLayer, Delivery, GroupName, LayerError, Message};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

/// What is sent: when, in nanoseconds since the start, and some weight.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename = "bench.message")]
struct Tick {
    sent: u64,
    filler: String,
}

/// Bytes of filler, so that a message has about 128.
const FILLER: usize = 80;

/// What the members count together.
#[derive(Default)]
struct Heard {
    messages: AtomicU64,
    missed: AtomicU64,
    latencies: parking_lot::Mutex<Vec<u64>>,
}

struct Bench {
    sender: Arc<dyn ChannelLayer>,
    group: GroupName,
    members: u64,
    seconds: Duration,
    start: Instant,
    heard: Arc<Heard>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let option = |name: &str| std::env::args().skip_while(|arg| arg != name).nth(1);
    let url = option("--layer").unwrap_or_else(|| "memory://".to_owned());
    let members = option("--members").map_or(Ok(1), |members| members.parse())?;
    let seconds = Duration::from_secs(option("--seconds").map_or(Ok(5), |seconds| seconds.parse())?);
    let sender = channel_layer::open(&url)?;
    // In memory there is no other process: both ends are one layer.
    let receiver = if url.starts_with("memory") { Arc::clone(&sender) } else { channel_layer::open(&url)? };
    let group = GroupName::new("bench")?;
    let bench = Bench { sender, group, members, seconds, start: Instant::now(), heard: Arc::default() };
    let bench = Arc::new(bench);
    for _ in 0..members {
        bench.listen(&receiver).await?;
    }
    println!("{url}, {members} members");
    for tasks in [1, 64] {
        bench.throughput(tasks).await?;
    }
    bench.latency().await?;
    println!("losses: sender {:?}, receiver {:?}", bench.sender.losses(), receiver.losses());
    Ok(())
}

impl Bench {
    /// Adds a member that reads whatever comes.
    async fn listen(&self, receiver: &Arc<dyn ChannelLayer>) -> Result<(), Box<dyn Error>> {
        let mut mailbox = receiver.new_channel("specific").await?;
        receiver.group_add(&self.group, mailbox.name()).await?;
        let (heard, start) = (Arc::clone(&self.heard), self.start);
        tokio::spawn(async move {
            loop {
                match mailbox.recv().await {
                    Delivery::Message(message) => heard.note(&message, start),
                    Delivery::Missed(_) => drop(heard.missed.fetch_add(1, Ordering::Relaxed)),
                }
            }
        });
        Ok(())
    }

    fn tick(&self) -> Result<Message, LayerError> {
        let sent = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Message::new(&Tick { sent, filler: "x".repeat(FILLER) })
    }

    /// Sends from so many tasks, each awaiting its own sends, and waits until all was heard.
    async fn throughput(self: &Arc<Self>, tasks: usize) -> Result<(), Box<dyn Error>> {
        let before = self.heard.messages.load(Ordering::Relaxed);
        let begun = Instant::now();
        let mut sending = JoinSet::new();
        for _ in 0..tasks {
            sending.spawn(Arc::clone(self).send_until(begun + self.seconds));
        }
        let mut sent = 0;
        while let Some(by_one) = sending.join_next().await {
            sent += by_one??;
        }
        let took = begun.elapsed().as_secs_f64();
        let due = before + sent * self.members;
        let patience = Instant::now() + self.seconds * 2;
        while self.heard.messages.load(Ordering::Relaxed) < due && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let heard = self.heard.messages.load(Ordering::Relaxed) - before;
        println!(
            "  {tasks:>2} tasks: {:>8.0} group_sends/s, {:>8.0} deliveries/s, {:.2}% delivered",
            sent as f64 / took,
            heard as f64 / begun.elapsed().as_secs_f64(),
            heard as f64 * 100.0 / (sent * self.members) as f64
        );
        Ok(())
    }

    async fn send_until(self: Arc<Self>, end: Instant) -> Result<u64, LayerError> {
        let mut sent = 0;
        while Instant::now() < end {
            self.sender.group_send(&self.group, self.tick()?).await?;
            sent += 1;
        }
        Ok(sent)
    }

    /// One message at a time, a thousand times.
    async fn latency(&self) -> Result<(), Box<dyn Error>> {
        self.heard.latencies.lock().clear();
        for _ in 0..1000 {
            self.sender.group_send(&self.group, self.tick()?).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut latencies = std::mem::take(&mut *self.heard.latencies.lock());
        latencies.sort_unstable();
        let at = |share: usize| {
            latencies.get(latencies.len() * share / 100).map_or(f64::NAN, |ns| *ns as f64 / 1e6)
        };
        println!("  latency: p50 {:.3} ms, p99 {:.3} ms", at(50), at(99));
        Ok(())
    }
}

impl Heard {
    fn note(&self, message: &Message, start: Instant) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let Ok(tick) = message.decode::<Tick>() else { return };
        let mut latencies = self.latencies.lock();
        if latencies.len() < 1_000_000 {
            latencies.push(now.saturating_sub(tick.sent));
        }
    }
}
