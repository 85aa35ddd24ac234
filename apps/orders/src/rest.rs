//! The REST interface below `/api/data/`.

use accounts::CurrentUser;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use routing::User;
use serde_json::json;

use crate::fields::{Completeness, Draft, FieldErrors, Fields};
use crate::query::{Query, SEARCH_LIMIT, Sorting};
use crate::store::{self, StoreError, Visible, Write};
use crate::{Order, Orders, datatables};

/// Bytes of a request's body: an order has four short fields.
const BODY_LIMIT: usize = 16 * 1024;

/// Rows of a page, unless asked otherwise, and at most.
const PAGE_SIZE: i64 = 25;
const PAGE_SIZE_LIMIT: i64 = 500;

/// `GET` and `POST` on the list, `GET`, `PUT`, `PATCH` and `DELETE` on one order.
pub(crate) fn router() -> Router<Orders> {
    Router::new()
        .route("/api/data/", get(list).post(create))
        .route("/api/data/{id}/", get(retrieve).put(replace).patch(amend).delete(remove))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

async fn list(
    State(orders): State<Orders>,
    CurrentUser(user): CurrentUser,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = query.unwrap_or_default();
    let get = |name: &str| {
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
    };
    let visible = Visible::to(&*user);
    if get("format").as_deref() == Some("datatables") {
        return Ok(table(&orders, visible, &query).await);
    }
    let number = |name: &str, default: i64| get(name).map_or(Ok(default), |text| text.parse::<i64>());
    let (page, size) = match (number("page", 1), number("page_size", PAGE_SIZE)) {
        (Ok(page @ 1..=1_000_000_000), Ok(size @ 1..)) => (page, size.min(PAGE_SIZE_LIMIT)),
        _ => return Err(Failure::NoSuchPage),
    };
    let sorting = get("ordering").map_or_else(Vec::new, |ordering| sorting(&ordering));
    let search = get("search").unwrap_or_default().into_owned();
    if search.chars().count() > SEARCH_LIMIT {
        let error = format!("Ensure this field has no more than {SEARCH_LIMIT} characters.");
        return Err(FieldErrors::from([("search", vec![error])]).into());
    }
    let asked = Query { search, sorting, offset: (page - 1) * size, limit: size };
    let found = store::list(orders.db(), visible, &asked).await?;
    if page > 1 && asked.offset >= found.filtered {
        return Err(Failure::NoSuchPage);
    }
    let link = |page: i64| {
        let mut query: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        query.retain(|(name, _)| name != "page");
        query.push(("page".to_owned(), page.to_string()));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // Who asks through a proxy that ends TLS must not be led out of it.
        let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
        let path = format!("/api/data/?{query}");
        text("host").map_or_else(|| path.clone(), |host| format!("{scheme}://{host}{path}"))
    };
    Ok(Json(json!({
        "count": found.filtered,
        "next": (page * size < found.filtered).then(|| link(page + 1)),
        "previous": (page > 1).then(|| link(page - 1)),
        "results": found.orders,
    }))
    .into_response())
}

/// Reads `price,-updated`; names of no column are passed over, as Django REST Framework does.
fn sorting(ordering: &str) -> Vec<Sorting> {
    let columns = ordering.split(',').map(str::trim).take(10);
    columns.filter_map(|name| Sorting::by(name.trim_start_matches('-'), name.starts_with('-'))).collect()
}

/// DataTables wants its errors in an answer of its own form, with status 200.
async fn table(orders: &Orders, visible: Visible, query: &str) -> Response {
    let request = match datatables::parse(query) {
        Ok(request) => request,
        Err(error) => return Json(datatables::error(query, &error)).into_response(),
    };
    match store::list(orders.db(), visible, &request.query).await {
        Ok(page) => Json(datatables::answer(request.draw, &page)).into_response(),
        Err(cause) => {
            tracing::error!(%cause, "a table could not be read");
            Json(datatables::error(query, "The orders cannot be read now. Try again.")).into_response()
        }
    }
}

async fn create(
    State(orders): State<Orders>,
    CurrentUser(user): CurrentUser,
    Sent(fields): Sent,
) -> Result<Response, Failure> {
    let draft = permitted(fields.check(Completeness::Whole)?, &*user)?;
    let order = orders.write(Write::Create { owner_id: user.id(), draft }).await?;
    let place = [(header::LOCATION, format!("/api/data/{}/", order.id))];
    Ok((StatusCode::CREATED, place, Json(order)).into_response())
}

async fn retrieve(
    State(orders): State<Orders>,
    CurrentUser(user): CurrentUser,
    Path(id): Path<String>,
) -> Result<Json<Order>, Failure> {
    Ok(Json(store::find(orders.db(), number(&id)?, Visible::to(&*user)).await?))
}

async fn replace(
    State(orders): State<Orders>,
    CurrentUser(user): CurrentUser,
    Path(id): Path<String>,
    Sent(fields): Sent,
) -> Result<Json<Order>, Failure> {
    update(&orders, &*user, &id, fields.check(Completeness::Whole)?).await
}

async fn amend(
    State(orders): State<Orders>,
    CurrentUser(user): CurrentUser,
    Path(id): Path<String>,
    Sent(fields): Sent,
) -> Result<Json<Order>, Failure> {
    update(&orders, &*user, &id, fields.check(Completeness::Partial)?).await
}

async fn update(orders: &Orders, user: &dyn User, id: &str, draft: Draft) -> Result<Json<Order>, Failure> {
    let draft = permitted(draft, user)?;
    let write = Write::Update { id: number(id)?, seen_by: Visible::to(user), draft };
    Ok(Json(orders.write(write).await?))
}

async fn remove(
    State(orders): State<Orders>,
    CurrentUser(user): CurrentUser,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    orders.write(Write::Delete { id: number(&id)?, seen_by: Visible::to(&*user) }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is no number names no order.
fn number(id: &str) -> Result<i64, Failure> {
    id.parse().map_err(|_| Failure::NotFound)
}

/// Only staff may give an order to somebody else.
fn permitted(draft: Draft, user: &dyn User) -> Result<Draft, Failure> {
    match &draft.owner {
        Some(owner) if !user.is_staff() && owner != user.username() => {
            Err(FieldErrors::from([("owner", vec!["Only staff may choose another owner.".to_owned()])])
                .into())
        }
        _ => Ok(draft),
    }
}

/// The fields in a request's body, as JSON or as a form.
struct Sent(Fields);

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let body = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        match kind.as_str() {
            "application/json" => {
                Fields::from_json(&body).map(Self).map_err(|error| Failure::from(error).into_response())
            }
            "application/x-www-form-urlencoded" => Ok(Self(Fields::from_form(&body))),
            _ => Err(Failure::MediaType.into_response()),
        }
    }
}

/// Why a request was not done.
enum Failure {
    NotFound,
    NoSuchPage,
    MediaType,
    Invalid(FieldErrors),
    Database(sqlx::Error),
}

impl From<FieldErrors> for Failure {
    fn from(errors: FieldErrors) -> Self {
        Self::Invalid(errors)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            StoreError::NoSuchOwner(_) => FieldErrors::from([("owner", vec![error.to_string()])]).into(),
            StoreError::Database(cause) => Self::Database(cause),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Self::Invalid(errors) => return (StatusCode::BAD_REQUEST, Json(errors)).into_response(),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not found."),
            Self::NoSuchPage => (StatusCode::NOT_FOUND, "Invalid page."),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send application/json, or a form."),
            Self::Database(cause) => {
                tracing::error!(%cause, "a request for orders failed");
                (StatusCode::SERVICE_UNAVAILABLE, "The orders are not available now. Try again.")
            }
        };
        (status, Json(json!({"detail": detail}))).into_response()
    }
}
