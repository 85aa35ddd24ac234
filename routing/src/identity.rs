//! Who makes a request: the traits that an accounts app implements, and the one layer that asks it, for HTTP and
//! WebSocket requests alike.

use std::convert::Infallible;
use std::error::Error;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use axum_core::body::Body;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tower::{Layer, Service};

/// A user of the site, as far as handlers and consumers need to know one.
pub trait User: Debug + Send + Sync + 'static {
    /// The number by which rows refer to the user.
    fn id(&self) -> i64;
    /// The unique name that the user logs in with.
    fn username(&self) -> &str;
    /// Whether the user may enter the admin.
    fn is_staff(&self) -> bool;
    /// Whether the user may do everything, without being permitted each thing.
    fn is_superuser(&self) -> bool;
    /// Whether the user may log in at all.
    fn is_active(&self) -> bool;
}

/// What the server remembers of one browser between its requests.
pub trait Session: Debug + Send + Sync + 'static {
    /// What identifies the session in its store. It is *not* what the browser's cookie holds, so it may be logged.
    fn key(&self) -> &str;
}

/// What proved who makes a request. Browsers add cookies to requests that other sites make them send, so what a
/// cookie proved needs a check of the request's origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Credential {
    /// Nothing: the request is anonymous.
    #[default]
    None,
    /// A session's cookie.
    Cookie,
    /// An `Authorization` header, or something else that a browser does not add by itself.
    Header,
}

/// Who makes a request; by default nobody known. [`IdentityLayer`] puts it into the request's extensions, from
/// where it reaches the scope of a consumer.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The user, who is active; `None` when the request is anonymous.
    pub user: Option<Arc<dyn User>>,
    /// The session, when the request's cookie belongs to one.
    pub session: Option<Arc<dyn Session>>,
    /// What proved it.
    pub credential: Credential,
}

/// Finds out who makes a request.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Reads the credentials in a request. One without any, or with a cookie that has lost its meaning, is anonymous.
    ///
    /// They are in the headers; or in the address, for a page cannot set the headers of its WebSockets: a token there
    /// should be good once and for a short time, because logs keep addresses. The extensions hold what the server
    /// knows, such as the [`PeerAddr`](crate::PeerAddr).
    ///
    /// # Errors
    /// Explicit credentials that are wrong or come too often, and a store that is away: the request is answered with
    /// the error, and its handler is not called.
    async fn identify(&self, request: &Parts) -> Result<Identity, IdentifyError>;
}

/// Why a request got no identity, not even the anonymous one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifyError {
    /// The `Authorization` header is wrong. Answered with 401 and a challenge to authenticate in this realm.
    #[error("the credentials are wrong: check the username and the password")]
    Refused {
        /// The name of the protected space; quotes and control characters in it are left out.
        realm: &'static str,
    },
    /// Too many wrong credentials were sent. Answered with 429.
    #[error("too many failed attempts: wait {seconds} seconds")]
    Throttled {
        /// When to try again.
        seconds: u64,
    },
    /// Users or sessions cannot be read now. Answered with 503; the cause goes to the log, never to the client.
    #[error("users and sessions cannot be read")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

impl IdentifyError {
    /// What the client gets to read.
    fn into_response(self) -> Response<Body> {
        match self {
            Self::Refused { realm } => {
                let mut response = plain(StatusCode::UNAUTHORIZED, "Wrong username or password.\n");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, basic_challenge(realm));
                response
            }
            Self::Throttled { seconds } => {
                let mut response =
                    plain(StatusCode::TOO_MANY_REQUESTS, "Too many failed attempts: try again later.\n");
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                response
            }
            Self::Unavailable(cause) => {
                tracing::error!(cause = %cause, "a request's identity could not be found out");
                plain(StatusCode::SERVICE_UNAVAILABLE, "The service is not available: try again later.\n")
            }
        }
    }
}

/// Puts an [`Identity`] into the extensions of every request.
///
/// It goes around everything that asks who the user is: axum routers, this crate's routers, and
/// [`CsrfLayer`](crate::CsrfLayer).
#[derive(Clone)]
pub struct IdentityLayer {
    authenticator: Arc<dyn Authenticator>,
}

impl IdentityLayer {
    /// A layer that asks `authenticator` about each request, once.
    #[must_use]
    pub fn new(authenticator: Arc<dyn Authenticator>) -> Self {
        Self { authenticator }
    }
}

impl Debug for IdentityLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for IdentityLayer {
    type Service = IdentityService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IdentityService { inner, authenticator: self.authenticator.clone() }
    }
}

/// The service that [`IdentityLayer`] makes.
#[derive(Clone)]
pub struct IdentityService<S> {
    inner: S,
    authenticator: Arc<dyn Authenticator>,
}

impl<S: Debug> Debug for IdentityService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<B>> for IdentityService<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The clone may not be ready; the original is, so the original goes into the future.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let authenticator = self.authenticator.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match authenticator.identify(&parts).await {
                Ok(identity) => {
                    parts.extensions.insert(identity);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(error) => Ok(error.into_response()),
            }
        })
    }
}

/// An answer of one line of text.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn basic_challenge(realm: &str) -> HeaderValue {
    let realm = realm.replace(|c: char| !(c == ' ' || c.is_ascii_graphic()) || matches!(c, '"' | '\\'), "");
    HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
        .expect("only printable ASCII is left in the realm")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    #[derive(Debug)]
    struct Ana;

    impl User for Ana {
        fn id(&self) -> i64 {
            7
        }
        fn username(&self) -> &str {
            "ana"
        }
        fn is_staff(&self) -> bool {
            false
        }
        fn is_superuser(&self) -> bool {
            false
        }
        fn is_active(&self) -> bool {
            true
        }
    }

    /// Knows Ana by her header or by her token.
    struct Names;

    #[async_trait]
    impl Authenticator for Names {
        async fn identify(&self, request: &Parts) -> Result<Identity, IdentifyError> {
            let token = request.uri.query().and_then(|query| query.strip_prefix("token="));
            let name = request.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
            match name.or_else(|| token.map(str::as_bytes)) {
                None => Ok(Identity::default()),
                Some(b"ana") => {
                    Ok(Identity { user: Some(Arc::new(Ana)), session: None, credential: Credential::Header })
                }
                Some(b"many") => Err(IdentifyError::Throttled { seconds: 90 }),
                Some(b"away") => Err(IdentifyError::Unavailable("disk of host db7 is full".into())),
                Some(_) => Err(IdentifyError::Refused { realm: "the \"shop\"\n" }),
            }
        }
    }

    /// Answers with the name of the user, "?" for an anonymous one, "!" where the layer did not run.
    async fn answer(authorization: &'static str) -> (StatusCode, HeaderMap, String) {
        answer_at("/", authorization).await
    }

    async fn answer_at(address: &str, authorization: &'static str) -> (StatusCode, HeaderMap, String) {
        let inner = tower::service_fn(|request: Request<()>| async move {
            let name = request.extensions().get::<Identity>().map_or_else(
                || "!".to_owned(),
                |identity| identity.user.as_ref().map_or_else(|| "?".to_owned(), |u| u.username().to_owned()),
            );
            Ok::<_, Infallible>(Response::new(Body::from(name)))
        });
        let service = IdentityLayer::new(Arc::new(Names)).layer(inner);
        let mut request = Request::get(address).body(()).unwrap();
        if !authorization.is_empty() {
            request.headers_mut().insert(header::AUTHORIZATION, HeaderValue::from_static(authorization));
        }
        let (head, body) = service.oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_handler_learns_who_asks() {
        assert_eq!(answer("ana").await.2, "ana");
        assert_eq!(answer("").await.2, "?");
    }

    #[tokio::test]
    async fn a_token_may_be_in_the_address() {
        assert_eq!(answer_at("/ws/?token=ana", "").await.2, "ana");
    }

    #[tokio::test]
    async fn wrong_credentials_are_challenged() {
        let (status, headers, _) = answer("eve").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(headers[header::WWW_AUTHENTICATE], "Basic realm=\"the shop\", charset=\"UTF-8\"");
    }

    #[tokio::test]
    async fn too_many_attempts_are_told_when_to_come_back() {
        let (status, headers, _) = answer("many").await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(headers[header::RETRY_AFTER], "90");
    }

    #[tokio::test]
    async fn the_cause_of_an_outage_stays_inside() {
        let (status, headers, body) = answer("away").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!body.contains("db7") && !format!("{headers:?}").contains("db7"));
    }
}
