//! `?format=datatables`: the server's side of the table on the page.

use accounts::Dialect;
use serde_json::{Value, json};

use crate::site::{Client, Site};

/// The columns in the order in which the page's table has them.
const COLUMNS: [&str; 6] = ["id", "instrument", "quantity", "price", "owner", "updated"];

fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// What the server answers to a table that sends its columns and these parameters.
async fn ask(client: &Client, params: &[(&str, &str)]) -> Value {
    let columns = COLUMNS.iter().enumerate().map(|(n, name)| (format!("columns[{n}][data]"), *name));
    let columns: Vec<(String, &str)> = columns.collect();
    let mut pairs = vec![("format", "datatables")];
    pairs.extend(columns.iter().map(|(key, name)| (key.as_str(), *name)));
    pairs.extend(params);
    client.json(&format!("/api/data/?{}", encoded(&pairs))).await
}

/// The names of the instruments in an answer.
fn names(answer: &Value) -> String {
    assert!(answer["error"].is_null(), "{answer}");
    let names = answer["data"].as_array().unwrap().iter().map(|order| order["instrument"].as_str().unwrap());
    names.collect::<Vec<_>>().join(" ")
}

/// How many there are, and how many match.
fn counts(answer: &Value) -> (i64, i64) {
    (answer["recordsTotal"].as_i64().unwrap(), answer["recordsFiltered"].as_i64().unwrap())
}

#[tokio::test]
async fn a_page_of_the_table_comes_with_its_number_and_counts() {
    let site = Site::new().await;
    let ana = site.client("ana");
    for name in 'A'..='G' {
        ana.order(&name.to_string(), "1", "1").await;
    }
    let answer = ask(&ana, &[("draw", "7"), ("start", "2"), ("length", "3")]).await;
    assert_eq!(answer["draw"], 7);
    assert_eq!(counts(&answer), (7, 7));
    assert_eq!(names(&answer), "E D C");
    let id = answer["data"][0]["id"].as_i64().unwrap();
    assert_eq!(answer["data"][0], ana.json(&format!("/api/data/{id}/")).await, "rows are orders");

    assert_eq!(names(&ask(&ana, &[("start", "6"), ("length", "3")]).await), "A");
    let beyond = ask(&ana, &[("start", "70"), ("length", "3")]).await;
    assert_eq!((names(&beyond).as_str(), counts(&beyond)), ("", (7, 7)));
    assert_eq!(names(&ask(&ana, &[("length", "-1")]).await), "G F E D C B A");
    let none = ask(&ana, &[("length", "0")]).await;
    assert_eq!((names(&none).as_str(), counts(&none)), ("", (7, 7)));
}

#[tokio::test]
async fn counts_are_those_of_the_user() {
    let site = Site::new().await;
    for (user, orders) in [("ana", 3), ("ben", 2)] {
        for _ in 0..orders {
            site.client(user).order("EURUSD", "1", "1").await;
        }
        site.client(user).order("GOLD", "1", "1").await;
    }
    for (user, expected) in [("ana", (4, 3)), ("ben", (3, 2)), ("boss", (7, 5))] {
        let answer = ask(&site.client(user), &[("search[value]", "eur"), ("length", "1")]).await;
        assert_eq!(counts(&answer), expected, "{user}");
        assert_eq!(answer["data"].as_array().unwrap().len(), 1);
    }
    let others = ask(&site.client("ana"), &[("search[value]", "ben")]).await;
    assert_eq!(counts(&others), (4, 0));
}

#[tokio::test]
async fn columns_sort_by_exact_value_and_by_one_another() {
    let site = Site::new().await;
    let ana = site.client("ana");
    for (name, quantity, price) in [
        ("A", "10", "0.100002"),
        ("B", "9", "0.100001"),
        ("C", "-100", "0.1"),
        ("D", "9", "999999999.999999"),
        ("E", "9", "999999999.999998"),
        ("F", "9.5", "0.100001"),
    ] {
        ana.order(name, quantity, price).await;
    }
    let sorted = async |orders: &[(&str, &str)]| {
        let keys: Vec<_> =
            (0..orders.len()).map(|n| (format!("order[{n}][column]"), format!("order[{n}][dir]"))).collect();
        let pairs: Vec<_> = keys
            .iter()
            .zip(orders)
            .flat_map(|((column, dir), order)| [(column.as_str(), order.0), (dir.as_str(), order.1)])
            .collect();
        names(&ask(&ana, &pairs).await)
    };
    assert_eq!(sorted(&[("3", "asc")]).await, "C F B A E D", "0.1 < 0.100001 = 0.100001 < 0.100002");
    assert_eq!(sorted(&[("3", "desc")]).await, "D E A F B C");
    assert_eq!(sorted(&[("2", "asc")]).await, "C E D B F A", "-100 < 9 < 9.5 < 10");
    assert_eq!(sorted(&[("2", "desc"), ("3", "asc")]).await, "A F B E D C");
    assert_eq!(sorted(&[("2", "asc"), ("3", "desc")]).await, "C D E B F A");
    assert_eq!(sorted(&[("2", "asc"), ("0", "asc")]).await, "C B D E F A");
    assert_eq!(sorted(&[("1", "desc")]).await, "F E D C B A");
    assert_eq!(sorted(&[("4", "asc"), ("0", "asc")]).await, "A B C D E F");
    assert_eq!(sorted(&[("5", "asc")]).await, "A B C D E F");
}

#[tokio::test]
async fn digits_beyond_ours_still_sort_exactly() {
    let site = Site::new().await;
    if site.db.dialect() == Dialect::Postgres {
        return; // Its column takes no more digits than we do.
    }
    let ana = site.client("ana");
    ana.order("A", "1", "1").await;
    ana.order("B", "1", "1").await;
    // Another program may have stored more digits than this one takes.
    site.execute("UPDATE orders_order SET price = '0.1000001' WHERE instrument = 'B'").await;
    site.execute("UPDATE orders_order SET price = '0.1000002' WHERE instrument = 'A'").await;
    let by_price = [("order[0][column]", "3"), ("order[0][dir]", "asc")];
    assert_eq!(names(&ask(&ana, &by_price).await), "B A");
}

#[tokio::test]
async fn what_means_something_in_sql_means_itself() {
    let site = Site::new().await;
    let ana = site.client("ana");
    for name in ["50%", "a_b", "acb", "a\\b", "o'neil"] {
        ana.order(name, "1", "1").await;
    }
    for (search, expected) in [
        ("%", "50%"),
        ("_", "a_b"),
        ("\\", "a\\b"),
        ("A_B", "a_b"),
        ("'", "o'neil"),
        (" 50% ", "50%"),
        ("%%", ""),
        ("' OR 1=1 --", ""),
        (")", ""),
    ] {
        assert_eq!(names(&ask(&ana, &[("search[value]", search)]).await), expected, "{search:?}");
    }
    assert_eq!(counts(&ask(&ana, &[("search[value]", "")]).await), (5, 5));
}

#[tokio::test]
async fn bad_requests_are_answered_with_an_error_that_the_table_can_show() {
    let site = Site::new().await;
    let ana = site.client("ana");
    ana.order("A", "1", "1").await;
    let long = "x".repeat(101);
    for (bad, hint) in [
        (vec![("start", "x")], "`start`"),
        (vec![("start", "-1")], "`start`"),
        (vec![("start", "99999999999999999999")], "`start`"),
        (vec![("length", "")], "`length`"),
        (vec![("length", "-2")], "`length`"),
        (vec![("length", "10001")], "`length`"),
        (vec![("order[0][column]", "6"), ("order[0][dir]", "asc")], "column 6"),
        (vec![("order[0][column]", "-1")], "`order[0][column]`"),
        (vec![("order[0][column]", "0"), ("order[0][dir]", "up")], "asc nor desc"),
        (vec![("columns[0][data]", "id; DROP TABLE orders_order"), ("order[0][column]", "0")], "sorted by"),
        (vec![("search[value]", &long)], "100 characters"),
    ] {
        let mut params = vec![("draw", "41")];
        params.extend(bad);
        let answer = ask(&ana, &params).await;
        assert_eq!(answer["draw"], 41);
        assert!(answer["error"].as_str().unwrap().contains(hint), "{hint}: {answer}");
        assert_eq!((counts(&answer), &answer["data"]), ((0, 0), &json!([])));
    }
    let script = ask(&ana, &[("draw", "<script>")]).await;
    assert_eq!(script["draw"], 0, "what is no number does not come back");
    assert!(script["error"].as_str().unwrap().contains("`draw`"));
    assert_eq!(ana.json("/api/data/").await["count"], 1);
}
