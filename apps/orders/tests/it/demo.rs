//! The tables, and the demo that fills them.

use accounts::{NewUser, migrate, query};
use orders::{DEMO_LOGINS, DEMO_ORDERS, is_empty, load_demo};
use routing::consumers::InMemoryLayer;
use serde_json::json;

use crate::site::{Site, basic, decimal, next, start};

async fn get(site: &Site, login: (&str, &str), path: &str) -> serde_json::Value {
    let authorization = basic(login.0, login.1);
    let answer = site.client("").send("GET", path, &[("authorization", &authorization)], "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test]
async fn the_tables_are_made_once() {
    let site = Site::without_users(InMemoryLayer::default()).await;
    let again = migrate(&site.db, &[accounts::MIGRATIONS, orders::MIGRATIONS]).await.unwrap();
    assert_eq!(again, [""; 0]);
    let second = query("INSERT INTO orders_revision (id, revision) VALUES (2, 0)");
    assert!(second.execute(&site.db).await.is_err(), "there is one count of writes");
    let orphan = query(
        "INSERT INTO orders_order (owner_id, instrument, quantity, price, created, updated)
         VALUES (99, 'A', '1', '1', '2026-01-01 00:00:00', '2026-01-01 00:00:00')",
    );
    assert!(orphan.execute(&site.db).await.is_err(), "an order has an owner");
}

#[tokio::test]
async fn the_demo_fills_an_empty_database() {
    let site = Site::without_users(InMemoryLayer::default()).await;
    assert!(is_empty(&site.db).await.unwrap());
    load_demo(&site.db, &site.accounts).await.unwrap();
    assert!(!is_empty(&site.db).await.unwrap());

    let (admin, demo) = (DEMO_LOGINS[0], DEMO_LOGINS[1]);
    assert_eq!(get(&site, admin, "/accounts/whoami/").await["is_staff"], true);
    assert_eq!(get(&site, demo, "/accounts/whoami/").await["is_staff"], false);
    assert_eq!(get(&site, admin, "/api/data/").await["count"], DEMO_ORDERS);
    let own = get(&site, demo, "/api/data/?page_size=100000").await;
    assert!((1200..1467).contains(&own["count"].as_i64().unwrap()), "about two thirds: {}", own["count"]);
    assert_eq!(own["results"].as_array().unwrap().len(), 500, "a page has its limit");

    let rows = query("SELECT instrument, quantity, price, created FROM orders_order ORDER BY id");
    let rows = rows.fetch_all(&site.db).await.unwrap();
    assert_eq!(i64::try_from(rows.len()).unwrap(), DEMO_ORDERS);
    let mut instruments = std::collections::BTreeSet::new();
    for row in &rows {
        let (quantity, price) = (row.decimal("quantity").unwrap(), row.decimal("price").unwrap());
        assert!(quantity > decimal("0") && quantity <= decimal("250") && quantity.scale() <= 1);
        assert!(price > decimal("0") && price < decimal("1000000") && price.scale() <= 4, "{price}");
        instruments.insert(row.get::<String>("instrument").unwrap());
    }
    assert_eq!(instruments.len(), 20);
}

#[tokio::test]
async fn the_demo_can_be_written_to_like_any_orders() {
    let site = Site::without_users(InMemoryLayer::default()).await;
    load_demo(&site.db, &site.accounts).await.unwrap();
    let authorization = basic("demo", "demo");
    let request = axum::http::Request::get("/ws/orders/").header("authorization", &authorization);
    let request = request.body(()).unwrap().into_parts().0;
    let identity = routing::Authenticator::identify(&site.accounts, &request).await.unwrap();
    let mut socket = site.unconnected("").await.extension(identity);
    socket.connect().await.unwrap();
    let started = start(&mut socket).await;
    let demo = get(&site, DEMO_LOGINS[1], "/api/data/?page_size=1").await["results"][0].clone();
    let path = format!("/api/data/{}/", demo["id"]);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let none = json!({"quantity": 0}).to_string();
    assert_eq!(site.client("").send("PATCH", &path, &headers, &none).await.status, 200);
    let event = next(&mut socket).await;
    let word = |value: &serde_json::Value| decimal(value.as_str().unwrap());
    assert_eq!(word(&event["delta"]), -word(&demo["quantity"]) * word(&demo["price"]));
    assert!(event["revision"].as_i64().unwrap() > started["revision"].as_i64().unwrap());
}

#[tokio::test]
async fn the_demo_leaves_users_that_exist_alone() {
    let site = Site::without_users(InMemoryLayer::default()).await;
    let own = NewUser { username: "demo", email: "", password: "mine", is_staff: true, is_superuser: false };
    site.accounts.create_user(own).await.unwrap();
    load_demo(&site.db, &site.accounts).await.unwrap();
    assert!(site.accounts.check_password("demo", "demo").await.unwrap().is_none());
    let kept = site.accounts.check_password("demo", "mine").await.unwrap().unwrap();
    assert!(routing::User::is_staff(&*kept));
}
