//! The life of one socket: connect, then whatever comes, one at a time, then disconnect.
//!
//! Only sources are raced here, never a handler: a handler that has started is polled to its end, and the socket is
//! served beside it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use channel_layer::{Delivery, Message, Missed};

use crate::consumer::AnyConsumer;
use crate::context::Heard;
use crate::io::{Io, Signal};
use crate::transport::Socket;
use crate::{Close, CloseCode, Context, Error, Frame, Result, Shutdown};

/// How long `disconnect` may take when the deadline of a shutdown has passed already.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(500);

pub(crate) struct Driver {
    consumer: Box<dyn AnyConsumer>,
    context: Context,
    io: Io,
}

/// What there is to handle next.
enum Input {
    Connect,
    Frame(Frame),
    Message(Message),
    Missed(Missed),
    End(End),
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
        let io = Io::new(socket, context.outbound().clone(), shutdown, context.stream().is_some());
        Self { consumer, context, io }
    }

    pub(crate) async fn run(mut self) {
        let mut input = Input::Connect;
        let end = loop {
            if let Some(end) = self.handle(input).await {
                break end;
            }
            // Inputs that are always ready must not keep other tasks from running.
            tokio::task::coop::consume_budget().await;
            input = self.next().await;
        };
        self.end(end).await;
    }

    async fn next(&mut self) -> Input {
        let Self { context, io, .. } = self;
        tokio::select! {
            signal = std::future::poll_fn(|cx| io.poll_signal(cx)) => match signal {
                Signal::Frame(frame) => {
                    context.begin_request();
                    Input::Frame(frame)
                }
                Signal::Missed(missed) => Input::Missed(missed),
                Signal::Closed(close) => Input::End(End::Peer(close.code)),
                Signal::Draining => Input::End(End::Own(CloseCode::RESTART.into())),
                Signal::Stalled => {
                    tracing::info!("a client reads too slowly: its socket is closed with 1013");
                    Input::End(End::Own(Close::new(CloseCode::TRY_AGAIN, "too slow")))
                }
            },
            heard = context.heard() => match heard {
                Heard::Delivery(Delivery::Message(message)) => Input::Message(message),
                Heard::Delivery(Delivery::Missed(missed)) => Input::Missed(missed),
                Heard::Unanswered => Input::End(End::Refused(Error::Gone)),
            },
        }
    }

    /// Runs the handler of an input; the end, if that is what it leads to.
    async fn handle(&mut self, input: Input) -> Option<End> {
        let Self { consumer, context, io } = self;
        let outcome = match input {
            Input::Connect => io.beside(consumer.connect(context)).await,
            Input::Frame(frame) => io.beside(consumer.receive(context, frame)).await,
            Input::Message(message) => io.beside(consumer.event(context, message)).await,
            Input::Missed(missed) => io.beside(consumer.missed(context, missed)).await,
            Input::End(end) => return Some(self.refused_if_connecting(end)),
        };
        context.outbound().release();
        let end = self.settle(outcome).await;
        if end.is_none() {
            // An end is told to who asked for what led to it.
            self.context.end_request();
        }
        end
    }

    /// What a handler's outcome means for the socket.
    async fn settle(&mut self, outcome: Outcome) -> Option<End> {
        let end = match outcome {
            Outcome::Returned(Ok(()) | Err(Error::Gone)) => End::Own(self.context.closing()?.clone()),
            Outcome::Returned(Err(error)) if self.context.is_connecting() => End::Refused(error),
            Outcome::Returned(Err(Error::Close(close))) => End::Own(close),
            Outcome::Returned(Err(Error::Deny(denial))) => {
                tracing::debug!(status = %denial.status, "a refusal after the handshake closes with 1008");
                End::Own(CloseCode::POLICY.into())
            }
            Outcome::Returned(Err(Error::Layer(cause))) => {
                tracing::warn!(%cause, path = self.context.scope().path(), "an event was lost: the channel layer failed");
                let Self { consumer, context, io } = self;
                let outcome = match io.beside(consumer.layer_failed(context, &cause)).await {
                    // A hook that meets the same layer again has nothing new to say.
                    Outcome::Returned(Err(Error::Layer(_))) => Outcome::Returned(Ok(())),
                    outcome => outcome,
                };
                context.outbound().release();
                return Box::pin(self.settle(outcome)).await;
            }
            Outcome::Returned(Err(Error::Defect(cause))) => {
                let (path, stream) = (self.context.scope().path(), self.context.stream_name());
                tracing::error!(%cause, path, stream, "a handler failed: its socket or stream is closed");
                End::Own(CloseCode::INTERNAL.into())
            }
            Outcome::Panicked => End::Own(CloseCode::INTERNAL.into()),
            Outcome::Cut => End::Own(CloseCode::RESTART.into()),
        };
        Some(self.refused_if_connecting(end))
    }

    /// A socket that has not begun is not closed: its handshake is refused.
    fn refused_if_connecting(&self, end: End) -> End {
        match end {
            End::Own(close) if self.context.is_connecting() => End::Refused(match close.code {
                CloseCode::INTERNAL => Error::defect("the consumer failed before it accepted"),
                CloseCode::RESTART => Error::Layer(channel_layer::LayerError::Closed),
                _ => Error::Close(close),
            }),
            end => end,
        }
    }

    async fn end(mut self, end: End) {
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
            std::future::poll_fn(|cx| self.io.poll_end(cx)).await;
        }
        self.context.outbound().abandon();
    }

    async fn disconnect(&mut self, code: CloseCode) {
        let Self { consumer, context, io } = self;
        let was_cut = io.is_cut();
        let disconnect = pin!(async { consumer.disconnect(context, code).await });
        let outcome = if was_cut {
            tokio::time::timeout(LAST_WORDS, guarded(disconnect)).await.unwrap_or(Outcome::Cut)
        } else {
            io.beside(disconnect).await
        };
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
    async fn beside(&mut self, handler: impl Future<Output = Result>) -> Outcome {
        let mut handler = pin!(guarded(handler));
        std::future::poll_fn(|cx| {
            let polled = handler.as_mut().poll(cx);
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

/// Turns a handler's panic into an outcome.
async fn guarded(handler: impl Future<Output = Result>) -> Outcome {
    let mut handler = pin!(handler);
    std::future::poll_fn(|cx| {
        // What a panic may have left half done is the consumer's own state, which only `disconnect` sees again.
        match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Outcome::Returned),
            Err(_) => Poll::Ready(Outcome::Panicked),
        }
    })
    .await
}
