//! The live page at `/`, and the files that it loads.

use accounts::{CurrentUser, PageUser, Pages, static_files};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use chrono::{SecondsFormat, Utc};
use rust_embed::RustEmbed;
use serde_json::json;

use crate::store::Visible;
use crate::views::Site;

/// The page's own scripts and styles.
#[derive(RustEmbed)]
#[folder = "web/"]
#[include = "*.js"]
#[include = "*.css"]
#[exclude = "node_modules/*"]
#[exclude = "test/*"]
struct Web;

/// What the build script could fetch.
#[derive(RustEmbed)]
#[folder = "$OUT_DIR/vendor/"]
struct Vendor;

/// The page and its files.
pub(crate) fn router() -> Router<Site> {
    Router::new()
        .route("/", get(page))
        .merge(static_files::<Web>("orders").with_state(()))
        .merge(static_files::<Vendor>("vendor").with_state(()))
}

async fn page(State(site): State<Site>, CurrentUser(user): CurrentUser) -> Response {
    match site.orders.sum(Visible::to(&*user)).await {
        Ok(sum) => {
            let context = json!({
                "user": PageUser::new(&*user),
                "datatables": env!("ORDERS_DATATABLES"),
                "sum": sum.to_string(),
                "sum_at": Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            });
            site.pages.render("page.html", context)
        }
        Err(cause) => unavailable(&site.pages, &cause, &CurrentUser(user)),
    }
}

/// The page for when the database does not answer.
pub(crate) fn unavailable(
    pages: &Pages,
    cause: &dyn std::error::Error,
    CurrentUser(user): &CurrentUser,
) -> Response {
    tracing::error!(%cause, "a page of orders could not be made");
    let detail = "The orders are not available now. Try again in a moment.";
    pages.error(StatusCode::SERVICE_UNAVAILABLE, "Not available", detail, Some(&**user))
}
