//! A native client that follows the table, on a thread of its own, so that it does not wait for the server's work.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::Failure;

/// How long the snapshot, or the next change, may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    changes: mpsc::Receiver<Result<Instant, Failure>>,
}

impl Client {
    /// Connects, and returns when the snapshot has come.
    pub(crate) fn follow(address: SocketAddr) -> Result<Self, Failure> {
        let (sender, changes) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = Self { changes };
        std::thread::spawn(move || runtime.block_on(run(address, &sender)));
        client.next()?;
        Ok(client)
    }

    /// When each of so many changes came.
    pub(crate) async fn end(self, count: usize) -> Result<Vec<Instant>, Failure> {
        tokio::task::spawn_blocking(move || (0..count).map(|_| self.next()).collect()).await?
    }

    fn next(&self) -> Result<Instant, Failure> {
        self.changes.recv_timeout(PATIENCE).map_err(|_| "a change did not come")?
    }
}

/// Tells when something came, until nobody wants to know.
async fn run(address: SocketAddr, told: &mpsc::Sender<Result<Instant, Failure>>) {
    let mut socket = match connect(address).await {
        Ok(socket) => socket,
        Err(failure) => return drop(told.send(Err(failure))),
    };
    let mut version = None;
    while let Some(Ok(message)) = socket.next().await {
        let at = Instant::now();
        let Message::Text(text) = message else { continue };
        let outcome = check(&text, &mut version).map(|()| at);
        if told.send(outcome).is_err() {
            return;
        }
    }
}

async fn connect(address: SocketAddr) -> Result<WebSocketStream<TcpStream>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = client_async(format!("ws://{address}/"), stream).await?;
    socket.send(Message::text(r#"{"action":"subscribe"}"#)).await?;
    Ok(socket)
}

/// Each frame has to be the next version of the row.
fn check(text: &str, version: &mut Option<i64>) -> Result<(), Failure> {
    let frame: Value = serde_json::from_str(text)?;
    let row = if frame["action"] == "snapshot" { &frame["rows"][0] } else { &frame };
    let next = row["data"]["version"].as_i64().ok_or_else(|| format!("no change: {text}"))?;
    if version.is_some_and(|version| next != version + 1) {
        return Err(format!("after version {version:?} came {next}").into());
    }
    *version = Some(next);
    Ok(())
}
