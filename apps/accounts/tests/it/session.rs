//! Sessions: how long they last, and what ends them. Time passes by moving what the database holds.

use accounts::query;

use crate::site::{PASSWORD, Site, login_form};

const DAY: i64 = 24 * 60 * 60;

async fn left(site: &Site) -> i64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is past 1970").as_secs();
    site.number("SELECT expires AS n FROM accounts_session").await - now.cast_signed()
}

#[tokio::test]
async fn the_database_does_not_hold_the_key() {
    let site = Site::new().await;
    let cookie = site.log_in().await;
    let (_, key) = cookie.split_once('=').unwrap();
    let row = query("SELECT key FROM accounts_session").fetch_one(&site.db).await.unwrap();
    let stored: String = row.get("key").unwrap();
    assert_ne!(stored, key);
    assert_eq!(site.who(&[("cookie", &format!("sessionid={stored}"))]).await, None);
}

#[tokio::test]
async fn a_session_ends_after_fourteen_idle_days() {
    let site = Site::new().await;
    let cookie = site.log_in().await;
    assert!((14 * DAY - 60..=14 * DAY).contains(&left(&site).await));
    site.execute("UPDATE accounts_session SET expires = expires - 14 * 86400").await;
    assert_eq!(site.who(&[("cookie", &cookie)]).await, None);
}

#[tokio::test]
async fn use_prolongs_a_session_once_a_day() {
    let site = Site::new().await;
    let cookie = site.log_in().await;
    site.execute("UPDATE accounts_session SET expires = expires - 86400 + 60").await;
    assert!(site.who(&[("cookie", &cookie)]).await.is_some());
    assert!(left(&site).await <= 13 * DAY + 60, "less than a day has passed");
    site.execute("UPDATE accounts_session SET expires = expires - 120").await;
    assert!(site.who(&[("cookie", &cookie)]).await.is_some());
    assert!(left(&site).await >= 14 * DAY - 60);
}

#[tokio::test]
async fn each_login_has_a_fresh_key_and_ends_the_session_before() {
    let site = Site::new().await;
    let before = site.log_in().await;
    let answer = site.post("/accounts/login/", &[("cookie", &before)], &login_form(PASSWORD)).await;
    let after = answer.cookie();
    assert_ne!(before, after);
    assert_eq!(site.who(&[("cookie", &before)]).await, None);
    assert_eq!(site.who(&[("cookie", &after)]).await.as_deref(), Some("ana"));
    // A key that somebody planted in the browser is never taken over.
    let planted = "sessionid=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let answer = site.post("/accounts/login/", &[("cookie", planted)], &login_form(PASSWORD)).await;
    assert_ne!(answer.cookie(), planted);
    assert_eq!(site.who(&[("cookie", planted)]).await, None);
}

#[tokio::test]
async fn sessions_of_several_browsers_live_side_by_side() {
    let site = Site::new().await;
    let (desk, phone) = (site.log_in().await, site.log_in().await);
    site.post("/accounts/logout/", &[("cookie", &desk)], "").await;
    assert_eq!(site.who(&[("cookie", &desk)]).await, None);
    assert_eq!(site.who(&[("cookie", &phone)]).await.as_deref(), Some("ana"));
}

#[tokio::test]
async fn a_login_sweeps_out_what_has_expired() {
    let site = Site::new().await;
    site.log_in().await;
    site.log_in().await;
    site.execute("UPDATE accounts_session SET expires = 1").await;
    site.log_in().await;
    assert_eq!(site.number("SELECT count(*) AS n FROM accounts_session").await, 1);
}

#[tokio::test]
async fn who_is_made_inactive_is_anonymous_at_once() {
    let site = Site::new().await;
    let cookie = site.log_in().await;
    site.execute("UPDATE accounts_user SET is_active = FALSE").await;
    assert_eq!(site.who(&[("cookie", &cookie)]).await, None);
}

#[tokio::test]
async fn a_new_password_ends_the_sessions() {
    let site = Site::new().await;
    let cookie = site.log_in().await;
    site.accounts.set_password("ana", "another").await.unwrap();
    assert_eq!(site.who(&[("cookie", &cookie)]).await, None);
    assert!(site.accounts.check_password("ana", PASSWORD).await.unwrap().is_none());
    assert!(site.accounts.check_password("ana", "another").await.unwrap().is_some());
}

#[tokio::test]
async fn sessions_go_with_their_user() {
    let site = Site::new().await;
    site.log_in().await;
    site.execute("DELETE FROM accounts_user").await;
    assert_eq!(site.number("SELECT count(*) AS n FROM accounts_session").await, 0);
}
