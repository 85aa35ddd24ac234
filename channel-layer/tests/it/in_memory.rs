//! The in-memory layer keeps every clause of the contract.

use std::sync::Arc;

use async_trait::async_trait;
use channel_layer::conformance::{Backend, Clause};
use channel_layer::{ChannelLayer, InMemoryLayer, Limits};
use tokio::runtime::{Builder, Runtime};

channel_layer::conformance!(clauses: InMemory, [Queueing, Capacity, Expiry, GroupExpiry]);

/// The clauses in which many do something at once, and which do not count the time.
const RACES: [&str; 6] = [
    "every_waiting_receiver_is_served",
    "each_message_goes_to_one_receiver",
    "a_cancelled_receive_loses_nothing",
    "a_cancelled_recv_loses_nothing",
    "a_cancelled_receiver_leaves_its_message_to_others",
    "senders_at_once_are_all_heard_in_order",
];

struct InMemory;

#[async_trait]
impl Backend for InMemory {
    async fn layers(&self, limits: Limits, processes: usize) -> Vec<Arc<dyn ChannelLayer>> {
        handles(limits, processes)
    }

    fn runtime(&self) -> Runtime {
        Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    }
}

/// The same on many threads, which takes the real clock.
struct OnThreads;

#[async_trait]
impl Backend for OnThreads {
    async fn layers(&self, limits: Limits, processes: usize) -> Vec<Arc<dyn ChannelLayer>> {
        handles(limits, processes)
    }

    fn runtime(&self) -> Runtime {
        Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
    }
}

fn handles(limits: Limits, count: usize) -> Vec<Arc<dyn ChannelLayer>> {
    let layer = InMemoryLayer::new(limits);
    (0..count).map(|_| Arc::new(layer.clone()) as Arc<dyn ChannelLayer>).collect()
}

#[test]
fn races_end_well_on_many_threads() {
    for name in RACES {
        let clause = Clause::named(name).unwrap();
        clause.run(&OnThreads).unwrap_or_else(|broken| panic!("{broken}"));
    }
}
