//! Which types may be shared between threads is part of the interface: this does not compile when it changes.

use consumers::testing::{Unexpected, WebsocketCommunicator};
use consumers::{
    Accept, Acceptance, Application, ChannelLayers, Close, CloseCode, Context, Denial, Error, Event, Frame,
    Handshake, Inbound, Json, NoEvents, Outbound, ProtocolWriter, Scope, Shutdown, Socket, Transport,
};

fn send<T: Send + ?Sized>() {}

fn send_and_sync<T: Send + Sync + ?Sized>() {}

#[test]
fn values_and_handles_can_be_shared() {
    send_and_sync::<Frame>();
    send_and_sync::<Json<u8>>();
    send_and_sync::<Event<u8>>();
    send_and_sync::<NoEvents>();
    send_and_sync::<Close>();
    send_and_sync::<CloseCode>();
    send_and_sync::<Denial>();
    send_and_sync::<Error>();
    send_and_sync::<Acceptance>();
    send_and_sync::<Handshake>();
    send_and_sync::<Inbound>();
    send_and_sync::<Scope>();
    send_and_sync::<ChannelLayers>();
    send_and_sync::<Outbound>();
    send_and_sync::<ProtocolWriter>();
    send_and_sync::<Shutdown>();
    send_and_sync::<Unexpected>();
    send_and_sync::<dyn Application>();
}

#[test]
fn what_belongs_to_one_connection_can_be_moved() {
    // `&Context` crosses awaits in `group_send`, so it is shared too.
    send_and_sync::<Context>();
    send::<Accept<'_>>();
    send::<Transport>();
    send::<dyn Socket>();
    send::<WebsocketCommunicator>();
}

#[test]
fn what_is_spawned_can_be_moved() {
    fn spawned<F: Future + Send>(_: impl FnOnce() -> F) {}
    spawned(|| async {
        let mut client = crate::support::Probe::new("accept").open().await;
        client.send(Frame::text("x")).await;
        client.receive().await
    });
    spawned(|| async { Shutdown::new().drain(std::time::Duration::ZERO).await });
}
