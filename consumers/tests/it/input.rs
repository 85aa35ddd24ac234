//! What clients send: text, binary, JSON, nothing, and what is none of these.

use consumers::testing::WebsocketCommunicator;
use consumers::{Bytes, Context, Frame, FromFrame, Json, NoEvents, Result, WebsocketConsumer, application};
use serde::{Deserialize, Serialize};

use crate::support::Talk;

/// Shows what it was given as Rust writes it, or answers what it cannot read.
struct Show<T>(fn(T) -> Frame);

impl<T: FromFrame + 'static> WebsocketConsumer for Show<T> {
    type Incoming = T;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, incoming: T) -> Result {
        let answer = (self.0)(incoming);
        ctx.send(answer).await
    }
}

async fn client<T: FromFrame + 'static>(show: fn(T) -> Frame) -> WebsocketCommunicator {
    let mut client = WebsocketCommunicator::new(application(move |_| Ok(Show(show))), "/");
    client.connect().await.unwrap();
    client
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u32,
    price: String,
}

fn price(Json(order): Json<Order>) -> Frame {
    Frame::text(order.price)
}

fn binary(bytes: &'static [u8]) -> Frame {
    Frame::Binary(Bytes::from_static(bytes))
}

#[tokio::test(start_paused = true)]
async fn json_is_read_and_what_is_none_closes_the_socket() {
    let mut reader = client(price).await;
    reader.send_json(&Order { id: 1, price: "9.99".into() }).await;
    assert_eq!(reader.hear().await, "9.99");
    for (frame, code) in [
        (Frame::text("{"), 1007),
        (Frame::text(r#"{"id":1}"#), 1007),
        (Frame::text(""), 1007),
        (Frame::text(r#"{"id":1,"price":"1"} x"#), 1007),
        (binary(br#"{"id":1,"price":"1"}"#), 1003),
    ] {
        let mut reader = client(price).await;
        reader.send(frame.clone()).await;
        assert_eq!(reader.receive_close().await.unwrap().code.as_u16(), code, "{frame:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_may_answer_bad_input_itself() {
    let mut client = client(|incoming: Result<Json<Order>>| match incoming {
        Ok(order) => price(order),
        Err(error) => Frame::text(format!("{error:?}")),
    })
    .await;
    client.tell("{").await;
    assert!(client.hear().await.contains("1007"));
    client.send(binary(b"{}")).await;
    assert!(client.hear().await.contains("1003"));
    client.send_json(&Order { id: 1, price: "2.50".into() }).await;
    assert_eq!(client.hear().await, "2.50");
}

#[tokio::test(start_paused = true)]
async fn text_and_bytes_take_their_own_kind_only() {
    let mut text = client(|text: String| Frame::text(format!("{text:?}"))).await;
    text.tell("").await;
    assert_eq!(text.hear().await, r#""""#);
    text.send(binary(b"x")).await;
    assert_eq!(text.receive_close().await.unwrap().code.as_u16(), 1003);
    let mut bytes = client(Frame::Binary).await;
    bytes.send(binary(&[0, 255])).await;
    assert_eq!(bytes.receive().await.unwrap(), binary(&[0, 255]));
    bytes.tell("x").await;
    assert_eq!(bytes.receive_close().await.unwrap().code.as_u16(), 1003);
}

#[tokio::test(start_paused = true)]
async fn frames_come_back_as_they_were_of_either_kind_and_any_length() {
    let mut echo = client(|frame: Frame| frame).await;
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 300_000] {
        for frame in [Frame::text("x".repeat(length)), Frame::Binary(vec![7; length].into())] {
            echo.send(frame.clone()).await;
            assert_eq!(echo.receive().await.unwrap(), frame);
        }
    }
}

/// Reads a number of either kind of frame, and shows what an own `FromFrame` may do.
struct Number(i64);

impl FromFrame for Number {
    fn from_frame(frame: Frame) -> Result<Self> {
        Ok(Self(std::str::from_utf8(frame.payload())?.parse()?))
    }
}

#[tokio::test(start_paused = true)]
async fn an_own_reading_that_fails_is_a_defect() {
    let mut client = client(|number: Number| Frame::text((number.0 * 2).to_string())).await;
    client.send(binary(b"21")).await;
    assert_eq!(client.hear().await, "42");
    client.tell("x").await;
    assert_eq!(client.receive_close().await.unwrap().code.as_u16(), 1011);
}
