//! The socket of the orders over a real connection: who gets one, and that it hears what is written.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::http::{Request, basic, log_in};
use crate::program::Folder;
use crate::server::Server;
use crate::socket::Socket;

const PATH: &str = "/ws/orders/";

/// How old an event may be when it is read, on a machine that is busy.
const FRESH: Duration = Duration::from_secs(5);

/// Writes as a script does, beside the test's own task.
async fn write(server: &Server, request: Request) -> Value {
    let host = server.host.clone();
    let answer = tokio::task::spawn_blocking(move || request.send(&host)).await.unwrap();
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer.json()
}

fn now() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_hears_what_another_writes() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let mut demo =
        Socket::open(&server.host, PATH, &[("authorization", &basic("demo", "demo"))]).await.ok().unwrap();
    let mut admin =
        Socket::open(&server.host, PATH, &[("authorization", &basic("admin", "admin"))]).await.ok().unwrap();
    for socket in [&mut demo, &mut admin] {
        socket.send(&json!({"type": "realtime.start"})).await;
        let started = socket.receive().await;
        assert_eq!(started["type"], "realtime.started");
        assert!(started["revision"].as_i64().unwrap() <= now());
        assert!(started["sum"].as_str().unwrap().contains('.'), "{started}");
    }
    let order = json!({"instrument": "EURUSD", "quantity": 2, "price": "1.25"});
    let post = Request::new("POST", "/api/data/").basic("demo", "demo").json(&order);
    let before = now();
    let created = write(&server, post).await;
    for socket in [&mut demo, &mut admin] {
        let event = socket.receive().await;
        let sent_at = event["sent_at"].as_i64().unwrap();
        assert!((before..=now()).contains(&sent_at));
        assert!(now() - sent_at < i64::try_from(FRESH.as_micros()).unwrap());
        assert_eq!(
            event,
            json!({"type": "order.changed", "action": "create", "order": created, "delta": "2.5",
                   "revision": sent_at, "sent_at": sent_at, "key": event["key"]})
        );
    }
    let given = json!({"owner": "admin"});
    let patch = Request::new("PATCH", &format!("/api/data/{}/", created["id"])).basic("admin", "admin");
    write(&server, patch.json(&given)).await;
    assert_eq!(demo.receive().await["action"], "delete");
    assert_eq!(admin.receive().await["action"], "update");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_users_on_pages_of_this_site_get_a_socket() {
    let folder = Folder::new();
    let server = Server::with_demo(&folder);
    let host = server.host.clone();
    let cookie = tokio::task::spawn_blocking(move || log_in(&host, "demo", "demo")).await.unwrap();
    let cookie = ("cookie", cookie.as_str());
    let script = basic("demo", "demo");
    let script = ("authorization", script.as_str());
    let own = format!("http://{}", server.host);
    let (own, foreign) = (("origin", own.as_str()), ("origin", "http://evil.example"));
    let wrong = basic("demo", "wrong");
    for (path, headers, expected) in [
        (PATH, vec![cookie, own], Ok(())),
        (PATH, vec![script], Ok(())),
        (PATH, vec![script, own], Ok(())),
        (PATH, vec![cookie], Err(403)),
        (PATH, vec![cookie, foreign], Err(403)),
        (PATH, vec![script, foreign], Err(403)),
        (PATH, vec![cookie, ("origin", "null")], Err(403)),
        (PATH, vec![], Err(403)),
        (PATH, vec![own], Err(403)),
        (PATH, vec![own, ("cookie", "sessionid=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")], Err(403)),
        (PATH, vec![("authorization", &wrong)], Err(401)),
        ("/ws/nothing/", vec![cookie, own], Err(404)),
        ("/ws/orders", vec![cookie, own], Err(404)),
        ("/", vec![cookie, own], Err(404)),
    ] {
        let opened = Socket::open(&server.host, path, &headers).await;
        assert_eq!(opened.map(|_| ()), expected, "{path} {headers:?}");
    }
    let mut live = Socket::open(&server.host, PATH, &[cookie, own]).await.ok().unwrap();
    live.send(&json!({"type": "realtime.begin"})).await;
    assert_eq!(live.receive().await["type"], "error");
    let host = server.host.clone();
    let plain =
        tokio::task::spawn_blocking(move || Request::new("GET", PATH).basic("demo", "demo").send(&host));
    assert_eq!(plain.await.unwrap().status, 404, "a plain request finds no page there");
}
