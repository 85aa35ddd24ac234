//! Consumers that many tests talk to, and the noise of a busy group.

use std::net::SocketAddr;

use routing::consumers::{CloseCode, Context, Frame, GroupName, NoEvents, Result, WebsocketConsumer};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Client, Got, TEXT};

/// Where a consumer tells the code that its `disconnect` got.
pub(crate) type Ended = mpsc::Sender<u16>;

/// Sends every frame back, and relays the noisy group all the while.
pub(crate) struct Echo(pub(crate) Ended);

impl WebsocketConsumer for Echo {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        hear_noise(ctx).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        ctx.send(frame).await
    }

    async fn disconnect(&mut self, _: &mut Context, code: CloseCode) -> Result {
        Ok(self.0.try_send(code.as_u16())?)
    }
}

/// Sends the numbers that it is told to the noisy group.
pub(crate) struct Publisher;

impl WebsocketConsumer for Publisher {
    type Incoming = String;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        hear_noise(ctx).await?;
        ctx.accept().await
    }

    async fn receive(&mut self, ctx: &mut Context, number: String) -> Result {
        ctx.group_send(&noisy_group(), &Noise { number: number.parse()? }).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename = "noise")]
struct Noise {
    number: u32,
}

/// Passes the noise on to the client.
pub(crate) async fn hear_noise(ctx: &mut Context) -> Result {
    ctx.relay(&noisy_group(), render).await
}

fn noisy_group() -> GroupName {
    GroupName::new("noise").unwrap()
}

fn render(noise: &Noise) -> Option<Frame> {
    Some(Frame::text(noise_text(noise.number)))
}

/// Noise of many sizes, of which every byte is known.
fn noise_text(number: u32) -> String {
    format!("noise {number} {}", "~".repeat(number as usize * 37 % 700))
}

/// The number of a noise, which must be whole; `None` for other frames.
pub(crate) fn noise_number(got: &Got) -> Option<u32> {
    let text = (got.opcode == TEXT).then(|| got.text())?;
    let number = text.strip_prefix("noise ")?.split(' ').next()?.parse().unwrap();
    assert_eq!(text, noise_text(number), "noise comes whole");
    Some(number)
}

/// Publishes to the noisy group for ever, each event when the one before has arrived.
pub(crate) async fn make_noise(addr: SocketAddr) {
    let mut client = Client::open(addr, "/publish").await;
    for number in 0_u32.. {
        client.say(&number.to_string()).await;
        let got = client.next_of_all().await.expect("the publisher stays");
        assert_eq!(noise_number(&got), Some(number));
    }
}
