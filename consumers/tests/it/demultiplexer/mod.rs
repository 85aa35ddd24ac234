//! What a demultiplexer promises. Its streams are probes that take their scripts from `{"do": "…"}`.

mod endings;
mod groups;
mod life;
mod requests;
mod shutdown;
mod slow;

use channel_layer::{LayerError, Missed};
use consumers::testing::WebsocketCommunicator;
use consumers::{CloseCode, Context, Demultiplexer, Event, Frame, Json, Result, Scope, WebsocketConsumer};
use serde::Deserialize;

use crate::support::{Probe, Talk, Told};

/// A probe as a stream of a demultiplexer.
struct OnStream(Probe);

#[derive(Deserialize)]
struct Do {
    r#do: String,
}

impl WebsocketConsumer for OnStream {
    type Incoming = Json<Do>;
    type Event = Told;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        WebsocketConsumer::connect(&mut self.0, ctx).await
    }

    async fn receive(&mut self, ctx: &mut Context, Json(script): Json<Do>) -> Result {
        WebsocketConsumer::receive(&mut self.0, ctx, script.r#do).await
    }

    async fn event(&mut self, ctx: &mut Context, event: Event<Told>) -> Result {
        WebsocketConsumer::event(&mut self.0, ctx, event).await
    }

    async fn missed(&mut self, ctx: &mut Context, missed: Missed) -> Result {
        WebsocketConsumer::missed(&mut self.0, ctx, missed).await
    }

    async fn layer_failed(&mut self, ctx: &mut Context, error: &LayerError) -> Result {
        WebsocketConsumer::layer_failed(&mut self.0, ctx, error).await
    }

    async fn disconnect(&mut self, ctx: &mut Context, code: CloseCode) -> Result {
        WebsocketConsumer::disconnect(&mut self.0, ctx, code).await
    }
}

/// How a demultiplexer gets a probe for a stream.
fn probe(probe: &Probe) -> impl Fn(&Scope) -> Result<OnStream> + use<> {
    let probe = probe.clone();
    move |_| Ok(OnStream(probe.clone()))
}

/// Two probes that accept, on the streams `a` and `b`.
fn two() -> (Probe, Probe, Demultiplexer) {
    let (a, b) = (Probe::new("accept"), Probe::new("accept"));
    let app = Demultiplexer::new().stream("a", probe(&a)).stream("b", probe(&b));
    (a, b, app)
}

async fn open(app: Demultiplexer) -> WebsocketCommunicator {
    let mut client = WebsocketCommunicator::new(app, "/ws/");
    client.connect().await.unwrap();
    client
}

/// Has a stream's probe do something.
async fn ask(client: &mut WebsocketCommunicator, stream: &str, script: &str) {
    let script = serde_json::Value::from(script);
    client.tell(&format!(r#"{{"stream":"{stream}","payload":{{"do":{script}}}}}"#)).await;
}

/// The same, with a request id.
async fn request(client: &mut WebsocketCommunicator, stream: &str, script: &str, id: &str) {
    let script = serde_json::Value::from(script);
    client.tell(&format!(r#"{{"stream":"{stream}","payload":{{"do":{script}}},"request_id":{id}}}"#)).await;
}

/// The frame that a payload comes in.
fn on(stream: &str, payload: &str) -> String {
    format!(r#"{{"stream":"{stream}","payload":{payload}}}"#)
}

/// Whether both streams still work.
async fn both_live(client: &mut WebsocketCommunicator) {
    for stream in ["a", "b"] {
        ask(client, stream, "send 1").await;
        assert_eq!(client.hear().await, on(stream, "1"));
    }
}

/// A frame that is no text.
fn binary(bytes: &'static [u8]) -> Frame {
    Frame::Binary(consumers::Bytes::from_static(bytes))
}
