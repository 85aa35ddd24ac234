//! Our server for the workloads that `fan-out` does not have: `/` and `/group/{n}` relay to a group, `/echo` sends back,
//! `/change` changes each message for each receiver.
//!
//! `site --port P [--layer URL] [--workers N]`: the layer is `memory://` unless told otherwise; one worker is the
//! runtime of a single thread, more are the runtime of so many.

use routing::consumers::{
    Context, Event, Frame, GroupName, Json, Missed, NoEvents, Result, Scope, WebsocketConsumer, channel_layer,
};
use routing::{UrlRouter, serve};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

/// A text that somebody said to a group.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename = "said")]
struct Said {
    text: String,
}

/// Passes what is said to everybody in a group.
struct Relay {
    group: GroupName,
}

impl Relay {
    fn everybody(_: &Scope) -> Result<Self> {
        Ok(Self { group: GroupName::new("everybody")? })
    }

    fn of_group(scope: &Scope) -> Result<Self> {
        let number: u32 = scope.param("n")?;
        Ok(Self { group: GroupName::new(format!("group-{number}"))? })
    }
}

impl WebsocketConsumer for Relay {
    type Incoming = String;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.relay(&self.group, |said: &Said| Some(Frame::text(&*said.text))).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, text: String) -> Result {
        ctx.group_send(&self.group, &Said { text }).await
    }

    /// A client that is told can be counted apart from one that lost something without a word.
    async fn missed(&mut self, ctx: &mut Context, missed: Missed) -> Result {
        ctx.send(Frame::text(format!("missed {missed}"))).await
    }
}

struct Echo;

impl WebsocketConsumer for Echo {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        ctx.send(frame).await
    }
}

/// What clients of `/change` send and get.
#[derive(Serialize, Deserialize)]
struct Line {
    text: String,
    /// How many this receiver has got with it.
    #[serde(default)]
    nth: u64,
}

/// Tells every member the same line, changed for each.
struct Change {
    group: GroupName,
    told: u64,
}

impl Change {
    fn new(_: &Scope) -> Result<Self> {
        Ok(Self { group: GroupName::new("change")?, told: 0 })
    }
}

impl WebsocketConsumer for Change {
    type Incoming = Json<Line>;
    type Event = Said;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.join(&self.group).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, Json(line): Json<Line>) -> Result {
        ctx.group_send(&self.group, &Said { text: line.text }).await
    }

    async fn event(&mut self, ctx: &mut Context, said: Event<Said>) -> Result {
        self.told += 1;
        ctx.send_json(&Line { text: said.text.clone(), nth: self.told }).await
    }
}

fn main() -> std::io::Result<()> {
    let option = |name: &str| std::env::args().skip_while(|arg| arg != name).nth(1);
    let port = option("--port").and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or(std::io::ErrorKind::InvalidInput)?;
    let workers = option("--workers").map_or(Ok(1), |workers| workers.parse());
    let workers = workers.map_err(std::io::Error::other)?;
    let layer = option("--layer").unwrap_or_else(|| "memory://".to_owned());
    runtime(workers)?.block_on(async {
        let layer = channel_layer::open(&layer).map_err(std::io::Error::other)?;
        let app = UrlRouter::new()
            .route("/", Relay::everybody)
            .route("/echo", |_| Ok(Echo))
            .route("/group/{n:int}", Relay::of_group)
            .route("/change", Change::new);
        serve(("127.0.0.1", port), app, layer).await
    })
}

fn runtime(workers: usize) -> std::io::Result<Runtime> {
    let mut builder = if workers == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if workers > 1 {
        builder.worker_threads(workers);
    }
    builder.enable_all().build()
}
