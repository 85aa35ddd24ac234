//! What clients write through a binding, and how it is answered.

use serde_json::{Value, json};

use super::{Fixture, thing};

#[tokio::test]
async fn a_client_creates_updates_and_deletes() {
    let site = Fixture::new().await;
    let mut client = site.subscribed("1").await;
    assert!(client.view.is_empty());
    client.say(json!({"action": "create", "data": {"name": "a", "amount": 3, "room": 1}})).await;
    let created = client.change().await;
    let pk = created["pk"].clone();
    assert_eq!(
        created,
        json!({"action": "create", "pk": pk, "data": thing("a", 3, 1), "model": "app.thing"})
    );
    client.say(json!({"action": "update", "pk": pk, "data": {"amount": 4}})).await;
    let updated = client.change().await;
    assert_eq!(
        updated,
        json!({"action": "update", "pk": pk, "data": thing("a", 4, 1), "model": "app.thing"})
    );
    client.say(json!({"action": "delete", "pk": pk})).await;
    assert_eq!(client.change().await, json!({"action": "delete", "pk": pk, "model": "app.thing"}));
    assert!(client.hears_nothing().await, "nobody asked for an answer");
}

#[tokio::test]
async fn who_asks_with_a_request_id_is_answered_with_it() {
    let site = Fixture::new().await;
    let mut client = site.client("rooms=1").await;
    let create = json!({"action": "create", "data": {"name": "a", "room": 1}, "request_id": "r1"});
    let answer = client.ask(create).await;
    let pk = answer["pk"].clone();
    assert_eq!(answer, json!({"ok": "create", "pk": pk, "request_id": "r1"}));
    let update = json!({"action": "update", "pk": pk, "data": {"room": "x"}, "request_id": 2});
    let refused = client.ask(update).await;
    assert_eq!((&refused["error"], &refused["request_id"]), (&json!("invalid"), &json!(2)));
    let frame = json!({"stream": "things", "payload": {"action": "delete", "pk": pk}, "request_id": [3]});
    client.socket.send_json(&frame).await;
    let answer: Value = client.socket.receive_json().await.unwrap();
    let expected = json!({"stream": "things", "payload": {"ok": "delete", "pk": pk}, "request_id": [3]});
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn only_listed_fields_are_set_by_create_and_by_update() {
    let site = Fixture::new().await;
    let mut client = site.subscribed("1").await;
    let refused = client
        .ask(json!({"action": "create", "data": {"name": "a", "room": 1, "secret": "s", "id": 7}}))
        .await;
    let reason = json!(["this field cannot be set"]);
    assert_eq!(
        refused,
        json!({"error": "invalid", "action": "create", "fields": {"id": reason, "secret": reason}})
    );
    site.execute("INSERT INTO app_thing (name, room) VALUES ('b', 1)").await;
    let pk = client.change().await["pk"].clone();
    let refused = client.ask(json!({"action": "update", "pk": pk, "data": {"secret": "s"}})).await;
    assert_eq!(
        refused,
        json!({"error": "invalid", "action": "update", "pk": pk, "fields": {"secret": reason}})
    );
    assert!(client.hears_nothing().await);
}

#[tokio::test]
async fn values_that_are_not_valid_are_named_and_change_nothing() {
    let site = Fixture::new().await;
    let mut client = site.subscribed("1").await;
    site.execute("INSERT INTO app_thing (name, room) VALUES ('taken', 1), ('b', 1)").await;
    client.change().await;
    let pk = client.change().await["pk"].clone();
    for (data, field) in [
        (json!({"amount": "much"}), "amount"),
        (json!({"amount": 1.5}), "amount"),
        (json!({"amount": null}), "amount"),
        (json!({"room": {}}), "room"),
        (json!({"name": ""}), "name"),
        (json!({"name": "twenty-one characters"}), "non_field_errors"),
        (json!({"name": "taken"}), "non_field_errors"),
    ] {
        let refused = client.ask(json!({"action": "update", "pk": pk, "data": data})).await;
        assert_eq!(refused["error"], "invalid", "{data}: {refused}");
        assert!(refused["fields"][field][0].is_string(), "{data}: {refused}");
    }
    for data in [json!({}), json!({"name": "x"}), json!({"room": 1}), json!({"name": "taken", "room": 1})] {
        let refused = client.ask(json!({"action": "create", "data": data})).await;
        assert_eq!(refused["error"], "invalid", "{data}: {refused}");
    }
    assert!(client.hears_nothing().await);
    assert_eq!(client.view.len(), 2);
}

#[tokio::test]
async fn what_is_not_permitted_is_answered_and_not_done() {
    let site = Fixture::new().await;
    site.execute("INSERT INTO app_thing (id, name, room) VALUES (7, 'locked', 1)").await;
    let mut client = site.subscribed("1").await;
    for (action, data) in [("update", json!({"amount": 1, "secret": 1})), ("delete", json!({}))] {
        let refused = client.ask(json!({"action": action, "pk": 7, "data": data})).await;
        assert_eq!(refused, json!({"error": "not permitted", "action": action, "pk": 7}), "asked first");
    }
    let mut guest = site.client("rooms=1&guest").await;
    let refused = guest.ask(json!({"action": "create", "data": {"nonsense": 1}})).await;
    assert_eq!(refused, json!({"error": "not permitted", "action": "create"}));
    assert!(client.hears_nothing().await);
}

#[tokio::test]
async fn what_is_not_there_and_what_is_no_request_are_answered() {
    let site = Fixture::new().await;
    let mut client = site.client("rooms=1").await;
    for pk in [json!(99), json!("x"), json!("99999999999999999999")] {
        for action in ["update", "delete"] {
            let answer = client.ask(json!({"action": action, "pk": pk, "data": {"amount": 1}})).await;
            assert_eq!(answer["error"], "not found", "{pk}: {answer}");
        }
    }
    for payload in [
        json!({}),
        json!({"action": "frob"}),
        json!({"action": 7, "request_id": 1}),
        json!({"action": "delete"}),
        json!({"action": "delete", "pk": [1]}),
        json!({"action": "delete", "pk": true}),
        json!({"action": "create", "data": 7}),
    ] {
        let answer = client.ask(payload.clone()).await;
        assert_eq!(answer["error"], "bad request", "{payload}: {answer}");
        assert_eq!(answer.get("request_id"), payload.get("request_id"));
    }
    let answer =
        client.ask(json!({"action": "create", "data": {"name": "a", "room": 1}, "request_id": 1})).await;
    assert_eq!(answer["ok"], "create", "and the stream lives: {answer}");
}
