//! Pages of other sites are kept from opening sockets with our users' cookies.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::request::Parts;
use routing::consumers::InMemoryLayer;
use routing::{
    Authenticator, Credential, IdentifyError, Identity, IdentityLayer, OriginValidator, UrlRouter, User,
};

use crate::axum::serve;
use crate::support::{Echo, ask, upgrade_request};

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

/// Knows Ana by her cookie or by her header.
pub(crate) struct ByCookie;

impl ByCookie {
    pub(crate) fn shared() -> Arc<dyn Authenticator> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Authenticator for ByCookie {
    async fn identify(&self, request: &Parts) -> Result<Identity, IdentifyError> {
        let ana = |credential| Identity { user: Some(Arc::new(Ana)), session: None, credential };
        match (request.headers.get("authorization"), request.headers.get("cookie")) {
            (Some(name), _) if name == "ana" => Ok(ana(Credential::Header)),
            (Some(_), _) => Err(IdentifyError::Refused { realm: "site" }),
            (None, Some(name)) if name == "ana" => Ok(ana(Credential::Cookie)),
            (None, _) => Ok(Identity::default()),
        }
    }
}

async fn guarded(validator: OriginValidator) -> SocketAddr {
    let (sender, _) = tokio::sync::mpsc::channel(16);
    let router = UrlRouter::new()
        .with(validator)
        .route("/", move |_| Ok(Echo(sender.clone())))
        .with_channel_layer(InMemoryLayer::default());
    serve(axum::Router::new().fallback_service(router).layer(IdentityLayer::new(ByCookie::shared()))).await
}

/// Each set of headers is answered with its status.
async fn check(validator: OriginValidator, cases: &[(&str, u16)]) {
    let addr = guarded(validator).await;
    for (headers, expected) in cases {
        let answer = ask(addr, &upgrade_request("/", headers)).await;
        assert_eq!(answer.status, *expected, "{headers:?}");
    }
}

#[tokio::test]
async fn only_pages_of_the_same_host_may_use_a_cookie() {
    let cases = [
        ("Origin: http://site.test\r\nCookie: ana\r\n", 101),
        ("Origin: http://site.test\r\n", 101),
        ("Origin: http://evil.test\r\nCookie: ana\r\n", 403),
        ("Origin: http://evil.test\r\n", 403),
        ("Origin: http://site.test:8080\r\n", 403),
        ("Origin: http://site.test.evil.test\r\n", 403),
        ("Origin: null\r\nCookie: ana\r\n", 403),
        ("Cookie: ana\r\n", 403),
        ("Cookie: eve\r\n", 101),
        ("Authorization: ana\r\n", 101),
        ("Authorization: ana\r\nCookie: ana\r\n", 101),
        ("Authorization: ana\r\nOrigin: http://evil.test\r\n", 403),
        ("", 101),
    ];
    check(OriginValidator::same_host(), &cases).await;
}

#[tokio::test]
async fn a_list_of_sites_may() {
    let cases = [
        ("Origin: https://shop.test\r\nCookie: ana\r\n", 101),
        ("Origin: https://www.friend.test:444\r\nCookie: ana\r\n", 101),
        ("Origin: http://site.test\r\nCookie: ana\r\n", 403),
        ("Cookie: ana\r\n", 403),
        ("", 101),
    ];
    check(OriginValidator::new(["https://shop.test", ".friend.test"]), &cases).await;
}

#[tokio::test]
async fn a_refusal_says_no_more_than_that() {
    let addr = guarded(OriginValidator::same_host()).await;
    let answer = ask(addr, &upgrade_request("/", "Origin: http://evil.test\r\n")).await;
    assert_eq!((answer.status, &*answer.body), (403, "this origin is not allowed"));
}
