//! What the parts below us cost by themselves: `bare --port P --what echo` is tokio-tungstenite that echoes, and
//! `--what upgrade` is hyper that agrees to every handshake and then only keeps the socket.

use std::convert::Infallible;
use std::io;

use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// What our own server gives a socket to read into; more would flatter us.
const READ_BUFFER: usize = 4096;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let option = |name| std::env::args().skip_while(|arg| arg != name).nth(1);
    let port =
        option("--port").and_then(|port| port.parse::<u16>().ok()).ok_or(io::ErrorKind::InvalidInput)?;
    let is_echo = match option("--what").as_deref() {
        Some("echo") => true,
        Some("upgrade") => false,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "--what is echo or upgrade")),
    };
    rlimit::increase_nofile_limit(u64::MAX)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        if is_echo {
            tokio::spawn(echo(stream));
        } else {
            tokio::spawn(upgrade(stream));
        }
    }
}

/// A client that fails is no concern of ours.
async fn echo(stream: TcpStream) {
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let Ok(mut socket) = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await else {
        return;
    };
    while let Some(Ok(message)) = socket.next().await {
        let is_data = message.is_text() || message.is_binary();
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn upgrade(stream: TcpStream) {
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(agree));
    drop(connection.with_upgrades().await);
}

async fn agree(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY).map_or(Vec::new(), |key| key.as_bytes().to_vec());
    tokio::spawn(keep(hyper::upgrade::on(&mut request)));
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, derive_accept_key(&key));
    Ok(response.body(Empty::new()).unwrap_or_default())
}

/// Waits for the end of the socket, with the stream alone.
async fn keep(upgrade: hyper::upgrade::OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    if let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() {
        let mut stream = parts.io.into_inner();
        let mut byte = [0];
        while stream.read(&mut byte).await.is_ok_and(|count| count > 0) {}
    }
}
