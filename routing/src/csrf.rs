//! Refuses writes that another site made a browser send. There is no token to carry: the browser itself says where
//! a request comes from.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum_core::body::Body;
use futures_util::future::Either;
use http::{Method, Request, Response, StatusCode, header};
use tower::{Layer, Service};

use crate::identity::{Credential, Identity, plain};

/// Answers 403 to a state-changing request (any method but GET, HEAD, OPTIONS and TRACE) unless it comes from a page
/// of this site or from a script. It goes inside [`IdentityLayer`](crate::IdentityLayer).
///
/// The first of these that applies decides, whoever the user is:
///
/// 1. With `Sec-Fetch-Site`, the request passes if that is `same-origin`, or `none` (the user typed the address).
/// 2. With `Origin`, it passes if that names the host that the request was sent to.
/// 3. With neither, it was not sent by a current browser, and passes only if it carries an `Authorization` header
///    and no cookie authenticated it.
///
/// So a login needs a page of this site, too, or others could log a browser in under *their* name; scripts use the
/// `Authorization` header and need no login. The first two rules also bind requests with that header, because a
/// browser that once asked its user for a password sends it along by itself, as it does cookies.
#[derive(Debug, Clone, Copy, Default)]
pub struct CsrfLayer;

impl<S> Layer<S> for CsrfLayer {
    type Service = CsrfService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CsrfService { inner }
    }
}

/// The service that [`CsrfLayer`] makes.
#[derive(Debug, Clone)]
pub struct CsrfService<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for CsrfService<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if is_read(request.method()) || is_own(&request) {
            return Either::Right(self.inner.call(request));
        }
        let refusal = "Refused: this request does not come from a page of this site. \
                       Open the page anew, or, in a script, send an Authorization header.\n";
        Either::Left(ready(Ok(plain(StatusCode::FORBIDDEN, refusal))))
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Whether a page of this site, or a script, sent the request.
fn is_own<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        return origin.to_str().is_ok_and(|origin| names_host_of(origin, request));
    }
    let by_cookie =
        request.extensions().get::<Identity>().is_some_and(|known| known.credential == Credential::Cookie);
    headers.contains_key(header::AUTHORIZATION) && !by_cookie
}

/// Whether an `Origin` names the host and port that the request was sent to. Its scheme is not compared: behind a
/// proxy that ends TLS, nobody here knows it.
fn names_host_of<B>(origin: &str, request: &Request<B>) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    // HTTP/2 carries the host in the address instead of a header.
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.or_else(|| request.uri().authority().map(|authority| authority.as_str())) else {
        return false;
    };
    let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let bare =
        |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase();
    !authority.is_empty() && bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use tower::ServiceExt;

    use super::*;

    type Headers<'a> = &'a [(&'static str, &'static str)];

    async fn status(method: Method, credential: Credential, headers: Headers<'_>) -> StatusCode {
        let inner = tower::service_fn(|_: Request<()>| ready(Ok(Response::new(Body::empty()))));
        let mut request = Request::new(());
        *request.method_mut() = method;
        request.headers_mut().insert(header::HOST, "Shop.example:8000".parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        request.extensions_mut().insert(Identity { credential, ..Identity::default() });
        CsrfLayer.layer(inner).oneshot(request).await.unwrap().status()
    }

    async fn passes(credential: Credential, headers: Headers<'_>) -> bool {
        match status(Method::POST, credential, headers).await {
            StatusCode::OK => true,
            StatusCode::FORBIDDEN => false,
            other => panic!("neither passed nor refused: {other}"),
        }
    }

    const AUTHORIZATION: (&str, &str) = ("authorization", "Basic YTpi");

    #[tokio::test]
    async fn only_writes_are_checked() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            let headers: Headers<'_> = &[("sec-fetch-site", "cross-site")];
            assert_eq!(status(method, Credential::Cookie, headers).await, StatusCode::OK);
        }
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert_eq!(status(method, Credential::Cookie, &[]).await, StatusCode::FORBIDDEN);
        }
    }

    /// Whether a request with these headers passes, which must be the same with every credential.
    async fn passes_with_any(headers: Headers<'_>) -> bool {
        let anonymous = passes(Credential::None, headers).await;
        assert_eq!(passes(Credential::Cookie, headers).await, anonymous, "{headers:?}");
        assert_eq!(passes(Credential::Header, headers).await, anonymous, "{headers:?}");
        anonymous
    }

    #[tokio::test]
    async fn what_the_browser_says_decides_for_every_credential() {
        for (site, expected) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)]
        {
            let site = ("sec-fetch-site", site);
            assert_eq!(passes_with_any(&[site]).await, expected, "{site:?}");
            // Neither an Origin nor an Authorization header changes its word.
            let (own, foreign) = (("origin", "http://shop.example:8000"), ("origin", "http://evil.example"));
            assert_eq!(passes_with_any(&[site, own, AUTHORIZATION]).await, expected, "{site:?}");
            assert_eq!(passes_with_any(&[site, foreign, AUTHORIZATION]).await, expected, "{site:?}");
        }
    }

    #[tokio::test]
    async fn without_it_the_origin_must_be_the_host() {
        for (origin, expected) in [
            ("http://shop.example:8000", true),
            ("https://SHOP.example:8000", true),
            ("http://shop.example", false),
            ("http://shop.example:8001", false),
            ("http://evil.example", false),
            ("http://shop.example:8000.evil.example", false),
            ("shop.example:8000", false),
            ("null", false),
            ("", false),
        ] {
            let origin = ("origin", origin);
            assert_eq!(passes_with_any(&[origin]).await, expected, "{origin:?}");
            assert_eq!(passes_with_any(&[origin, AUTHORIZATION]).await, expected, "{origin:?}");
        }
    }

    #[tokio::test]
    async fn default_ports_need_not_be_written() {
        let headers = [("host", "shop.example:443"), ("origin", "https://shop.example")];
        assert!(passes(Credential::Cookie, &headers).await);
        let headers = [("host", "shop.example:443"), ("origin", "http://shop.example")];
        assert!(!passes(Credential::Cookie, &headers).await);
        let nowhere = [("host", ""), ("origin", "http://")];
        assert!(!passes(Credential::Cookie, &nowhere).await);
    }

    #[tokio::test]
    async fn with_neither_only_scripts_with_authorization_pass() {
        assert!(passes(Credential::Header, &[AUTHORIZATION]).await);
        assert!(!passes(Credential::Cookie, &[]).await);
        // A meaningless Authorization header does not whitewash a cookie.
        assert!(!passes(Credential::Cookie, &[AUTHORIZATION]).await);
        // Nor may a script log in by the form.
        assert!(!passes(Credential::None, &[]).await);
    }
}
