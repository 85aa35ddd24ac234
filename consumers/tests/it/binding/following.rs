//! Who hears of which change, and as what.

use consumers::db::{Dialect, query, script};
use serde_json::json;

use super::{Fixture, thing};

#[tokio::test]
async fn a_snapshot_holds_what_the_client_may_see() {
    let site = Fixture::new().await;
    site.execute("INSERT INTO app_thing (id, name, room, also) VALUES (1, 'a', 1, NULL), (2, 'b', 2, NULL), (3, 'c', 2, 1)")
        .await;
    let client = site.subscribed("1").await;
    assert_eq!(client.view.keys().copied().collect::<Vec<_>>(), [1, 3]);
    assert_eq!(client.view[&1], thing("a", 0, 1), "and nothing that is not to be shown");
    assert_eq!(site.subscribed("1,2").await.view.len(), 3);
    assert!(site.subscribed("3").await.view.is_empty());
}

#[tokio::test]
async fn a_long_snapshot_comes_in_pieces() {
    let site = Fixture::new().await;
    let many = (0..1_201).map(|nth| format!("('{nth}', 1)")).collect::<Vec<_>>().join(",");
    let many = format!("INSERT INTO app_thing (name, room) VALUES {many}");
    script(&site.db, consumers::db::AssertSqlSafe(many)).await.unwrap();
    let mut client = site.client("rooms=1").await;
    client.say(json!({"action": "subscribe"})).await;
    let mut pieces = Vec::new();
    for _ in 0..3 {
        let piece = client.hear().await;
        pieces.push((
            piece["rows"].as_array().unwrap().len(),
            piece["begins"].clone(),
            piece["complete"].clone(),
        ));
        client.take(&piece);
    }
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(pieces, [(500, yes.clone(), no.clone()), (500, no.clone(), no.clone()), (201, no, yes)]);
    assert_eq!(client.view.len(), 1_201);
}

#[tokio::test]
async fn a_row_that_moves_is_a_delete_for_the_old_group_and_a_create_for_the_new() {
    let site = Fixture::new().await;
    site.execute("INSERT INTO app_thing (id, name, room) VALUES (7, 'a', 1)").await;
    let (mut one, mut two) = (site.subscribed("1").await, site.subscribed("2").await);
    let mut both = site.subscribed("1,2").await;
    site.execute("UPDATE app_thing SET room = 2, name = 'hidden from one' WHERE id = 7").await;
    assert_eq!(one.change().await, json!({"action": "delete", "pk": 7, "model": "app.thing"}));
    let created =
        json!({"action": "create", "pk": 7, "data": thing("hidden from one", 0, 2), "model": "app.thing"});
    assert_eq!(two.change().await, created);
    assert_eq!(both.change().await["action"], "delete", "first it leaves");
    assert_eq!(both.change().await, created);
    for client in [&mut one, &mut two, &mut both] {
        assert!(client.hears_nothing().await);
    }
}

#[tokio::test]
async fn a_row_that_gets_another_key_is_another_row() {
    let site = Fixture::new().await;
    site.execute("INSERT INTO app_thing (id, name, room) VALUES (7, 'a', 1)").await;
    let mut client = site.subscribed("1").await;
    site.execute("UPDATE app_thing SET id = 8, amount = 2 WHERE id = 7").await;
    let (gone, new) = (client.hear().await, client.hear().await);
    assert_eq!((&gone["action"], &gone["pk"]), (&json!("delete"), &json!(7)));
    assert_eq!((&new["action"], &new["pk"], &new["data"]), (&json!("create"), &json!(8), &thing("a", 2, 1)));
    assert_ne!(gone["key"], new["key"], "whoever counts each key once counts both");
}

#[tokio::test]
async fn who_hears_a_row_in_two_groups_hears_each_update_once() {
    let site = Fixture::new().await;
    site.execute("INSERT INTO app_thing (id, name, room, also) VALUES (7, 'a', 1, 2)").await;
    let mut client = site.subscribed("1,2").await;
    for amount in 1..=3 {
        let update = query("UPDATE app_thing SET amount = $1").bind(amount);
        update.execute(&site.db).await.unwrap();
    }
    for amount in 1..=3 {
        assert_eq!(client.change().await["data"]["amount"], amount);
    }
    assert!(client.hears_nothing().await);
}

#[tokio::test]
async fn who_keeps_a_row_by_another_group_keeps_it() {
    let site = Fixture::new().await;
    site.execute("INSERT INTO app_thing (id, name, room, secret) VALUES (7, 'a', 1, '2')").await;
    let mut both = site.subscribed("1,2").await;
    site.execute("UPDATE app_thing SET secret = '3'").await;
    assert_eq!(both.change().await["action"], "delete", "of one group it leaves");
    assert_eq!(both.change().await["action"], "update", "in the other it stays, though it looks the same");
    assert_eq!(both.view, site.subscribed("1,2").await.view);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_ends_no_subscription() {
    let site = Fixture::new().await;
    if site.db.dialect() == Dialect::Postgres {
        return; // Its types let nothing in that cannot be read.
    }
    site.execute("INSERT INTO app_thing (id, name, room) VALUES (7, 'a', 1), (8, 'b', 1)").await;
    let mut client = site.subscribed("1").await;
    site.execute("UPDATE app_thing SET amount = 'much' WHERE id = 7").await;
    client.read_snapshot().await;
    assert_eq!(client.view.keys().collect::<Vec<_>>(), [&8]);
    site.execute("UPDATE app_thing SET amount = 1 WHERE id = 7").await;
    client.read_snapshot().await;
    assert_eq!(client.view[&7], thing("a", 1, 1));
}

#[tokio::test]
async fn a_value_of_any_size_ends_no_subscription() {
    let site = Fixture::new().await;
    let mut client = site.subscribed("1").await;
    let insert = query("INSERT INTO app_thing (id, name, room, secret) VALUES (7, 'a', 1, $1)");
    insert.bind("x".repeat(1_100_000)).execute(&site.db).await.unwrap();
    match site.db.dialect() {
        Dialect::Sqlite => client.read_snapshot().await,
        Dialect::Postgres => drop(client.change().await),
    }
    assert_eq!(client.view[&7], thing("a", 0, 1));
    assert_eq!(site.subscribed("1").await.view, client.view);
    let update = json!({"action": "update", "pk": 7, "data": {"amount": 2}, "request_id": 1});
    client.say(update).await;
    let mut was_answered = false;
    while !was_answered || client.view[&7]["amount"] != 2 {
        let frame = client.hear().await;
        was_answered |= frame["ok"] == "update";
        if frame["ok"].is_null() {
            client.take(&frame);
        }
    }
}

#[tokio::test]
async fn what_nobody_can_see_is_not_told() {
    let site = Fixture::new().await;
    site.execute("INSERT INTO app_thing (id, name, room) VALUES (7, 'a', 1)").await;
    let mut client = site.subscribed("1").await;
    site.execute("UPDATE app_thing SET amount = amount").await;
    site.execute("UPDATE app_thing SET secret = 'y'").await;
    let mut transaction = site.db.begin_write().await.unwrap();
    query("UPDATE app_thing SET amount = 9").execute(&mut transaction).await.unwrap();
    drop(transaction);
    assert!(client.hears_nothing().await, "unchanged, not shown, and rolled back");
    site.execute("UPDATE app_thing SET amount = 1").await;
    assert_eq!(client.change().await["data"]["amount"], 1);
}

#[tokio::test]
async fn who_unsubscribes_hears_no_more_and_may_come_back() {
    let site = Fixture::new().await;
    let mut client = site.subscribed("1").await;
    let answer = client.ask(json!({"action": "unsubscribe", "request_id": 1})).await;
    assert_eq!(answer, json!({"ok": "unsubscribe", "request_id": 1}));
    site.execute("INSERT INTO app_thing (id, name, room) VALUES (7, 'a', 1)").await;
    assert!(client.hears_nothing().await);
    client.subscribe().await;
    assert_eq!(client.view.len(), 1);
    client.subscribe().await;
    site.execute("DELETE FROM app_thing").await;
    assert_eq!(client.change().await["action"], "delete");
    assert!(client.hears_nothing().await, "who subscribes twice hears each change once");
}

#[tokio::test]
async fn all_rows_at_once_and_a_table_that_is_made_anew() {
    let site = Fixture::new().await;
    site.execute("INSERT INTO app_thing (name, room) VALUES ('a', 1), ('b', 1), ('c', 1)").await;
    let mut client = site.subscribed("1").await;
    match site.db.dialect() {
        Dialect::Sqlite => {
            site.execute("DELETE FROM app_thing").await;
            for _ in 0..3 {
                assert_eq!(client.change().await["action"], "delete");
            }
            script(
                &site.db,
                "BEGIN IMMEDIATE; ALTER TABLE app_thing RENAME TO old_thing;
                 CREATE TABLE app_thing AS SELECT * FROM old_thing; DROP TABLE app_thing;
                 CREATE TABLE app_thing (id INTEGER PRIMARY KEY, name TEXT NOT NULL, amount BIGINT NOT NULL DEFAULT 0,
                    room BIGINT NOT NULL, also BIGINT, secret TEXT NOT NULL DEFAULT 'x');
                 INSERT INTO app_thing (id, name, room) VALUES (70, 'new', 1);
                 DROP TABLE old_thing; COMMIT;",
            )
            .await
            .unwrap();
        }
        Dialect::Postgres => {
            script(&site.db, "TRUNCATE app_thing").await.unwrap();
            client.read_snapshot().await;
            assert!(client.view.is_empty());
            script(
                &site.db,
                "BEGIN; CREATE TABLE new_thing (LIKE app_thing INCLUDING ALL); DROP TABLE app_thing;
                 ALTER TABLE new_thing RENAME TO app_thing;
                 INSERT INTO app_thing (id, name, room) VALUES (70, 'new', 1); COMMIT;",
            )
            .await
            .unwrap();
        }
    }
    while client.view.keys().copied().collect::<Vec<_>>() != [70] {
        let frame = client.hear().await;
        client.take(&frame);
    }
    site.execute("UPDATE app_thing SET amount = 5").await;
    assert_eq!(client.change().await["data"]["amount"], 5);
}
