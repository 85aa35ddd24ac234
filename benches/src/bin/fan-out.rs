//! What load generators drive: `/` sends texts to all, `/echo` frames back. `--port P`, and `--layer URL` if not memory.
use routing::consumers::{Context, Frame, GroupName, NoEvents, Result, WebsocketConsumer, channel_layer};
use routing::{UrlRouter, serve};

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(tag = "type", rename = "said")]
struct Said {
    text: String,
}
struct FanOut(GroupName);
struct Echo;
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

impl WebsocketConsumer for Echo {
    type Incoming = Frame;
    type Event = NoEvents;
    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        ctx.send(frame).await
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let option = |name| std::env::args().skip_while(|arg| arg != name).nth(1);
    let port: u16 = option("--port").ok_or("--port P is missing")?.parse()?;
    let layer = channel_layer::open(&option("--layer").unwrap_or_else(|| "memory://".to_owned()))?;
    let app = UrlRouter::new().route("/", |_| Ok(FanOut(GroupName::new("g")?))).route("/echo", |_| Ok(Echo));
    Ok(serve(("127.0.0.1", port), app, layer).await?)
}
