//! The admin at `/admin/`: staff list, search, add, change and delete orders.

use accounts::{CurrentUser, PageUser};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query as Params, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Order;
use crate::fields::{Completeness, Draft, FieldErrors, Fields};
use crate::page::unavailable;
use crate::query::{Query, SEARCH_LIMIT};
use crate::store::{self, StoreError, Visible, Write};
use crate::views::Site;

/// Orders on one page of the list.
const PAGE_SIZE: i64 = 50;

/// Bytes of a posted form.
const FORM_LIMIT: usize = 16 * 1024;

const LIST: &str = "/admin/orders/";

pub(crate) fn router() -> Router<Site> {
    Router::new()
        .route("/admin/", get(|| async { Redirect::to(LIST) }))
        .route(LIST, get(list))
        .route("/admin/orders/add/", get(blank).post(add))
        .route("/admin/orders/{id}/change/", get(form).post(change))
        .route("/admin/orders/{id}/delete/", get(confirm).post(delete))
        .layer(DefaultBodyLimit::max(FORM_LIMIT))
}

/// A user who may enter the admin. Others get 403; nobody at all is sent to the login.
struct Staff(CurrentUser);

impl axum::extract::FromRequestParts<Site> for Staff {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        let user = CurrentUser::from_request_parts(parts, site).await?;
        if user.0.is_staff() {
            return Ok(Self(user));
        }
        let detail = "Only staff may enter the admin. Log in as somebody who is.";
        Err(site.pages.error(StatusCode::FORBIDDEN, "Not allowed", detail, Some(&*user.0)))
    }
}

/// What the list is asked for. A page that is no number is the first.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    page: String,
    #[serde(default)]
    done: String,
    #[serde(default)]
    id: String,
}

impl Asked {
    /// What was just done, told in words of ours: the address says only what and to which order.
    fn message(&self) -> Option<String> {
        let id: i64 = self.id.parse().ok()?;
        let done = ["added", "changed", "deleted"].into_iter().find(|done| *done == self.done)?;
        Some(format!("Order {id} was {done}."))
    }
}

async fn list(State(site): State<Site>, Staff(user): Staff, Params(asked): Params<Asked>) -> Response {
    let search: String = asked.q.trim().chars().take(SEARCH_LIMIT).collect();
    let page = asked.page.parse().unwrap_or(1).clamp(1, 1_000_000_000_i64);
    let query = |page| Query {
        search: search.clone(),
        sorting: Vec::new(),
        offset: (page - 1) * PAGE_SIZE,
        limit: PAGE_SIZE,
    };
    let found = match store::list(site.orders.db(), Visible::All, &query(page)).await {
        Ok(found) => found,
        Err(cause) => return unavailable(&site.pages, &cause, &user),
    };
    let pages = (found.filtered + PAGE_SIZE - 1) / PAGE_SIZE;
    if page > pages.max(1) {
        // The last order of the last page may just have been deleted.
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("q", search.as_str()), ("page", pages.max(1).to_string().as_str())])
            .finish();
        return Redirect::to(&format!("{LIST}?{query}")).into_response();
    }
    let context = json!({
        "user": PageUser::new(&*user.0),
        "message": asked.message(),
        "q": search,
        "count": found.filtered,
        "page": page,
        "pages": pages.max(1),
        "orders": found.orders.iter().map(shown).collect::<Vec<_>>(),
    });
    site.pages.render("admin/list.html", context)
}

async fn blank(State(site): State<Site>, Staff(user): Staff) -> Response {
    let values = json!({"owner": user.0.username(), "instrument": "", "quantity": "", "price": ""});
    show_form(&site, &user, None, &values, &FieldErrors::new()).await
}

async fn add(State(site): State<Site>, Staff(user): Staff, body: Bytes) -> Response {
    let owner_id = user.0.id();
    submit(&site, &user, None, &body, |draft| Write::Create { owner_id, draft }).await
}

async fn form(State(site): State<Site>, Staff(user): Staff, Path(id): Path<String>) -> Response {
    match find(&site, &user, &id).await {
        Ok(order) => show_form(&site, &user, Some(order.id), &shown(&order), &FieldErrors::new()).await,
        Err(response) => *response,
    }
}

async fn change(
    State(site): State<Site>,
    Staff(user): Staff,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let Ok(id) = id.parse() else { return not_found(&site, &user) };
    submit(&site, &user, Some(id), &body, |draft| Write::Update { id, seen_by: Visible::All, draft }).await
}

async fn confirm(State(site): State<Site>, Staff(user): Staff, Path(id): Path<String>) -> Response {
    match find(&site, &user, &id).await {
        Ok(order) => {
            let context = json!({"user": PageUser::new(&*user.0), "order": shown(&order)});
            site.pages.render("admin/confirm_delete.html", context)
        }
        Err(response) => *response,
    }
}

async fn delete(State(site): State<Site>, Staff(user): Staff, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse() else { return not_found(&site, &user) };
    match site.orders.write(Write::Delete { id, seen_by: Visible::All }).await {
        Ok(order) => done("deleted", &order),
        Err(error) => failed(&site, &user, &error),
    }
}

/// Checks a posted form, writes, and leads back to the list; or shows the form again with what is wrong.
async fn submit(
    site: &Site,
    user: &CurrentUser,
    id: Option<i64>,
    body: &[u8],
    write: impl FnOnce(Draft) -> Write + Send,
) -> Response {
    let fields = Fields::from_form(body);
    let errors = match fields.check(Completeness::Whole) {
        Err(errors) => errors,
        Ok(draft) => match site.orders.write(write(draft)).await {
            Ok(order) => return done(if id.is_some() { "changed" } else { "added" }, &order),
            Err(error @ StoreError::NoSuchOwner(_)) => {
                FieldErrors::from([("owner", vec![error.to_string()])])
            }
            Err(error) => return failed(site, user, &error),
        },
    };
    let values =
        ["owner", "instrument", "quantity", "price"].map(|name| (name.to_owned(), fields.text(name).into()));
    let again = show_form(site, user, id, &Value::Object(values.into_iter().collect()), &errors).await;
    (StatusCode::BAD_REQUEST, again).into_response()
}

async fn show_form(
    site: &Site,
    user: &CurrentUser,
    order_id: Option<i64>,
    values: &Value,
    errors: &FieldErrors,
) -> Response {
    match store::owners(site.orders.db(), order_id).await {
        Ok(owners) => {
            let user = PageUser::new(&*user.0);
            let context = json!({"user": user, "order_id": order_id, "values": values, "owners": owners, "errors": errors});
            site.pages.render("admin/form.html", context)
        }
        Err(cause) => unavailable(&site.pages, &cause, user),
    }
}

async fn find(site: &Site, user: &CurrentUser, id: &str) -> Result<Order, Box<Response>> {
    let Ok(id) = id.parse() else { return Err(Box::new(not_found(site, user))) };
    store::find(site.orders.db(), id, Visible::All)
        .await
        .map_err(|error| Box::new(failed(site, user, &error)))
}

fn done(done: &str, order: &Order) -> Response {
    Redirect::to(&format!("{LIST}?done={done}&id={}", order.id)).into_response()
}

fn failed(site: &Site, user: &CurrentUser, error: &StoreError) -> Response {
    match error {
        StoreError::NotFound => not_found(site, user),
        cause => unavailable(&site.pages, cause, user),
    }
}

fn not_found(site: &Site, user: &CurrentUser) -> Response {
    let detail = "There is no such order. It may have been deleted.";
    site.pages.error(StatusCode::NOT_FOUND, "Not found", detail, Some(&*user.0))
}

/// An order as the templates show it.
fn shown(order: &Order) -> Value {
    json!({
        "id": order.id,
        "owner": order.owner,
        "instrument": order.instrument,
        "quantity": order.quantity,
        "price": order.price,
        "updated": order.updated.format("%Y-%m-%d %H:%M:%S").to_string(),
    })
}
