//! The first minute of somebody new: one command, a login, a page.

use serde_json::json;

use crate::http::{Request, log_in};
use crate::program::Folder;
use crate::server::Server;

#[test]
fn an_empty_folder_becomes_a_site_with_a_demo() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    assert!(server.welcome.starts_with("Waterway is at http://127.0.0.1:"), "{}", server.welcome);
    assert!(server.welcome.contains("Log in as admin/admin (staff) or demo/demo."), "{}", server.welcome);
    assert_eq!(folder.path("waterway.db").is_file(), folder.database().starts_with("sqlite:"));
    for (path, body) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
    }
    let list = Request::new("GET", "/api/data/").basic("admin", "admin").send(&server.host);
    assert_eq!(list.json()["count"], 2000);
}

#[test]
fn what_is_captured_is_told_to_operators() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let order = json!({"instrument": "A", "quantity": 1, "price": 1});
    assert_eq!(
        Request::new("POST", "/api/data/").basic("demo", "demo").json(&order).send(&server.host).status,
        201
    );
    let captured = || server.get("/capturez").json();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while captured()["messages"] != 2 && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    let captured = captured();
    assert_eq!(
        (&captured["is_relaying"], &captured["changes"], &captured["messages"]),
        (&json!(true), &json!(1), &json!(2))
    );
    assert_eq!(
        (&captured["resets"], &captured["unknown"], &captured["failures"]),
        (&json!(0), &json!(0), &json!(0))
    );
}

#[test]
fn without_a_command_it_serves_too() {
    let folder = Folder::new();
    let server = Server::of(&folder, folder.command(&["127.0.0.1:0"]));
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_browser_logs_in_reads_the_page_and_logs_out() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let host = &server.host;
    let page = server.get("/");
    assert_eq!((page.status, page.header("location")), (303, "/accounts/login/?next=%2F"));
    assert!(server.get(page.header("location")).body.contains("name=\"password\""));

    let wrong = Request::new("POST", "/accounts/login/")
        .header("Origin", &format!("http://{host}"))
        .form("username=demo&password=wrong");
    assert_eq!(wrong.send(host).status, 403);
    let foreign = Request::new("POST", "/accounts/login/").header("Origin", "http://evil.example");
    assert_eq!(foreign.form("username=demo&password=demo").send(host).status, 403);

    let cookie = log_in(host, "demo", "demo");
    let get = |path: &str| Request::new("GET", path).header("Cookie", &cookie).send(host);
    let page = get("/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("demo") && page.header("content-security-policy").contains("'self'"));
    assert_eq!(get("/accounts/whoami/").json(), json!({"username": "demo", "is_staff": false}));
    assert_eq!(get("/admin/orders/").status, 403);
    assert_eq!(get("/api/data/?format=datatables&draw=3&length=1").json()["draw"], 3);
    assert_eq!(get("/static/accounts/site.css").status, 200);

    let log_out = || Request::new("POST", "/accounts/logout/").header("Cookie", &cookie);
    assert_eq!(log_out().send(host).status, 403, "a page of this site has to ask for it");
    assert_eq!(log_out().header("Sec-Fetch-Site", "same-origin").send(host).status, 200);
    assert_eq!(get("/accounts/whoami/").status, 401);
    assert_eq!(get("/").status, 303);
}

#[test]
fn a_second_run_keeps_what_there_is() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let order = json!({"instrument": "KEPT", "quantity": 1, "price": 1});
    let made = Request::new("POST", "/api/data/").basic("demo", "demo").json(&order).send(&server.host);
    assert_eq!(made.status, 201, "{made:?}");
    drop(server);
    let server = Server::with_demo(&folder);
    assert!(server.welcome.contains("demo/demo"));
    let list = Request::new("GET", "/api/data/").basic("admin", "admin").send(&server.host).json();
    assert_eq!((&list["count"], &list["results"][0]["instrument"]), (&json!(2001), &json!("KEPT")));
}

#[test]
fn a_site_with_users_of_its_own_gets_no_demo() {
    let folder = Folder::new();
    folder.create_superuser("ana", "correct horse");
    let server = Server::with_demo(&folder);
    assert!(!server.welcome.contains("demo"), "{}", server.welcome);
    let get = |username: &str, password: &str| {
        Request::new("GET", "/api/data/").basic(username, password).send(&server.host)
    };
    assert_eq!(get("ana", "correct horse").json()["count"], 0);
    assert_eq!(get("demo", "demo").status, 401);
}

#[test]
fn cookies_travel_over_https_only_when_asked() {
    let folder = Folder::new();
    let cookie = |server: &Server| {
        let login =
            Request::new("POST", "/accounts/login/").header("Origin", &format!("http://{}", server.host));
        let answer = login.form("username=demo&password=demo").send(&server.host);
        answer.header("set-cookie").to_owned()
    };
    let plain = cookie(&Server::with_demo(&folder));
    assert!(plain.contains("HttpOnly; SameSite=Lax") && !plain.contains("Secure"), "{plain}");
    let secure = cookie(&Server::start(&folder, &["127.0.0.1:0", "--secure-cookies"]));
    assert!(secure.contains("; Secure"), "{secure}");
}
