//! The page at `/`, as far as a server can be asked about it, and its files.

use axum::http::StatusCode;

use crate::site::Site;

#[tokio::test]
async fn the_page_is_for_users_and_shows_their_sum() {
    let site = Site::new().await;
    let anonymous = site.client("").get("/").await;
    assert_eq!(anonymous.status, StatusCode::SEE_OTHER);
    assert_eq!(anonymous.header("location"), "/accounts/login/?next=%2F");
    site.client("ana").order("SECRET", "3", "1.000001").await;
    for (user, sum) in [("ana", "3.000003"), ("ben", ">0<"), ("boss", "3.000003")] {
        let page = site.client(user).get("/").await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.body.contains(sum), "{user}: {}", page.body);
        assert!(page.body.contains(user) && !page.body.contains("SECRET"), "rows are loaded later");
    }
}

#[tokio::test]
async fn the_files_that_the_page_names_are_there() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let page = ana.get("/").await.body;
    let named = page.split('"').filter(|text| text.starts_with("/static/") && !text.contains("/accounts/"));
    let named: Vec<_> = named.collect();
    assert!(named.len() >= 2, "{page}");
    for path in named {
        let file = site.client("").get(path).await;
        assert_eq!(file.status, StatusCode::OK, "{path}");
        assert!(!file.body.is_empty() && !file.header("etag").is_empty(), "{path}");
    }
    assert_eq!(ana.get("/static/orders/package.json").await.status, StatusCode::NOT_FOUND);
}
