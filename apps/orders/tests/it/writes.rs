//! What is written through `/api/data/`: checked field by field, stored exactly, and only by whom it concerns.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::site::{Answer, Site, address};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn order() -> Value {
    json!({"instrument": "EURUSD", "quantity": "10", "price": "1.0842"})
}

fn assert_invalid(answer: &Answer, expected: &Value) {
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
    assert_eq!(answer.json(), *expected);
}

#[tokio::test]
async fn an_order_lives_from_post_to_delete() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let created = ana.post("/api/data/", &order()).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let first = created.json();
    let place = address(&first);
    assert_eq!(created.header("location"), place);
    assert_eq!(first["owner"], "ana");
    assert_eq!(first["quantity"], "10");
    assert_eq!(first["created"], first["updated"]);
    assert_eq!(ana.json(&place).await, first);

    let whole = json!({"instrument": "GBPUSD", "quantity": -2, "price": 1.27});
    let replaced = ana.put(&place, &whole).await;
    assert_eq!(replaced.status, StatusCode::OK);
    let replaced = replaced.json();
    assert_eq!(
        (&replaced["instrument"], &replaced["quantity"], &replaced["price"]),
        (&json!("GBPUSD"), &json!("-2"), &json!("1.27"))
    );
    assert_eq!((&replaced["id"], &replaced["created"]), (&first["id"], &first["created"]));
    assert!(replaced["updated"].as_str() > first["updated"].as_str());

    let amended = ana.patch(&place, &json!({"price": "1.3"})).await.json();
    assert_eq!((&amended["instrument"], &amended["price"]), (&json!("GBPUSD"), &json!("1.3")));
    assert_eq!(ana.json(&place).await, amended);

    let deleted = ana.delete(&place).await;
    assert_eq!((deleted.status, deleted.body.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(ana.get(&place).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ana.delete(&place).await.status, StatusCode::NOT_FOUND);
    let next = ana.order("A", "1", "1").await;
    assert!(next["id"].as_i64() > first["id"].as_i64(), "a number is never given twice");
}

#[tokio::test]
async fn decimals_come_out_exactly_as_they_went_in() {
    let site = Site::new().await;
    let ana = site.client("ana");
    for (sent, expected) in [
        ("123456789.123456", "123456789.123456"),
        ("\"123456789.123456\"", "123456789.123456"),
        ("999999999.999999", "999999999.999999"),
        ("0.000001", "0.000001"),
        ("0.1", "0.1"),
        ("0.30000000000000000000", "0.3"),
        ("\"1.500000\"", "1.5"),
        ("\" 7 \"", "7"),
        ("2e3", "2000"),
        ("1.25E+2", "125"),
        ("1e-6", "0.000001"),
        ("-0", "0"),
        ("\"+5\"", "5"),
        ("\"007.10\"", "7.1"),
    ] {
        let body = format!(r#"{{"instrument":"A","quantity":{sent},"price":{sent}}}"#);
        let answer = ana.send("POST", "/api/data/", &JSON, &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{sent}: {}", answer.body);
        let order = answer.json();
        assert_eq!((&order["quantity"], &order["price"]), (&json!(expected), &json!(expected)), "{sent}");
        assert_eq!(site.newest("price").await, expected);
    }
    let negative = ana.order("A", "-999999999.999999", "1").await;
    assert_eq!(negative["quantity"], "-999999999.999999");
}

#[tokio::test]
async fn decimals_that_cannot_be_kept_are_refused() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let bounds = "Ensure that there are no more than 9 digits before the decimal point and 6 after it.";
    let no_number = "A valid number is required.";
    for (sent, expected) in [
        ("1000000000", bounds),
        ("1e9", bounds),
        ("0.0000001", bounds),
        ("1.1234567", bounds),
        ("1e28", bounds),
        ("12345678901234567890123456789012345", no_number),
        ("9e28", no_number),
        ("1e-4294967295", no_number),
        ("1.5e-4294967295", no_number),
        ("1e99999999999999999999", no_number),
        ("0.30000000000000000000000000000000000000001", no_number),
        ("0.30000000000000000000000000000000000000001e0", no_number),
        ("\"NaN\"", no_number),
        ("\"Infinity\"", no_number),
        ("\"1,5\"", no_number),
        ("\"0x10\"", no_number),
        ("\"1 000\"", no_number),
        ("\"\"", no_number),
        ("\"-\"", no_number),
        ("\"٣\"", no_number),
        ("true", no_number),
        ("[1]", no_number),
        ("{}", no_number),
    ] {
        let body = format!(r#"{{"instrument":"A","quantity":1,"price":{sent}}}"#);
        let answer = ana.send("POST", "/api/data/", &JSON, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{sent}: {}", answer.body);
        assert_eq!(answer.json(), json!({"price": [expected]}), "{sent}");
    }
}

#[tokio::test]
async fn everything_wrong_is_said_at_once_field_by_field() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let required = "This field is required.";
    let nothing = json!({"instrument": [required], "quantity": [required], "price": [required]});
    assert_invalid(&ana.post("/api/data/", &json!({})).await, &nothing);
    let wrong = json!({"owner": "", "instrument": "x".repeat(33), "quantity": "much", "price": -0.5});
    let said = json!({
        "owner": ["This field may not be blank."],
        "instrument": ["Ensure this field has no more than 32 characters."],
        "quantity": ["A valid number is required."],
        "price": ["Ensure this value is greater than or equal to 0."],
    });
    assert_invalid(&ana.post("/api/data/", &wrong).await, &said);
    let wrong = json!({"instrument": null, "quantity": null, "price": null, "owner": ["ana"]});
    let is_null = "This field may not be null.";
    let said = json!({
        "owner": ["Not a valid string."], "instrument": [is_null], "quantity": [is_null], "price": [is_null],
    });
    assert_invalid(&ana.post("/api/data/", &wrong).await, &said);
    let control = json!({"instrument": "a\u{0}b", "quantity": 1, "price": 1});
    let said = json!({"instrument": ["Control characters are not allowed."]});
    assert_invalid(&ana.post("/api/data/", &control).await, &said);
    assert_eq!(ana.json("/api/data/").await["count"], 0, "nothing was made");
}

#[tokio::test]
async fn the_length_of_a_name_is_counted_in_characters() {
    let site = Site::new().await;
    let name = "ß".repeat(32);
    assert_eq!(site.client("ana").order(&name, "1", "1").await["instrument"], name);
}

#[tokio::test]
async fn put_takes_the_whole_order_and_patch_a_part() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let first = ana.order("A", "1", "2").await;
    let missing = json!({"quantity": ["This field is required."], "price": ["This field is required."]});
    assert_invalid(&ana.put(&address(&first), &json!({"instrument": "B"})).await, &missing);
    assert_eq!(ana.json(&address(&first)).await, first, "a refused write changes nothing");
    let mut touched = ana.patch(&address(&first), &json!({})).await.json();
    assert!(touched["updated"].as_str() > first["updated"].as_str());
    touched["updated"] = first["updated"].clone();
    assert_eq!(touched, first);
    let invalid = ana.patch(&address(&first), &json!({"price": "x", "instrument": "B"})).await;
    assert_invalid(&invalid, &json!({"price": ["A valid number is required."]}));
    assert_eq!(ana.json(&address(&first)).await["instrument"], "A");
}

#[tokio::test]
async fn what_a_client_was_given_it_may_put_back() {
    let site = Site::new().await;
    let (ana, boss) = (site.client("ana"), site.client("boss"));
    let first = ana.order("A", "1.50", "2").await;
    for client in [&ana, &boss] {
        let again = client.put(&address(&first), &first).await;
        assert_eq!(again.status, StatusCode::OK, "{}", again.body);
        assert_eq!(again.json()["quantity"], "1.5");
        assert_eq!(again.json()["created"], first["created"], "what is computed is passed over");
    }
    site.execute("UPDATE accounts_user SET is_active = FALSE WHERE username = 'ana'").await;
    let again = boss.put(&address(&first), &first).await;
    assert_eq!(again.status, StatusCode::OK, "an owner who stays needs no check: {}", again.body);
}

#[tokio::test]
async fn what_is_computed_cannot_be_chosen() {
    let site = Site::new().await;
    let mut chosen = order();
    chosen["id"] = json!(4711);
    chosen["created"] = json!("1999-01-01T00:00:00Z");
    chosen["owner_id"] = json!(1);
    let made = site.client("ana").post("/api/data/", &chosen).await.json();
    assert_eq!((&made["id"], &made["owner"]), (&json!(1), &json!("ana")));
    assert!(made["created"].as_str() > Some("2020"));
}

#[tokio::test]
async fn forms_are_bodies_too() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let made = ana.form("/api/data/", "instrument=XAU+%2B&quantity=0.1&price=2684.50").await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let made = made.json();
    assert_eq!((&made["instrument"], &made["price"]), (&json!("XAU +"), &json!("2684.5")));
    let form = [("content-type", "Application/X-WWW-Form-urlencoded; charset=utf-8")];
    let amended = ana.send("PATCH", &address(&made), &form, "price=3").await;
    assert_eq!(amended.json()["price"], "3");
    let invalid = ana.form("/api/data/", "instrument=&quantity=1").await;
    let said = json!({
        "instrument": ["This field may not be blank."], "price": ["This field is required."],
    });
    assert_invalid(&invalid, &said);
}

#[tokio::test]
async fn other_bodies_are_not_understood() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let body = order().to_string();
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/jsonx", ""] {
        let answer = ana.send("POST", "/api/data/", &[("content-type", kind)], &body).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("application/json"));
    }
    assert_eq!(ana.send("POST", "/api/data/", &[], &body).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let charset = [("content-type", "application/json; charset=utf-8")];
    assert_eq!(ana.send("POST", "/api/data/", &charset, &body).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let site = Site::new().await;
    let ana = site.client("ana");
    for body in ["", "{", "[1]", "7", "null", "\"x\"", "{\"price\":1}x", "{\"price\":01}", "{price:1}"] {
        let answer = ana.send("POST", "/api/data/", &JSON, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer.json()["non_field_errors"][0].as_str().unwrap().starts_with("Not a JSON object"));
    }
    let long = format!(r#"{{"instrument":"{}"}}"#, "x".repeat(20_000));
    let answer = ana.send("POST", "/api/data/", &JSON, &long).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_order_of_another_is_not_there() {
    let site = Site::new().await;
    let first = site.client("ana").order("A", "1", "2").await;
    let ben = site.client("ben");
    let not_found = json!({"detail": "Not found."});
    for answer in [
        ben.get(&address(&first)).await,
        ben.put(&address(&first), &order()).await,
        ben.patch(&address(&first), &json!({"price": 9})).await,
        ben.patch(&address(&first), &json!({"owner": "ben"})).await,
        ben.delete(&address(&first)).await,
    ] {
        assert_eq!((answer.status, answer.json()), (StatusCode::NOT_FOUND, not_found.clone()));
    }
    assert_eq!(site.client("ana").json(&address(&first)).await, first);
    let boss = site.client("boss");
    assert_eq!(boss.json(&address(&first)).await, first, "staff see all");
    assert_eq!(boss.patch(&address(&first), &json!({"price": 3})).await.json()["owner"], "ana");
    assert_eq!(boss.delete(&address(&first)).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn what_is_no_number_names_no_order() {
    let site = Site::new().await;
    let boss = site.client("boss");
    boss.order("A", "1", "1").await;
    for id in ["x", "1.0", "1x", "-1", "0", "2", "99999999999999999999", "%27", "1%20OR%201=1", "%00"] {
        let path = format!("/api/data/{id}/");
        for answer in [
            boss.get(&path).await,
            boss.put(&path, &order()).await,
            boss.patch(&path, &json!({})).await,
            boss.delete(&path).await,
        ] {
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.json(), json!({"detail": "Not found."}), "{path}");
        }
    }
}

#[tokio::test]
async fn only_staff_choose_an_owner() {
    let site = Site::new().await;
    let (ana, boss) = (site.client("ana"), site.client("boss"));
    let mut for_ben = order();
    for_ben["owner"] = json!("ben");
    let refused = json!({"owner": ["Only staff may choose another owner."]});
    assert_invalid(&ana.post("/api/data/", &for_ben).await, &refused);
    let own = ana.order("A", "1", "1").await;
    assert_invalid(&ana.patch(&address(&own), &json!({"owner": "ben"})).await, &refused);
    let as_oneself = ana.patch(&address(&own), &json!({"owner": "ana"})).await;
    assert_eq!(as_oneself.json()["owner"], "ana");

    let given = boss.post("/api/data/", &for_ben).await.json();
    assert_eq!(given["owner"], "ben");
    assert_eq!(site.client("ben").json("/api/data/").await["count"], 1);
    assert_eq!(boss.patch(&address(&given), &json!({"owner": "ana"})).await.json()["owner"], "ana");
    assert_eq!(site.client("ben").json("/api/data/").await["count"], 0);
    assert_eq!(boss.order("B", "1", "1").await["owner"], "boss", "by default an order is one's own");
}

#[tokio::test]
async fn an_owner_is_an_active_user() {
    let site = Site::new().await;
    let boss = site.client("boss");
    let own = boss.order("A", "1", "1").await;
    site.execute("UPDATE accounts_user SET is_active = FALSE WHERE username = 'ben'").await;
    for nobody in ["ben", "nobody", "ANA", "'"] {
        let refused = json!({"owner": [format!("there is no active user {nobody:?}")]});
        assert_invalid(&boss.patch(&address(&own), &json!({"owner": nobody})).await, &refused);
        let mut for_nobody = order();
        for_nobody["owner"] = json!(nobody);
        assert_invalid(&boss.post("/api/data/", &for_nobody).await, &refused);
    }
    assert_eq!(boss.json("/api/data/").await["count"], 1);
}

#[tokio::test]
async fn markup_is_kept_as_it_is_and_never_sent_as_html() {
    let site = Site::new().await;
    let name = "<script>alert(1)</script>";
    let answer =
        site.client("ana").post("/api/data/", &json!({"instrument": name, "quantity": 1, "price": 1})).await;
    assert_eq!(answer.json()["instrument"], name);
    assert_eq!(answer.header("content-type"), "application/json");
}
