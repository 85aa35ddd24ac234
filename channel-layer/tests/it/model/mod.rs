//! Random operations on the in-memory layer and on a naive model: both deliver the same, refuse the same, and count
//! the same losses.

mod naive;

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use channel_layer::{
    Capacities, ChannelLayer, ChannelName, Delivery, GroupName, InMemoryLayer, LayerError, Limits, Mailbox,
    Message,
};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::runtime::Builder;

use naive::Model;

const EXPIRY: Duration = Duration::from_secs(10);
const GROUP_EXPIRY: Duration = Duration::from_secs(15);

/// What may be done. Channels and groups are given by number; those that were never made are made by counting round.
#[derive(Debug, Clone)]
enum Operation {
    Open { tiny: bool },
    Drop(usize),
    Send(usize),
    Add { group: usize, channel: usize },
    Discard { group: usize, channel: usize },
    GroupSend(usize),
    Take(usize),
    Advance { seconds: u64 },
}

fn operation() -> impl Strategy<Value = Operation> {
    let channel = || 0..7_usize;
    let group = || 0..2_usize;
    prop_oneof![
        2 => any::<bool>().prop_map(|tiny| Operation::Open { tiny }),
        1 => channel().prop_map(Operation::Drop),
        5 => channel().prop_map(Operation::Send),
        3 => (group(), channel()).prop_map(|(group, channel)| Operation::Add { group, channel }),
        1 => (group(), channel()).prop_map(|(group, channel)| Operation::Discard { group, channel }),
        5 => group().prop_map(Operation::GroupSend),
        5 => channel().prop_map(Operation::Take),
        // Whole seconds, so that messages often are exactly as old as they may be.
        3 => (1..6_u64).prop_map(|seconds| Operation::Advance { seconds }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_layer_does_what_the_model_does(operations in vec(operation(), 1..80)) {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new();
            for operation in operations {
                pair.apply(operation).await;
            }
            pair.finish().await;
        });
    }
}

/// Layer and model side by side.
struct Pair {
    layer: InMemoryLayer,
    model: Model,
    mailboxes: HashMap<ChannelName, Mailbox>,
    /// Every channel there ever was.
    channels: Vec<ChannelName>,
    groups: [GroupName; 2],
    sent: u64,
}

impl Pair {
    fn new() -> Self {
        let limits = Limits::default()
            .capacity(Capacities::new(3).with("tiny*", 1).unwrap())
            .expiry(EXPIRY)
            .group_expiry(GROUP_EXPIRY);
        Self {
            layer: InMemoryLayer::new(limits),
            model: Model::new(vec![("tiny", 1), ("", 3)], EXPIRY, GROUP_EXPIRY),
            mailboxes: HashMap::new(),
            channels: ["jobs", "tiny.jobs", "never.made!x"]
                .map(|name| ChannelName::new(name).unwrap())
                .into(),
            groups: ["one", "two"].map(|name| GroupName::new(name).unwrap()),
            sent: 0,
        }
    }

    async fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Open { tiny } => {
                let mailbox = self.layer.new_channel(if tiny { "tiny" } else { "specific" }).await.unwrap();
                self.model.open(mailbox.name());
                self.channels.push(mailbox.name().clone());
                self.mailboxes.insert(mailbox.name().clone(), mailbox);
            }
            Operation::Drop(channel) => {
                let name = self.channel(channel);
                // Expired messages are counted when they are looked for, so both look before the mailbox goes.
                self.take(&name).await;
                if self.mailboxes.remove(&name).is_some() {
                    self.model.drop(&name);
                }
            }
            Operation::Send(channel) => self.send(channel).await,
            Operation::Add { group, channel } => {
                let (group, channel) = (self.groups[group].clone(), self.channel(channel));
                self.layer.group_add(&group, &channel).await.unwrap();
                self.model.add(&group, &channel);
            }
            Operation::Discard { group, channel } => {
                let (group, channel) = (self.groups[group].clone(), self.channel(channel));
                self.layer.group_discard(&group, &channel).await.unwrap();
                self.model.discard(&group, &channel);
            }
            Operation::GroupSend(group) => {
                let (group, message) = (self.groups[group].clone(), self.message());
                self.layer.group_send(&group, message.clone()).await.unwrap();
                self.model.group_send(&group, &message);
            }
            Operation::Take(channel) => {
                let name = self.channel(channel);
                self.take(&name).await;
            }
            Operation::Advance { seconds } => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                self.model.advance(Duration::from_secs(seconds));
            }
        }
    }

    async fn send(&mut self, channel: usize) {
        let (name, message) = (self.channel(channel), self.message());
        let verdict = self.layer.send(&name, message.clone()).await;
        if self.model.send(&name, &message) {
            verdict.unwrap();
        } else {
            self.model.losses.refused += 1;
            assert!(matches!(verdict, Err(LayerError::ChannelFull(full)) if full == name));
        }
    }

    /// Takes what is first in a channel, and says whether there was anything.
    async fn take(&mut self, name: &ChannelName) -> bool {
        let taken = match self.mailboxes.get_mut(name) {
            Some(mailbox) => mailbox.try_recv(),
            None if name.is_process_specific() => None,
            None => receive_now(&self.layer, name).await.map(Delivery::Message),
        };
        assert_eq!(taken, self.model.take(name), "taken from {name}");
        taken.is_some()
    }

    /// Empties every channel, and compares what was counted.
    async fn finish(mut self) {
        for name in self.channels.clone() {
            while self.take(&name).await {}
        }
        assert_eq!(self.layer.losses(), self.model.losses);
    }

    fn channel(&self, number: usize) -> ChannelName {
        self.channels[number % self.channels.len()].clone()
    }

    fn message(&mut self) -> Message {
        self.sent += 1;
        Message::new(&BTreeMap::from([("type", self.sent.to_string())])).unwrap()
    }
}

/// Polls once, since a timeout would move the clock.
async fn receive_now(layer: &InMemoryLayer, channel: &ChannelName) -> Option<Message> {
    let mut receiving = pin!(layer.receive(channel));
    match poll_fn(|context| Poll::Ready(receiving.as_mut().poll(context))).await {
        Poll::Ready(message) => Some(message.unwrap()),
        Poll::Pending => None,
    }
}
