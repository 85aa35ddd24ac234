//! The server: accepts connections, keeps their limits, and ends them in order.

mod config;
mod signals;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum_core::body::Body;
use bytes::Bytes;
use consumers::{ChannelLayers, Shutdown};
use futures_util::TryFutureExt;
use futures_util::future::{Either, ready};
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use tower::{BoxError, Service, ServiceExt};

pub use config::ServerConfig;
pub use signals::terminated;

use crate::ProtocolTypeRouter;
use crate::handshake::has_one_host;
use crate::identity::plain;

/// How long accepting pauses when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address of the client, as the server saw it; in the extensions of requests and scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// Keeps a connection's place under the limit for as long as anything of it lives: it moves with the request's
/// extensions into the scope.
#[derive(Clone)]
struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Serves an application until the process is asked to end (SIGTERM or Ctrl-C), and then ends its sockets in order.
///
/// This is [`Server`] with its defaults.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    addr: impl ToSocketAddrs,
    app: impl Into<ProtocolTypeRouter>,
    layers: impl Into<ChannelLayers>,
) -> io::Result<()> {
    let layers = layers.into();
    let app = app.into().with_channel_layer(layers.clone());
    let end = terminated();
    let server = Server::bind(addr).await?.with_shutdown(app.shutdown());
    server.run(app, end).await;
    for layer in layers.iter() {
        if let Err(cause) = layer.close().await {
            tracing::warn!(%cause, "a channel layer could not be closed");
        }
    }
    Ok(())
}

/// A bound server for any tower service, such as a [`ProtocolTypeRouter`] within layers.
///
/// ```no_run
/// use routing::consumers::InMemoryLayer;
/// use routing::{Server, ServerConfig, UrlRouter, terminated};
///
/// # async fn run(urls: UrlRouter) -> std::io::Result<()> {
/// let site = urls.with_channel_layer(InMemoryLayer::default());
/// let server = Server::bind("127.0.0.1:8000").await?.with_config(ServerConfig::default());
/// let server = server.with_shutdown(site.shutdown());
/// server.run(site, terminated()).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    config: ServerConfig,
    shutdown: Shutdown,
}

impl Server {
    /// Binds an address; port 0 takes a free one. Raises the process' limit of open files as far as it may, since
    /// the common default of 1,024 is the number of sockets at which a server would otherwise stop.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        if let Err(cause) = rlimit::increase_nofile_limit(u64::MAX) {
            tracing::debug!(%cause, "the limit of open files stays as it is");
        }
        let listener = TcpListener::bind(addr).await?;
        // What a listener is set to, the connections that it accepts are set to.
        if let Err(cause) = rustix::net::sockopt::set_tcp_nodelay(&listener, true) {
            tracing::debug!(%cause, "TCP_NODELAY could not be set");
        }
        Ok(Self { listener, config: ServerConfig::default(), shutdown: Shutdown::new() })
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_config(mut self, config: ServerConfig) -> Self {
        self.config = config;
        self
    }

    /// Ties the server to the sockets that it is to end: the router's [`shutdown`](ProtocolTypeRouter::shutdown). Without
    /// it they are cut off when the program ends.
    #[must_use]
    pub fn with_shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `end` completes; then stops accepting, closes sockets with 1012, lets requests finish, and
    /// returns when all have ended or the drain deadline has passed.
    pub async fn run<S, B>(self, service: S, end: impl Future<Output = ()>)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let deadline = self.config.drain_deadline;
        let shutdown = self.shutdown.clone();
        // On a worker, beside the connections: the thread that waits here would have to wake one for each of them.
        let accepting = AbortOnDropHandle::new(tokio::spawn(self.accept_all(service)));
        end.await;
        accepting.abort();
        // It ends by being cut off, and with it the listener.
        let _ = accepting.await;
        shutdown.drain(deadline).await;
    }

    async fn accept_all<S, B>(self, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { listener, config, shutdown } = self;
        let places = Arc::new(Semaphore::new(config.connection_limit));
        let http = protocol(&config);
        loop {
            let (stream, peer) = accept(&listener).await;
            match Arc::clone(&places).try_acquire_owned() {
                Ok(permit) => {
                    let place = Place { _permit: Arc::new(permit) };
                    connection(&http, stream, service_of(service.clone(), peer, place), shutdown.clone());
                }
                Err(_) => refuse(&stream),
            }
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(cause) => {
                tracing::warn!(%cause, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Gives every request of a connection what the server knows of the connection.
fn service_of<S, B>(
    service: S,
    peer: SocketAddr,
    place: Place,
) -> impl HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send> + Send + 'static
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    service_fn(move |mut request: Request<Incoming>| {
        if !has_one_host(request.headers(), request.version()) {
            let refusal = plain(StatusCode::BAD_REQUEST, "a request names one host");
            return Either::Left(ready(Ok(refusal)));
        }
        request.extensions_mut().insert(PeerAddr(peer));
        request.extensions_mut().insert(place.clone());
        Either::Right(service.clone().oneshot(request).map_ok(|response| response.map(Body::new)))
    })
}

/// HTTP with the limits of a server.
fn protocol(config: &ServerConfig) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(config.header_limit);
    http
}

/// Serves one connection as a task of its own, which at the end lets a request that is under way finish.
fn connection<S>(http: &http1::Builder, stream: TcpStream, service: S, shutdown: Shutdown)
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send> + Send + 'static,
{
    // In a box, for it is large, and a task is moved several times between here and its end.
    let mut connection = Box::pin(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let tracker = shutdown.clone();
    tracker.spawn(async move {
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = shutdown.draining() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = shutdown.overdue() => return tracing::warn!("a request was dropped at the deadline of the shutdown"),
                }
            }
        };
        if let Err(cause) = ended {
            tracing::debug!(%cause, "a connection ended early");
        }
    });
}

/// Tells a client beyond the limit to come back later, without spending a task on it.
fn refuse(stream: &TcpStream) {
    tracing::warn!("a connection over the limit was refused");
    let answer = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    // A client that takes no answer is cut off without one.
    let _ = stream.try_write(answer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_answers_do_not_wait_for_one_another() {
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
        assert!(accept(&server.listener).await.0.nodelay().unwrap());
    }
}
