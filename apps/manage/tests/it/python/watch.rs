//! A native client that watches the orders.

use serde_json::{Value, json};

use crate::http::basic;
use crate::server::Server;
use crate::socket::Socket;

/// A user's socket with realtime on.
pub(super) struct Watch {
    socket: Socket,
    /// The sum over what the user saw in the beginning.
    pub(super) sum: String,
}

/// What is told of a write: the action, the order's key, its quantity and price, and what the sum gains.
pub(super) type Told = (String, i64, String, String, String);

/// What is expected to be told.
pub(super) fn told(action: &str, pk: i64, quantity: &str, price: &str, delta: &str) -> Told {
    (action.to_owned(), pk, quantity.to_owned(), price.to_owned(), delta.to_owned())
}

impl Watch {
    /// A user of the demo.
    pub(super) async fn of(server: &Server, user: &str) -> Self {
        let headers = [("authorization", &*basic(user, user))];
        let socket = Socket::open(&server.host, "/ws/orders/", &headers).await.ok().unwrap();
        let mut watch = Self { socket, sum: String::new() };
        watch.begin().await;
        watch
    }

    /// Begins anew.
    pub(super) async fn begin(&mut self) {
        self.socket.send(&json!({"type": "realtime.start"})).await;
        let started = self.socket.receive().await;
        assert_eq!(started["type"], "realtime.started", "{started}");
        self.sum = text(&started["sum"]);
    }

    /// The next event.
    pub(super) async fn event(&mut self) -> Value {
        self.socket.receive().await
    }

    /// The next write.
    pub(super) async fn told(&mut self) -> Told {
        let event = self.event().await;
        assert_eq!(event["type"], "order.changed", "{event}");
        let order = &event["order"];
        let id = order["id"].as_i64().unwrap();
        (text(&event["action"]), id, text(&order["quantity"]), text(&order["price"]), text(&event["delta"]))
    }

    /// The next writes, by key: one statement writes its rows in whatever order.
    pub(super) async fn told_of<const N: usize>(&mut self) -> [Told; N] {
        let mut all = Vec::new();
        while all.len() < N {
            all.push(self.told().await);
        }
        all.sort_by_key(|told| told.1);
        all.try_into().unwrap()
    }

    /// Waits until it is told that it has to begin anew, and does.
    pub(super) async fn begin_when_missed(&mut self) {
        assert_eq!(self.event().await, json!({"type": "realtime.missed", "count": null}));
        self.begin().await;
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
