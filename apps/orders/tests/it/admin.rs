//! The admin: staff list, search, add, change and delete; nobody else gets in.

use axum::http::StatusCode;
use serde_json::Value;

use crate::site::{Answer, Client, Site, address, next_event};

const LIST: &str = "/admin/orders/";

async fn page(client: &Client, path: &str) -> String {
    let answer = client.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    answer.body
}

/// The numbers of the orders that a list shows, from first to last.
fn listed(page: &str) -> Vec<i64> {
    let rows = page.split("<th scope=\"row\"><a href=\"/admin/orders/").skip(1);
    rows.map(|row| row.split('/').next().unwrap().parse().unwrap()).collect()
}

fn assert_done(answer: &Answer, done: &str, id: &Value) {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    assert_eq!(answer.header("location"), format!("/admin/orders/?done={done}&id={id}"));
}

#[tokio::test]
async fn only_staff_enter() {
    let site = Site::new().await;
    let order = site.client("ana").order("A", "1", "1").await;
    let form = "owner=ana&instrument=B&quantity=2&price=2";
    let [list, add] = [LIST, "/admin/orders/add/"].map(str::to_owned);
    let [change, delete] = ["change", "delete"].map(|verb| format!("/admin/orders/{}/{verb}/", order["id"]));
    for path in [&list, &add, &change, &delete] {
        let ana = site.client("ana");
        assert_eq!(ana.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
        let anonymous = site.client("").get(path).await;
        assert_eq!(anonymous.status, StatusCode::SEE_OTHER, "{path}");
        let login = format!("/accounts/login/?next={}", path.replace('/', "%2F"));
        assert_eq!(anonymous.header("location"), login);
        assert_eq!(site.client("boss").get(path).await.status, StatusCode::OK, "{path}");
        if *path == list {
            continue;
        }
        assert_eq!(ana.form(path, form).await.status, StatusCode::FORBIDDEN, "{path}");
        let own_page =
            [("sec-fetch-site", "same-origin"), ("content-type", "application/x-www-form-urlencoded")];
        let anonymous = site.client("").send("POST", path, &own_page, form).await;
        assert_eq!(anonymous.status, StatusCode::SEE_OTHER, "{path}");
    }
    assert_eq!(site.client("ana").json(&address(&order)).await, order, "nothing was written");
    assert_eq!(site.client("boss").get("/admin/").await.header("location"), LIST);
}

#[tokio::test]
async fn the_list_shows_all_orders_page_by_page() {
    let site = Site::new().await;
    let (ana, boss) = (site.client("ana"), site.client("boss"));
    for n in 0..120 {
        ana.order(if n % 40 == 0 { "GOLD & Co" } else { "EURUSD" }, "1", "1").await;
    }
    let first = page(&boss, LIST).await;
    assert_eq!(listed(&first), (71..=120).rev().collect::<Vec<_>>());
    assert!(first.contains("120 orders") && first.contains("Page 1 of 3"));
    assert!(first.contains("?q=&amp;page=2") && !first.contains("rel=\"prev\""));
    let last = page(&boss, "/admin/orders/?page=3").await;
    assert_eq!(listed(&last), (1..=20).rev().collect::<Vec<_>>());
    assert!(last.contains("rel=\"prev\"") && !last.contains("rel=\"next\""));
    for odd in ["page=0", "page=-7", "page=x", "page="] {
        assert_eq!(listed(&page(&boss, &format!("/admin/orders/?{odd}")).await)[0], 120, "{odd}");
    }
    let beyond = boss.get("/admin/orders/?q=eur&page=99").await;
    assert_eq!(beyond.header("location"), "/admin/orders/?q=eur&page=3", "the last page is near enough");

    let gold = page(&boss, "/admin/orders/?q=gold+%26").await;
    assert_eq!(listed(&gold), [81, 41, 1]);
    assert!(gold.contains("3 orders") && gold.contains("value=\"gold &amp;\""));
    let none = page(&boss, "/admin/orders/?q=silver").await;
    assert!(none.contains("No order matches.") && none.contains("0 orders"));
    assert!(page(&boss, "/admin/orders/?q=%25").await.contains("0 orders"), "a wildcard means itself");
}

#[tokio::test]
async fn an_order_is_added_changed_and_deleted() {
    let site = Site::new().await;
    let boss = site.client("boss");
    let mut socket = site.started("ana").await;
    let blank = page(&boss, "/admin/orders/add/").await;
    assert!(blank.contains("<option value=\"boss\" selected>"), "one's own by default");

    let added = boss.form("/admin/orders/add/", "owner=ana&instrument=EURUSD&quantity=10&price=1.50").await;
    let order = site.client("ana").json("/api/data/").await["results"][0].clone();
    assert_done(&added, "added", &order["id"]);
    assert_eq!((order["owner"].as_str(), order["price"].as_str()), (Some("ana"), Some("1.5")));
    assert_eq!(next_event(&mut socket).await, "create EURUSD 15");
    let done = page(&boss, added.header("location")).await;
    assert!(done.contains(&format!("Order {} was added.", order["id"])));

    let change = format!("/admin/orders/{}/change/", order["id"]);
    let form = page(&boss, &change).await;
    assert!(form.contains("<option value=\"ana\" selected>") && form.contains("value=\"1.5\""));
    let changed = boss.form(&change, "owner=ana&instrument=GBPUSD&quantity=10&price=1").await;
    assert_done(&changed, "changed", &order["id"]);
    assert_eq!(next_event(&mut socket).await, "update GBPUSD -5");

    let delete = format!("/admin/orders/{}/delete/", order["id"]);
    assert!(page(&boss, &delete).await.contains("ana: 10 GBPUSD at 1. This cannot be undone."));
    assert_eq!(site.client("ana").json("/api/data/").await["count"], 1, "asking deletes nothing");
    assert_done(&boss.form(&delete, "").await, "deleted", &order["id"]);
    assert_eq!(next_event(&mut socket).await, "delete GBPUSD -10");
    assert_eq!(site.client("ana").json("/api/data/").await["count"], 0);
}

#[tokio::test]
async fn a_change_of_owner_moves_the_order() {
    let site = Site::new().await;
    let order = site.client("ana").order("A", "2", "3").await;
    let (mut ana, mut ben) = (site.started("ana").await, site.started("ben").await);
    let change = format!("/admin/orders/{}/change/", order["id"]);
    let changed = site.client("boss").form(&change, "owner=ben&instrument=B&quantity=2&price=4").await;
    assert_done(&changed, "changed", &order["id"]);
    assert_eq!(next_event(&mut ana).await, "delete A -6");
    assert_eq!(next_event(&mut ben).await, "create B 8");
    assert_eq!(site.client("ben").json(&address(&order)).await["owner"], "ben");
    assert_eq!(site.client("ana").get(&address(&order)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_order_whose_owner_may_no_longer_log_in_can_be_corrected() {
    let site = Site::new().await;
    let order = site.client("ana").order("A", "2", "3").await;
    site.execute("UPDATE accounts_user SET is_active = FALSE WHERE username = 'ana'").await;
    let change = format!("/admin/orders/{}/change/", order["id"]);
    let boss = site.client("boss");
    assert!(page(&boss, &change).await.contains("<option value=\"ana\" selected>"), "the owner stays");
    let changed = boss.form(&change, "owner=ana&instrument=A&quantity=2&price=4").await;
    assert_done(&changed, "changed", &order["id"]);
    assert!(!page(&boss, "/admin/orders/add/").await.contains("<option value=\"ana\""));
}

#[tokio::test]
async fn what_is_wrong_in_a_form_stands_beside_its_field() {
    let site = Site::new().await;
    let boss = site.client("boss");
    let order = boss.order("A", "1", "1").await;
    let change = format!("/admin/orders/{}/change/", order["id"]);
    for path in ["/admin/orders/add/", &change] {
        let wrong = boss.form(path, "owner=nobody&instrument=+&quantity=1e3x&price=-1").await;
        assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
        for (field, error) in [
            ("instrument", "This field may not be blank."),
            ("quantity", "A valid number is required."),
            ("price", "Ensure this value is greater than or equal to 0."),
        ] {
            let list = wrong.body.split(&format!("id=\"{field}-errors\">")).nth(1).unwrap();
            assert!(list.split("</ul>").next().unwrap().contains(error), "{path}: {field}");
        }
        assert!(wrong.body.contains("value=\"1e3x\""), "what was typed is kept");
        let nobody = boss.form(path, "owner=nobody&instrument=B&quantity=1&price=1").await;
        assert_eq!(nobody.status, StatusCode::BAD_REQUEST);
        assert!(nobody.body.contains("there is no active user &quot;nobody&quot;"), "{}", nobody.body);
        let missing = boss.form(path, "").await;
        assert_eq!(missing.body.matches("This field is required.").count(), 3);
    }
    assert_eq!(boss.json("/api/data/").await["results"], serde_json::json!([order]));
}

#[tokio::test]
async fn markup_in_what_users_wrote_is_shown_and_not_run() {
    let site = Site::new().await;
    let name = "\"><img src=x onerror=y>'";
    let order = site.client("ana").order(name, "1", "1").await;
    let boss = site.client("boss");
    let search = "/admin/orders/?q=%22%3E%3Cimg";
    let [change, delete] = ["change", "delete"].map(|verb| format!("/admin/orders/{}/{verb}/", order["id"]));
    for path in [LIST, search, &change, &delete] {
        let page = page(&boss, path).await;
        assert!(!page.contains("<img") && page.contains("&lt;img"), "{path}: {page}");
    }
    let form = "owner=%3Cimg%3E&instrument=&quantity=%22%3E%3Cimg%3E&price=1";
    assert!(!boss.form("/admin/orders/add/", form).await.body.contains("<img"));
    for told in ["done=added&id=%3Cimg%3E", "done=%3Cimg%3E&id=7"] {
        assert!(!page(&boss, &format!("/admin/orders/?{told}")).await.contains("<img"));
    }
}

#[tokio::test]
async fn an_unknown_order_is_not_found() {
    let site = Site::new().await;
    let boss = site.client("boss");
    let form = "owner=ana&instrument=A&quantity=1&price=1";
    let ids = ["1", "0", "-1", "x", "99999999999999999999", "%3Cimg%3E"];
    for path in
        ids.iter().flat_map(|id| ["change", "delete"].map(|verb| format!("/admin/orders/{id}/{verb}/")))
    {
        for answer in [boss.get(&path).await, boss.form(&path, form).await] {
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert!(answer.body.contains("There is no such order."), "{path}");
        }
    }
}
