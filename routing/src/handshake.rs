//! The opening handshake: from an HTTP request to an application with a socket, and its answer back.

use std::sync::Arc;

use axum_core::body::Body;
use consumers::{Acceptance, Application, Denial, Handshake, Outbound, Scope, Transport};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::identity::plain;
use crate::site::Site;
use crate::socket::ServerSocket;

/// Whether a request asks for a WebSocket.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    has_token(request.headers(), &header::UPGRADE, "websocket")
}

/// Opens the application with a socket for this request and answers as it decides.
pub(crate) async fn answer<B>(
    site: Site,
    app: Arc<dyn Application>,
    mut request: Request<B>,
) -> Response<Body> {
    let key = match check(&request) {
        Ok(key) => key,
        Err(refusal) => return *refusal,
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let mut parts: Parts = request.into_parts().0;
    let scope = Scope::from_request(&mut parts, site.layers.clone());
    drop(parts);
    let outbound = Outbound::new();
    let socket = ServerSocket::new(upgrade, outbound.clone(), Arc::clone(&site.sockets));
    let (transport, answer) = Transport::new(socket, outbound, site.shutdown.clone());
    // In a box, for a task keeps room for what it was given all its life.
    let given = Box::new((scope, transport));
    let opened = async move {
        let (scope, transport) = emptied(given);
        app.open(scope, transport).await;
    };
    site.shutdown.begin(opened).await;
    match tokio::time::timeout(site.sockets.handshake_timeout, answer).await {
        Ok(Ok(Handshake::Accept(acceptance))) => switching(&key, acceptance),
        Ok(Ok(Handshake::Deny(denial))) => denied(denial),
        Ok(Err(_)) => plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
        Err(_) => {
            tracing::warn!("a consumer has neither accepted nor refused a handshake in time");
            plain(StatusCode::SERVICE_UNAVAILABLE, "try again later")
        }
    }
}

/// What was in a box, which ends here and not with the caller.
#[expect(clippy::boxed_local, reason = "the box is what it is about: it has to end before the task waits")]
fn emptied<T>(given: Box<T>) -> T {
    *given
}

/// Checks what RFC 6455, section 4.2.1, asks of a client, and returns what its key is answered with.
fn check<B>(request: &Request<B>) -> Result<HeaderValue, Box<Response<Body>>> {
    let headers = request.headers();
    let bad = |text| Err(Box::new(plain(StatusCode::BAD_REQUEST, text)));
    if request.method() != Method::GET || request.version() < Version::HTTP_11 {
        return bad("a WebSocket handshake is a GET over HTTP/1.1");
    }
    if !has_one_host(headers, request.version()) {
        return bad("a request names one host");
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return bad("a WebSocket handshake needs `Connection: Upgrade`");
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut response = upgrade_required("this server speaks WebSocket version 13");
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(Box::new(response));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let Ok(accept) = HeaderValue::try_from(derive_accept_key(key)) else {
        return bad("the key is not valid");
    };
    if !is_key(key) {
        return bad("a WebSocket handshake needs a `Sec-WebSocket-Key` of 16 bytes in base64");
    }
    Ok(accept)
}

/// Whether a request names its host, which HTTP/1.0 need not, and only one: what trusts the first, such as the check of an
/// origin, must not differ from a proxy that goes by the second (RFC 9112, section 3.2).
pub(crate) fn has_one_host(headers: &HeaderMap, version: Version) -> bool {
    match headers.get_all(header::HOST).iter().take(2).count() {
        0 => version < Version::HTTP_11,
        hosts => hosts == 1,
    }
}

/// The answer where a WebSocket of this version is all that is served.
pub(crate) fn upgrade_required(text: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::UPGRADE_REQUIRED, text);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}

/// Whether it is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    key.len() == 24 && key.strip_suffix(b"==").is_some_and(|digits| digits.iter().all(is_digit))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|value| value.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn switching(accept: &HeaderValue, acceptance: Acceptance) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    *headers = acceptance.headers;
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
    if let Some(subprotocol) = acceptance.subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    response
}

fn denied(denial: Denial) -> Response<Body> {
    let mut response = Response::new(Body::from(denial.body));
    *response.status_mut() = denial.status;
    *response.headers_mut() = denial.headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("host", "site.test"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    /// The status that a handshake gets with one header in another's place.
    fn status(name: &str, value: Option<&str>) -> u16 {
        let mut request = Request::get("/");
        for (header, good) in GOOD {
            let value = if header == name { value } else { Some(good) };
            request = value.into_iter().fold(request, |request, value| request.header(header, value));
        }
        check(&request.body(()).unwrap()).map_or_else(|response| response.status().as_u16(), |_| 101)
    }

    #[test]
    fn the_sample_of_the_rfc_is_answered_as_there() {
        let request =
            GOOD.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
        assert_eq!(check(&request.body(()).unwrap()).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_the_rfc_asks_for_is_checked() {
        assert_eq!(status("", None), 101);
        assert_eq!(status("host", None), 400);
        assert_eq!(status("connection", Some("keep-alive")), 400);
        assert_eq!(status("sec-websocket-version", Some("8")), 426);
        assert_eq!(status("sec-websocket-version", None), 426);
        assert_eq!(status("sec-websocket-key", None), 400);
        assert_eq!(status("sec-websocket-key", Some("short")), 400);
    }

    #[test]
    fn only_an_upgrade_to_websocket_is_one() {
        let upgrade = |value| is_upgrade(&Request::get("/").header("upgrade", value).body(()).unwrap());
        assert!(upgrade("websocket") && upgrade("h2c, WebSocket"));
        assert!(!upgrade("h2c"));
    }
}
