//! What operators and load balancers ask: is the process alive, can it do its work, and what has it lost.

use std::sync::Arc;
use std::time::Duration;

use accounts::Db;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use orders::Orders;
use routing::consumers::{ChannelLayer, GroupName, Message, Shutdown, slow_readers};
use serde_json::{Value, json};

/// How long a part may take to answer until it counts as away.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the answer depends on.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) layer: Arc<dyn ChannelLayer>,
    pub(crate) orders: Orders,
    pub(crate) shutdown: Shutdown,
}

/// `/healthz` answers 200 as long as the process answers at all; `/readyz` answers 200 when database and channel
/// layer work, and 503 otherwise or when the server is ending, so that no new clients are sent here. `/capturez` tells in
/// JSON how the capture of changes is doing: whether this process relays, how much it has told, and how much waits. `/lossz`
/// counts in JSON what was lost since the process began: in `layer` by the channel layer, and in `slow_readers` for clients
/// that read too slowly.
pub(crate) fn router(parts: Parts) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route(
            "/capturez",
            get(|State(parts): State<Parts>| async move { Json(parts.orders.capture_stats()) }),
        )
        .route("/lossz", get(lost))
        .with_state(parts)
}

async fn lost(State(parts): State<Parts>) -> Json<Value> {
    Json(json!({"layer": parts.layer.losses(), "slow_readers": slow_readers()}))
}

async fn ready(State(parts): State<Parts>) -> (StatusCode, &'static str) {
    if parts.shutdown.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "ending");
    }
    match tokio::time::timeout(PATIENCE, check(&parts)).await {
        Ok(Ok(())) => (StatusCode::OK, "ready"),
        Ok(Err(part)) => (StatusCode::SERVICE_UNAVAILABLE, part),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "slow"),
    }
}

/// Uses each part once; the error names the one that failed, without its cause.
async fn check(parts: &Parts) -> Result<(), &'static str> {
    let failed = |part: &'static str, cause: String| {
        tracing::warn!(part, cause, "not ready");
        part
    };
    orders::is_empty(&parts.db).await.map_err(|cause| failed("database", cause.to_string()))?;
    let group = GroupName::new("readyz").map_err(|cause| failed("layer", cause.to_string()))?;
    let probe = Message::new(&[("type", "probe")].into_iter().collect::<std::collections::BTreeMap<_, _>>());
    let probe = probe.map_err(|cause| failed("layer", cause.to_string()))?;
    parts.layer.group_send(&group, probe).await.map_err(|cause| failed("layer", cause.to_string()))
}
