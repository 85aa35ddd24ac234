//! What many tests share: a consumer that does as it is told and writes down what it hears, a layer that fails on
//! demand, and shorthands.

mod layer;
mod probe;

use std::task::{Context, Poll};
use std::time::Duration;

use consumers::testing::{Unexpected, WebsocketCommunicator};
use consumers::{
    Application, ChannelLayers, Close, Denial, Frame, GroupName, Inbound, Message, Scope, Socket, Transport,
};
use serde::{Deserialize, Serialize};

pub(crate) use layer::{Call, TestLayer};
pub(crate) use probe::{Probe, kilobyte};

/// The event that tests send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Told {
    #[serde(rename = "chat.message")]
    Message { text: String },
}

impl Told {
    pub(crate) fn text(&self) -> &str {
        let Self::Message { text } = self;
        text
    }
}

/// How tests relay: the bare text, unless it is hidden.
pub(crate) fn bare(told: &Told) -> Option<Frame> {
    (told.text() != "hidden").then(|| Frame::text(told.text().to_owned()))
}

pub(crate) fn told(text: impl Into<String>) -> Told {
    Told::Message { text: text.into() }
}

pub(crate) fn message(text: impl Into<String>) -> Message {
    Message::new(&told(text)).unwrap()
}

pub(crate) fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

/// Lets everything run that can: on a paused clock time passes only when nothing else is left to do.
pub(crate) async fn settled() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A peer that says nothing and answers no close.
pub(crate) struct Silent;

impl Socket for Silent {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Inbound>> {
        Poll::Pending
    }

    fn close(&mut self, _: &Close) {}
}

/// The life of a socket of the test's own making.
pub(crate) async fn open_over(app: impl Application, layers: impl Into<ChannelLayers>, transport: Transport) {
    let mut request = http::Request::get("/").body(()).unwrap().into_parts().0;
    app.open(Scope::from_request(&mut request, layers.into()), transport).await;
}

/// The short way to talk to a [`Probe`].
pub(crate) trait Talk {
    async fn tell(&mut self, script: &str);
    /// The next frame, which must be text.
    async fn hear(&mut self) -> String;
    /// Everything up to the close.
    async fn hear_all(&mut self) -> (Vec<String>, Close);
    /// The refusal of the handshake, which must be one.
    async fn refusal(&mut self) -> Denial;
}

impl Talk for WebsocketCommunicator {
    async fn tell(&mut self, script: &str) {
        self.send(Frame::text(script.to_owned())).await;
    }

    async fn hear(&mut self) -> String {
        text_of(self.receive().await.unwrap())
    }

    async fn hear_all(&mut self) -> (Vec<String>, Close) {
        let mut heard = Vec::new();
        loop {
            match self.receive().await {
                Ok(frame) => heard.push(text_of(frame)),
                Err(Unexpected::Closed(close)) => return (heard, close),
                Err(other) => panic!("{other} after {heard:?}"),
            }
        }
    }

    async fn refusal(&mut self) -> Denial {
        match self.connect().await {
            Err(Unexpected::Denied(denial)) => *denial,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
}

fn text_of(frame: Frame) -> String {
    let Frame::Text(text) = frame else { panic!("expected text, got {frame:?}") };
    text.as_str().to_owned()
}
