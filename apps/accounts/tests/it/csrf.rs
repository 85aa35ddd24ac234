//! Writes that other sites make a browser send; logout is the write, and login has no user yet.

use axum::http::StatusCode;

use crate::site::{PASSWORD, Site, basic, login_form};

const FOREIGN: [(&str, &str); 3] =
    [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "http://evil.example")];
const OWN: [(&str, &str); 3] =
    [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none"), ("origin", "http://shop.example")];

#[tokio::test]
async fn a_session_writes_from_pages_of_the_site_only() {
    let site = Site::new().await;
    let cookie = site.log_in().await;
    let cookie = ("cookie", cookie.as_str());
    for from in FOREIGN {
        let answer = site.send("POST", "/accounts/logout/", &[cookie, from], "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{from:?}");
    }
    let silent = site.send("POST", "/accounts/logout/", &[cookie], "").await;
    assert_eq!(silent.status, StatusCode::FORBIDDEN);
    assert!(site.who(&[cookie]).await.is_some(), "no refused write was made");
    for from in OWN {
        let cookie = site.log_in().await;
        let answer = site.send("POST", "/accounts/logout/", &[("cookie", &cookie), from], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{from:?}");
    }
}

#[tokio::test]
async fn reads_come_from_anywhere() {
    let site = Site::new().await;
    let cookie = site.log_in().await;
    for from in FOREIGN {
        assert!(site.who(&[("cookie", &cookie), from]).await.is_some(), "{from:?}");
    }
}

#[tokio::test]
async fn a_login_is_a_write() {
    let site = Site::new().await;
    for from in FOREIGN {
        let answer = site.send("POST", "/accounts/login/", &[from], &login_form(PASSWORD)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{from:?}");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    let script = site.send("POST", "/accounts/login/", &[], &login_form(PASSWORD)).await;
    assert_eq!(script.status, StatusCode::FORBIDDEN);
    assert!(script.body.contains("Authorization"), "scripts are told what to do");
    for from in OWN {
        let answer = site.send("POST", "/accounts/login/", &[from], &login_form(PASSWORD)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{from:?}");
    }
}

#[tokio::test]
async fn scripts_write_with_authorization() {
    let site = Site::new().await;
    let authorization = basic("ana", PASSWORD);
    let script = site.send("POST", "/accounts/logout/", &[("authorization", &authorization)], "").await;
    assert_eq!(script.status, StatusCode::OK);
    // A browser that remembers the password from a dialog is no script.
    for from in FOREIGN {
        let headers = [("authorization", authorization.as_str()), from];
        let answer = site.send("POST", "/accounts/logout/", &headers, "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{from:?}");
    }
}
