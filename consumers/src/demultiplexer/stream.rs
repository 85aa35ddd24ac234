//! One stream of one socket: its socket that is none, its outbound queue that leads into the real one, its life.

use std::io::{self, IoSlice};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, oneshot, watch};

use super::envelope::Envelope;
use super::incoming::{Addressed, Trouble};
use crate::outbound::NotQueued;
use crate::transport::{Handshake, Inbound, Socket};
use crate::{
    Application, Close, CloseCode, Error, Event, Frame, Outbound, Result, Scope, Shutdown, Transport,
};

/// What a stream's consumer, its socket and its task share.
pub(crate) struct Stream {
    envelope: Arc<Envelope>,
    /// The stream's own queue, which leads into its parent's.
    outbound: Outbound,
    parent: Outbound,
    frames: Mutex<mpsc::Receiver<Box<Addressed>>>,
    requests: Mutex<Requests>,
    /// The client has been told that the stream has ended.
    has_ended: AtomicBool,
}

/// Of which requests the ids are known. A stream's socket says one frame at a time and is not read ahead, so there
/// is at most one that was said and is not handled yet.
#[derive(Default)]
struct Requests {
    said: Option<Box<RawValue>>,
    handled: Option<Box<RawValue>>,
}

/// What a demultiplexer tells its streams when its socket ends.
pub(crate) type Closing = watch::Receiver<Option<Close>>;

/// What connects a stream with its demultiplexer.
pub(crate) struct Ends {
    pub(crate) parent: Outbound,
    pub(crate) frames: mpsc::Receiver<Box<Addressed>>,
    pub(crate) closing: Closing,
    pub(crate) shutdown: Shutdown,
}

impl Stream {
    /// The life of a stream, to be spawned. `begun` is told once its application has had its first turn.
    pub(crate) async fn run(
        envelope: Arc<Envelope>,
        app: Arc<dyn Application>,
        scope: Scope,
        ends: Ends,
        begun: oneshot::Sender<()>,
    ) {
        let Ends { parent, frames, closing, shutdown } = ends;
        let outbound = Outbound::new();
        outbound.attach(StreamWriter { parent: parent.clone(), room: None, had_turn: false });
        let stream = Arc::new(Self {
            envelope,
            outbound: outbound.clone(),
            parent,
            frames: Mutex::new(frames),
            requests: Mutex::default(),
            has_ended: AtomicBool::new(false),
        });
        let (gate, accepted) = oneshot::channel();
        let socket = StreamSocket {
            stream: Arc::clone(&stream),
            accepted: Some(accepted),
            closing: closing.clone(),
            shutdown: shutdown.clone(),
            phase: Phase::Open,
        };
        let (mut transport, answer) = Transport::new(socket, outbound, shutdown.of_streams());
        transport.stream = Some(Arc::clone(&stream));
        // What `open` does before there is a future may panic as well.
        let life = AssertUnwindSafe(async { app.open(scope, transport).await }).catch_unwind();
        let handshake = async {
            // The demultiplexer may have ended meanwhile.
            let _ = begun.send(());
            stream.shake_hands(answer, gate, closing).await;
        };
        let (lived, ()) = futures_util::future::join(life, handshake).await;
        if lived.is_err() {
            tracing::error!(stream = stream.envelope.name(), "an application panicked: its stream has ended");
        }
        stream.bury().await;
    }

    /// Waits for the answer of the stream's application and acts on it. When the demultiplexer ends first, the
    /// answer is not wanted any more, which the consumer takes for a client that went away.
    async fn shake_hands(
        &self,
        answer: oneshot::Receiver<Handshake>,
        gate: oneshot::Sender<()>,
        mut closing: Closing,
    ) {
        let answer = tokio::select! {
            // One that was given in time counts.
            biased;
            answer = answer => answer.ok(),
            _ = closing.wait_for(Option::is_some) => None,
        };
        match answer {
            // Sub-protocol and headers are the demultiplexer's; the application may be over already.
            Some(Handshake::Accept(_)) => drop(gate.send(())),
            Some(Handshake::Deny(denial)) => self.end(&Trouble::denied(&denial)).await,
            None => {}
        }
    }

    /// What is left to do when the application is over, however it ended.
    async fn bury(&self) {
        // What it has sent leaves first; the queue may be gone.
        let _ = std::future::poll_fn(|cx| self.outbound.poll_flush(cx)).await;
        self.end(&Trouble::closed(&CloseCode::INTERNAL.into())).await;
        while let Some(addressed) = std::future::poll_fn(|cx| self.frames.lock().poll_recv(cx)).await {
            let trouble = Trouble::ended().about(&addressed);
            self.tell(&trouble, addressed.request_id.as_deref()).await;
        }
    }

    /// Tells the client that the stream has ended, unless it knows, and takes no more frames.
    async fn end(&self, trouble: &Trouble) {
        if !self.has_ended.swap(true, Ordering::Relaxed) {
            self.tell(trouble, None).await;
            self.frames.lock().close();
        }
    }

    /// Tells the client about trouble, past the stream's own queue, which may be gone.
    async fn tell(&self, trouble: &Trouble, request_id: Option<&RawValue>) {
        let wire = self.envelope.around(&trouble.json(), request_id).wire();
        while let Err(NotQueued::Full) = self.parent.adopt(&[IoSlice::new(&wire)]) {
            self.parent.room().await;
        }
    }

    pub(crate) fn envelope(&self) -> &Arc<Envelope> {
        &self.envelope
    }

    /// What is sent from here on belongs to the frame that the socket has said last.
    pub(crate) fn begin_request(&self) {
        let mut requests = self.requests.lock();
        requests.handled = requests.said.take();
    }

    #[cfg(feature = "database")]
    pub(crate) fn has_request_id(&self) -> bool {
        self.requests.lock().handled.is_some()
    }

    pub(crate) fn end_request(&self) {
        self.requests.lock().handled = None;
    }

    /// The wire bytes around a frame.
    ///
    /// # Errors
    /// A defect when it holds no JSON.
    pub(crate) fn around(&self, frame: &Frame) -> Result<Bytes> {
        let requests = self.requests.lock();
        Ok(self.envelope.around_frame(frame, requests.handled.as_deref())?.wire())
    }

    /// The wire bytes around a value that is known to be JSON.
    pub(crate) fn around_json(&self, json: &str) -> Bytes {
        self.envelope.around(json, self.requests.lock().handled.as_deref()).wire()
    }

    /// The wire bytes around an event, rendered once for all who forward it on this stream.
    ///
    /// # Errors
    /// A defect when the event has no JSON form.
    pub(crate) fn around_event<E: Serialize + 'static>(&self, event: &Event<E>) -> Result<Bytes> {
        if self.requests.lock().handled.is_some() {
            return Ok(self.around_json(&event.json()?));
        }
        event.wire_on(&self.envelope)
    }

    /// The answer to a payload that the consumer could not read.
    pub(crate) fn unreadable(&self, error: &Error, payload: &Frame) -> Bytes {
        tracing::debug!(?error, stream = self.envelope.name(), "a payload could not be read");
        let trouble = match error {
            Error::Close(close) if !close.reason.is_empty() => Trouble::new(close.reason.as_str().to_owned()),
            _ => Trouble::new("the payload cannot be read"),
        };
        let requests = self.requests.lock();
        let trouble = match requests.handled {
            Some(_) => trouble,
            None => trouble.about_payload(payload),
        };
        self.envelope.around(&trouble.json(), requests.handled.as_deref()).wire()
    }
}

/// The socket that a stream's application sees.
struct StreamSocket {
    stream: Arc<Stream>,
    /// Told when the application has accepted; nothing is said before.
    accepted: Option<oneshot::Receiver<()>>,
    closing: Closing,
    /// That of the demultiplexer, not the one that its streams get.
    shutdown: Shutdown,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The application has closed: what it has sent is still to leave.
    Closing,
    Over,
}

impl Socket for StreamSocket {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        if self.phase == Phase::Closing {
            // A queue that is gone has nothing left either.
            let _ = ready!(self.stream.outbound.poll_flush(cx));
            self.phase = Phase::Over;
        }
        if self.phase == Phase::Over {
            return Poll::Ready(None);
        }
        if let Some(accepted) = &mut self.accepted {
            if ready!(accepted.poll_unpin(cx)).is_err() {
                self.phase = Phase::Over;
                return Poll::Ready(None);
            }
            self.accepted = None;
        }
        loop {
            match ready!(self.stream.frames.lock().poll_recv(cx)) {
                // As on any socket, what waits when a shutdown begins is not handled any more.
                Some(_) if self.shutdown.is_draining() => {}
                Some(addressed) => {
                    let Addressed { payload, request_id, .. } = *addressed;
                    self.stream.requests.lock().said = request_id;
                    return Poll::Ready(Some(Inbound::Frame(payload)));
                }
                None => {
                    self.phase = Phase::Over;
                    let close = self.closing.borrow().clone();
                    return Poll::Ready(close.map(Inbound::Closed));
                }
            }
        }
    }

    fn close(&mut self, close: &Close) {
        if !self.stream.has_ended.swap(true, Ordering::Relaxed) {
            let wire = self.stream.around_json(&Trouble::closed(close).json());
            self.stream.outbound.last_words(&wire);
            self.stream.frames.lock().close();
        }
        self.phase = Phase::Closing;
    }
}

/// The writer of a stream's queue: it writes into the queue of the demultiplexer's socket, in whole frames.
struct StreamWriter {
    parent: Outbound,
    /// The wait for room there.
    room: Option<BoxFuture<'static, ()>>,
    /// It has written since it last waited.
    had_turn: bool,
}

async fn room_in(parent: Outbound) {
    parent.room().await;
}

impl AsyncWrite for StreamWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(room) = &mut self.room {
                ready!(room.as_mut().poll(cx));
                self.room = None;
            }
            match self.parent.adopt(pieces) {
                Ok(taken) => {
                    self.had_turn = true;
                    return Poll::Ready(Ok(taken));
                }
                Err(NotQueued::Gone) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Err(NotQueued::Full) if self.had_turn => {
                    // Those who were woken for the same room try first, and so wait before this one from now on.
                    self.had_turn = false;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(NotQueued::Full) => self.room = Some(room_in(self.parent.clone()).boxed()),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
