//! The seam between a server and an application: one socket, before, during and after its life.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::oneshot;

use crate::demultiplexer::Stream;
use crate::{Close, Denial, Error, Frame, Outbound, Shutdown};

/// What an application is given to talk over: the socket's two directions and the answer to its handshake.
///
/// A server makes one for each handshake, runs [`Application::open`](crate::Application::open) with it and waits
/// for the answer. Dropping it unanswered refuses the handshake with 500.
pub struct Transport {
    pub(crate) socket: Box<dyn Socket>,
    pub(crate) outbound: Outbound,
    pub(crate) handshake: oneshot::Sender<Handshake>,
    pub(crate) shutdown: Shutdown,
    /// Which stream of a demultiplexer this is, if it is one.
    pub(crate) stream: Option<Arc<Stream>>,
}

impl Transport {
    /// A transport over a socket, and where the answer to the handshake will come from.
    ///
    /// Frames that are sent before the socket is there wait in `outbound`.
    #[must_use]
    pub fn new(
        socket: impl Socket + 'static,
        outbound: Outbound,
        shutdown: Shutdown,
    ) -> (Self, oneshot::Receiver<Handshake>) {
        let (handshake, answer) = oneshot::channel();
        (Self { socket: Box::new(socket), outbound, handshake, shutdown, stream: None }, answer)
    }

    /// Refuses the handshake for a reason: a [`Denial`] as it is, a [`Close`] with 403, a layer that failed with
    /// 503, a defect (which is logged) with 500.
    pub fn refuse(mut self, error: impl Into<Error>) {
        match error.into() {
            // There is no handshake to answer on a stream, so a close can be told as what it is.
            Error::Close(close) if self.stream.is_some() => self.socket.close(&close.sendable()),
            error => {
                // Who asked may be gone; then nobody needs the answer.
                let _ = self.handshake.send(Handshake::Deny(error.into_denial()));
            }
        }
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("outbound", &self.outbound).finish_non_exhaustive()
    }
}

/// The answer to a handshake.
#[derive(Debug)]
pub enum Handshake {
    /// Switch protocols.
    Accept(Acceptance),
    /// Answer with this instead.
    Deny(Denial),
}

/// What an accepting answer says beyond yes.
#[derive(Debug, Default)]
pub struct Acceptance {
    /// The sub-protocol, one of those that the client offered.
    pub subprotocol: Option<HeaderValue>,
    /// Further headers.
    pub headers: HeaderMap<HeaderValue>,
}

impl Acceptance {
    /// Adds a header; one that is not legal in HTTP is an error.
    pub(crate) fn header(&mut self, name: &str, value: &str) -> Result<(), http::Error> {
        self.headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        Ok(())
    }
}

/// The reading side of a socket, as a server implements it. The writing side is the [`Outbound`] queue.
pub trait Socket: Send {
    /// What the client says next; `None` when the connection is over. It does the protocol's own work on the way
    /// (answers pings, watches for a dead peer), so it is polled as long as the socket lives, even beside a running
    /// handler until 16 frames or 64 KiB wait behind that, and says nothing before the handshake is accepted.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inbound>>;

    /// Begins the closing handshake; `poll_next` then goes on until the peer has answered or was given up.
    fn close(&mut self, close: &Close);

    /// The server ends, and a closing handshake that goes on already is to wait no longer than one that begins now.
    fn hurry(&mut self) {}
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// A frame.
    Frame(Frame),
    /// The socket ends: by the client's close frame, by a broken protocol (with the code that the client is told),
    /// or by a lost connection (1006).
    Closed(Close),
}
