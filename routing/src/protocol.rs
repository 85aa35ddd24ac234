//! `ProtocolTypeRouter`: HTTP to one side, WebSockets to the other.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::body::Body;
use bytes::Bytes;
use consumers::Application;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

use crate::handshake::upgrade_required;
use crate::identity::plain;
use crate::site::{Site, stands_under_a_server};
use crate::{UrlRouter, handshake};

type HttpService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Chooses by the kind of connection, as Channels' router of the same name does: WebSocket handshakes go to an
/// [`Application`], all else to a tower service, such as an axum `Router`. What has nowhere to go gets 404.
///
/// It is a `tower::Service` itself, so it runs under [`serve`](crate::serve), under `axum::serve`, and nested in an
/// axum `Router`, which strips the nest's prefix before the patterns here are matched.
///
/// ```
/// use consumers::{Context, Frame, InMemoryLayer, NoEvents, Result, WebsocketConsumer};
/// use routing::{ProtocolTypeRouter, UrlRouter};
///
/// struct Echo;
/// impl WebsocketConsumer for Echo {
///     type Incoming = Frame;
///     type Event = NoEvents;
///     async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
///         ctx.send(frame).await
///     }
/// }
///
/// let router = ProtocolTypeRouter::new()
///     .http(axum::Router::new().route("/", axum::routing::get(|| async { "hello" })))
///     .websocket(UrlRouter::new().route("/echo/", |_| Ok(Echo)))
///     .with_channel_layer(InMemoryLayer::default());
/// let inside_axum: axum::Router = axum::Router::new().fallback_service(router);
/// ```
#[derive(Clone, Default)]
pub struct ProtocolTypeRouter {
    http: Option<HttpService>,
    websocket: Option<Arc<dyn Application>>,
    pub(crate) site: Site,
}

impl ProtocolTypeRouter {
    /// A router that knows neither protocol.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves HTTP by a service.
    #[must_use]
    pub fn http<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.http = Some(BoxCloneSyncService::new(service));
        self
    }

    /// Serves WebSockets by an application: a [`UrlRouter`], or one that takes every path, such as a single consumer's or a
    /// demultiplexer. What a `UrlRouter` was told of layers and limits does not count here: tell this router.
    #[must_use]
    pub fn websocket(mut self, app: impl Application) -> Self {
        self.websocket = Some(Arc::new(app));
        self
    }
}

stands_under_a_server!(ProtocolTypeRouter);

impl From<UrlRouter> for ProtocolTypeRouter {
    /// Serves WebSockets by the router alone, with the limits and the layers that it was given.
    fn from(router: UrlRouter) -> Self {
        Self { site: router.site.clone(), ..Self::new().websocket(router) }
    }
}

impl<B> Service<Request<B>> for ProtocolTypeRouter
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Each request gets a service of its own, which is waited for then.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if handshake::is_upgrade(&request)
            && let Some(app) = self.websocket.clone()
        {
            return handshake::answer(self.site.clone(), app, request).map(Ok).boxed();
        }
        match self.http.clone() {
            Some(service) => service.oneshot(request.map(Body::new)).boxed(),
            None => futures_util::future::ready(Ok(nothing_here(self.websocket.is_some()))).boxed(),
        }
    }
}

/// The answer to a plain request where only sockets are served, or nothing is.
pub(crate) fn nothing_here(speaks_websocket: bool) -> Response<Body> {
    if !speaks_websocket {
        return plain(StatusCode::NOT_FOUND, "not found");
    }
    upgrade_required("only WebSockets are served here")
}

impl fmt::Debug for ProtocolTypeRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtocolTypeRouter")
            .field("http", &self.http.is_some())
            .field("websocket", &self.websocket.is_some())
            .field("site", &self.site)
            .finish()
    }
}
