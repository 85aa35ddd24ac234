//! The socket at `/ws/orders/`: what it is told to do, and what it tells whom.

use accounts::{Dialect, query};
use axum::http::StatusCode;
use chrono::Utc;
use routing::consumers::testing::{Unexpected, WebsocketCommunicator};
use routing::consumers::{Bytes, Frame};
use serde_json::json;

use crate::site::{Site, address, next, next_event, start};

/// Makes an order whose event shows that nothing came before it.
async fn assert_nothing_before(site: &Site, user: &str, sockets: &mut [&mut WebsocketCommunicator]) {
    site.client(user).order("END", "1", "1").await;
    for socket in sockets {
        assert_eq!(next_event(socket).await, "create END 1");
    }
}

#[tokio::test]
async fn nobody_gets_no_socket() {
    let site = Site::new().await;
    let refused = site.unconnected("").await.connect().await;
    assert!(matches!(refused, Err(Unexpected::Denied(denial)) if denial.status == StatusCode::FORBIDDEN));
}

#[tokio::test]
async fn a_foreign_page_gets_no_socket() {
    let site = Site::new().await;
    let foreign = site.unconnected("ana").await.header("host", "shop.example");
    let refused = foreign.header("origin", "http://evil.example").connect().await;
    assert!(matches!(refused, Err(Unexpected::Denied(denial)) if denial.status == StatusCode::FORBIDDEN));
}

#[tokio::test]
async fn start_is_answered_with_the_sum_and_its_revision() {
    let site = Site::new().await;
    let before = Utc::now().timestamp_micros();
    let empty = start(&mut site.socket("ana").await).await;
    let revision = empty["revision"].as_i64().unwrap();
    assert!((before..=Utc::now().timestamp_micros()).contains(&revision), "microseconds since 1970");
    assert_eq!(empty, json!({"type": "realtime.started", "sum": "0", "revision": revision}));
    site.client("ana").order("A", "3", "1.10").await;
    site.client("ben").order("B", "-1", "0.000001").await;
    site.client("ana").order("C", "0.5", "0.1").await;
    for (user, sum) in [("ana", "3.35"), ("ben", "-0.000001"), ("boss", "3.349999")] {
        let started = start(&mut site.socket(user).await).await;
        assert_eq!(started["sum"], sum, "{user}");
        assert!(started["revision"].as_i64().unwrap() > revision, "{user}");
    }
}

#[tokio::test]
async fn sums_are_exact_however_great() {
    let site = Site::new().await;
    let ana = site.client("ana");
    for _ in 0..3 {
        ana.order("A", "999999999.999999", "999999999.999999").await;
    }
    ana.order("B", "0.000001", "0.000001").await;
    let started = start(&mut site.socket("ana").await).await;
    assert_eq!(started["sum"], "2999999999999994000.000000000004");
}

#[tokio::test]
async fn every_write_arrives_as_an_event() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let mut socket = site.started("ana").await;
    let before = Utc::now().timestamp_micros();

    let created = ana.order("EURUSD", "10", "1.5").await;
    let event = next(&mut socket).await;
    let sent_at = event["sent_at"].as_i64().unwrap();
    assert!((before..=Utc::now().timestamp_micros()).contains(&sent_at), "microseconds since 1970");
    let keys = &mut std::collections::BTreeSet::new();
    let mut is_new = |event: &serde_json::Value| keys.insert(event["key"].as_str().unwrap().to_owned());
    assert!(is_new(&event));
    assert_eq!(
        event,
        json!({"type": "order.changed", "action": "create", "order": created, "delta": "15",
               "revision": sent_at, "sent_at": sent_at, "key": event["key"]})
    );

    let updated = ana.patch(&address(&created), &json!({"quantity": 4})).await.json();
    let event = next(&mut socket).await;
    assert_eq!((&event["action"], &event["delta"]), (&json!("update"), &json!("-9")));
    assert_eq!(event["order"], updated);
    assert!(is_new(&event) && event["revision"].as_i64().unwrap() > sent_at);

    let same = ana.put(&address(&created), &updated).await.json();
    let event = next(&mut socket).await;
    assert_eq!((&event["order"], &event["delta"]), (&same, &json!("0")));
    assert!(is_new(&event));

    ana.delete(&address(&created)).await;
    let event = next(&mut socket).await;
    assert_eq!((&event["action"], &event["delta"]), (&json!("delete"), &json!("-6")));
    assert_eq!(event["order"], same, "as it was last");
    assert!(is_new(&event));
}

#[tokio::test]
async fn nothing_comes_before_start_and_after_stop() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let mut socket = site.socket("ana").await;
    ana.order("A", "1", "1").await;
    assert!(socket.receive_nothing().await);
    assert_eq!(start(&mut socket).await["sum"], "1");
    ana.order("B", "1", "1").await;
    assert_eq!(next_event(&mut socket).await, "create B 1");
    for _ in 0..2 {
        socket.send_json(&json!({"type": "realtime.stop"})).await;
        assert_eq!(next(&mut socket).await, json!({"type": "realtime.stopped"}));
    }
    ana.order("C", "1", "1").await;
    assert!(socket.receive_nothing().await);
    assert_eq!(start(&mut socket).await["sum"], "3", "what came meanwhile is in the sum");
    assert_nothing_before(&site, "ana", &mut [&mut socket]).await;
}

#[tokio::test]
async fn who_starts_twice_hears_each_event_once() {
    let site = Site::new().await;
    let mut socket = site.started("ana").await;
    site.client("ana").order("A", "2", "3").await;
    assert_eq!(next_event(&mut socket).await, "create A 6");
    assert_eq!(start(&mut socket).await["sum"], "6");
    site.client("ana").order("B", "1", "1").await;
    assert_eq!(next_event(&mut socket).await, "create B 1");
    assert_nothing_before(&site, "ana", &mut [&mut socket]).await;
    socket.send_json(&json!({"type": "realtime.stop"})).await;
    assert_eq!(next(&mut socket).await["type"], "realtime.stopped");
    site.client("ana").order("C", "1", "1").await;
    assert!(socket.receive_nothing().await, "one stop is enough");
}

#[tokio::test]
async fn staff_hear_everyone_and_users_only_their_own() {
    let site = Site::new().await;
    let mut ana = site.started("ana").await;
    let mut ben = site.started("ben").await;
    let mut boss = site.started("boss").await;
    let order = site.client("ana").order("A", "1", "1").await;
    site.client("ben").order("B", "1", "2").await;
    site.client("boss").order("C", "1", "3").await;
    site.client("boss").patch(&address(&order), &json!({"price": 5})).await;
    for expected in ["create A 1", "create B 2", "create C 3", "update A 4"] {
        assert_eq!(next_event(&mut boss).await, expected);
    }
    for expected in ["create A 1", "update A 4"] {
        assert_eq!(next_event(&mut ana).await, expected);
    }
    assert_eq!(next_event(&mut ben).await, "create B 2");
    assert_nothing_before(&site, "ana", &mut [&mut ana, &mut boss]).await;
    assert_nothing_before(&site, "ben", &mut [&mut ben, &mut boss]).await;
    for socket in [&mut ana, &mut ben, &mut boss] {
        assert!(socket.receive_nothing().await);
    }
}

#[tokio::test]
async fn all_sockets_of_a_user_hear_the_same() {
    let site = Site::new().await;
    let (mut one, mut two) = (site.started("ana").await, site.started("ana").await);
    let mut stopped = site.started("ana").await;
    stopped.send_json(&json!({"type": "realtime.stop"})).await;
    assert_eq!(next(&mut stopped).await["type"], "realtime.stopped");
    site.client("ana").order("A", "1", "1").await;
    assert_eq!(next(&mut one).await, next(&mut two).await);
    one.disconnect(1000).await;
    assert_nothing_before(&site, "ana", &mut [&mut two]).await;
    assert!(stopped.receive_nothing().await);
}

#[tokio::test]
async fn a_change_of_owner_is_a_delete_for_the_old_and_a_create_for_the_new() {
    let site = Site::new().await;
    let order = site.client("ana").order("A", "2", "3").await;
    let mut ana = site.started("ana").await;
    let mut ben = site.started("ben").await;
    let mut boss = site.started("boss").await;
    let given = json!({"owner": "ben", "quantity": 5});
    let moved = site.client("boss").patch(&address(&order), &given).await.json();

    let deleted = next(&mut ana).await;
    assert_eq!((&deleted["action"], &deleted["delta"]), (&json!("delete"), &json!("-6")));
    assert_eq!(deleted["order"], order, "the old owner sees nothing of what it has become");
    let created = next(&mut ben).await;
    assert_eq!((&created["action"], &created["delta"]), (&json!("create"), &json!("15")));
    assert_eq!(created["order"], moved);
    let updated = next(&mut boss).await;
    assert_eq!((&updated["action"], &updated["delta"]), (&json!("update"), &json!("9")));
    for event in [&deleted, &created] {
        assert_eq!(
            (&event["key"], &event["revision"]),
            (&updated["key"], &updated["revision"]),
            "it is one write"
        );
    }
    site.client("ben").delete(&address(&order)).await;
    assert_eq!(next_event(&mut ben).await, "delete A -15");
    assert_eq!(next_event(&mut boss).await, "delete A -15");
    assert_nothing_before(&site, "ana", &mut [&mut ana, &mut boss]).await;
}

#[tokio::test]
async fn what_is_not_written_is_not_told() {
    let site = Site::new().await;
    let (ana, boss) = (site.client("ana"), site.client("boss"));
    let order = ana.order("A", "1", "1").await;
    let mut heard = [site.started("ana").await, site.started("ben").await, site.started("boss").await];
    let invalid = json!({"instrument": "B", "quantity": "x", "price": 1});
    // The last of these fail within their transactions.
    for answer in [
        ana.post("/api/data/", &invalid).await,
        ana.put(&address(&order), &invalid).await,
        ana.patch(&address(&order), &json!({"owner": "ben"})).await,
        site.client("ben").patch(&address(&order), &json!({"price": 2})).await,
        site.client("ben").delete(&address(&order)).await,
        ana.delete("/api/data/99/").await,
        boss.patch(&address(&order), &json!({"owner": "nobody", "price": 2})).await,
        boss.post("/api/data/", &json!({"owner": "nobody", "instrument": "B", "quantity": 1, "price": 1}))
            .await,
    ] {
        assert!(answer.status.is_client_error(), "{answer:?}");
    }
    for socket in &mut heard {
        assert!(socket.receive_nothing().await);
    }
    ana.delete(&address(&order)).await;
    let event = next(&mut heard[0]).await;
    assert_eq!(event["delta"], "-1", "and nothing was counted");
}

#[tokio::test]
async fn a_database_that_refuses_a_write_tells_nobody() {
    let site = Site::new().await;
    let mut socket = site.started("ana").await;
    let (forbid, allow) = match site.db.dialect() {
        Dialect::Sqlite => (
            vec![
                "CREATE TRIGGER forbidden AFTER INSERT ON orders_order
                    BEGIN SELECT RAISE(ABORT, 'secret reason'); END",
            ],
            "DROP TRIGGER forbidden",
        ),
        Dialect::Postgres => (
            vec![
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
                    AS $$ BEGIN RAISE 'secret reason'; END; $$",
                "CREATE TRIGGER forbidden AFTER INSERT ON orders_order EXECUTE FUNCTION refuse()",
            ],
            "DROP TRIGGER forbidden ON orders_order",
        ),
    };
    for statement in forbid {
        query(statement).execute(&site.db).await.unwrap();
    }
    let order = json!({"instrument": "A", "quantity": 1, "price": 1});
    let answer = site.client("ana").post("/api/data/", &order).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.body.contains("secret"), "{}", answer.body);
    query(allow).execute(&site.db).await.unwrap();
    assert_eq!(site.client("ana").json("/api/data/").await["count"], 0, "nothing is left of it");
    assert_nothing_before(&site, "ana", &mut [&mut socket]).await;
}

#[tokio::test]
async fn commands_that_are_none_are_answered_and_the_socket_lives() {
    let site = Site::new().await;
    let mut socket = site.socket("ana").await;
    let error = json!({"type": "error", "detail": "say realtime.start or realtime.stop"});
    for text in
        ["", "{", "null", "[]", "\"realtime.start\"", "{}", r#"{"type":"realtime.begin"}"#, "{\"type\":7}"]
    {
        socket.send(Frame::text(text)).await;
        assert_eq!(next(&mut socket).await, error, "{text}");
    }
    socket.send(Frame::Binary(Bytes::from_static(b"{\"type\":\"realtime.start\"}"))).await;
    assert_eq!(next(&mut socket).await, error, "commands are text");
    start(&mut socket).await;
    assert_nothing_before(&site, "ana", &mut [&mut socket]).await;
}
