//! A site on a free port of the loopback address.

use std::net::SocketAddr;

use routing::consumers::InMemoryLayer;
use routing::{ProtocolTypeRouter, Server, ServerConfig};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Client, Ended, patiently};

pub(crate) struct Site {
    pub(crate) addr: SocketAddr,
    ended: mpsc::Receiver<u16>,
    end: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Site {
    /// Serves what is built around the place where consumers tell their end.
    pub(crate) async fn start<A: Into<ProtocolTypeRouter>>(build: impl FnOnce(Ended) -> A) -> Self {
        Self::start_with(ServerConfig::default(), build).await
    }

    pub(crate) async fn start_with<A>(config: ServerConfig, build: impl FnOnce(Ended) -> A) -> Self
    where
        A: Into<ProtocolTypeRouter>,
    {
        let (sender, ended) = mpsc::channel(1024);
        let app = build(sender).into().with_channel_layer(InMemoryLayer::default());
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let server = server.with_config(config).with_shutdown(app.shutdown());
        let addr = server.local_addr().unwrap();
        let (end, asked) = oneshot::channel();
        let running = tokio::spawn(server.run(app, async {
            // A site that is dropped is not ended in order.
            if asked.await.is_err() {
                std::future::pending().await
            }
        }));
        Self { addr, ended, end: Some(end), running }
    }

    pub(crate) async fn open(&self, path: &str) -> Client {
        Client::open(self.addr, path).await
    }

    /// The code with which the next consumer ends.
    pub(crate) async fn ended(&mut self) -> u16 {
        patiently(self.ended.recv()).await.expect("the site lives")
    }

    /// The code with which a consumer has ended already, if one has.
    pub(crate) fn has_ended(&mut self) -> Option<u16> {
        self.ended.try_recv().ok()
    }

    /// Asks the server to end.
    pub(crate) fn end(&mut self) {
        self.end.take().expect("a site ends once").send(()).unwrap();
    }

    /// Waits until the server has ended.
    pub(crate) async fn ran(&mut self) {
        patiently(&mut self.running).await.unwrap();
    }
}
