//! The life of one socket: connect, then whatever comes, one at a time, then disconnect.
//!
//! Only sources are raced here, never a handler: a handler that has started is polled to its end, and the socket is
//! served beside it.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{self, Poll};
use std::time::Duration;

use channel_layer::{Delivery, LayerError, Message, Missed};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::consumer::AnyConsumer;
use crate::context::Heard;
use crate::io::{Io, Signal};
use crate::slow_reader::{COUNTERS, count};
use crate::transport::Socket;
use crate::{Close, CloseCode, Context, Error, Frame, Result, Shutdown};

/// How long `disconnect` may take, or go on, when the deadline of a shutdown has passed.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(500);

pub(crate) struct Driver {
    consumer: Box<dyn AnyConsumer>,
    context: Context,
    io: Io,
    is_layer_first: bool,
}

/// What there is to handle next.
enum Input {
    Connect,
    Frame(Frame),
    Message(Message),
    Missed(Missed),
    End(End),
}

/// Where it came from.
enum Came {
    Signal(Signal),
    Heard(Heard),
}

/// How a socket ends.
enum End {
    /// The client has closed it, or is lost.
    Peer(CloseCode),
    /// We close it.
    Own(Close),
    /// It never began.
    Refused(Error),
}

/// What a handler's outcome means.
enum Settled {
    /// The socket lives on.
    Goes,
    Ends(End),
    /// The socket lives on, and the consumer is told.
    LayerFailed(LayerError),
}

/// How a handler ended.
enum Outcome {
    Returned(Result),
    Panicked,
    /// The deadline of a shutdown has passed.
    Cut,
}

impl Driver {
    pub(crate) fn new(
        consumer: Box<dyn AnyConsumer>,
        context: Context,
        socket: Box<dyn Socket>,
        shutdown: &Shutdown,
    ) -> Self {
        context.outbound().set_slow_reader(consumer.slow_reader());
        let io = Io::new(socket, context.outbound().clone(), shutdown, context.stream().is_some());
        Self { consumer, context, io, is_layer_first: false }
    }

    /// Runs it. A block and not an `async fn`, which would keep room for the driver twice.
    pub(crate) fn run(mut self) -> BoxFuture<'static, ()> {
        async move {
            let end = self.live().await;
            Box::pin(self.end(end)).await;
        }
        .boxed()
    }

    /// Handles what comes until the end.
    async fn live(&mut self) -> End {
        let mut input = Input::Connect;
        loop {
            if let Some(end) = self.handle(input).await {
                return end;
            }
            // Inputs that are always ready must not keep other tasks from running.
            tokio::task::coop::consume_budget().await;
            input = self.next().await;
        }
    }

    /// Waits for what comes next, and asks the socket and the layer first in turn, so that neither starves the other.
    async fn next(&mut self) -> Input {
        let Self { context, io, is_layer_first, .. } = self;
        *is_layer_first = !*is_layer_first;
        if context.begins_renewal() {
            io.expect_renewal();
        }
        let came = poll_fn(|cx| {
            if *is_layer_first && let Poll::Ready(heard) = context.poll_heard(cx) {
                return Poll::Ready(Came::Heard(heard));
            }
            match io.poll_signal(cx, |cx| context.poll_renewal(cx)) {
                Poll::Ready(signal) => Poll::Ready(Came::Signal(signal)),
                Poll::Pending if *is_layer_first => Poll::Pending,
                Poll::Pending => context.poll_heard(cx).map(Came::Heard),
            }
        })
        .await;
        self.input(came)
    }

    fn input(&self, came: Came) -> Input {
        match came {
            Came::Signal(Signal::Frame(frame)) => {
                self.context.begin_request();
                Input::Frame(frame)
            }
            Came::Signal(Signal::Closed(close)) => Input::End(End::Peer(close.code)),
            Came::Signal(Signal::Draining) => Input::End(End::Own(CloseCode::RESTART.into())),
            Came::Signal(Signal::Stalled) => {
                tracing::info!("a client reads too slowly: its socket is closed with 1013");
                count(&COUNTERS.closed, 1);
                Input::End(End::Own(Close::new(CloseCode::TRY_AGAIN, "too slow")))
            }
            Came::Heard(Heard::Delivery(Delivery::Message(message))) => Input::Message(message),
            Came::Signal(Signal::Missed(missed)) | Came::Heard(Heard::Delivery(Delivery::Missed(missed))) => {
                Input::Missed(missed)
            }
            Came::Heard(Heard::Unanswered) => Input::End(End::Refused(Error::Gone)),
        }
    }

    /// Runs the handler of an input; the end, if that is what it leads to.
    async fn handle(&mut self, input: Input) -> Option<End> {
        let Self { consumer, context, io, .. } = self;
        let handler = match input {
            Input::Connect => consumer.connect(context),
            Input::Frame(frame) => consumer.receive(context, frame),
            Input::Message(message) => consumer.event(context, message),
            Input::Missed(missed) => consumer.missed(context, missed),
            Input::End(end) => return Some(self.refused_if_connecting(end)),
        };
        let outcome = io.beside(handler).await;
        self.context.outbound().release();
        let end = match self.settle(outcome) {
            Settled::Goes => None,
            Settled::Ends(end) => Some(end),
            // Boxed, since a connection should not hold room for it all its life.
            Settled::LayerFailed(cause) => Box::pin(self.layer_failed(cause)).await,
        };
        if end.is_none() {
            // An end is told to who asked for what led to it.
            self.context.end_request();
        }
        end
    }

    /// Tells the consumer that its event was lost.
    async fn layer_failed(&mut self, cause: LayerError) -> Option<End> {
        tracing::warn!(%cause, path = self.context.scope().path(), "an event was lost: the channel layer failed");
        let Self { consumer, context, io, .. } = self;
        let outcome = io.beside(consumer.layer_failed(context, &cause)).await;
        self.context.outbound().release();
        match self.settle(outcome) {
            Settled::Goes => None,
            Settled::Ends(end) => Some(end),
            // A hook that meets the same layer again has nothing new to say.
            Settled::LayerFailed(_) => self.asked_to_close(),
        }
    }

    /// What a handler's outcome means for the socket.
    fn settle(&self, outcome: Outcome) -> Settled {
        let end = match outcome {
            Outcome::Returned(Ok(()) | Err(Error::Gone)) => {
                return self.asked_to_close().map_or(Settled::Goes, Settled::Ends);
            }
            Outcome::Returned(Err(error)) if self.context.is_connecting() => End::Refused(error),
            Outcome::Returned(Err(Error::Close(close))) => End::Own(close),
            Outcome::Returned(Err(Error::Deny(denial))) => {
                tracing::debug!(status = %denial.status, "a refusal after the handshake closes with 1008");
                End::Own(CloseCode::POLICY.into())
            }
            Outcome::Returned(Err(Error::Layer(cause))) => return Settled::LayerFailed(cause),
            Outcome::Returned(Err(Error::Defect(cause))) => {
                let (path, stream) = (self.context.scope().path(), self.context.stream_name());
                tracing::error!(%cause, path, stream, "a handler failed: its socket or stream is closed");
                End::Own(CloseCode::INTERNAL.into())
            }
            Outcome::Panicked => End::Own(CloseCode::INTERNAL.into()),
            Outcome::Cut => End::Own(CloseCode::RESTART.into()),
        };
        Settled::Ends(self.refused_if_connecting(end))
    }

    /// The end, if a handler has asked for it.
    fn asked_to_close(&self) -> Option<End> {
        self.context.closing().map(|close| self.refused_if_connecting(End::Own(close.clone())))
    }

    /// A socket that has not begun is not closed: its handshake is refused.
    fn refused_if_connecting(&self, end: End) -> End {
        match end {
            End::Own(close) if self.context.is_connecting() => End::Refused(match close.code {
                CloseCode::INTERNAL => Error::defect("the consumer failed before it accepted"),
                CloseCode::RESTART => Error::Layer(LayerError::Closed),
                _ => Error::Close(close),
            }),
            end => end,
        }
    }

    async fn end(&mut self, end: End) {
        self.context.outbound().finish();
        let end = match end {
            // A stream has no handshake that could be answered with a status.
            End::Refused(Error::Close(close)) if self.context.stream().is_some() => End::Own(close),
            end => end,
        };
        let (code, had_socket) = match end {
            End::Peer(code) => (code, true),
            End::Own(close) => {
                let close = close.sendable();
                self.io.close(&close);
                (close.code, true)
            }
            End::Refused(error) => {
                self.context.refuse(error);
                (CloseCode::ABNORMAL, false)
            }
        };
        self.disconnect(code).await;
        self.context.leave_all();
        if had_socket {
            poll_fn(|cx| self.io.poll_end(cx)).await;
        }
        self.context.outbound().abandon();
    }

    async fn disconnect(&mut self, code: CloseCode) {
        let Self { consumer, context, io, .. } = self;
        let mut disconnect = consumer.disconnect(context, code);
        let mut outcome = if io.is_cut() { Outcome::Cut } else { io.beside(&mut disconnect).await };
        if matches!(outcome, Outcome::Cut) {
            let last = tokio::time::timeout(LAST_WORDS, poll_fn(guarded(disconnect)));
            outcome = last.await.unwrap_or(Outcome::Cut);
        }
        match outcome {
            Outcome::Returned(Ok(()) | Err(Error::Gone)) => {}
            Outcome::Returned(Err(error)) => tracing::error!(?error, "`disconnect` failed"),
            Outcome::Panicked => tracing::error!("`disconnect` panicked"),
            Outcome::Cut => tracing::warn!("`disconnect` was dropped at the deadline of the shutdown"),
        }
    }
}

impl Io {
    /// Runs a handler to its end and serves the socket beside it.
    async fn beside(&mut self, handler: impl Future<Output = Result> + Unpin) -> Outcome {
        let mut handler = guarded(handler);
        poll_fn(|cx| {
            let polled = handler(cx);
            if polled.is_pending() {
                // After the handler, so that what it has sent in this turn leaves as one write.
                self.poll(cx);
            }
            match polled {
                Poll::Pending if self.is_cut() => Poll::Ready(Outcome::Cut),
                polled => polled,
            }
        })
        .await
    }
}

/// Polls a handler, and turns its panic into an outcome.
fn guarded(
    mut handler: impl Future<Output = Result> + Unpin,
) -> impl FnMut(&mut task::Context<'_>) -> Poll<Outcome> {
    move |cx| {
        // What a panic may have left half done is the consumer's own state, which only `disconnect` sees again.
        match catch_unwind(AssertUnwindSafe(|| handler.poll_unpin(cx))) {
            Ok(polled) => polled.map(Outcome::Returned),
            Err(_) => Poll::Ready(Outcome::Panicked),
        }
    }
}
