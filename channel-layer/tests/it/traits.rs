//! Auto traits are part of the contract: a layer and all that goes through it may cross threads.

use channel_layer::conformance::{Broken, Capability, Clause};
use channel_layer::{
    Capacities, ChannelLayer, ChannelName, Delivery, GroupName, InMemoryLayer, InvalidName, InvalidPattern,
    LayerError, Limits, Losses, Mailbox, Message, Missed,
};
use std::sync::Arc;

fn crosses_threads<T: Send + Sync + 'static>() {}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn public_types_are_send_and_sync() {
    crosses_threads::<ChannelName>();
    crosses_threads::<GroupName>();
    crosses_threads::<InvalidName>();
    crosses_threads::<Message>();
    crosses_threads::<Mailbox>();
    crosses_threads::<Delivery>();
    crosses_threads::<Missed>();
    crosses_threads::<Capacities>();
    crosses_threads::<InvalidPattern>();
    crosses_threads::<Limits>();
    crosses_threads::<Losses>();
    crosses_threads::<LayerError>();
    crosses_threads::<InMemoryLayer>();
    crosses_threads::<Arc<dyn ChannelLayer>>();
    crosses_threads::<Broken>();
    crosses_threads::<Capability>();
    crosses_threads::<Clause>();
}

#[tokio::test]
async fn waiting_for_a_delivery_may_move_between_threads() {
    let layer = InMemoryLayer::default();
    let mut mailbox = layer.new_channel("specific").await.unwrap();
    let message = Message::new(&std::collections::BTreeMap::from([("type", "x")])).unwrap();
    layer.send(mailbox.name(), message.clone()).await.unwrap();
    assert_eq!(is_send(mailbox.recv()).await, Delivery::Message(message));
}
