//! The end: whoever is connected is told, and the program leaves in order.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::http::basic;
use crate::program::Folder;
use crate::server::Server;
use crate::socket::Socket;

const SOCKETS: usize = 2000;

/// How many open at a time, so that the queue of those who wait to be accepted is not full.
const AT_ONCE: usize = 50;

/// Within which every socket is to be closed.
const DEADLINE: Duration = Duration::from_secs(5);

/// What the service manager of a system would be told.
const SERVICE_RESTART: u16 = 1012;

/// Opens a socket; every second one starts realtime.
async fn open(host: String, authorization: String, nth: usize) -> Socket {
    let mut socket = Socket::open(&host, "/ws/orders/", &[("authorization", &authorization)])
        .await
        .unwrap_or_else(|status| panic!("socket {nth} was answered {status}"));
    if nth.is_multiple_of(2) {
        socket.send(&json!({"type": "realtime.start"})).await;
        assert_eq!(socket.receive().await["type"], "realtime.started");
    }
    socket
}

/// Reads a socket to its end; the code of the close frame.
async fn read_to_the_end(mut socket: Socket) -> Option<u16> {
    let mut code = None;
    while let Some(Ok(message)) = socket.0.next().await {
        if let Message::Close(Some(close)) = message {
            code = Some(close.code.into());
        }
    }
    code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_sockets_are_closed_in_order() {
    let limit = rlimit::increase_nofile_limit(16 * 1024).unwrap();
    assert!(limit > 3000, "the system allows {limit} open files, which are too few for this test");
    let folder = Folder::new();
    folder.create_superuser("ana", "correct horse");
    let mut server = Server::with_demo(&folder);

    let authorization = basic("ana", "correct horse");
    let mut opened = FuturesUnordered::new();
    let mut reading = Vec::with_capacity(SOCKETS);
    for nth in 0..SOCKETS {
        opened.push(tokio::spawn(open(server.host.clone(), authorization.clone(), nth)));
        if opened.len() >= AT_ONCE {
            reading.push(tokio::spawn(read_to_the_end(opened.next().await.unwrap().unwrap())));
        }
    }
    while let Some(socket) = opened.next().await {
        reading.push(tokio::spawn(read_to_the_end(socket.unwrap())));
    }
    assert_eq!(reading.len(), SOCKETS);
    assert!(reading.iter().all(|socket| !socket.is_finished()), "all are open until the end");

    let start = Instant::now();
    server.signal("-TERM");
    let mut closed = 0;
    for socket in reading {
        let code = tokio::time::timeout_at(start + DEADLINE, socket).await;
        assert_eq!(code.expect("closed within the deadline").unwrap(), Some(SERVICE_RESTART));
        closed += 1;
    }
    assert_eq!(closed, SOCKETS);
    let status = tokio::task::spawn_blocking(move || server.ended()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() < 2 * DEADLINE);
    let log = std::fs::read_to_string(folder.path("stderr.log")).unwrap();
    // That a connection to the database was long in coming says only that this machine is busy.
    let log: String = log.lines().filter(|line| !line.contains("slow threshold")).collect();
    assert!(!log.contains("WARN") && !log.contains("ERROR") && !log.contains("panicked"), "{log}");
}

#[test]
fn without_clients_it_ends_at_once() {
    let folder = Folder::new();
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::with_demo(&folder);
        server.signal(signal);
        assert_eq!(server.ended().code(), Some(0), "{signal}");
    }
}
