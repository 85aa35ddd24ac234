//! `Demultiplexer`: many consumers over one socket, each on a stream of its own, as in Channels 1.

mod envelope;
mod incoming;
mod multiplexed;
mod session;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::application::{application, serve};
use crate::driver::LAST_WORDS;
use crate::{
    Application, ChannelLayers, Error, GroupName, LayerError, Result, Scope, Shutdown, Transport,
    WebsocketConsumer,
};
use session::{Session, Tasks};

pub(crate) use envelope::Envelope;
pub use multiplexed::Multiplexed;
pub(crate) use stream::Stream;

/// The most streams that one demultiplexer may have.
pub const STREAMS_PER_DEMULTIPLEXER: usize = 64;

/// The most bytes of JSON that a frame's `request_id` may have.
pub const REQUEST_ID_LIMIT: usize = 1024;

/// The most characters of a stream's name.
const NAME_LIMIT: usize = 100;

/// How many frames wait for a stream's consumer; then the socket waits, as TCP makes it.
const INBOUND: usize = 16;

/// And how many bytes wait for all streams of a socket together.
const INBOUND_BYTES: u32 = 4 << 20;

/// Carries many consumers over one socket: every frame, in either direction, is a text frame that holds
/// `{"stream": name, "payload": …}`, as in Channels 1 and its `websocketbridge.js`.
///
/// ```
/// use consumers::testing::{Unexpected, WebsocketCommunicator};
/// use consumers::{Context, Demultiplexer, GroupName, InMemoryLayer, Json, Multiplexed, NoEvents, Result};
/// use consumers::{Scope, WebsocketConsumer};
/// use serde_json::{Value, json};
///
/// struct Echo;
///
/// impl WebsocketConsumer for Echo {
///     type Incoming = Json<Value>;
///     type Event = NoEvents;
///
///     async fn receive(&mut self, ctx: &mut Context, Json(value): Json<Value>) -> Result {
///         ctx.send_json(&value).await
///     }
/// }
///
/// struct Orders {
///     everyone: GroupName,
/// }
///
/// impl WebsocketConsumer for Orders {
///     type Incoming = Json<Value>;
///     type Event = NoEvents;
///
///     async fn receive(&mut self, ctx: &mut Context, Json(order): Json<Value>) -> Result {
///         ctx.group_send(&self.everyone, &Multiplexed::new("orders", &order)).await
///     }
/// }
///
/// let everyone = GroupName::new("everyone")?;
/// let group = everyone.clone();
/// let app = Demultiplexer::new()
///     .group(move |_: &Scope| Ok(group.clone()))
///     .stream("echo", |_| Ok(Echo))
///     .stream("orders", move |_| Ok(Orders { everyone: everyone.clone() }));
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let mut client = WebsocketCommunicator::new(app, "/ws/").layers(InMemoryLayer::default());
/// client.connect().await?;
/// client.send_json(&json!({"stream": "echo", "payload": {"n": 1}, "request_id": 7})).await;
/// let answer: Value = client.receive_json().await?;
/// assert_eq!(answer, json!({"stream": "echo", "payload": {"n": 1}, "request_id": 7}));
/// client.send_json(&json!({"stream": "orders", "payload": {"id": 3}})).await;
/// let news: Value = client.receive_json().await?;
/// assert_eq!(news, json!({"stream": "orders", "payload": {"id": 3}}));
/// client.send_json(&json!({"stream": "nope", "payload": {}})).await;
/// let answer: Value = client.receive_json().await?;
/// assert_eq!(answer["payload"]["error"], "there is no stream \"nope\"");
/// # Ok::<(), Unexpected>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Streams
///
/// The consumer of a stream is an ordinary [`WebsocketConsumer`] with state, channel and groups of its own. It sees
/// the payload as a text frame, and all that it sends, forwards or relays is put into an envelope. Streams carry
/// JSON: another text and a binary frame are defects of the consumer. All streams begin, in the order in which they
/// are declared, when the demultiplexer has accepted the socket; none waits for another's `connect`, and each gets
/// the scope, with the URL's parameters and the user. Sub-protocol and headers are not theirs to choose. When the
/// socket ends, each handles what still waits for it and hears the close code in `disconnect`.
///
/// Each stream is a task: the handlers of one run in order and beside those of the others. A stream whose handler is
/// slow has room for 16 frames more; then the socket is read no further until it takes one.
///
/// # Groups of its own
///
/// What is sent to a [`group`](Self::group) as [`Multiplexed`] goes to the client past the streams' consumers.
///
/// # Requests
///
/// A frame may have a `request_id`, which is any JSON of at most [`REQUEST_ID_LIMIT`] bytes, beside `stream` and
/// `payload`. All that the stream's `receive` sends while it handles that frame carries it in the same place, and
/// so do the answers below. If it stands in the payload only, it is the consumer's business, but the answers
/// below have it in their payload.
///
/// # What goes wrong is answered
///
/// Nothing that a client sends ends the socket, and nothing is dropped in silence:
///
/// | event | answer |
/// |---|---|
/// | a binary frame, no JSON, no object, a key that stands twice, a `stream` that is no text | `{"stream":null,"payload":{"error":"…"}}` |
/// | `stream` or `payload` is missing, `request_id` is too long | the same, with the stream if it is known |
/// | an unknown stream | `{"stream":"nope","payload":{"error":"there is no stream \"nope\""}}`, the name cut to 100 characters |
/// | the payload is no object, or not what the consumer's `Incoming` reads | `{"stream":"s","payload":{"error":"…"}}`; the stream lives (an `Incoming` of `Result<…>` leaves it to the consumer) |
/// | a [`Close`](crate::Close) by the consumer | `{"stream":"s","payload":{"error":"reason","code":4001}}`; only this stream ends |
/// | a handler fails or panics | the same with `{"error":"internal error","code":1011}` |
/// | a constructor or `connect` fails before it accepts | the same with `status` for `code`: a [`Denial`](crate::Denial) as it says, 503 when the layer is full or away, 500 |
/// | a frame for a stream that has ended | `{"stream":"s","payload":{"error":"the stream has ended"}}` |
///
/// # Slow clients
///
/// Each stream has an [outbound queue](crate::Outbound) of its own, which leads into the socket's; streams whose
/// sends wait for the same socket take turns. When both queues are full, what is relayed to the stream is missed and
/// told to it. So the most that is unsent for one client is 1 MiB or 256 pieces for the socket (what a relay passes on in
/// one turn is one piece), and 1 MiB or 256 frames for each stream. A client that reads nothing for 10 seconds loses the socket, as always.
#[derive(Clone, Default)]
pub struct Demultiplexer {
    routes: Arc<Vec<Route>>,
    groups: Arc<Vec<Arc<MakeGroup>>>,
}

type MakeGroup = dyn Fn(&Scope) -> Result<GroupName> + Send + Sync;

#[derive(Clone)]
struct Route {
    envelope: Arc<Envelope>,
    app: Arc<dyn Application>,
}

impl Demultiplexer {
    /// A demultiplexer without streams.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Relays a group of the default channel layer to each client; the name is made from the scope. An error refuses
    /// the handshake. May be said more than once.
    #[must_use]
    pub fn group(mut self, name: impl Fn(&Scope) -> Result<GroupName> + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.groups).push(Arc::new(name));
        self
    }

    /// Serves a stream by a consumer, which is made from the scope.
    ///
    /// # Panics
    /// As [`mount`](Self::mount).
    #[must_use]
    pub fn stream<C: WebsocketConsumer>(
        self,
        name: &str,
        make: impl Fn(&Scope) -> Result<C> + Send + Sync + 'static,
    ) -> Self {
        self.mount(name, application(make))
    }

    /// Serves a stream by an application, such as another demultiplexer.
    ///
    /// # Panics
    /// When there is such a stream already, when its name has more than 100 characters, and over
    /// [`STREAMS_PER_DEMULTIPLEXER`], since the program would be wrong from the start.
    #[must_use]
    pub fn mount(mut self, name: &str, app: impl Application) -> Self {
        let routes = Arc::make_mut(&mut self.routes);
        assert!(
            routes.len() < STREAMS_PER_DEMULTIPLEXER,
            "there are {STREAMS_PER_DEMULTIPLEXER} streams already"
        );
        assert!(
            name.chars().count() <= NAME_LIMIT,
            "a stream's name has at most {NAME_LIMIT} characters: {name:?}"
        );
        assert!(
            routes.iter().all(|route| route.envelope.name() != name),
            "there is a stream {name:?} already"
        );
        routes.push(Route { envelope: Arc::new(Envelope::new(name, None)), app: Arc::new(app) });
        self
    }
}

#[async_trait]
impl Application for Demultiplexer {
    async fn open(&self, scope: Scope, transport: Transport) {
        if transport.shutdown.is_draining() {
            return transport.refuse(Error::Layer(LayerError::Closed));
        }
        let groups = match self.groups.iter().map(|name| name(&scope)).collect() {
            Ok(groups) => groups,
            Err(error) => return transport.refuse(error),
        };
        let (shutdown, tasks) = (transport.shutdown.clone(), Tasks::default());
        let session = Session::new(Arc::clone(&self.routes), groups, shutdown.clone(), tasks.clone());
        serve(Box::new(session), ChannelLayers::DEFAULT, scope, transport).await;
        tokio::select! {
            () = tasks.ended() => {}
            () = overdue(&shutdown) => tracing::warn!("streams were dropped at the deadline of the shutdown"),
        }
    }
}

/// Completes when a shutdown's deadline has passed, and the time that each stream's `disconnect` then has.
async fn overdue(shutdown: &Shutdown) {
    const MARGIN: Duration = Duration::from_millis(100);
    shutdown.overdue().await;
    tokio::time::sleep(LAST_WORDS + MARGIN).await;
}

impl fmt::Debug for Demultiplexer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let streams: Vec<_> = self.routes.iter().map(|route| route.envelope.name()).collect();
        f.debug_struct("Demultiplexer").field("streams", &streams).finish_non_exhaustive()
    }
}
