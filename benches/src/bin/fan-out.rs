//! What load generators drive: at `/` every text frame reaches every connection, at `/echo` frames come back.

use clap::Parser;
use routing::consumers::{Context, Frame, GroupName, InMemoryLayer, NoEvents, Result, WebsocketConsumer};
use routing::{UrlRouter, serve};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename = "said")]
struct Said {
    text: String,
}

struct FanOut(GroupName);

impl WebsocketConsumer for FanOut {
    type Incoming = String;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.relay(&self.0, |said: &Said| Some(Frame::text(&*said.text))).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, text: String) -> Result {
        ctx.group_send(&self.0, &Said { text }).await
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

/// Serves the two until it is stopped.
#[derive(Parser)]
struct Options {
    /// The port on the loopback address.
    #[arg(long)]
    port: u16,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = UrlRouter::new().route("/", |_| Ok(FanOut(GroupName::new("g")?))).route("/echo", |_| Ok(Echo));
    serve(("127.0.0.1", Options::parse().port), app, InMemoryLayer::default()).await
}
