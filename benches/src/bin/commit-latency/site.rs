//! The site that is measured: one table, its binding, and a server.

use std::net::SocketAddr;
use std::sync::Arc;

use routing::consumers::binding::{Action, Binding};
use routing::consumers::capture::{Capture, CaptureStats, Capturing};
use routing::consumers::channel_layer::{self, ChannelLayer};
use routing::consumers::db::{Db, query, script};
use routing::consumers::{GroupName, Result, Scope};
use routing::{ProtocolTypeRouter, Server, UrlRouter};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Failure;

/// A row; there is one.
#[derive(Serialize, Deserialize)]
struct Thing {
    id: i64,
    version: i64,
    text: String,
}

struct Things;

fn everybody() -> GroupName {
    GroupName::new("bench.things").expect("the name is within the grammar")
}

impl Binding for Things {
    type Row = Thing;
    const MODEL: &'static str = "bench.thing";
    const TABLE: &'static str = "bench_thing";
    const FIELDS: &'static [&'static str] = &[];

    fn groups(&self, _: &Thing) -> Vec<GroupName> {
        vec![everybody()]
    }

    fn subscriptions(&self, _: &Scope) -> Result<Vec<GroupName>> {
        Ok(vec![everybody()])
    }

    async fn permits(&self, _: &Scope, _: Action, _: Option<&Thing>) -> Result<bool> {
        Ok(false)
    }
}

/// Makes the table with its row, as nobody has captured it yet.
pub(crate) async fn make_table(db: &Db) -> Result<(), Failure> {
    drop_table(db).await?;
    script(db, "CREATE TABLE bench_thing (id BIGINT NOT NULL PRIMARY KEY, version BIGINT NOT NULL, text VARCHAR(80) NOT NULL)")
        .await?;
    let insert = query("INSERT INTO bench_thing (id, version, text) VALUES (1, 0, $1)");
    insert.bind("x".repeat(64).as_str()).execute(db).await?;
    Ok(())
}

pub(crate) async fn drop_table(db: &Db) -> Result<(), Failure> {
    Ok(script(db, "DROP TABLE IF EXISTS bench_thing").await?)
}

/// A server that runs, and the capture behind it.
pub(crate) struct Site {
    address: SocketAddr,
    layer: Arc<dyn ChannelLayer>,
    capturing: Capturing,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Site {
    pub(crate) async fn open(db: &Db, layer: &str) -> Result<Self, Failure> {
        let layer = channel_layer::open(layer)?;
        let mut capture = Capture::new(db.clone(), Arc::clone(&layer));
        let things = capture.bind(Things);
        let capturing = capture.start().await?;
        let sockets = UrlRouter::new().route("/", move |_| Ok(things.consumer()));
        let router = ProtocolTypeRouter::new().websocket(sockets).with_channel_layer(Arc::clone(&layer));
        let server = Server::bind(("127.0.0.1", 0)).await?;
        let address = server.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let server = server.with_shutdown(router.shutdown());
        let server = tokio::spawn(server.run(router, async { drop(stopped.await) }));
        Ok(Self { address, layer, capturing, stop, server })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it; what the capture has done.
    pub(crate) async fn close(self) -> CaptureStats {
        drop(self.stop);
        // A server that panicked has ended as well, and said so.
        drop(self.server.await);
        self.capturing.stop().await;
        drop(self.layer.close().await);
        self.capturing.stats()
    }
}
