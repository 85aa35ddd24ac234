//! Who may use `/api/data/`, how they prove it, and which addresses and methods there are.

use axum::http::StatusCode;
use serde_json::json;

use crate::site::{HOST, PASSWORD, Site, address, basic};

const JSON: (&str, &str) = ("content-type", "application/json");
const ORDER: &str = r#"{"instrument":"A","quantity":1,"price":1}"#;

/// Logs `ana` in by the form and returns the `Cookie` header of her session.
async fn log_in(site: &Site) -> String {
    let headers =
        [("content-type", "application/x-www-form-urlencoded"), ("origin", "http://shop.example:8000")];
    let form = format!("username=ana&password={}", PASSWORD.replace(' ', "+"));
    let answer = site.client("").send("POST", "/accounts/login/", &headers, &form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn nobody_gets_nothing() {
    let site = Site::new().await;
    let order = site.client("ana").order("A", "1", "1").await;
    let own_page = ("sec-fetch-site", "same-origin");
    for (method, path) in [
        ("GET", "/api/data/".to_owned()),
        ("GET", "/api/data/?format=datatables&draw=1".to_owned()),
        ("POST", "/api/data/".to_owned()),
        ("GET", address(&order)),
        ("PUT", address(&order)),
        ("PATCH", address(&order)),
        ("DELETE", address(&order)),
    ] {
        let answer = site.client("").send(method, &path, &[own_page, JSON], ORDER).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"waterway\"");
        assert!(!answer.body.contains("\"A\""));
    }
    assert_eq!(site.client("ana").json("/api/data/").await["count"], 1);
}

#[tokio::test]
async fn wrong_passwords_are_refused_before_anything_is_done() {
    let site = Site::new().await;
    for wrong in [basic("ana", "wrong"), basic("nobody", PASSWORD), "Basic !".to_owned()] {
        let headers = [("authorization", wrong.as_str()), JSON];
        for method in ["GET", "POST"] {
            let answer = site.client("").send(method, "/api/data/", &headers, ORDER).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {wrong}");
            assert!(answer.header("www-authenticate").starts_with("Basic realm=\"waterway\""));
        }
    }
    site.execute("UPDATE accounts_user SET is_active = FALSE WHERE username = 'ana'").await;
    assert_eq!(site.client("ana").get("/api/data/").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_cookie_writes_from_pages_of_this_site_only() {
    let site = Site::new().await;
    let cookie = log_in(&site).await;
    let cookie = ("cookie", cookie.as_str());
    let nobody = site.client("");
    assert_eq!(nobody.send("GET", "/api/data/", &[cookie], "").await.status, StatusCode::OK);
    let own = format!("http://{HOST}");
    for (header, value, expected) in [
        ("accept", "*/*", StatusCode::FORBIDDEN),
        ("origin", "http://evil.example", StatusCode::FORBIDDEN),
        ("origin", "http://shop.example", StatusCode::FORBIDDEN),
        ("origin", "null", StatusCode::FORBIDDEN),
        ("sec-fetch-site", "cross-site", StatusCode::FORBIDDEN),
        ("sec-fetch-site", "same-site", StatusCode::FORBIDDEN),
        ("origin", own.as_str(), StatusCode::CREATED),
        ("sec-fetch-site", "same-origin", StatusCode::CREATED),
    ] {
        let answer = nobody.send("POST", "/api/data/", &[cookie, JSON, (header, value)], ORDER).await;
        assert_eq!(answer.status, expected, "{header}: {value}");
    }
    assert_eq!(nobody.send("DELETE", "/api/data/1/", &[cookie], "").await.status, StatusCode::FORBIDDEN);
    let list = site.client("ana").json("/api/data/").await;
    assert_eq!(list["count"], 2, "no refused write was made");
}

#[tokio::test]
async fn addresses_end_with_a_slash() {
    let site = Site::new().await;
    let ana = site.client("ana");
    ana.order("A", "1", "1").await;
    for path in ["/api/data", "/api/data/1", "/api/data//", "/api/data/1/x/", "/api/", "/api/Data/"] {
        assert_eq!(ana.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let posted = ana.post("/api/data", &json!({})).await;
    assert_eq!(posted.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let site = Site::new().await;
    let ana = site.client("ana");
    ana.order("A", "1", "1").await;
    for (method, path, allowed) in [
        ("DELETE", "/api/data/", "GET,HEAD,POST"),
        ("PUT", "/api/data/", "GET,HEAD,POST"),
        ("POST", "/api/data/1/", "GET,HEAD,PUT,PATCH,DELETE"),
    ] {
        let answer = ana.send(method, path, &[JSON], ORDER).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(answer.header("allow"), allowed);
    }
    let head = ana.send("HEAD", "/api/data/", &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
}
