//! The login and logout pages.

use accounts::Settings;
use axum::http::StatusCode;

use crate::site::{PASSWORD, Site, login_form};

const LOGIN: &str = "/accounts/login/";

#[tokio::test]
async fn the_form_carries_where_to_go() {
    let site = Site::new().await;
    let page = site.get("/accounts/login/?next=/admin/%3Fq=1", &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("name=\"next\" value=\"&#x2f;admin&#x2f;?q=1\""), "{}", page.body);
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    let foreign = site.get("/accounts/login/?next=//evil.example", &[]).await;
    assert!(!foreign.body.contains("evil"));
    assert_eq!(site.get(LOGIN, &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_login_leads_on_and_sets_the_cookie() {
    let site = Site::new().await;
    let form = format!("{}&next=%2Fadmin%2F%3Fq%3D1", login_form(PASSWORD));
    let answer = site.post(LOGIN, &[], &form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header("location"), "/admin/?q=1");
    let cookie = answer.header("set-cookie");
    for part in ["sessionid=", "; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age="] {
        assert!(cookie.contains(part), "{part} is missing in {cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains("Domain"), "{cookie}");
    assert_eq!(site.who(&[("cookie", &answer.cookie())]).await.as_deref(), Some("ana"));
    assert_eq!(site.number("SELECT count(*) AS n FROM accounts_user WHERE last_login IS NOT NULL").await, 1);
}

#[tokio::test]
async fn a_login_leads_nowhere_else() {
    let site = Site::new().await;
    for next in ["//evil.example", "/%5Cevil.example", "https://evil.example", "/%0D%0ASet-Cookie:+a=b", ""] {
        let answer = site.post(LOGIN, &[], &format!("{}&next={next}", login_form(PASSWORD))).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/"), "{next}");
    }
}

#[tokio::test]
async fn behind_tls_the_cookie_is_secure() {
    let site = Site::with(Settings { secure_cookies: true }).await;
    let answer = site.post(LOGIN, &[], &login_form(PASSWORD)).await;
    assert!(answer.header("set-cookie").contains("; Secure"));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_look_alike() {
    let site = Site::new().await;
    let wrong = site.post(LOGIN, &[], &login_form("wrong")).await;
    let unknown = site.post(LOGIN, &[], "username=ben&password=wrong").await;
    for answer in [&wrong, &unknown] {
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.header("set-cookie"), "");
        assert!(answer.body.contains("Username and password do not match."));
    }
    assert_eq!(wrong.body.replace("\"ana\"", "\"ben\""), unknown.body);
    let script = site.post(LOGIN, &[], "username=%22%3E%3Cscript%3E&password=x").await;
    assert!(!script.body.contains("\"><script>"));
}

#[tokio::test]
async fn an_inactive_user_cannot_log_in() {
    let site = Site::new().await;
    site.execute("UPDATE accounts_user SET is_active = FALSE").await;
    let answer = site.post(LOGIN, &[], &login_form(PASSWORD)).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (StatusCode::FORBIDDEN, ""));
}

#[tokio::test]
async fn guessing_is_throttled_whatever_the_password() {
    let site = Site::new().await;
    for _ in 0..10 {
        assert_eq!(site.post(LOGIN, &[], &login_form("wrong")).await.status, StatusCode::FORBIDDEN);
    }
    let answer = site.post(LOGIN, &[], &login_form(PASSWORD)).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (StatusCode::TOO_MANY_REQUESTS, ""));
    assert!(answer.body.contains("Too many failed attempts. Try again later."));
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((200..=300).contains(&seconds), "{seconds}");
    let other = site.post(LOGIN, &[], "username=ben&password=wrong").await;
    assert_eq!(other.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn names_that_only_other_programs_give_are_throttled_alike() {
    let site = Site::new().await;
    site.execute("UPDATE accounts_user SET username = 'zoë'").await;
    for name in ["zo%C3%AB", "nobody%20at%20all"] {
        let form = format!("username={name}&password=wrong");
        for _ in 0..10 {
            assert_eq!(site.post(LOGIN, &[], &form).await.status, StatusCode::FORBIDDEN, "{name}");
        }
        assert_eq!(site.post(LOGIN, &[], &form).await.status, StatusCode::TOO_MANY_REQUESTS, "{name}");
    }
}

#[tokio::test]
async fn a_logout_ends_the_session_for_good() {
    let site = Site::new().await;
    let cookie = site.log_in().await;
    let answer = site.post("/accounts/logout/", &[("cookie", &cookie)], "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.header("set-cookie").starts_with("sessionid=; Path=/; Max-Age=0;"));
    assert!(answer.body.contains("Logged out"));
    assert_eq!(site.who(&[("cookie", &cookie)]).await, None);
    let again = site.post("/accounts/logout/", &[("cookie", &cookie)], "").await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(site.get("/accounts/logout/", &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn forms_are_limited() {
    let site = Site::new().await;
    let large = login_form(&"x".repeat(17 * 1024));
    assert_eq!(site.post(LOGIN, &[], &large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(site.post(LOGIN, &[], "username=ana").await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn without_a_database_nothing_is_told() {
    let site = Site::new().await;
    let cookie = site.log_in().await;
    site.db.close().await;
    for answer in [
        site.post(LOGIN, &[], &login_form(PASSWORD)).await,
        site.get("/accounts/whoami/", &[("cookie", &cookie)]).await,
    ] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        let text = answer.body.to_lowercase();
        assert!(text.contains("try again") && !text.contains("pool") && !text.contains("sql"), "{text}");
    }
}
