//! HTTP Basic authentication.

use axum::http::StatusCode;

use crate::site::{PASSWORD, Site, basic};

const WHOAMI: &str = "/accounts/whoami/";

#[tokio::test]
async fn the_right_password_is_let_in() {
    let site = Site::new().await;
    assert_eq!(site.who(&[("authorization", &basic("ana", PASSWORD))]).await.as_deref(), Some("ana"));
}

#[tokio::test]
async fn wrong_credentials_are_challenged() {
    let site = Site::new().await;
    for wrong in [&basic("ana", "wrong"), &basic("ben", PASSWORD), &basic("ana", ""), "Basic ???"] {
        let answer = site.get(WHOAMI, &[("authorization", wrong)]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert!(answer.header("www-authenticate").starts_with("Basic realm=\"waterway\""));
    }
}

#[tokio::test]
async fn anonymous_scripts_are_asked_for_it() {
    let site = Site::new().await;
    let answer = site.get(WHOAMI, &[]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("www-authenticate"), "Basic realm=\"waterway\"");
}

#[tokio::test]
async fn wrong_credentials_do_not_fall_back_to_a_cookie() {
    let site = Site::new().await;
    let cookie = site.log_in().await;
    let headers = [("cookie", cookie.as_str()), ("authorization", &basic("ana", "wrong"))];
    assert_eq!(site.get(WHOAMI, &headers).await.status, StatusCode::UNAUTHORIZED);
    let headers = [("cookie", cookie.as_str()), ("authorization", "Bearer of something else")];
    assert_eq!(site.who(&headers).await.as_deref(), Some("ana"));
}

#[tokio::test]
async fn a_verified_password_is_not_verified_again() {
    let site = Site::new().await;
    let right = basic("ana", PASSWORD);
    assert!(site.who(&[("authorization", &right)]).await.is_some());
    for _ in 0..10 {
        site.get(WHOAMI, &[("authorization", &basic("ana", "wrong"))]).await;
    }
    // Who guesses locks others out, but not the one who was verified before: that request makes no attempt.
    let fresh = site.get(WHOAMI, &[("authorization", &basic("ana", "wrong again"))]).await;
    assert_eq!(fresh.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(fresh.headers.contains_key("retry-after"));
    assert_eq!(site.who(&[("authorization", &right)]).await.as_deref(), Some("ana"));
}

#[tokio::test]
async fn what_was_verified_is_void_once_the_user_changes() {
    let site = Site::new().await;
    let right = basic("ana", PASSWORD);
    let headers = [("authorization", right.as_str())];
    let ask = || site.get(WHOAMI, &headers);
    assert_eq!(ask().await.status, StatusCode::OK);
    site.execute("UPDATE accounts_user SET is_active = FALSE").await;
    assert_eq!(ask().await.status, StatusCode::UNAUTHORIZED);
    site.execute("UPDATE accounts_user SET is_active = TRUE").await;
    assert_eq!(ask().await.status, StatusCode::OK);
    site.accounts.set_password("ana", "another").await.unwrap();
    assert_eq!(ask().await.status, StatusCode::UNAUTHORIZED);
    assert!(site.who(&[("authorization", &basic("ana", "another"))]).await.is_some());
}
