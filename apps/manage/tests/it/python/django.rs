//! Django's own ORM, in a process that does not know of us, moves the orders of everyone who may see them.

use serde_json::json;

use super::watch::{Watch, told};
use super::writer::Writer;
use crate::program::Folder;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Django: run cargo xtask test"]
async fn every_way_in_which_django_writes_is_told() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let mut watch = Watch::of(&server, "admin").await;
    let mut django = Writer::start(&folder);

    let one = django.create("demo", "EURUSD", "2", "1.25").await;
    let event = watch.event().await;
    let order = &event["order"];
    let created = order["created"].as_str().unwrap();
    assert_eq!((&event["action"], &event["delta"]), (&json!("create"), &json!("2.5")));
    // Django reads what we told, the time apart from how many zeros its fraction ends with.
    let mut read = django.ask("read", json!({"pk": one})).await;
    let time = read["created"].take();
    let fraction = |time: &str, zone| time.strip_suffix(zone).unwrap().trim_end_matches('0').to_owned();
    assert_eq!(fraction(created, "Z"), fraction(time.as_str().unwrap(), "+00:00"));
    assert_eq!(read, json!({"quantity": "2", "price": "1.25", "owner": "demo", "created": null}));
    assert_eq!(
        (&order["quantity"], &order["price"], &order["owner"]),
        (&json!("2"), &json!("1.25"), &json!("demo"))
    );

    django.ask("save", json!({"pk": one, "quantity": "123456789.123456", "price": "0.000001"})).await;
    let delta = "120.956789123456";
    assert_eq!(watch.told().await, told("update", one, "123456789.123456", "0.000001", delta));

    let orders: Vec<_> = ["-1.5", "0.1", "3"]
        .map(|quantity| json!({"owner": "admin", "instrument": "XAU", "quantity": quantity, "price": "0.3"}))
        .into();
    let made = django.ask("bulk_create", json!({ "orders": orders })).await;
    let made: Vec<i64> = serde_json::from_value(made).unwrap();
    let [a, b, c] = made[..] else { panic!("{made:?}") };
    let expected = [
        told("create", a, "-1.5", "0.3", "-0.45"),
        told("create", b, "0.1", "0.3", "0.03"),
        told("create", c, "3", "0.3", "0.9"),
    ];
    assert_eq!(watch.told_of().await, expected);

    django.ask("update", json!({"pks": [a, b], "price": "0.7"})).await;
    let expected = [told("update", a, "-1.5", "0.7", "-0.6"), told("update", b, "0.1", "0.7", "0.04")];
    assert_eq!(watch.told_of().await, expected);
    django.ask("add", json!({"pks": [b, c], "quantity": "0.25"})).await;
    let expected = [told("update", b, "0.35", "0.7", "0.175"), told("update", c, "3.25", "0.3", "0.075")];
    assert_eq!(watch.told_of().await, expected);
    django.ask("bulk_update", json!({"prices": {a.to_string(): "2", c.to_string(): "4"}})).await;
    let expected = [told("update", a, "-1.5", "2", "-1.95"), told("update", c, "3.25", "4", "12.025")];
    assert_eq!(watch.told_of().await, expected);

    django.ask("delete", json!({"pk": one})).await;
    let delta = "-123.456789123456";
    assert_eq!(watch.told().await, told("delete", one, "123456789.123456", "0.000001", delta));
    assert_eq!(django.ask("delete_all", json!({"pks": [a, b, c]})).await, 3);
    let expected = [
        told("delete", a, "-1.5", "2", "3"),
        told("delete", b, "0.35", "0.7", "-0.245"),
        told("delete", c, "3.25", "4", "-13"),
    ];
    assert_eq!(watch.told_of().await, expected);

    let before = watch.sum.clone();
    watch.begin().await;
    assert_eq!(watch.sum, before, "all that was made is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Django: run cargo xtask test"]
async fn what_django_rolls_back_is_never_told() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let mut watch = Watch::of(&server, "admin").await;
    let mut django = Writer::start(&folder);
    let pk = django.create("demo", "EURUSD", "1", "1").await;
    assert_eq!(watch.told().await, told("create", pk, "1", "1", "1"));

    let fields = json!({"pk": pk, "owner": "demo", "instrument": "NOTHING", "quantity": "5", "price": "5"});
    assert_eq!(django.ask("roll_back", fields).await, true);
    django.ask("roll_back_in_part", json!({"pk": pk, "keep": "2", "drop": "1000"})).await;
    assert_eq!(watch.told().await, told("update", pk, "2", "1", "1"));
    django.ask("several", json!({"pk": pk, "quantities": ["3", "4", "3.5"]})).await;
    assert_eq!(watch.told().await, told("update", pk, "3", "1", "1"));
    assert_eq!(watch.told().await, told("update", pk, "4", "1", "1"));
    assert_eq!(watch.told().await, told("update", pk, "3.5", "1", "-0.5"));
    django.ask("delete", json!({"pk": pk})).await;
    assert_eq!(watch.told().await, told("delete", pk, "3.5", "1", "-3.5"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Django: run cargo xtask test"]
async fn an_order_that_django_gives_away_leaves_its_owner() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let mut admin = Watch::of(&server, "admin").await;
    let mut demo = Watch::of(&server, "demo").await;
    let mut django = Writer::start(&folder);

    let pk = django.create("demo", "EURUSD", "3", "2").await;
    for watch in [&mut admin, &mut demo] {
        assert_eq!(watch.told().await, told("create", pk, "3", "2", "6"));
    }
    django.ask("give", json!({"pk": pk, "owner": "admin"})).await;
    let event = admin.event().await;
    let order = &event["order"];
    assert_eq!((&event["action"], &order["owner"]), (&json!("update"), &json!("admin")));
    assert_eq!(demo.told().await, told("delete", pk, "3", "2", "-6"));
    django.ask("save", json!({"pk": pk, "quantity": "4"})).await;
    assert_eq!(admin.told().await, told("update", pk, "4", "2", "2"));
    django.ask("give", json!({"pk": pk, "owner": "demo"})).await;
    assert_eq!(admin.told().await, told("update", pk, "4", "2", "0"));
    assert_eq!(demo.told().await, told("create", pk, "4", "2", "8"), "what was not his was not told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Django: run cargo xtask test"]
async fn a_user_that_django_deletes_takes_the_orders_along() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let mut watch = Watch::of(&server, "admin").await;
    let mut django = Writer::start(&folder);

    for by_the_orm in [true, false] {
        django.ask("create_user", json!({"username": "eve"})).await;
        let (a, b) = (django.create("eve", "A", "1", "1").await, django.create("eve", "B", "2", "2").await);
        assert_eq!(watch.told().await, told("create", a, "1", "1", "1"));
        assert_eq!(watch.told().await, told("create", b, "2", "2", "4"));
        if by_the_orm {
            django.ask("delete_user", json!({"username": "eve"})).await;
        } else {
            // The database's own cascade.
            let delete = "DELETE FROM accounts_user WHERE username = %s";
            django.ask("cursor", json!({"sql": delete, "values": ["eve"]})).await;
        }
        let expected = [told("delete", a, "1", "1", "-1"), told("delete", b, "2", "2", "-4")];
        assert_eq!(watch.told_of().await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Django: run cargo xtask test"]
async fn a_migration_that_makes_the_table_anew_ends_nothing() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let mut watch = Watch::of(&server, "admin").await;
    let mut django = Writer::start(&folder);

    let pk = django.create("demo", "EURUSD", "1", "1").await;
    assert_eq!(watch.told().await, told("create", pk, "1", "1", "1"));
    django.ask("rebuild", json!({"instrument": 40})).await;
    if folder.database().starts_with("sqlite:") {
        // The triggers went with the old table. Who watches is told when they are back.
        watch.begin_when_missed().await;
    }
    let long = "a name that has more than thirty-two letters"[..40].to_owned();
    django.ask("save", json!({"pk": pk, "instrument": long, "quantity": "2"})).await;
    let event = watch.event().await;
    assert_eq!((&event["order"]["instrument"], &event["delta"]), (&json!(long), &json!("1")));
}
