//! `runserver`: all apps under one server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use accounts::{Accounts, Db, Settings};
use axum::Router;
use axum::http::StatusCode;
use orders::{DEMO_LOGINS, Market, MarketConsumer, Orders, OrdersConsumer};
use routing::consumers::channel_layer::{self, ChannelLayer};
use routing::{CsrfLayer, IdentityLayer, OriginValidator, ProtocolTypeRouter, Server, UrlRouter, terminated};
use tower::Layer;
use tower_http::timeout::TimeoutLayer;

use crate::failure::Failure;
use crate::health;
use crate::options::RunServer;

/// How long an HTTP request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves until the process is asked to end.
pub(crate) async fn run(options: &RunServer) -> Result<(), Failure> {
    let layer = channel_layer::open(&options.layer)?;
    let db = Db::open(&options.database.database).await?;
    crate::migrate(&db).await?;
    let accounts = Accounts::new(db.clone(), Settings { secure_cookies: options.secure_cookies })?;
    let has_demo = prepare(&db, &accounts, options.addr).await?;
    let server =
        Server::bind(options.addr).await.map_err(|source| Failure::Listen { addr: options.addr, source })?;
    let addr = server.local_addr().unwrap_or(options.addr);

    let orders = Orders::open(db.clone(), Arc::clone(&layer)).await?;
    let site = site(&db, &accounts, &orders, Arc::clone(&layer))?;
    let server = server.with_shutdown(site.shutdown());
    let service = IdentityLayer::new(Arc::new(accounts)).layer(site);
    let end = terminated();
    welcome(addr, has_demo);
    let capturing = orders.clone();
    let is_ours = move || capturing.capture_stats().is_relaying;
    let market = Market::start(Arc::clone(&layer), options.market_rate, is_ours);
    server.run(service, end).await;
    drop(market);
    orders.close().await;
    if let Err(cause) = layer.close().await {
        tracing::warn!(%cause, "the channel layer could not be closed");
    }
    Ok(())
}

/// Every app at its place.
fn site(
    db: &Db,
    accounts: &Accounts,
    orders: &Orders,
    layer: Arc<dyn ChannelLayer>,
) -> Result<ProtocolTypeRouter, Failure> {
    let for_sockets = orders.clone();
    let sockets = UrlRouter::new()
        .with(OriginValidator::same_host())
        .route("/ws/orders/", move |scope| OrdersConsumer::new(scope, for_sockets.clone()))
        .route("/ws/market/", MarketConsumer::new);
    let router = ProtocolTypeRouter::new().websocket(sockets).with_channel_layer(Arc::clone(&layer));
    let parts = health::Parts { db: db.clone(), layer, orders: orders.clone(), shutdown: router.shutdown() };
    let pages = Router::new()
        .merge(accounts::router(accounts.clone()))
        .merge(orders::router(orders.clone())?)
        .merge(health::router(parts))
        .layer(CsrfLayer)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT));
    Ok(router.http(pages))
}

/// Fills an empty database with the demo on a loopback address, and keeps the demo's passwords off all others.
/// Whether the demo's logins work.
async fn prepare(db: &Db, accounts: &Accounts, addr: SocketAddr) -> Result<bool, Failure> {
    let is_local = addr.ip().is_loopback();
    if is_local && !accounts.has_users().await? {
        orders::load_demo(db, accounts).await?;
    }
    let mut works = false;
    for (username, password) in DEMO_LOGINS {
        if accounts.check_password(username, password).await?.is_some() {
            works = true;
            if !is_local {
                return Err(Failure::DemoPassword(username));
            }
        }
    }
    Ok(works)
}

/// Says where the site is and who may log in.
fn welcome(addr: SocketAddr, has_demo: bool) {
    println!("Waterway is at http://{addr}/");
    if has_demo {
        let logins = DEMO_LOGINS.map(|(username, password)| format!("{username}/{password}"));
        println!("Log in as {} (staff) or {}.", logins[0], logins[1]);
    } else {
        println!("Make a first user with `createsuperuser`, if there is none.");
    }
    println!("Stop it with Ctrl-C.");
}
