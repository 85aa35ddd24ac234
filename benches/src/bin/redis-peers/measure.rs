//! One measurement: a sender, a receiver, and what they took.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Failure;
use crate::messages::{Due, Go, Heard, Layer, Ready, Role, Sent, Task};
use crate::peer::{Peer, Side};
use crate::server::Redis;

/// Large enough for what a receiver is behind in a few seconds.
pub(crate) const CAPACITY: usize = 100_000;

/// The tasks that send side by side.
pub(crate) const MANY: u64 = 64;

/// Seconds between single messages: each of them finds everything idle.
pub(crate) const PAUSE: f64 = 0.01;

/// Python's pub/sub layer does not wait until Redis has subscribed it.
const SETTLE: Duration = Duration::from_millis(200);

/// What is measured on both sides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    layer: Layer,
    members: u64,
}

pub(crate) const CASES: [Case; 4] = [
    Case { layer: Layer::PubSub, members: 1 },
    Case { layer: Layer::PubSub, members: 100 },
    Case { layer: Layer::Core, members: 1 },
    Case { layer: Layer::Core, members: 100 },
];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = if self.layer == Layer::PubSub { "pub/sub" } else { "core" };
        write!(f, "{layer}, {}", self.members)
    }
}

/// What one side reached in a case.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) versions: String,
    pub(crate) one_by_one: Figures,
    pub(crate) from_many: Figures,
    /// Latencies in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Sends and deliveries a second.
    pub(crate) sends: f64,
    pub(crate) deliveries: f64,
    /// The share of what should have been heard, in percent, rounded down: 100 means that nothing was lost.
    pub(crate) delivered: f64,
    /// CPU seconds per 1,000 sends.
    pub(crate) sender_cpu: f64,
    pub(crate) receiver_cpu: f64,
    pub(crate) redis_cpu: f64,
}

/// A case and what both sides reached in it.
pub(crate) struct Comparison {
    pub(crate) case: Case,
    pub(crate) ours: Measured,
    pub(crate) theirs: Measured,
}

/// What is the same in all measurements.
pub(crate) struct Plan<'a> {
    pub(crate) redis: &'a Redis,
    pub(crate) seconds: f64,
}

impl Plan<'_> {
    pub(crate) fn measure(&self, side: &Side, case: Case) -> Result<Measured, Failure> {
        let (one_by_one, _, versions) = self.run(side, &self.task(case, 1, 0.0))?;
        let (from_many, ..) = self.run(side, &self.task(case, MANY, 0.0))?;
        let (_, single, _) = self.run(side, &self.task(case, 1, PAUSE))?;
        let heard = |latency: Option<f64>| latency.ok_or("no single message was heard");
        Ok(Measured { versions, one_by_one, from_many, p50: heard(single.p50)?, p99: heard(single.p99)? })
    }

    fn task(&self, case: Case, senders: u64, pause: f64) -> Task {
        static GROUPS: AtomicU64 = AtomicU64::new(0);
        let group = format!("bench-{}-{}", std::process::id(), GROUPS.fetch_add(1, Ordering::Relaxed));
        Task {
            role: Role::Receiver,
            layer: case.layer,
            redis: self.redis.url().to_owned(),
            capacity: CAPACITY,
            group,
            members: case.members,
            senders,
            seconds: self.seconds,
            pause,
        }
    }

    /// Starts both processes, lets one send and the other hear, and compares CPU times before and after.
    fn run(&self, side: &Side, task: &Task) -> Result<(Figures, Heard, String), Failure> {
        let receiver = Peer::start(side, task)?;
        let Ready { versions } = receiver.hear()?;
        let sender = Peer::start(side, &Task { role: Role::Sender, ..task.clone() })?;
        let Ready { .. } = sender.hear()?;
        std::thread::sleep(SETTLE);

        let cpu =
            || Ok::<_, Failure>([sender.cpu_seconds()?, receiver.cpu_seconds()?, self.redis.cpu_seconds()?]);
        let before = cpu()?;
        sender.tell(&Go)?;
        let sent: Sent = sender.hear()?;
        let due = sent.sends * task.members;
        receiver.tell(&Due { deliveries: due })?;
        let heard: Heard = receiver.hear()?;
        let after = cpu()?;

        let per_thousand = |who: usize| (after[who] - before[who]) * 1000.0 / sent.sends as f64;
        let since_began = |end: u64| end.saturating_sub(sent.began) as f64 / 1e9;
        let figures = Figures {
            sends: sent.sends as f64 / since_began(sent.ended),
            deliveries: heard.deliveries as f64 / since_began(heard.last),
            delivered: (heard.deliveries as f64 * 10_000.0 / due as f64).floor() / 100.0,
            sender_cpu: per_thousand(0),
            receiver_cpu: per_thousand(1),
            redis_cpu: per_thousand(2),
        };
        Ok((figures, heard, versions))
    }
}
