//! socketioxide under axum: everybody hears what somebody has said.

use std::io;

use axum::Router;
use axum::serve::ListenerExt;
use socketioxide::SocketIo;
use socketioxide::extract::{Data, SocketRef};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or(io::ErrorKind::InvalidInput)?;
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on("said", async |io: SocketIo, Data::<String>(text)| {
            // Those who are too slow miss it, which is the library's way.
            drop(io.emit("said", &text).await);
        });
        socket.on("echo", async |socket: SocketRef, Data::<String>(text)| drop(socket.emit("echo", &text)));
    });
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    // A stream that refuses the option has ended already.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, Router::new().layer(layer)).await
}
