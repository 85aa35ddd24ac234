//! What users may rely on: public types can be shared between threads, and services can be cloned.

use axum::body::Body;
use axum::response::Response;
use http_body_util::Limited;
use routing::consumers::InMemoryLayer;
use routing::{
    CsrfLayer, CsrfService, IdentifyError, Identity, IdentityLayer, IdentityService, OriginValidator,
    PeerAddr, ProtocolTypeRouter, Server, ServerConfig, SocketConfig, UrlRouter,
};
use tower::util::MapResponse;

const fn shared<T: Send + Sync + 'static>() {}
const fn cloned<T: Clone + Send + Sync + 'static>() {}
const fn debug<T: std::fmt::Debug>() {}

/// The compiler checks all of it; there is nothing left to run.
const _: () = {
    shared::<IdentifyError>();
    shared::<Server>();
    cloned::<CsrfLayer>();
    cloned::<CsrfService<UrlRouter>>();
    cloned::<Identity>();
    cloned::<IdentityLayer>();
    cloned::<IdentityService<ProtocolTypeRouter>>();
    cloned::<OriginValidator>();
    cloned::<PeerAddr>();
    cloned::<ProtocolTypeRouter>();
    cloned::<ServerConfig>();
    cloned::<SocketConfig>();
    cloned::<UrlRouter>();
    debug::<(
        IdentityLayer,
        OriginValidator,
        ProtocolTypeRouter,
        Server,
        ServerConfig,
        SocketConfig,
        UrlRouter,
    )>();
};

#[tokio::test]
async fn serving_can_be_a_task() {
    const fn task<F: Future + Send + 'static>(_: &F) {}
    let app = UrlRouter::new();
    task(&routing::serve("127.0.0.1:0", app.clone(), InMemoryLayer::default()));
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    task(&server.run(ProtocolTypeRouter::from(app.clone()), routing::terminated()));
    // As layers leave it that compress or trace.
    let limited = |response: Response<Body>| response.map(|body| Limited::new(body, 1024));
    let changed = MapResponse::new(app, limited);
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    task(&server.run(changed, routing::terminated()));
}
