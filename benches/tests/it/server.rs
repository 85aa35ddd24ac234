//! A server that takes WebSockets, as a process of its own.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// A server that is killed with the test.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts what the command says, on a free port of the loopback address.
    pub(crate) fn start(command: impl FnOnce(SocketAddr) -> Command) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.expect("loopback has free ports");
        let child = command(address).spawn().expect("the program is installed");
        Self { child, address }
    }

    /// Starts our fan-out server.
    pub(crate) fn fan_out(layer: &str) -> Self {
        Self::start(|address| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_fan-out"));
            command.args(["--port", &address.port().to_string(), "--layer", layer]);
            command
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Opens a socket as soon as the server listens.
    pub(crate) async fn open(&self) -> Socket {
        self.open_at("/").await
    }

    /// The same at another path.
    pub(crate) async fn open_at(&self, path: &str) -> Socket {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(stream) = TcpStream::connect(self.address).await {
                let opened = client_async(format!("ws://{}{path}", self.address), stream).await;
                return opened.expect("the server takes sockets").0;
            }
            assert!(Instant::now() < deadline, "nobody listens on {}", self.address);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
