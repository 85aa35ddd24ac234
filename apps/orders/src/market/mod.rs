//! Market data: invented prices of the demo's instruments, so many ticks a second, for everybody who listens.

mod consumer;
mod pace;
mod walk;

use std::sync::Arc;

use chrono::Utc;
use futures_util::future::join_all;
use routing::consumers::{ChannelLayer, GroupName, LayerError, Message};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

pub use consumer::MarketConsumer;

use crate::demo::INSTRUMENTS;
use pace::Pace;
use walk::Walk;

/// A new price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "market.tick")]
pub struct Tick {
    /// What it is the price of.
    pub instrument: String,
    /// Decimal text, with as many digits as the instrument always has.
    pub price: String,
    /// What the price gained since the generator began, as decimal text; it begins with `-` when it lost.
    pub change: String,
    /// When it was sent, in microseconds since 1970.
    pub sent_at: i64,
}

/// The generator of ticks; dropping it ends it.
#[derive(Debug)]
pub struct Market {
    _task: JoinSet<()>,
}

impl Market {
    /// Publishes `rate` ticks a second, one instrument after the other, for as long as `is_ours` says that it is this
    /// process that does so: of those that share a layer only one should. A rate of 0 publishes none.
    #[must_use = "dropping it ends it"]
    pub fn start(
        layer: Arc<dyn ChannelLayer>,
        rate: u32,
        is_ours: impl Fn() -> bool + Send + 'static,
    ) -> Self {
        let mut task = JoinSet::new();
        if let Some(pace) = Pace::new(rate) {
            task.spawn(generate(layer, pace, is_ours));
        }
        Self { _task: task }
    }
}

/// Who listens to the market.
fn group() -> GroupName {
    GroupName::new("market.ticks").expect("the name is within the grammar")
}

async fn generate(layer: Arc<dyn ChannelLayer>, mut pace: Pace, is_ours: impl Fn() -> bool) {
    let (mut walk, mut failing) = (Walk::new(Utc::now().timestamp_micros().unsigned_abs()), false);
    let mut wakes = interval(pace.period());
    wakes.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let begun = Instant::now();
    loop {
        wakes.tick().await;
        let due = pace.due(begun.elapsed());
        if !is_ours() {
            continue;
        }
        match publish(&*layer, &mut walk, due).await {
            Ok(()) => failing = false,
            // It is said once, for the next attempt is milliseconds away.
            Err(cause) if !failing => {
                failing = true;
                tracing::warn!(%cause, "ticks of the market are lost: the channel layer failed");
            }
            Err(_) => {}
        }
    }
}

/// Publishes so many ticks: those of different instruments at the same time, those of one in their order.
async fn publish(layer: &dyn ChannelLayer, walk: &mut Walk, mut due: usize) -> Result<(), LayerError> {
    let group = group();
    while due > 0 {
        let now = Utc::now().timestamp_micros();
        let count = due.min(INSTRUMENTS.len());
        let ticks = (0..count).map(|_| Message::new(&walk.next(now))).collect::<Result<Vec<_>, _>>()?;
        let sent = join_all(ticks.into_iter().map(|tick| layer.group_send(&group, tick))).await;
        sent.into_iter().collect::<Result<Vec<()>, _>>()?;
        due -= count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use routing::consumers::InMemoryLayer;
    use routing::consumers::channel_layer::{Delivery, Mailbox};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    async fn listening() -> (Arc<dyn ChannelLayer>, Mailbox) {
        let layer: Arc<dyn ChannelLayer> = Arc::new(InMemoryLayer::default());
        let mailbox = layer.new_channel("test").await.unwrap();
        layer.group_add(&group(), mailbox.name()).await.unwrap();
        (layer, mailbox)
    }

    /// The ticks of so long a time, which passes at once on a paused clock.
    async fn heard_in(mailbox: &mut Mailbox, time: Duration) -> Vec<Tick> {
        let mut ticks = Vec::new();
        let end = tokio::time::sleep(time);
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                delivery = mailbox.recv() => match delivery {
                    Delivery::Message(message) => ticks.push((*message.decode::<Tick>().unwrap()).clone()),
                    Delivery::Missed(missed) => panic!("{missed} were missed"),
                },
                () = &mut end => return ticks,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_without_drift_and_spread_over_the_instruments() {
        for rate in [1, 3, 50, 1_000, 10_000] {
            let (layer, mut mailbox) = listening().await;
            let market = Market::start(layer, rate, || true);
            let ticks = heard_in(&mut mailbox, Duration::from_secs(5)).await;
            let off = ticks.len().abs_diff(5 * rate as usize);
            assert!(off <= 1 + rate as usize / 100, "{} of {rate} a second", ticks.len());
            let count = |name| ticks.iter().filter(|tick| tick.instrument == name).count();
            let counts = INSTRUMENTS.map(|(name, _)| count(name));
            let even = ticks.len() / INSTRUMENTS.len();
            assert!(counts.iter().all(|count| count.abs_diff(even) <= 1), "{counts:?}");
            drop(market);
            assert!(heard_in(&mut mailbox, Duration::from_secs(2)).await.len() <= 1, "it has ended");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_nothing_publishes_nothing() {
        let (layer, mut mailbox) = listening().await;
        let _market = Market::start(layer, 0, || true);
        assert_eq!(heard_in(&mut mailbox, Duration::from_secs(60)).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_process_whose_turn_it_is_publishes_and_it_begins_without_a_burst() {
        let (layer, mut mailbox) = listening().await;
        let turn = Arc::new(AtomicBool::new(false));
        let is_ours = Arc::clone(&turn);
        let _market = Market::start(layer, 50, move || is_ours.load(Ordering::Relaxed));
        assert_eq!(heard_in(&mut mailbox, Duration::from_secs(60)).await, []);
        turn.store(true, Ordering::Relaxed);
        let count = heard_in(&mut mailbox, Duration::from_secs(1)).await.len();
        assert!((49..=51).contains(&count), "{count}");
    }

    #[test]
    fn a_tick_looks_as_clients_expect_it() {
        let tick = Tick {
            instrument: "EURUSD".into(),
            price: "1.0800".into(),
            change: "-0.0012".into(),
            sent_at: 1_700_000_000_000_000,
        };
        let json = serde_json::json!({"type": "market.tick", "instrument": "EURUSD", "price": "1.0800",
                                      "change": "-0.0012", "sent_at": 1_700_000_000_000_000_i64});
        assert_eq!(serde_json::to_value(tick).unwrap(), json);
    }
}
