//! What other programs store: it is read whatever its form, and what cannot be read takes nothing else down.

use accounts::Dialect;
use axum::http::StatusCode;
use serde_json::json;

use crate::site::{Site, address, next, start};

#[tokio::test]
async fn a_price_that_sqlite_writes_with_an_exponent_is_read() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let cheap = ana.order("CHEAP", "2", "1").await;
    let mut socket = site.started("ana").await;
    site.execute("UPDATE orders_order SET price = 0.00005").await;
    assert_eq!(next(&mut socket).await["order"]["price"], "0.00005");
    assert_eq!(start(&mut site.socket("ana").await).await["sum"], "0.0001");
    assert_eq!(ana.json(&address(&cheap)).await["price"], "0.00005");
    ana.order("CHEAPER", "1", "0.000049").await;
    let list = ana.json("/api/data/?ordering=price").await;
    let instruments: Vec<_> = list["results"].as_array().unwrap().iter().map(|o| &o["instrument"]).collect();
    assert_eq!(instruments, ["CHEAPER", "CHEAP"]);
    assert_eq!(ana.get("/").await.status, StatusCode::OK);
    let mended = ana.patch(&address(&cheap), &json!({"price": "3"})).await;
    assert_eq!((mended.status, &mended.json()["price"]), (StatusCode::OK, &json!("3")));
}

#[tokio::test]
async fn zeros_and_forms_of_times_do_not_show() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let order = ana.order("A", "2", "1").await;
    let mut socket = site.started("ana").await;
    site.execute(
        "UPDATE orders_order SET quantity = '2.00', price = '1.500000', created = '2026-11-21T04:49:56Z'",
    )
    .await;
    let read = ana.json(&address(&order)).await;
    assert_eq!((&read["quantity"], &read["price"]), (&json!("2"), &json!("1.5")));
    assert_eq!(read["created"], "2026-11-21T04:49:56Z");
    assert_eq!(next(&mut socket).await["order"], read, "REST and events show the same");
}

#[tokio::test]
async fn an_order_that_cannot_be_read_takes_no_other_with_it() {
    let site = Site::new().await;
    if site.db.dialect() == Dialect::Postgres {
        return; // Its types let nothing in that cannot be read.
    }
    let ana = site.client("ana");
    let spoilt = ana.order("SPOILT", "1", "1").await;
    ana.order("GOOD", "2", "3").await;
    site.execute("UPDATE orders_order SET price = 'much' WHERE instrument = 'SPOILT'").await;
    assert_eq!(start(&mut site.socket("ana").await).await["sum"], "6");
    assert_eq!(ana.get("/").await.status, StatusCode::OK);
    let list = ana.json("/api/data/").await;
    let instruments: Vec<_> = list["results"].as_array().unwrap().iter().map(|o| &o["instrument"]).collect();
    assert_eq!(instruments, ["GOOD"]);
    let table = ana.json("/api/data/?format=datatables&draw=1&start=0&length=10").await;
    assert_eq!((&table["data"][0]["instrument"], table.get("error")), (&json!("GOOD"), None));
    assert_eq!(ana.get(&address(&spoilt)).await.status, StatusCode::SERVICE_UNAVAILABLE);
}
