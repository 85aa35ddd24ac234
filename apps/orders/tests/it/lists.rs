//! The list at `/api/data/`: its pages, its order, its search.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::site::{Client, Site, address};

/// The values of one field in a list's results.
async fn column(client: &Client, query: &str, field: &str) -> Vec<String> {
    let list = client.json(&format!("/api/data/?{query}")).await;
    let results = list["results"].as_array().unwrap();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    results.iter().map(|order| text(&order[field])).collect()
}

/// Orders of `ana` with these prices, named A, B, C, and so on.
async fn priced(site: &Site, prices: &[&str]) -> Client {
    let ana = site.client("ana");
    for (price, name) in prices.iter().zip('A'..) {
        ana.order(&name.to_string(), "1", price).await;
    }
    ana
}

#[tokio::test]
async fn pages_lead_to_one_another_and_hold_each_order_once() {
    let site = Site::new().await;
    let ana = priced(&site, &["1"; 7]).await;
    let (mut path, mut names, mut pages) = ("/api/data/?page_size=3".to_owned(), Vec::new(), 0);
    loop {
        let page = ana.json(&path).await;
        assert_eq!(page["count"], 7);
        assert_eq!(page["previous"].is_null(), pages == 0);
        pages += 1;
        names.extend(page["results"].as_array().unwrap().iter().map(|order| order["instrument"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(next, format!("http://shop.example:8000/api/data/?page_size=3&page={}", pages + 1));
        path = next.strip_prefix("http://shop.example:8000").unwrap().to_owned();
    }
    assert_eq!(pages, 3);
    assert_eq!(names, ["G", "F", "E", "D", "C", "B", "A"], "the newest is first");
    let second = ana.json("/api/data/?page_size=3&page=2").await;
    assert_eq!(second["previous"], "http://shop.example:8000/api/data/?page_size=3&page=1");
}

#[tokio::test]
async fn links_keep_what_was_asked_for() {
    let site = Site::new().await;
    let ana = priced(&site, &["1", "2", "3"]).await;
    let page = ana.json("/api/data/?page=2&ordering=-price&search=%61na&page_size=1").await;
    let link = |page| {
        format!("http://shop.example:8000/api/data/?ordering=-price&search=ana&page_size=1&page={page}")
    };
    assert_eq!((&page["next"], &page["previous"]), (&json!(link(3)), &json!(link(1))));
    assert_eq!(page["results"][0]["instrument"], "B");
    let behind_tls = [("x-forwarded-proto", "https")];
    let page = ana.send("GET", "/api/data/?page_size=1", &behind_tls, "").await.json();
    assert_eq!(page["next"], "https://shop.example:8000/api/data/?page_size=1&page=2");
}

#[tokio::test]
async fn the_first_page_is_there_even_when_it_is_empty() {
    let site = Site::new().await;
    let empty = site.client("ana").json("/api/data/").await;
    assert_eq!(empty, json!({"count": 0, "next": null, "previous": null, "results": []}));
}

#[tokio::test]
async fn pages_that_are_none_are_not_found() {
    let site = Site::new().await;
    let ana = priced(&site, &["1"; 3]).await;
    for query in [
        "page=0",
        "page=-1",
        "page=x",
        "page=",
        "page=2",
        "page=99999999999999999999",
        "page=1000000000&page_size=500",
        "page=3&page_size=2",
        "page_size=0",
        "page_size=-1",
        "page_size=x",
    ] {
        let answer = ana.get(&format!("/api/data/?{query}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{query}");
        assert_eq!(answer.json(), json!({"detail": "Invalid page."}));
    }
    assert_eq!(column(&ana, "page=2&page_size=2", "instrument").await, ["A"]);
}

#[tokio::test]
async fn ordering_goes_by_exact_value_and_by_several_columns() {
    let site = Site::new().await;
    let ana = priced(&site, &["10", "9", "0.100002", "0.100001", "9"]).await;
    let names =
        async |ordering: &str| column(&ana, &format!("ordering={ordering}"), "instrument").await.concat();
    assert_eq!(names("price").await, "DCEBA", "of equals the newest is first");
    assert_eq!(names("-price").await, "AEBCD");
    assert_eq!(names("price,id").await, "DCBEA");
    assert_eq!(names("-quantity,%20-instrument").await, "EDCBA");
    assert_eq!(names("instrument").await, "ABCDE");
    assert_eq!(names("created").await, "ABCDE");
    for passed_over in ["", "nonsense", "o.id;DROP TABLE orders_order", "owner_id", "COLLATE"] {
        let passed_over = passed_over.replace(' ', "%20");
        assert_eq!(names(&passed_over).await, "EDCBA", "{passed_over}");
    }
    assert_eq!(names("nonsense,price").await, "DCEBA");
}

#[tokio::test]
async fn a_change_moves_an_order_in_the_list_of_the_lately_updated() {
    let site = Site::new().await;
    let ana = priced(&site, &["1", "2"]).await;
    let first = ana.json("/api/data/?ordering=id").await["results"][0].clone();
    ana.patch(&address(&first), &json!({"price": 3})).await;
    assert_eq!(column(&ana, "ordering=-updated", "instrument").await, ["A", "B"]);
}

#[tokio::test]
async fn a_search_looks_into_every_column() {
    let site = Site::new().await;
    let ana = site.client("ana");
    let euro = ana.order("EURUSD", "1.25", "7").await;
    ana.order("XAU Gold", "3", "2684.5").await;
    ana.order("Öl_50%", "4", "8").await;
    site.client("ben").order("EURUSD", "5", "9").await;

    let found = async |search: &str| column(&ana, &format!("search={search}"), "instrument").await;
    for search in ["eur", "EURUSD", "urus", "1.25", &euro["id"].to_string()] {
        assert!(found(search).await.contains(&"EURUSD".to_owned()), "{search}");
    }
    assert_eq!(found("2684").await, ["XAU Gold"]);
    assert_eq!(found("u%20g").await, ["XAU Gold"]);
    assert_eq!(found("ana").await.len(), 3, "the owner is looked into");
    assert_eq!(found("ben").await.len(), 0, "and no order of others is found");
    let boss = site.client("boss");
    assert_eq!(boss.json("/api/data/?search=eur").await["count"], 2, "staff search all");
    assert_eq!(column(&boss, "search=BEN", "owner").await, ["ben"]);
}

#[tokio::test]
async fn a_search_finds_letters_beyond_ascii_as_they_are_written() {
    let site = Site::new().await;
    let ana = site.client("ana");
    ana.order("Öl Straße", "1", "1").await;
    for search in ["%C3%96l", "Stra%C3%9Fe", "%C3%96L%20sTRA"] {
        assert_eq!(column(&ana, &format!("search={search}"), "id").await.len(), 1, "{search}");
    }
}

#[tokio::test]
async fn what_means_something_in_sql_means_itself_in_a_search() {
    let site = Site::new().await;
    let ana = site.client("ana");
    for name in ["50%", "a_b", "acb", "back\\slash", "it's", "\"x\"", "; DROP TABLE orders_order; --"] {
        ana.order(name, "1", "1").await;
    }
    for (search, expected) in [
        ("%25", "50%"),
        ("_", "a_b"),
        ("a_b", "a_b"),
        ("\\", "back\\slash"),
        ("'", "it's"),
        ("%22", "\"x\""),
        ("table", "; DROP TABLE orders_order; --"),
    ] {
        let mut found = column(&ana, &format!("search={search}"), "instrument").await;
        found.retain(|name| search != "_" || name != "; DROP TABLE orders_order; --");
        assert_eq!(found, [expected], "{search}");
    }
    for nothing in ["'%20OR%20'1'='1", "1%20OR%201=1", "%25%25", "a%25b", "\\%25"] {
        assert_eq!(column(&ana, &format!("search={nothing}"), "id").await, [""; 0], "{nothing}");
    }
}

#[tokio::test]
async fn a_search_that_is_too_long_is_refused() {
    let site = Site::new().await;
    let ana = priced(&site, &["1"]).await;
    assert_eq!(column(&ana, &format!("search={}", "x".repeat(100)), "id").await, [""; 0]);
    for length in [101, 30_000] {
        let answer = ana.get(&format!("/api/data/?search={}", "_".repeat(length))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
        let expected = json!({"search": ["Ensure this field has no more than 100 characters."]});
        assert_eq!(answer.json(), expected);
    }
}

#[tokio::test]
async fn everyone_sees_their_own_orders_and_staff_see_all() {
    let site = Site::new().await;
    site.client("ana").order("A", "1", "1").await;
    site.client("ben").order("B", "1", "1").await;
    site.client("boss").order("C", "1", "1").await;
    for (user, expected) in [("ana", "A"), ("ben", "B"), ("boss", "CBA")] {
        let list = site.client(user).json("/api/data/").await;
        assert_eq!(list["count"], expected.len());
        assert_eq!(column(&site.client(user), "", "instrument").await.concat(), expected);
    }
}
