//! The trait that applications implement for each kind of socket.

use async_trait::async_trait;
use channel_layer::{LayerError, Message, Missed};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{ChannelLayers, CloseCode, Context, Event, Frame, FromFrame, Result, SlowReader};

/// The server's side of one WebSocket.
///
/// A consumer is made from its scope, lives as long as its socket and owns its state: handlers take `&mut self`,
/// run one after another, and once started run to their end (the one exception: the deadline of a shutdown). The
/// socket is read and pinged beside a running handler, so a slow handler slows its own socket and loses none. When 16
/// frames or 64 KiB wait behind it, nothing is read any more, and pings that follow them wait, too. Memberships are
/// renewed between handlers: one that runs for two thirds of the layer's `group_expiry`, 16 hours by default, lets them lapse.
///
/// What a handler's error does is told at [`Error`](crate::Error).
///
/// ```
/// use consumers::{Context, Json, NoEvents, Result, WebsocketConsumer};
///
/// /// Adds up the numbers that its client sends.
/// #[derive(Default)]
/// struct Adder {
///     sum: i64,
/// }
///
/// impl WebsocketConsumer for Adder {
///     type Incoming = Json<i64>;
///     type Event = NoEvents;
///
///     async fn receive(&mut self, ctx: &mut Context, Json(number): Json<i64>) -> Result {
///         self.sum += number;
///         ctx.send_json(&self.sum).await
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a consumer",
    note = "implement `WebsocketConsumer`: two types, and `receive`"
)]
pub trait WebsocketConsumer: Send + 'static {
    /// What the client's frames are read as.
    type Incoming: FromFrame;

    /// What it hears from groups and from its own channel: an enum tagged by `type`, or [`NoEvents`]. An event that
    /// this type does not know is logged and dropped.
    ///
    /// [`NoEvents`]: crate::NoEvents
    type Event: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The alias of the channel layer that it uses.
    const LAYER: &'static str = ChannelLayers::DEFAULT;

    /// What becomes of its sockets whose clients read too slowly.
    const SLOW_READER: SlowReader = SlowReader::Close;

    /// The client asks for a socket. By default it gets one; a refusal is a [`Denial`](crate::Denial) as an error.
    fn connect(&mut self, ctx: &mut Context) -> impl Future<Output = Result> + Send {
        async { ctx.accept().await }
    }

    /// A frame has come from the client.
    fn receive(&mut self, ctx: &mut Context, incoming: Self::Incoming)
    -> impl Future<Output = Result> + Send;

    /// An event has come from a joined group or to the own channel. By default it is forwarded as JSON.
    fn event(&mut self, ctx: &mut Context, event: Event<Self::Event>) -> impl Future<Output = Result> + Send {
        async move { ctx.forward(&event).await }
    }

    /// Events were lost: the consumer was behind, or its client too slow for what is relayed to it. What the client
    /// knows may be out of date now; by default that is logged only.
    fn missed(&mut self, ctx: &mut Context, missed: Missed) -> impl Future<Output = Result> + Send {
        async move {
            tracing::warn!(path = ctx.scope().path(), %missed, "a consumer missed events");
            Ok(())
        }
    }

    /// A handler's `?` met a layer that is full or away: that event is lost and the socket lives. By default there
    /// is nothing to add to the log line.
    fn layer_failed(&mut self, _: &mut Context, _: &LayerError) -> impl Future<Output = Result> + Send {
        async { Ok(()) }
    }

    /// The socket has ended, by whichever side: 1005 is a close without a code, 1006 a lost connection or a refused
    /// handshake. Runs once after every `connect`, even one that failed. Groups are left without your doing.
    fn disconnect(&mut self, _: &mut Context, _: CloseCode) -> impl Future<Output = Result> + Send {
        async { Ok(()) }
    }
}

/// A consumer without its types, as the driver runs it. There is one implementation, for every consumer, so the two
/// traits cannot drift apart.
#[async_trait]
pub(crate) trait AnyConsumer: Send {
    fn slow_reader(&self) -> SlowReader;
    async fn connect(&mut self, ctx: &mut Context) -> Result;
    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result;
    async fn event(&mut self, ctx: &mut Context, message: Message) -> Result;
    async fn missed(&mut self, ctx: &mut Context, missed: Missed) -> Result;
    async fn layer_failed(&mut self, ctx: &mut Context, error: &LayerError) -> Result;
    async fn disconnect(&mut self, ctx: &mut Context, code: CloseCode) -> Result;
}

#[async_trait]
impl<C: WebsocketConsumer> AnyConsumer for C {
    fn slow_reader(&self) -> SlowReader {
        C::SLOW_READER
    }

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        WebsocketConsumer::connect(self, ctx).await
    }

    async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
        match ctx.read(frame).await? {
            Some(incoming) => WebsocketConsumer::receive(self, ctx, incoming).await,
            None => Ok(()),
        }
    }

    async fn event(&mut self, ctx: &mut Context, message: Message) -> Result {
        let kind = message.clone();
        match Event::new(message) {
            Ok(event) => WebsocketConsumer::event(self, ctx, event).await,
            Err(cause) => {
                tracing::warn!(%cause, kind = kind.kind(), "an event that the consumer does not know was dropped");
                Ok(())
            }
        }
    }

    async fn missed(&mut self, ctx: &mut Context, missed: Missed) -> Result {
        WebsocketConsumer::missed(self, ctx, missed).await
    }

    async fn layer_failed(&mut self, ctx: &mut Context, error: &LayerError) -> Result {
        WebsocketConsumer::layer_failed(self, ctx, error).await
    }

    async fn disconnect(&mut self, ctx: &mut Context, code: CloseCode) -> Result {
        WebsocketConsumer::disconnect(self, ctx, code).await
    }
}
