//! Raw SQL moves the orders as well: over Django's cursor, and as `sqlite3` and `psql` send it.

use serde_json::json;

use super::watch::{Watch, told};
use super::writer::Writer;
use crate::program::Folder;
use crate::server::Server;

/// A row that raw SQL writes.
const INSERT: &str = "INSERT INTO orders_order (id, owner_id, instrument, quantity, price, created, updated) \
                      VALUES (%s, (SELECT id FROM accounts_user WHERE username = 'demo'), 'RAW', %s, %s, %s, %s)";

/// What Django's cursor puts in the places of values.
fn values(pk: i64, quantity: &str, price: &str) -> serde_json::Value {
    let time = "2026-11-21 10:04:05";
    json!([pk, quantity, price, time, time])
}

/// The same for a shell, which has no places.
fn insert(pk: i64, quantity: &str, price: &str) -> String {
    values(pk, quantity, price).as_array().unwrap().iter().fold(INSERT.to_owned(), |sql, value| {
        let text = value.as_str().map_or_else(|| value.to_string(), |text| format!("'{text}'"));
        sql.replacen("%s", &text, 1)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Django: run cargo xtask test"]
async fn raw_sql_is_told_whoever_sends_it() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let mut watch = Watch::of(&server, "admin").await;
    let mut django = Writer::start(&folder);
    let (a, b) = (90_001, 90_002);

    django.ask("cursor", json!({"sql": INSERT, "values": values(a, "2", "1.5")})).await;
    assert_eq!(watch.told().await, told("create", a, "2", "1.5", "3"));
    let upsert = format!("{INSERT} ON CONFLICT (id) DO UPDATE SET quantity = excluded.quantity");
    django.ask("cursor", json!({"sql": upsert, "values": values(a, "4", "9")})).await;
    assert_eq!(watch.told().await, told("update", a, "4", "1.5", "3"));
    let ignored = format!("{INSERT} ON CONFLICT (id) DO NOTHING");
    django.ask("cursor", json!({"sql": ignored, "values": values(a, "5", "5")})).await;

    django.shell(insert(b, "0.000001", "999999999.999999")).await;
    assert_eq!(watch.told().await, told("create", b, "0.000001", "999999999.999999", "999.999999999999"));
    django.shell(format!("UPDATE orders_order SET price = '2' WHERE id IN ({a}, {b})")).await;
    let expected =
        [told("update", a, "4", "2", "2"), told("update", b, "0.000001", "2", "-999.999997999999")];
    assert_eq!(watch.told_of().await, expected);
    django.shell(format!("UPDATE orders_order SET price = price WHERE id = {a}")).await;
    let rolled_back = format!("BEGIN; DELETE FROM orders_order; {}; ROLLBACK", insert(90_003, "1", "1"));
    django.shell(rolled_back).await;
    let both = format!(
        "BEGIN; UPDATE orders_order SET quantity = '1' WHERE id = {a}; DELETE FROM orders_order WHERE id = {b}; COMMIT"
    );
    django.shell(both).await;
    assert_eq!(watch.told().await, told("update", a, "1", "2", "-6"));
    assert_eq!(watch.told().await, told("delete", b, "0.000001", "2", "-0.000002"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Django: run cargo xtask test"]
async fn an_order_that_gets_another_key_is_another_order() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let mut watch = Watch::of(&server, "admin").await;
    let mut django = Writer::start(&folder);
    let (a, b) = (90_001, 90_002);

    django.shell(insert(a, "3", "1")).await;
    assert_eq!(watch.told().await, told("create", a, "3", "1", "3"));
    django.shell(format!("UPDATE orders_order SET id = {b}, quantity = '5' WHERE id = {a}")).await;
    assert_eq!(watch.told().await, told("delete", a, "3", "1", "-3"));
    assert_eq!(watch.told().await, told("create", b, "5", "1", "5"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Django: run cargo xtask test"]
async fn rows_that_go_without_a_trigger_are_told() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let mut watch = Watch::of(&server, "admin").await;
    let mut django = Writer::start(&folder);
    let (a, b) = (90_001, 90_002);
    for pk in [a, b] {
        django.shell(insert(pk, "2", "1")).await;
        assert_eq!(watch.told().await, told("create", pk, "2", "1", "2"));
    }
    if folder.database().starts_with("sqlite:") {
        let replace = INSERT.replace("INSERT", "INSERT OR REPLACE");
        django.ask("cursor", json!({"sql": replace, "values": values(a, "7", "1")})).await;
        assert_eq!(watch.told().await, told("update", a, "7", "1", "5"));
        django.shell(insert(b, "9", "1").replace("INSERT", "INSERT OR REPLACE")).await;
        assert_eq!(watch.told().await, told("update", b, "9", "1", "7"));
        django.shell(insert(b, "9", "1").replace("INSERT", "INSERT OR IGNORE")).await;
        django.shell(format!("DELETE FROM orders_order WHERE id >= {a}")).await;
        let expected = [told("delete", a, "7", "1", "-7"), told("delete", b, "9", "1", "-9")];
        assert_eq!(watch.told_of().await, expected);
    } else {
        django.shell("TRUNCATE orders_order").await;
        watch.begin_when_missed().await;
        assert_eq!(watch.sum, "0");
        django.shell(insert(a, "1", "1")).await;
        assert_eq!(watch.told().await, told("create", a, "1", "1", "1"));
    }
}
