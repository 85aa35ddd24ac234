//! axum with tokio's broadcast channel, as axum's example of a chat does it: two halves of a task for each socket.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{OriginalUri, State};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::broadcast::{self, error::RecvError};

/// How many messages a socket may be behind.
const BEHIND: usize = 256;

/// The channel of each path.
type Groups = Arc<Mutex<HashMap<String, broadcast::Sender<Utf8Bytes>>>>;

#[tokio::main]
async fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or(io::ErrorKind::InvalidInput)?;
    let app = Router::new()
        .route("/", get(join))
        .route("/group/{n}", get(join))
        .route("/echo", get(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))
        .with_state(Groups::default());
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    // A stream that refuses the option has ended already.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, app).await
}

async fn join(upgrade: WebSocketUpgrade, OriginalUri(uri): OriginalUri, groups: State<Groups>) -> Response {
    let mut groups = groups.lock().unwrap_or_else(PoisonError::into_inner);
    let group = groups.entry(uri.path().to_owned()).or_insert_with(|| broadcast::channel(BEHIND).0).clone();
    upgrade.on_upgrade(move |socket| relay(socket, group))
}

async fn relay(socket: WebSocket, group: broadcast::Sender<Utf8Bytes>) {
    let (mut sink, mut stream) = socket.split();
    let mut said = group.subscribe();
    let mut sending = tokio::spawn(async move {
        loop {
            let text = match said.recv().await {
                Ok(text) => text,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            if sink.send(Message::Text(text)).await.is_err() {
                return;
            }
        }
    });
    let receiving = async {
        while let Some(Ok(Message::Text(text))) = stream.next().await {
            // Without subscribers there is nobody to tell.
            drop(group.send(text));
        }
    };
    tokio::select! {
        () = receiving => sending.abort(),
        _ = &mut sending => {}
    }
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.next().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}
