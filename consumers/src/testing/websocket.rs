//! A WebSocket client for tests, as Channels' `WebsocketCommunicator` is.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, Request, request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tungstenite::protocol::frame::FrameHeader;

use crate::frame::encode;
use crate::transport::{Handshake, Inbound, Socket};
use crate::{
    Application, ChannelLayers, Close, CloseCode, Denial, Frame, Outbound, Scope, Shutdown, Transport,
};

/// How long a communicator waits for what should come.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it listens to believe that nothing comes.
const SILENCE: Duration = Duration::from_millis(100);

/// Bytes that the client's side of the wire takes before the server's writes have to wait.
const PIPE: usize = 64 * 1024;

/// What a communicator was told instead of what it waited for.
#[derive(Debug, thiserror::Error)]
pub enum Unexpected {
    /// Nothing came within a second.
    #[error("nothing came within {PATIENCE:?}")]
    Silence,
    /// The application closed the socket.
    #[error("the socket was closed with {:?} {:?}", .0.code, .0.reason.as_str())]
    Closed(Close),
    /// The application refused the handshake.
    #[error("the handshake was refused with {}", .0.status)]
    Denied(Box<Denial>),
    /// The connection ended without a close frame.
    #[error("the connection was lost")]
    Lost,
    /// A frame came, but not one that can be read as what was asked for.
    #[error("expected {expected}, got {frame:?}")]
    Frame {
        /// What was asked for.
        expected: &'static str,
        /// What came.
        frame: Frame,
    },
}

/// A client of an application: it speaks frames, and waits without sleeping.
///
/// ```
/// use consumers::testing::WebsocketCommunicator;
/// use consumers::{Context, Frame, NoEvents, Result, WebsocketConsumer, application};
///
/// struct Echo;
///
/// impl WebsocketConsumer for Echo {
///     type Incoming = Frame;
///     type Event = NoEvents;
///
///     async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
///         ctx.send(frame).await
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), consumers::testing::Unexpected> {
/// let mut client = WebsocketCommunicator::new(application(|_| Ok(Echo)), "/echo/");
/// client.connect().await?;
/// client.send(Frame::text("hi")).await;
/// assert_eq!(client.receive().await?, Frame::text("hi"));
/// client.disconnect(1000).await;
/// # Ok(())
/// # }
/// ```
pub struct WebsocketCommunicator {
    app: Arc<dyn Application>,
    request: request::Parts,
    layers: ChannelLayers,
    shutdown: Shutdown,
    headers: HeaderMap,
    wire: Option<Wire>,
}

/// The client's ends of an open socket.
struct Wire {
    inbound: mpsc::Sender<Inbound>,
    reader: DuplexStream,
    unread: BytesMut,
    ended: oneshot::Receiver<()>,
}

impl WebsocketCommunicator {
    /// A client that will ask for a path, which may have a query string.
    ///
    /// # Panics
    /// When the path is no URI.
    pub fn new(app: impl Application, path: &str) -> Self {
        let request = Request::get(path).body(()).expect("a test's path is a URI");
        Self {
            app: Arc::new(app),
            request: request.into_parts().0,
            layers: ChannelLayers::default(),
            shutdown: Shutdown::new(),
            headers: HeaderMap::new(),
            wire: None,
        }
    }

    /// Gives the application its channel layers; clients that should share relays share a [`ChannelLayers`].
    #[must_use]
    pub fn layers(mut self, layers: impl Into<ChannelLayers>) -> Self {
        self.layers = layers.into();
        self
    }

    /// Adds a header to the request.
    ///
    /// # Panics
    /// When it is not legal in HTTP.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = value.parse().expect("a test's header value is legal");
        self.request.headers.append(name, value);
        self
    }

    /// Offers a sub-protocol.
    #[must_use]
    pub fn subprotocol(self, name: &str) -> Self {
        self.header("sec-websocket-protocol", name)
    }

    /// Puts into the scope what a server or middleware would, such as the user.
    #[must_use]
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, extension: T) -> Self {
        self.request.extensions.insert(extension);
        self
    }

    /// Ties the socket to a shutdown.
    #[must_use]
    pub fn shutdown(mut self, shutdown: &Shutdown) -> Self {
        self.shutdown = shutdown.clone();
        self
    }

    /// Asks for the socket; returns the sub-protocol that was chosen.
    ///
    /// # Errors
    /// [`Unexpected::Denied`] when the handshake is refused.
    pub async fn connect(&mut self) -> Result<Option<String>, Unexpected> {
        let (inbound, frames) = mpsc::channel(64);
        let (reader, writer) = tokio::io::duplex(PIPE);
        let outbound = Outbound::new();
        outbound.attach(writer);
        let socket = ClientSocket { frames, outbound: outbound.clone(), is_closing: false, is_over: false };
        let (transport, answer) = Transport::new(socket, outbound, self.shutdown.clone());
        let scope = Scope::from_request(&mut self.request.clone(), self.layers.clone());
        let app = Arc::clone(&self.app);
        let (done, ended) = oneshot::channel();
        self.shutdown.spawn(async move {
            app.open(scope, transport).await;
            // Nobody may be waiting for the end.
            let _ = done.send(());
        });
        match patiently(answer).await? {
            Ok(Handshake::Accept(acceptance)) => {
                self.wire = Some(Wire { inbound, reader, unread: BytesMut::new(), ended });
                self.headers = acceptance.headers;
                Ok(acceptance.subprotocol.and_then(|name| name.to_str().map(str::to_owned).ok()))
            }
            Ok(Handshake::Deny(denial)) => Err(Unexpected::Denied(Box::new(denial))),
            Err(_) => Err(Unexpected::Lost),
        }
    }

    /// The headers that the accepting answer had beyond those of the protocol.
    #[must_use]
    pub fn response_headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// Before `connect`.
    pub async fn send(&mut self, frame: Frame) {
        // An application that has ended reads nothing more, as on a real socket.
        let _ = self.wire().inbound.send(Inbound::Frame(frame)).await;
    }

    /// Sends a value as JSON text.
    ///
    /// # Panics
    /// When the value has no JSON form.
    pub async fn send_json<T: Serialize + ?Sized>(&mut self, value: &T) {
        self.send(Frame::json(value).expect("a test's value has a JSON form")).await;
    }

    /// The next frame.
    ///
    /// # Errors
    /// What came instead: silence, a close, a lost connection.
    pub async fn receive(&mut self) -> Result<Frame, Unexpected> {
        match patiently(self.wire().next()).await? {
            Some(Inbound::Frame(frame)) => Ok(frame),
            Some(Inbound::Closed(close)) => Err(Unexpected::Closed(close)),
            None => Err(Unexpected::Lost),
        }
    }

    /// The next frame as a value of `T`.
    ///
    /// # Errors
    /// As [`receive`](Self::receive), and when the frame is no text that holds such a value.
    pub async fn receive_json<T: DeserializeOwned>(&mut self) -> Result<T, Unexpected> {
        let frame = self.receive().await?;
        let expected = std::any::type_name::<T>();
        let Frame::Text(text) = &frame else { return Err(Unexpected::Frame { expected, frame }) };
        serde_json::from_str(text.as_str()).map_err(|_| Unexpected::Frame { expected, frame })
    }

    /// The close frame, which must come next.
    ///
    /// # Errors
    /// What came instead.
    pub async fn receive_close(&mut self) -> Result<Close, Unexpected> {
        match self.receive().await {
            Err(Unexpected::Closed(close)) => Ok(close),
            Ok(frame) => Err(Unexpected::Frame { expected: "a close frame", frame }),
            Err(other) => Err(other),
        }
    }

    /// Whether nothing comes for a tenth of a second.
    pub async fn receive_nothing(&mut self) -> bool {
        let mut byte = [0];
        let wire = self.wire();
        let silent = tokio::time::timeout(SILENCE, wire.reader.read(&mut byte)).await;
        if let Ok(Ok(1)) = silent {
            wire.unread.extend_from_slice(&byte);
        }
        silent.is_err() && wire.unread.is_empty()
    }

    /// Closes the socket from the client's side and waits until the application has ended.
    pub async fn disconnect(mut self, code: impl Into<CloseCode>) {
        let close = Close::from(code.into());
        if let Some(wire) = self.wire.take() {
            let _ = wire.inbound.send(Inbound::Closed(close)).await;
            // An application that hangs is found by the assertions that follow.
            let _ = patiently(wire.ended).await;
        }
    }

    /// Waits until the application has ended by itself.
    ///
    /// # Errors
    /// [`Unexpected::Silence`] when it has not within a second.
    pub async fn ended(mut self) -> Result<(), Unexpected> {
        match self.wire.take() {
            Some(wire) => patiently(wire.ended).await.map(|_| ()),
            None => Ok(()),
        }
    }

    fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().expect("connect before talking")
    }
}

impl std::fmt::Debug for WebsocketCommunicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebsocketCommunicator")
            .field("path", &self.request.uri.path())
            .finish_non_exhaustive()
    }
}

impl Wire {
    /// The next frame off the wire; `None` when the application has hung up.
    async fn next(&mut self) -> Option<Inbound> {
        loop {
            if let Some(inbound) = self.parse() {
                return Some(inbound);
            }
            match self.reader.read_buf(&mut self.unread).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Takes a whole frame off what was read. What the applications under test write is in one piece and unmasked.
    fn parse(&mut self) -> Option<Inbound> {
        let mut cursor = std::io::Cursor::new(&self.unread[..]);
        let (header, length) = FrameHeader::parse(&mut cursor).ok().flatten()?;
        let start = usize::try_from(cursor.position()).ok()?;
        let end = start + usize::try_from(length).ok()?;
        if self.unread.len() < end {
            return None;
        }
        let mut payload = self.unread.split_to(end).freeze();
        payload.advance(start);
        Some(match u8::from(header.opcode) {
            0x1 => Inbound::Frame(Frame::Text(payload.try_into().expect("text frames are UTF-8"))),
            0x8 => Inbound::Closed(close_of(&payload)),
            _ => Inbound::Frame(Frame::Binary(payload)),
        })
    }
}

fn close_of(payload: &[u8]) -> Close {
    match payload {
        [high, low, reason @ ..] => {
            Close::new(u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason))
        }
        _ => CloseCode::NO_STATUS.into(),
    }
}

async fn patiently<T>(future: impl Future<Output = T>) -> Result<T, Unexpected> {
    tokio::time::timeout(PATIENCE, future).await.map_err(|_| Unexpected::Silence)
}

/// The server's side of a communicator's socket.
struct ClientSocket {
    frames: mpsc::Receiver<Inbound>,
    outbound: Outbound,
    is_closing: bool,
    is_over: bool,
}

impl Socket for ClientSocket {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if self.is_closing && self.outbound.poll_flush(cx).is_ready() {
            // The peer answers as soon as the close frame has left.
            self.is_over = true;
            return Poll::Ready(None);
        }
        let polled = self.frames.poll_recv(cx);
        self.is_over = matches!(polled, Poll::Ready(None | Some(Inbound::Closed(_))));
        polled
    }

    fn close(&mut self, close: &Close) {
        let mut payload = BytesMut::from(&close.code.as_u16().to_be_bytes()[..]);
        payload.extend_from_slice(close.reason.as_bytes());
        let mut wire = BytesMut::new();
        encode(0x8, &payload, &mut wire);
        self.outbound.push_protocol(&wire);
        self.is_closing = true;
    }
}
