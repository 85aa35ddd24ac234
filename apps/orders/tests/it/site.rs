//! A site with the orders app and accounts, composed as the program composes it, on a database of its own; and the
//! clients that talk to it without a port.

use std::sync::Arc;

use accounts::testing::TestDatabase;
use accounts::{Accounts, Db, NewUser, Settings, migrate, query};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use orders::{Orders, OrdersConsumer};
use routing::consumers::testing::{Unexpected, WebsocketCommunicator};
use routing::consumers::{Application, ChannelLayer, ChannelLayers, InMemoryLayer};
use routing::{Authenticator, CsrfLayer, Identity, IdentityLayer, OriginValidator, UrlRouter};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tower::ServiceExt;

pub(crate) const HOST: &str = "shop.example:8000";
pub(crate) const PASSWORD: &str = "correct horse";

/// How often a communicator's second of patience is granted anew, for machines that are busy.
const PATIENCE: usize = 20;

/// The site with its users `boss` (staff), `ana` and `ben`; its database goes with it.
pub(crate) struct Site {
    pub(crate) db: Db,
    pub(crate) accounts: Accounts,
    layers: ChannelLayers,
    http: Router,
    sockets: Arc<dyn Application>,
    _database: TestDatabase,
}

/// Somebody who sends requests, by HTTP Basic.
#[derive(Clone)]
pub(crate) struct Client {
    http: Router,
    authorization: Option<String>,
}

/// What a client sees of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::on(InMemoryLayer::default()).await
    }

    pub(crate) async fn on(layer: impl ChannelLayer) -> Self {
        let site = Self::without_users(layer).await;
        for username in ["boss", "ana", "ben"] {
            let is_staff = username == "boss";
            let user = NewUser { username, email: "", password: PASSWORD, is_staff, is_superuser: is_staff };
            site.accounts.create_user(user).await.unwrap();
        }
        site
    }

    pub(crate) async fn without_users(layer: impl ChannelLayer) -> Self {
        let database = TestDatabase::new();
        let db = database.open().await;
        migrate(&db, &[accounts::MIGRATIONS, orders::MIGRATIONS]).await.unwrap();
        let accounts = Accounts::new(db.clone(), Settings::default()).unwrap();
        let layer: Arc<dyn ChannelLayer> = Arc::new(layer);
        let orders = Orders::open(db.clone(), Arc::clone(&layer)).await.unwrap();
        let for_sockets = orders.clone();
        let sockets = UrlRouter::new()
            .with(OriginValidator::same_host())
            .route("/ws/orders/", move |scope| OrdersConsumer::new(scope, for_sockets.clone()));
        let http = Router::new()
            .merge(accounts::router(accounts.clone()))
            .merge(orders::router(orders).unwrap())
            .layer(CsrfLayer)
            .layer(IdentityLayer::new(Arc::new(accounts.clone())));
        Self { db, accounts, layers: layer.into(), http, sockets: Arc::new(sockets), _database: database }
    }

    /// A client with a user's password; nobody's for "".
    pub(crate) fn client(&self, username: &str) -> Client {
        let authorization = (!username.is_empty()).then(|| basic(username, PASSWORD));
        Client { http: self.http.clone(), authorization }
    }

    /// A socket that has not asked for its handshake yet, of one user or with "" of nobody.
    pub(crate) async fn unconnected(&self, username: &str) -> WebsocketCommunicator {
        let mut request = Request::get("/ws/orders/");
        if !username.is_empty() {
            request = request.header(header::AUTHORIZATION, basic(username, PASSWORD));
        }
        let request = request.body(()).unwrap().into_parts().0;
        let identity: Identity = self.accounts.identify(&request).await.unwrap();
        WebsocketCommunicator::new(Arc::clone(&self.sockets), "/ws/orders/")
            .layers(self.layers.clone())
            .extension(identity)
    }

    /// A user's open socket.
    pub(crate) async fn socket(&self, username: &str) -> WebsocketCommunicator {
        let mut socket = self.unconnected(username).await;
        socket.connect().await.unwrap();
        socket
    }

    /// A user's open socket with realtime on.
    pub(crate) async fn started(&self, username: &str) -> WebsocketCommunicator {
        let mut socket = self.socket(username).await;
        start(&mut socket).await;
        socket
    }

    /// Changes the database behind the site's back, and asserts that it changed something.
    pub(crate) async fn execute(&self, statement: &'static str) {
        assert!(query(statement).execute(&self.db).await.unwrap() > 0, "{statement}");
    }

    /// The text of a decimal of the newest order, as the database has it.
    pub(crate) async fn newest(&self, column: &str) -> String {
        let text = self.db.dialect().decimal_text(column);
        let newest = format!("SELECT {text} AS text FROM orders_order ORDER BY id DESC LIMIT 1");
        query(AssertSqlSafe(newest)).fetch_one(&self.db).await.unwrap().get("text").unwrap()
    }

    /// The sum over a user's orders (staff: over all), reckoned from what the database holds and in another way
    /// than the program does it.
    pub(crate) async fn sum(&self, username: &str) -> Decimal {
        let parts = query(
            "SELECT o.quantity, o.price FROM orders_order o JOIN accounts_user u ON u.id = o.owner_id
             WHERE u.username = $1 OR $1 = 'boss'",
        );
        let rows = parts.bind(username).fetch_all(&self.db).await.unwrap();
        rows.iter().map(|row| row.decimal("quantity").unwrap() * row.decimal("price").unwrap()).sum()
    }
}

impl Client {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// What a list or an order looks like.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        answer.json()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.write("POST", path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.write("PUT", path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.write("PATCH", path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }

    pub(crate) async fn write(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[("content-type", "application/json")], &body.to_string()).await
    }

    /// Posts a form.
    pub(crate) async fn form(&self, path: &str, form: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/x-www-form-urlencoded")], form).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        if let Some(authorization) = &self.authorization {
            let authorization = HeaderValue::try_from(authorization).unwrap();
            request.headers_mut().insert(header::AUTHORIZATION, authorization);
        }
        let (head, body) = self.http.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// Makes an order and returns it.
    pub(crate) async fn order(&self, instrument: &str, quantity: &str, price: &str) -> Value {
        let order = json!({"instrument": instrument, "quantity": quantity, "price": price});
        let answer = self.post("/api/data/", &order).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.json()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// A header's text, or "".
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Switches realtime on and returns the answer, which must come next.
pub(crate) async fn start(socket: &mut WebsocketCommunicator) -> Value {
    socket.send_json(&json!({"type": "realtime.start"})).await;
    let started = next(socket).await;
    assert_eq!(started["type"], "realtime.started", "{started}");
    started
}

/// The next message, for which more patience is had than a communicator has.
pub(crate) async fn next(socket: &mut WebsocketCommunicator) -> Value {
    for _ in 0..PATIENCE {
        match socket.receive_json().await {
            Ok(message) => return message,
            Err(Unexpected::Silence) => {}
            Err(other) => panic!("{other}"),
        }
    }
    panic!("nothing came within {PATIENCE} seconds");
}

/// The next message, which must be an event; it is given as its action, the order's instrument and the delta.
pub(crate) async fn next_event(socket: &mut WebsocketCommunicator) -> String {
    let event = next(socket).await;
    assert_eq!(event["type"], "order.changed", "{event}");
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    format!("{} {} {}", word(&event["action"]), word(&event["order"]["instrument"]), word(&event["delta"]))
}

/// The address of an order.
pub(crate) fn address(order: &Value) -> String {
    format!("/api/data/{}/", order["id"])
}

pub(crate) fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap()
}

pub(crate) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}
