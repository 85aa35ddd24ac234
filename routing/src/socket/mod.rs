//! A server's socket: tungstenite reads and checks what comes in, and answers through the outbound queue.

mod wire;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use consumers::{Close, CloseCode, Frame, Inbound, Outbound, Socket};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};

use self::wire::Wire;
use crate::SocketConfig;

/// How long a peer may take to read what stands before our last words, to answer these and to hang up. A reader that was
/// given up because it took nothing should still hear why, should it wake up.
const TAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// How many bytes tungstenite may keep back when the queue has no room: a few control frames, of pongs only the newest.
const KEPT_BACK: usize = 512;

/// The socket of one connection, from before the upgrade to the last byte.
pub(crate) struct ServerSocket {
    phase: Phase,
    outbound: Outbound,
    config: Arc<SocketConfig>,
    keepalive: Keepalive,
    farewell: Option<Box<Farewell>>,
}

enum Phase {
    /// The answer to the handshake is under way; a close that is asked for meanwhile waits.
    Upgrading(BoxFuture<'static, hyper::Result<Box<Conversation>>>, Option<CloseFrame>),
    Open(Box<Conversation>),
    /// All is said; the peer hangs up, or is given up. What it still sends is read, lest the kernel resets the
    /// connection and our last words with it.
    Lingering(Box<dyn AsyncRead + Send + Unpin>),
    Over,
}

/// The protocol's state and what it talks over. tungstenite is used without the stream of `tokio-tungstenite`, whose two
/// wakers an idle connection would keep.
struct Conversation {
    protocol: WebSocketContext,
    wire: Wire,
}

impl Conversation {
    /// The next message; `None` when the connection is over.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        match self.protocol.read(&mut self.wire.polled(cx)) {
            Err(Error::Io(cause)) if cause.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Poll::Ready(None),
            message => Poll::Ready(Some(message)),
        }
    }

    /// Queues a message of the protocol's own.
    fn say(&mut self, message: Message) {
        if matches!(message, Message::Close(_)) {
            self.wire.make_room();
        }
        let mut nobody = Context::from_waker(Waker::noop());
        let wire = &mut self.wire.polled(&mut nobody);
        // What waits in the protocol, which has little room, leaves first. If it cannot, the next line meets the same.
        let _ = self.protocol.flush(wire);
        match self.protocol.write(wire, message) {
            // What the queue has no room for waits in the protocol, and is tried again with the next read.
            Err(Error::Io(cause)) if cause.kind() == io::ErrorKind::WouldBlock => {}
            Err(cause) => tracing::debug!(%cause, "a ping or close frame could not be sent"),
            Ok(()) => {}
        }
    }
}

impl ServerSocket {
    pub(crate) fn new(upgrade: OnUpgrade, outbound: Outbound, config: Arc<SocketConfig>) -> Self {
        let limits = WebSocketConfig::default()
            .read_buffer_size(config.read_buffer)
            .write_buffer_size(0)
            .max_write_buffer_size(KEPT_BACK)
            .max_message_size(Some(config.message_limit))
            .max_frame_size(Some(config.message_limit));
        let opening = open(upgrade, outbound.clone(), limits).boxed();
        let phase = Phase::Upgrading(opening, None);
        Self { phase, outbound, config, keepalive: Keepalive::default(), farewell: None }
    }

    /// Reads on until there is something for the consumer.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        loop {
            let Phase::Open(conversation) = &mut self.phase else { return Poll::Ready(None) };
            let message = match ready!(conversation.poll_message(cx)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(self.fail(&error)),
                None => {
                    self.linger();
                    return Poll::Ready(None);
                }
            };
            self.keepalive.heard(&message, &self.config);
            match message {
                Message::Text(text) => return Poll::Ready(Some(Inbound::Frame(Frame::Text(text)))),
                Message::Binary(bytes) => return Poll::Ready(Some(Inbound::Frame(Frame::Binary(bytes)))),
                Message::Close(frame) => {
                    conversation.wire.make_room();
                    return Poll::Ready(Some(Inbound::Closed(closed_by_peer(frame))));
                }
                // Pings are answered by tungstenite, with its next read.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Ends a socket whose peer broke the rules: it is told which, and what it sends is no longer understood.
    fn fail(&mut self, error: &Error) -> Option<Inbound> {
        self.outbound.finish();
        let close = match error {
            Error::Capacity(_) => Close::new(CloseCode::TOO_LARGE, "message too large"),
            Error::Utf8(_) => Close::new(CloseCode::INVALID_PAYLOAD, "text is not UTF-8"),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => CloseCode::ABNORMAL.into(),
            Error::Protocol(fault) => Close::new(CloseCode::PROTOCOL, fault.to_string()),
            _ => CloseCode::ABNORMAL.into(),
        };
        if close.code == CloseCode::ABNORMAL {
            self.phase = Phase::Over;
        } else {
            self.start_close(frame(&close));
            self.linger();
        }
        Some(Inbound::Closed(close))
    }

    fn start_close(&mut self, frame: CloseFrame) {
        if let Phase::Open(conversation) = &mut self.phase {
            conversation.say(Message::Close(Some(frame)));
        }
    }

    /// Goes over to waiting for the peer to hang up.
    fn linger(&mut self) {
        if let Phase::Open(conversation) = std::mem::replace(&mut self.phase, Phase::Over) {
            self.phase = Phase::Lingering(conversation.wire.into_reader());
            self.farewell.get_or_insert_with(|| Farewell::within(TAKE_TIMEOUT));
        }
    }

    /// Whether the peer has had its time to take our last words, to answer and to hang up.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(farewell) = &mut self.farewell else { return false };
        let can_leave = !farewell.is_begun && !matches!(self.phase, Phase::Upgrading(..));
        farewell.is_begun |= can_leave;
        if can_leave && self.outbound.poll_flush(cx).is_ready() {
            // Nothing kept them from leaving. Who has to read first gets more time, for when the last of our words have
            // left, the kernel may still have much of them.
            farewell.limit.as_mut().reset(Instant::now() + self.config.close_timeout);
        }
        farewell.limit.as_mut().poll(cx).is_ready()
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Phase::Lingering(reader) = &mut self.phase else { return Poll::Ready(()) };
        if ready!(self.outbound.poll_shutdown(cx)).is_err() {
            return Poll::Ready(());
        }
        let mut waste = [0; 512];
        loop {
            let mut buffer = ReadBuf::new(&mut waste);
            let read = ready!(Pin::new(&mut *reader).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }

    /// Pings a silent peer; true when it is lost.
    fn poll_keepalive(&mut self, cx: &mut Context<'_>) -> bool {
        if !matches!(self.phase, Phase::Open(_)) {
            return false;
        }
        let timer = self.keepalive.timer.take();
        let mut timer = timer.unwrap_or_else(|| Box::pin(tokio::time::sleep(self.config.ping_interval)));
        while timer.as_mut().poll(cx).is_ready() {
            let Some(due) = self.ping_if_silent(cx) else { return true };
            timer.as_mut().reset(due);
        }
        self.keepalive.timer = Some(timer);
        false
    }

    /// Pings the peer if it has been silent; when that is to be asked again, or `None` when it is lost.
    fn ping_if_silent(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let Self { phase: Phase::Open(conversation), outbound, config, keepalive, .. } = self else {
            return None;
        };
        if let Some(heard_at) = keepalive.heard_at.take() {
            return Some(heard_at + config.ping_interval);
        }
        if !std::mem::replace(&mut keepalive.is_pinged, true) {
            // A socket that takes no ping is found lost when no pong comes.
            conversation.say(Message::Ping(Bytes::new()));
            let _ = outbound.poll_flush(cx);
            // Asked so that what it does from here on counts.
            keepalive.is_at_work(conversation, outbound);
        } else if !keepalive.is_at_work(conversation, outbound) {
            return None;
        }
        Some(Instant::now() + config.pong_timeout)
    }
}

impl Socket for ServerSocket {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        // Before anything is read: a peer that never stops sending would leave the clock no turn behind it.
        if self.poll_farewell(cx) {
            self.phase = Phase::Over;
            return Poll::Ready(None);
        }
        if let Phase::Upgrading(opening, closing) = &mut self.phase {
            let opened = ready!(opening.as_mut().poll(cx));
            let closing = closing.take();
            match opened {
                Ok(conversation) => self.phase = Phase::Open(conversation),
                Err(cause) => {
                    tracing::debug!(%cause, "a connection was lost during its upgrade");
                    self.phase = Phase::Over;
                    return Poll::Ready(None);
                }
            }
            closing.into_iter().for_each(|frame| self.start_close(frame));
        }
        if let Poll::Ready(inbound) = self.poll_open(cx)
            && (inbound.is_some() || matches!(self.phase, Phase::Over))
        {
            return Poll::Ready(inbound);
        }
        if self.farewell.is_none() && self.poll_keepalive(cx) {
            self.phase = Phase::Over;
            self.outbound.abandon();
            return Poll::Ready(Some(Inbound::Closed(CloseCode::ABNORMAL.into())));
        }
        let has_left = matches!(self.phase, Phase::Lingering(_)) && self.poll_linger(cx).is_ready();
        // Asked again, for the farewell may have begun within this call, and then its clock would wake nobody.
        if has_left || self.poll_farewell(cx) {
            self.phase = Phase::Over;
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    fn close(&mut self, close: &Close) {
        // A server that ends waits for nobody who does not read.
        let is_restart = close.code == CloseCode::RESTART;
        let limit = if is_restart { self.config.close_timeout } else { TAKE_TIMEOUT };
        self.farewell.get_or_insert_with(|| Farewell::within(limit));
        match &mut self.phase {
            Phase::Upgrading(_, closing) => *closing = Some(frame(close)),
            Phase::Open(_) => self.start_close(frame(close)),
            Phase::Lingering(_) | Phase::Over => {}
        }
    }

    fn hurry(&mut self) {
        // It may be about to begin, when the peer has closed by itself.
        let limit = self.config.close_timeout;
        self.farewell.get_or_insert_with(|| Farewell::within(limit)).end_within(limit);
    }
}

impl fmt::Debug for ServerSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSocket").finish_non_exhaustive()
    }
}

/// When we give up on a peer that is to hang up, or to answer our close first.
struct Farewell {
    limit: Pin<Box<Sleep>>,
    /// It was tried to let our words leave at once.
    is_begun: bool,
}

impl Farewell {
    fn within(limit: Duration) -> Box<Self> {
        Box::new(Self { limit: Box::pin(tokio::time::sleep(limit)), is_begun: false })
    }

    /// Lasts no longer than this from now on.
    fn end_within(&mut self, limit: Duration) {
        let end = Instant::now() + limit;
        if end < self.limit.deadline() {
            self.limit.as_mut().reset(end);
        }
    }
}

/// Whether the peer still lives.
#[derive(Default)]
struct Keepalive {
    timer: Option<Pin<Box<Sleep>>>,
    is_pinged: bool,
    /// When the peer last said something since the timer was set.
    heard_at: Option<Instant>,
    /// How far the queue was when it was last looked at, if something waited in it.
    progress: Option<u32>,
}

impl Keepalive {
    fn heard(&mut self, message: &Message, config: &SocketConfig) {
        if std::mem::take(&mut self.is_pinged) {
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(Instant::now() + config.ping_interval);
            }
        } else if !matches!(message, Message::Pong(_)) {
            // What the peer says by itself puts off the next ping; the timer finds out when it is due.
            self.heard_at = Some(Instant::now());
        }
    }

    /// Whether the peer, since this was last asked, has taken some of what stands before our ping, or has sent a piece of
    /// something long: it lives, and cannot have answered yet.
    fn is_at_work(&mut self, conversation: &mut Conversation, outbound: &Outbound) -> bool {
        let before = std::mem::replace(&mut self.progress, outbound.progress());
        let has_read = before.is_some() && before != self.progress;
        conversation.wire.has_heard() || has_read
    }
}

/// Waits for the upgrade and takes the connection apart: one half for tungstenite to read, one for the queue to
/// write.
async fn open(
    upgrade: OnUpgrade,
    outbound: Outbound,
    limits: WebSocketConfig,
) -> hyper::Result<Box<Conversation>> {
    let (reader, early) = split(upgrade.await?, &outbound);
    let wire = Wire::new(reader, early, outbound.protocol_writer());
    Ok(Box::new(Conversation { protocol: WebSocketContext::new(Role::Server, Some(limits)), wire }))
}

/// The reading half and what was read already. A plain TCP connection is unwrapped, so that writes go straight to it.
fn split(upgraded: Upgraded, outbound: &Outbound) -> (Box<dyn AsyncRead + Send + Unpin>, Bytes) {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return split_tcp(parts.io.into_inner(), parts.read_buf, outbound),
        Err(upgraded) => upgraded,
    };
    match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => split_tcp(parts.io.into_inner(), parts.read_buf, outbound),
        Err(upgraded) => {
            let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
            outbound.attach(writer);
            (Box::new(reader), Bytes::new())
        }
    }
}

fn split_tcp(
    stream: TcpStream,
    early: Bytes,
    outbound: &Outbound,
) -> (Box<dyn AsyncRead + Send + Unpin>, Bytes) {
    if let Err(cause) = stream.set_nodelay(true) {
        tracing::debug!(%cause, "TCP_NODELAY could not be set: small frames may wait for one another");
    }
    let (reader, writer) = stream.into_split();
    outbound.attach_tcp(writer);
    (Box::new(reader), early)
}

/// How the peer closes. tungstenite answers it with the next poll, which comes when the consumer has ended and sends
/// nothing more; until then its handlers still answer what came before.
fn closed_by_peer(frame: Option<CloseFrame>) -> Close {
    frame.map_or_else(
        || CloseCode::NO_STATUS.into(),
        |frame| Close::new(u16::from(frame.code), frame.reason.as_str()),
    )
}

fn frame(close: &Close) -> CloseFrame {
    CloseFrame { code: close.code.as_u16().into(), reason: close.reason.clone() }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::poll;

    use super::*;

    /// A peer that never stops sending: it uses up what a task may do in one turn.
    struct Chatty;

    impl AsyncRead for Chatty {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let turn = ready!(tokio::task::coop::poll_proceed(cx));
            buffer.put_slice(b"x");
            turn.made_progress();
            Poll::Ready(Ok(()))
        }
    }

    fn lingering(farewell: Option<Box<Farewell>>) -> ServerSocket {
        let outbound = Outbound::new();
        outbound.attach(tokio::io::sink());
        ServerSocket {
            phase: Phase::Lingering(Box::new(Chatty)),
            outbound,
            config: Arc::default(),
            keepalive: Keepalive::default(),
            farewell,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_stops_sending_is_left_all_the_same() {
        let mut socket = lingering(Some(Farewell::within(TAKE_TIMEOUT)));
        let mut end = poll_fn(|cx| socket.poll_next(cx));
        assert!(poll!(&mut end).is_pending());
        tokio::time::advance(TAKE_TIMEOUT).await;
        assert!(matches!(poll!(&mut end), Poll::Ready(None)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_farewell_that_begins_when_the_server_has_ended_is_short() {
        let mut socket = lingering(None);
        let limit = socket.config.close_timeout;
        socket.hurry();
        let mut end = poll_fn(|cx| socket.poll_next(cx));
        assert!(poll!(&mut end).is_pending());
        tokio::time::advance(limit).await;
        assert!(matches!(poll!(&mut end), Poll::Ready(None)));
    }
}
