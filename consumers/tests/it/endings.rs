//! However a socket ends, `disconnect` runs exactly once and as the last, every group is left, and its relays end.

use std::sync::Arc;
use std::time::Duration;

use consumers::testing::WebsocketCommunicator;
use consumers::{ChannelLayer, ChannelLayers, Outbound, Shutdown, Transport};

use crate::support::{Probe, Silent, Talk, TestLayer, group, message, open_over, settled};

/// A probe's socket on a layer, and what tests of its end need.
struct Ending {
    probe: Probe,
    layer: Arc<TestLayer>,
    shutdown: Shutdown,
}

impl Ending {
    fn of(probe: Probe) -> Self {
        Self { probe, layer: TestLayer::shared(), shutdown: Shutdown::new() }
    }

    fn client(&self) -> WebsocketCommunicator {
        let layers = ChannelLayers::from(Arc::clone(&self.layer));
        self.probe.client().layers(layers).shutdown(&self.shutdown)
    }

    async fn open(&self) -> WebsocketCommunicator {
        let mut client = self.client();
        client.connect().await.unwrap();
        assert_eq!(self.layer.open_channels().await, 2, "one for the group, one for the relay");
        client
    }

    /// Nothing is left of the socket.
    async fn is_clean(&self, code: u16) {
        settled().await;
        let log = self.probe.log.all();
        let disconnects: Vec<_> = log.iter().filter(|entry| entry.starts_with("disconnect")).collect();
        assert_eq!(disconnects, [&format!("disconnect {code}")], "{log:?}");
        assert_eq!(log.last(), Some(disconnects[0]), "{log:?}");
        assert_eq!(self.layer.open_channels().await, 0, "its channels are gone");
        let lost = self.layer.losses();
        self.layer.group_send(&group("room"), message("is anybody there?")).await.unwrap();
        assert_eq!(self.layer.losses(), lost);
    }
}

const MEMBER: &str = "join room; relay room; accept";

#[tokio::test(start_paused = true)]
async fn the_client_closes() {
    for code in [1000, 1001, 1005] {
        let ending = Ending::of(Probe::new(MEMBER));
        ending.open().await.disconnect(code).await;
        ending.is_clean(code).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_ends_it() {
    for (script, code) in [
        ("close 4001 bye", 4001),
        ("end 4002", 4002),
        ("fail", 1011),
        ("panic", 1011),
        ("deny", 1008),
        ("unencodable", 1011),
        ("close 4001; fail", 1011),
        ("wait; panic", 1011),
    ] {
        let ending = Ending::of(Probe::new(MEMBER));
        let mut client = ending.open().await;
        client.tell(script).await;
        ending.probe.let_go().await;
        assert_eq!(client.receive_close().await.unwrap().code.as_u16(), code, "{script}");
        ending.is_clean(code).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_ends_it() {
    for (script, code) in [("close 4001", 4001), ("fail", 1011), ("panic", 1011)] {
        let ending = Ending::of(Probe::new("join room; accept"));
        let mut client = ending.client();
        client.connect().await.unwrap();
        ending.layer.group_send(&group("room"), message(script)).await.unwrap();
        assert_eq!(client.receive_close().await.unwrap().code.as_u16(), code, "{script}");
        ending.is_clean(code).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_handshake_is_refused() {
    for how in ["deny", "fail", "panic", "close 4000", "away"] {
        let script = format!("join room; relay room; {how}").leak();
        let ending = Ending::of(Probe::new(script));
        ending.client().refusal().await;
        ending.is_clean(1006).await;
    }
}

#[tokio::test(start_paused = true)]
async fn connect_fails_after_it_accepted() {
    for how in ["fail", "panic", "end 1011"] {
        let script = format!("{MEMBER}; {how}").leak();
        let ending = Ending::of(Probe::new(script));
        let mut client = ending.client();
        client.connect().await.unwrap();
        ending.is_clean(1011).await;
    }
}

#[tokio::test(start_paused = true)]
async fn disconnect_itself_fails() {
    for how in
        ["fail", "panic", "away", "send too late; note unreachable", "join late; relay late", "close 4000"]
    {
        let ending = Ending::of(Probe::new(MEMBER).disconnect(how));
        ending.open().await.disconnect(1000).await;
        ending.is_clean(1000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_connection_is_lost() {
    let ending = Ending::of(Probe::new(MEMBER));
    drop(ending.open().await);
    ending.is_clean(1006).await;
}

#[tokio::test(start_paused = true)]
async fn the_connection_is_lost_while_a_handler_runs() {
    let ending = Ending::of(Probe::new(MEMBER));
    let mut client = ending.open().await;
    client.tell("wait; note finished").await;
    settled().await;
    drop(client);
    settled().await;
    assert_eq!(ending.probe.log.of("disconnect").len(), 0, "the handler still runs");
    ending.probe.let_go().await;
    assert!(ending.probe.log.all().contains(&"finished".to_owned()));
    ending.is_clean(1006).await;
}

#[tokio::test(start_paused = true)]
async fn the_client_goes_away_before_the_answer() {
    for script in ["join room; relay room; wait; accept", "join room; relay room"] {
        let ending = Ending::of(Probe::new(script));
        let mut client = ending.client();
        assert!(client.connect().await.is_err(), "no answer for a second");
        drop(client);
        ending.probe.let_go().await;
        ending.is_clean(1006).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_the_handshake_is_no_longer_awaited() {
    for script in ["join room; relay room", "note undecided"] {
        let ending = Ending::of(Probe::new(script));
        let (transport, answer) = Transport::new(Silent, Outbound::new(), Shutdown::new());
        tokio::spawn(open_over(ending.probe.app(), Arc::clone(&ending.layer), transport));
        settled().await;
        assert_eq!(ending.probe.log.of("disconnect").len(), 0);
        drop(answer);
        ending.is_clean(1006).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_peer_has_not_answered_the_close_yet() {
    let ending = Ending::of(Probe::new("join room; relay room; accept; close 4000"));
    let (transport, _answer) = Transport::new(Silent, Outbound::new(), Shutdown::new());
    let socket = tokio::spawn(open_over(ending.probe.app(), Arc::clone(&ending.layer), transport));
    ending.is_clean(4000).await;
    assert!(!socket.is_finished(), "the socket waits for its peer, and nothing else does");
}

#[tokio::test(start_paused = true)]
async fn the_server_shuts_down() {
    let ending = Ending::of(Probe::new(MEMBER));
    let mut client = ending.open().await;
    ending.shutdown.drain(Duration::from_secs(1)).await;
    assert_eq!(client.receive_close().await.unwrap().code.as_u16(), 1012);
    ending.is_clean(1012).await;
}

#[tokio::test(start_paused = true)]
async fn a_relay_goes_on_until_its_last_socket_ends() {
    let ending = Ending::of(Probe::new("relay room; accept"));
    let layers = ChannelLayers::from(Arc::clone(&ending.layer));
    let mut clients = [0, 1].map(|_| ending.probe.client().layers(layers.clone()));
    for client in &mut clients {
        client.connect().await.unwrap();
    }
    assert_eq!(ending.layer.open_channels().await, 1);
    let [first, second] = clients;
    first.disconnect(1000).await;
    assert_eq!(ending.layer.open_channels().await, 1);
    second.disconnect(1000).await;
    settled().await;
    assert_eq!(ending.layer.open_channels().await, 0);
}
