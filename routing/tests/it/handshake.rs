//! The opening handshake: what is accepted, what is refused, and what the consumer learns.

use std::sync::Arc;
use std::time::Duration;

use routing::consumers::{
    Close, CloseCode, Context, Denial, Frame, NoEvents, Result, Scope, StatusCode, WebsocketConsumer,
    application,
};
use routing::{ProtocolTypeRouter, SocketConfig, UrlRouter};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use crate::support::{
    Answer, Client, Echo, Ended, FIN, PING, PONG, Site, TEXT, ask, connect, frame, give_way, patiently,
    read_answer, upgrade_request,
};

/// Accepts with all that an answer can say, and tells what it knows of the request.
struct Host(String);

impl Host {
    fn new(scope: &Scope) -> Result<Self> {
        let (path, name): (_, String) = (scope.path(), scope.param("name")?);
        let search = scope.query("search").unwrap_or_default();
        let agent = scope.header("user-agent").unwrap_or("nobody");
        Ok(Self(format!("{path}|{name}|{}|{search}|{agent}", scope.query_string())))
    }
}

impl WebsocketConsumer for Host {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        let chosen = ctx.scope().subprotocols().last().map(str::to_owned);
        let answer = ctx.accept().header("x-seat", "7").header("set-cookie", "seat=7");
        match chosen {
            Some(name) => answer.subprotocol(&name).await?,
            None => answer.await?,
        }
        ctx.send(Frame::text(self.0.clone())).await
    }

    async fn receive(&mut self, _: &mut Context, _: Frame) -> Result {
        Ok(())
    }
}

/// Neither accepts nor refuses.
struct Silent(Ended);

/// What [`Silent`] tells when it has been asked.
const ASKED: u16 = 1;

impl WebsocketConsumer for Silent {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn connect(&mut self, _: &mut Context) -> Result {
        Ok(self.0.try_send(ASKED)?)
    }

    async fn receive(&mut self, _: &mut Context, _: Frame) -> Result {
        Ok(())
    }

    async fn disconnect(&mut self, _: &mut Context, code: CloseCode) -> Result {
        Ok(self.0.try_send(code.as_u16())?)
    }
}

/// Accepts, and ends at once.
struct Curt;

impl WebsocketConsumer for Curt {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        ctx.accept().await?;
        Err(Close::new(4001, "log in").into())
    }

    async fn receive(&mut self, _: &mut Context, _: Frame) -> Result {
        Ok(())
    }
}

async fn site(sockets: SocketConfig) -> Site {
    Site::start(|ended| {
        let silent = ended.clone();
        let refuse = |_: &Scope| -> Result<Silent> {
            let denial = Denial::new(StatusCode::UNAUTHORIZED, "log in first");
            Err(denial.header("www-authenticate", "Basic realm=\"x\"").into())
        };
        let app = UrlRouter::new()
            .route("/host/{name}/", Host::new)
            .route("/echo", move |_| Ok(Echo(ended.clone())))
            .route("/silent", move |_| Ok(Silent(silent.clone())))
            .route("/curt", |_| Ok(Curt))
            .route("/refused", refuse);
        ProtocolTypeRouter::from(app).with_sockets(sockets)
    })
    .await
}

/// The answer to a good handshake in which one text was put in another's place.
async fn altered(text: &str, replacement: &str) -> Answer {
    let request = upgrade_request("/echo", "");
    assert!(request.contains(text), "{text}");
    ask(site(SocketConfig::default()).await.addr, &request.replace(text, replacement)).await
}

#[tokio::test]
async fn the_answer_says_what_the_consumer_chose() {
    let site = site(SocketConfig::default()).await;
    let offers = "Sec-WebSocket-Protocol: v1, v2\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    let answer = ask(site.addr, &upgrade_request("/host/x/", offers)).await;
    assert_eq!(answer.status, 101);
    for (name, value) in [
        ("sec-websocket-accept", Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
        ("connection", Some("Upgrade")),
        ("upgrade", Some("websocket")),
        ("sec-websocket-protocol", Some("v2")),
        ("sec-websocket-extensions", None),
        ("x-seat", Some("7")),
        ("set-cookie", Some("seat=7")),
        ("content-length", None),
        ("transfer-encoding", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let answer = ask(site.addr, &upgrade_request("/host/x/", "")).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, None));
}

#[tokio::test]
async fn the_consumer_learns_the_request_decoded() {
    let site = site(SocketConfig::default()).await;
    let request = upgrade_request("/host/%C3%A9t%C3%A9%20x/?search=a%26b+c&n=1", "User-Agent: t\r\n");
    let (mut client, _) = Client::ask(connect(site.addr).await, &request, b"").await;
    client.expect(TEXT, "/host/été x/|été x|search=a%26b+c&n=1|a&b c|t").await;
}

#[tokio::test]
async fn a_refusal_has_its_status_headers_and_body_and_keeps_the_connection() {
    let site = site(SocketConfig::default()).await;
    let mut stream = connect(site.addr).await;
    for _ in 0..2 {
        stream.write_all(upgrade_request("/refused", "").as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream, &mut Vec::new()).await;
        assert_eq!((answer.status, &*answer.body), (401, "log in first"));
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"x\""));
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("sec-websocket-accept"), None);
    }
    let mut client = Client::open_over(stream, "/echo").await;
    client.say("in").await;
    client.expect(TEXT, "in").await;
}

#[tokio::test]
async fn unknown_paths_are_404() {
    let site = site(SocketConfig::default()).await;
    for path in ["/", "/nothing", "/echo/more", "/host/a/b/", "/host//"] {
        assert_eq!(ask(site.addr, &upgrade_request(path, "")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn an_application_that_is_no_router_takes_every_path() {
    let site = Site::start(|ended| {
        ProtocolTypeRouter::new().websocket(application(move |_| Ok(Echo(ended.clone()))))
    });
    let site = site.await;
    for path in ["/", "/any/path"] {
        let mut client = site.open(path).await;
        client.say("in").await;
        client.expect(TEXT, "in").await;
    }
}

#[tokio::test]
async fn plain_requests_are_told_to_upgrade() {
    let to_upgrade = |answer: &Answer| {
        assert_eq!((answer.status, answer.header("upgrade")), (426, Some("websocket")));
        assert_eq!(answer.header("connection"), Some("Upgrade"));
    };
    to_upgrade(&altered("Upgrade: websocket\r\n", "").await);
    to_upgrade(&altered("Upgrade: websocket", "Upgrade: h2c").await);
    for version in ["8", "14", "x"] {
        let answer = altered("Version: 13", &format!("Version: {version}")).await;
        to_upgrade(&answer);
        assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{version}");
    }
}

#[tokio::test]
async fn every_request_names_one_host() {
    let site = site(SocketConfig::default()).await;
    for hosts in ["", "Host: site.test\r\nHost: other.test\r\n"] {
        let handshake = upgrade_request("/echo", "").replace("Host: site.test\r\n", hosts);
        assert_eq!(ask(site.addr, &handshake).await.status, 400, "{hosts}");
        assert_eq!(ask(site.addr, &format!("GET / HTTP/1.1\r\n{hosts}\r\n")).await.status, 400, "{hosts}");
    }
    assert_eq!(ask(site.addr, "GET / HTTP/1.0\r\n\r\n").await.status, 426);
    assert_eq!(ask(site.addr, "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n").await.status, 400);
}

#[tokio::test]
async fn bad_handshakes_are_400() {
    for (text, replacement) in [
        ("HTTP/1.1", "HTTP/1.0"),
        ("GET", "POST"),
        ("GET", "PUT"),
        ("Connection: Upgrade", "Connection: keep-alive"),
        ("Connection: Upgrade", "Connection: upgraded"),
        ("Connection: Upgrade\r\n", ""),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZTEy"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhb !sZSBub25jZQ=="),
    ] {
        assert_eq!(altered(text, replacement).await.status, 400, "{replacement} for {text}");
    }
}

#[tokio::test]
async fn good_handshakes_are_written_in_many_ways() {
    for (text, replacement) in [
        ("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        ("Connection: Upgrade", "connection: keep-alive ,uPGRADE , x"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
        ("Upgrade: websocket", "UPGRADE: WebSocket"),
        ("Upgrade: websocket", "Upgrade: h2c, websocket"),
        ("/echo", "/echo?with=a&query"),
        ("/echo", "/%65cho"),
    ] {
        assert_eq!(altered(text, replacement).await.status, 101, "{replacement} for {text}");
    }
}

#[tokio::test]
async fn frames_that_come_with_the_request_are_answered() {
    let site = site(SocketConfig::default()).await;
    let large = "l".repeat(30_000);
    let early = [frame(FIN | TEXT, "early"), frame(FIN | PING, "p"), frame(FIN | TEXT, &large)].concat();
    for cut in [0, 3, early.len() - 1, early.len()] {
        let request = upgrade_request("/echo", "");
        let (mut client, answer) = Client::ask(connect(site.addr).await, &request, &early[..cut]).await;
        assert_eq!(answer.status, 101);
        client.send(&early[cut..]).await;
        let mut got = [client.next().await.unwrap(), client.next().await.unwrap()];
        // A pong waits for no handler.
        got.sort_by_key(|got| got.opcode);
        assert_eq!((got[0].text(), got[1].opcode, got[1].text()), ("early", PONG, "p"));
        client.expect(TEXT, &large).await;
    }
}

#[tokio::test]
async fn a_consumer_that_does_not_answer_costs_503() {
    let mut site = site(SocketConfig::default().handshake_timeout(Duration::from_millis(30))).await;
    let answer = ask(site.addr, &upgrade_request("/silent", "")).await;
    assert_eq!((answer.status, &*answer.body), (503, "try again later"));
    assert_eq!([site.ended().await, site.ended().await], [ASKED, 1006]);
}

/// Accepts when it is too late.
struct Late(Ended, Arc<Notify>);

impl WebsocketConsumer for Late {
    type Incoming = Frame;
    type Event = NoEvents;

    async fn connect(&mut self, ctx: &mut Context) -> Result {
        self.1.notified().await;
        ctx.accept().await
    }

    async fn receive(&mut self, _: &mut Context, _: Frame) -> Result {
        Ok(())
    }

    async fn disconnect(&mut self, _: &mut Context, code: CloseCode) -> Result {
        Ok(self.0.try_send(code.as_u16())?)
    }
}

#[tokio::test]
async fn an_answer_that_comes_too_late_ends_the_consumer() {
    let too_late = Arc::new(Notify::new());
    let mut site = Site::start(|ended| {
        let (too_late, sockets) = (Arc::clone(&too_late), SocketConfig::default());
        UrlRouter::new()
            .route("/", move |_| Ok(Late(ended.clone(), Arc::clone(&too_late))))
            .with_sockets(sockets.handshake_timeout(Duration::from_millis(30)))
    })
    .await;
    let mut stream = connect(site.addr).await;
    stream.write_all(upgrade_request("/", "").as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut stream, &mut Vec::new()).await.status, 503);
    too_late.notify_one();
    assert_eq!(site.ended().await, 1006, "while its connection lives");
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_answer_ends_the_consumer() {
    let mut site = site(SocketConfig::default().handshake_timeout(Duration::from_secs(3600))).await;
    let mut stream = connect(site.addr).await;
    stream.write_all(upgrade_request("/silent", "").as_bytes()).await.unwrap();
    assert_eq!(site.ended().await, ASKED);
    drop(stream);
    assert_eq!(site.ended().await, 1006);
}

#[tokio::test]
async fn a_client_that_goes_away_with_the_answer_ends_the_consumer() {
    let mut site = site(SocketConfig::default()).await;
    for _ in 0..20 {
        let mut stream = connect(site.addr).await;
        stream.write_all(upgrade_request("/echo", "").as_bytes()).await.unwrap();
        stream.set_zero_linger().unwrap();
        give_way().await;
        drop(stream);
    }
    // A few may have gone before their consumers were made.
    let client = site.open("/echo").await;
    drop(client);
    assert_eq!(site.ended().await, 1006);
}

#[tokio::test]
async fn garbage_behind_a_handshake_breaks_the_protocol() {
    let mut site = site(SocketConfig::default()).await;
    let second = upgrade_request("/echo", "");
    for garbage in [&b"\x00\x01garbage"[..], second.as_bytes()] {
        let request = upgrade_request("/echo", "");
        let (mut client, answer) = Client::ask(connect(site.addr).await, &request, garbage).await;
        assert_eq!(answer.status, 101);
        assert_eq!(client.closed().await.0, 1002);
        assert_eq!(site.ended().await, 1002);
    }
}

#[tokio::test]
async fn garbage_instead_of_a_request_is_400() {
    let site = site(SocketConfig::default()).await;
    assert_eq!(ask(site.addr, "\0\x01 garbage\r\n\r\n").await.status, 400);
    let mut stream = connect(site.addr).await;
    let both = upgrade_request("/refused", "") + "\0garbage\r\n\r\n";
    patiently(stream.write_all(both.as_bytes())).await.unwrap();
    let mut unread = Vec::new();
    assert_eq!(read_answer(&mut stream, &mut unread).await.status, 401);
    assert_eq!(read_answer(&mut stream, &mut unread).await.status, 400);
}

#[tokio::test]
async fn who_is_closed_before_the_socket_is_there_hears_why() {
    let site = site(SocketConfig::default()).await;
    let mut client = site.open("/curt").await;
    assert_eq!(client.closed().await, (4001, "log in".into()));
}
