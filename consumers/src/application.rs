//! ASGI's callable: whatever can be opened with a scope and a transport.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::consumer::AnyConsumer;
use crate::context::Context;
use crate::driver::Driver;
use crate::{Error, Result, Scope, Transport, WebsocketConsumer};

/// Something that serves a socket: a consumer, a router, a middleware around either, a demultiplexer. They nest
/// freely, since each is opened in the same way.
#[async_trait]
pub trait Application: Send + Sync + 'static {
    /// Serves one socket from its handshake to its end. Until it first has to wait it runs in the task of the request, then in
    /// one of its own: a tracing span for the socket wants no parent, or the request's span lives as long.
    async fn open(&self, scope: Scope, transport: Transport);

    /// Whether it serves a path of which this much is left after the outer routers' matches. A router of URLs asks before
    /// it hands the socket over, so that the next route can be tried; what is no router serves only where nothing
    /// is left. Where no router of URLs stands before it, an application gets every path unasked.
    fn resolves(&self, remaining_path: &str) -> bool {
        remaining_path.is_empty()
    }
}

/// The future of [`Application::open`], for those who write `open` without `async`: who has only to pass a socket on
/// then costs it no future of its own, which each connection would hold all its life.
pub type Opened<'a> = BoxFuture<'a, ()>;

impl Application for Arc<dyn Application> {
    fn open<'s, 'a>(&'s self, scope: Scope, transport: Transport) -> Opened<'a>
    where
        's: 'a,
        Self: 'a,
    {
        (**self).open(scope, transport)
    }

    fn resolves(&self, remaining_path: &str) -> bool {
        (**self).resolves(remaining_path)
    }
}

/// Makes an application of a consumer, as `as_asgi()` does in Channels: each socket gets a consumer of its own, made
/// from its scope. What the program shares with it, the closure captures.
///
/// When `make` fails, the handshake is refused: with a [`Denial`](crate::Denial) as it says, else with 500.
pub fn application<C, F>(make: F) -> impl Application
where
    C: WebsocketConsumer,
    F: Fn(&Scope) -> Result<C> + Send + Sync + 'static,
{
    ConsumerApplication { make }
}

struct ConsumerApplication<F> {
    make: F,
}

impl<C, F> Application for ConsumerApplication<F>
where
    C: WebsocketConsumer,
    F: Fn(&Scope) -> Result<C> + Send + Sync + 'static,
{
    fn open<'s, 'a>(&'s self, scope: Scope, transport: Transport) -> Opened<'a>
    where
        's: 'a,
        Self: 'a,
    {
        if transport.shutdown.is_draining() {
            transport.refuse(Error::Layer(channel_layer::LayerError::Closed));
            return ready(()).boxed();
        }
        match (self.make)(&scope) {
            Ok(consumer) => serve(Box::new(consumer), C::LAYER, scope, transport),
            Err(error) => {
                transport.refuse(error);
                ready(()).boxed()
            }
        }
    }
}

/// Runs a consumer from its handshake to its end.
pub(crate) fn serve(
    consumer: Box<dyn AnyConsumer>,
    alias: &'static str,
    scope: Scope,
    transport: Transport,
) -> Opened<'static> {
    let Transport { socket, outbound, handshake, shutdown, stream } = transport;
    let context = Context::new(scope, outbound, handshake, alias).on_stream(stream);
    Driver::new(consumer, context, socket, &shutdown).run()
}
