//! A chat: what is said in a room reaches everyone who is in it, at `ws://127.0.0.1:8000/ws/chat/lobby/`.

use routing::consumers::{Context, Frame, GroupName, InMemoryLayer, Json, Result, Scope, WebsocketConsumer};
use routing::{UrlRouter, serve};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Ask {
    Say { text: String },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Told {
    #[serde(rename = "chat.message")]
    Message { text: String },
}

struct Chat {
    room: GroupName,
}

impl Chat {
    fn new(scope: &Scope) -> Result<Self> {
        let room: String = scope.param("room")?;
        Ok(Self { room: GroupName::new(format!("chat.{room}"))? })
    }
}

impl WebsocketConsumer for Chat {
    type Incoming = Json<Ask>;
    type Event = Told;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.relay(&self.room, |told: &Told| Frame::json(told).ok()).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, Json(Ask::Say { text }): Json<Ask>) -> Result {
        ctx.group_send(&self.room, &Told::Message { text }).await
    }
}

pub(crate) fn app() -> UrlRouter {
    UrlRouter::new().route("/ws/chat/{room:slug}/", Chat::new)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    serve("127.0.0.1:8000", app(), InMemoryLayer::default()).await
}
