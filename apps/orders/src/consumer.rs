//! The socket at `/ws/orders/`: starts and stops the realtime events of one user.

use chrono::Utc;
use routing::Identity;
use routing::consumers::binding::Following;
use routing::consumers::{
    Context, Denial, Json, LayerError, Missed, NoEvents, Result, Scope, StatusCode, WebsocketConsumer,
};
use serde::Deserialize;
use serde_json::json;

use crate::Orders;
use crate::store::{self, Visible};

/// What a client may say.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub enum Command {
    /// Begin: answered with the sum over what the user sees, and the revision up to which it counts.
    #[serde(rename = "realtime.start")]
    Start,
    /// End.
    #[serde(rename = "realtime.stop")]
    Stop,
}

/// One user's view of the orders; staff see all.
#[derive(Debug)]
pub struct OrdersConsumer {
    orders: Orders,
    visible: Visible,
    following: Option<Following>,
}

impl OrdersConsumer {
    /// The consumer of the user who asks.
    ///
    /// # Errors
    /// A refusal with 403 when nobody is logged in.
    pub fn new(scope: &Scope, orders: Orders) -> Result<Self> {
        let user = scope.extension::<Identity>().and_then(|identity| identity.user.as_ref());
        let user = user.ok_or_else(|| Denial::new(StatusCode::FORBIDDEN, "log in first"))?;
        Ok(Self { orders, visible: Visible::to(&**user), following: None })
    }
}

impl WebsocketConsumer for OrdersConsumer {
    type Incoming = Result<Json<Command>>;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, command: Result<Json<Command>>) -> Result {
        match command {
            Ok(Json(Command::Start)) => {
                // What was followed before ends first, for none of it may come behind the new sum.
                self.following = None;
                let revision = Utc::now().timestamp_micros();
                let (following, mut now) = self.orders.follow(ctx).await?;
                let sum = store::sum(&mut now, self.visible).await?.to_string();
                // It holds a connection, and a client that does not read must not keep that.
                drop(now);
                self.following = Some(following);
                ctx.send_json(&json!({"type": "realtime.started", "sum": sum, "revision": revision})).await
            }
            Ok(Json(Command::Stop)) => {
                self.following = None;
                ctx.send_json(&json!({"type": "realtime.stopped"})).await
            }
            Err(_) => {
                ctx.send_json(&json!({"type": "error", "detail": "say realtime.start or realtime.stop"}))
                    .await
            }
        }
    }

    async fn missed(&mut self, ctx: &mut Context, missed: Missed) -> Result {
        let count = if let Missed::Count(count) = missed { Some(count) } else { None };
        ctx.send_json(&json!({"type": "realtime.missed", "count": count})).await
    }

    async fn layer_failed(&mut self, ctx: &mut Context, _: &LayerError) -> Result {
        ctx.send_json(&json!({"type": "error", "detail": "realtime is not available now: try again"})).await
    }
}
