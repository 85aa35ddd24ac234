//! A client that others have written gets along with the server.

use futures_util::{SinkExt, StreamExt};
use routing::UrlRouter;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{Echo, Site, connect, patiently};

async fn site() -> Site {
    Site::start(|ended| UrlRouter::new().route("/echo", move |_| Ok(Echo(ended.clone())))).await
}

async fn open(site: &Site, path: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let request = format!("ws://site.test{path}").into_client_request()?;
    Ok(client_async(request, connect(site.addr).await).await?.0)
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Option<Message> {
    patiently(socket.next()).await.transpose().unwrap()
}

#[tokio::test]
async fn messages_come_back() {
    let mut socket = open(&site().await, "/echo").await.unwrap();
    for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        for message in [Message::text("é".repeat(size / 2)), Message::binary(vec![7; size])] {
            socket.send(message.clone()).await.unwrap();
            assert!(next(&mut socket).await == Some(message), "{size}");
        }
    }
}

#[tokio::test]
async fn many_messages_under_way_come_back_in_order() {
    let (mut sink, mut stream) = open(&site().await, "/echo").await.unwrap().split();
    let sending = tokio::spawn(async move {
        for number in 0..2000 {
            sink.send(Message::text(number.to_string())).await.unwrap();
        }
    });
    for number in 0..2000 {
        assert_eq!(patiently(stream.next()).await.unwrap().unwrap(), Message::text(number.to_string()));
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn pings_are_answered() {
    let mut socket = open(&site().await, "/echo").await.unwrap();
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Pong("are you there".into())));
}

#[tokio::test]
async fn a_close_is_agreed_on() {
    let mut site = site().await;
    let mut socket = open(&site, "/echo").await.unwrap();
    let close = CloseFrame { code: 4321.into(), reason: "enough".into() };
    socket.close(Some(close.clone())).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Close(Some(close))));
    assert_eq!(next(&mut socket).await, None);
    assert_eq!(site.ended().await, 4321);
}

#[tokio::test]
async fn the_end_of_the_server_is_understood() {
    let mut site = site().await;
    let mut socket = open(&site, "/echo").await.unwrap();
    site.end();
    let Some(Message::Close(Some(close))) = next(&mut socket).await else { panic!("a close comes") };
    assert_eq!(u16::from(close.code), 1012);
    assert_eq!(next(&mut socket).await, None);
    drop(socket);
    site.ran().await;
}

#[tokio::test]
async fn a_refusal_is_understood() {
    let Err(Error::Http(answer)) = open(&site().await, "/nothing").await else { panic!("it is refused") };
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.body().as_deref(), Some(&b"not found"[..]));
}
