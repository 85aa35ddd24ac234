//! What a group of very many mailboxes costs, and what a small group beside it feels of it: each mailbox has a task that
//! reads it. `crowd [--members N] [--seconds S]`.

#![expect(clippy::print_stdout, reason = "a bench reports on its terminal")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use routing::consumers::channel_layer::{
    ChannelLayer, Delivery, GroupName, InMemoryLayer, LayerError, Mailbox, Message,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// How often the small group hears something.
const PERIOD: Duration = Duration::from_millis(1);

/// When it was sent, since the start.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename = "bench.message")]
struct Tick {
    sent: Duration,
}

/// What the members of the large group count together.
#[derive(Default)]
struct Heard {
    messages: AtomicUsize,
    missed: AtomicUsize,
    all: Notify,
}

#[derive(Clone)]
struct Bench {
    layer: Arc<InMemoryLayer>,
    start: Instant,
    crowd: GroupName,
    few: GroupName,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let option = |name: &str| std::env::args().skip_while(|arg| arg != name).nth(1);
    let members = option("--members").map_or(Ok(100_000), |members| members.parse())?;
    let seconds = Duration::from_secs(option("--seconds").map_or(Ok(5), |seconds| seconds.parse())?);
    let bench = Bench {
        layer: Arc::default(),
        start: Instant::now(),
        crowd: GroupName::new("crowd")?,
        few: GroupName::new("few")?,
    };
    let heard = Arc::new(Heard::default());
    for _ in 0..members {
        let mailbox = bench.join(&bench.crowd).await?;
        tokio::spawn(listen(mailbox, Arc::clone(&heard), members));
    }
    let neighbour = bench.join(&bench.few).await?;
    let latencies = Arc::default();
    tokio::spawn(bench.clone().neighbour(neighbour, Arc::clone(&latencies)));
    bench.clone().tell_few(seconds).await?;
    report("small group alone", std::mem::take(&mut *latencies.lock()));
    let telling = tokio::spawn(bench.clone().tell_few(seconds));
    let sends = tokio::spawn(bench.send_to_all(Arc::clone(&heard), seconds)).await??;
    telling.await??;
    report("small group meanwhile", std::mem::take(&mut *latencies.lock()));
    report(&format!("group_send to {members}"), sends);
    println!("missed: {}", heard.missed.load(Ordering::Relaxed));
    Ok(())
}

impl Bench {
    async fn join(&self, group: &GroupName) -> Result<Mailbox, LayerError> {
        let mailbox = self.layer.new_channel("specific").await?;
        self.layer.group_add(group, mailbox.name()).await?;
        Ok(mailbox)
    }

    fn tick(&self) -> Result<Message, LayerError> {
        Message::new(&Tick { sent: self.start.elapsed() })
    }

    /// Tells the small group something now and then, from a thread of its own: who has a turn of the runtime to wait for
    /// would not send while the crowd keeps it busy, and so not see it.
    async fn tell_few(self, how_long: Duration) -> Result<(), Box<dyn Error + Send + Sync>> {
        let runtime = Handle::current();
        let telling = move || {
            let end = Instant::now() + how_long;
            while Instant::now() < end {
                std::thread::sleep(PERIOD);
                runtime.block_on(self.layer.group_send(&self.few, self.tick()?))?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(telling).await?
    }

    /// Notes how long each message to the small group was under way.
    async fn neighbour(self, mut mailbox: Mailbox, latencies: Arc<Mutex<Vec<Duration>>>) {
        while let Delivery::Message(message) = mailbox.recv().await
            && let Ok(tick) = message.decode::<Tick>()
        {
            latencies.lock().push(self.start.elapsed().saturating_sub(tick.sent));
        }
    }

    /// How long sends to the large group took; each waits until the one before was heard by all.
    async fn send_to_all(self, heard: Arc<Heard>, how_long: Duration) -> Result<Vec<Duration>, LayerError> {
        let (end, mut took) = (Instant::now() + how_long, Vec::new());
        while Instant::now() < end {
            let (message, begun) = (self.tick()?, Instant::now());
            self.layer.group_send(&self.crowd, message).await?;
            took.push(begun.elapsed());
            heard.all.notified().await;
        }
        Ok(took)
    }
}

/// Reads what comes, and tells when everybody has heard it.
async fn listen(mut mailbox: Mailbox, heard: Arc<Heard>, members: usize) {
    loop {
        let counter = match mailbox.recv().await {
            Delivery::Message(_) => &heard.messages,
            Delivery::Missed(_) => &heard.missed,
        };
        if (counter.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(members) {
            heard.all.notify_one();
        }
    }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| {
        times.get(times.len() * share / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    };
    println!("{what}: {} times, p50 {:.3} ms, p99 {:.3} ms", times.len(), at(50), at(99));
}
