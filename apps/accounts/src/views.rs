//! The pages of accounts: login and logout, and who one is.

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use rust_embed::RustEmbed;
use serde::Deserialize;
use serde_json::json;

use crate::accounts::{Accounts, Attempt};
use crate::current::{CurrentUser, unauthorized};
use crate::guesses::Peer;
use crate::next::local;
use crate::{AccountError, session, static_files};

/// The templates of this app, by name.
pub(crate) const TEMPLATES: &[(&str, &str)] = &[
    ("login.html", include_str!("../templates/login.html")),
    ("logged_out.html", include_str!("../templates/logged_out.html")),
];
/// Bytes of a posted form; a username and a password of the greatest length fit thrice.
const FORM_LIMIT: usize = 16 * 1024;

#[derive(RustEmbed)]
#[folder = "web/"]
struct Web;

/// The pages below `/accounts/` and the files below `/static/accounts/`.
///
/// - `GET` and `POST /accounts/login/`: the form with `username`, `password` and `next`; a login leads to `next`.
/// - `POST /accounts/logout/` ends the session.
/// - `GET /accounts/whoami/` answers `{"username": …, "is_staff": …}`, or 401.
///
/// It needs [`routing::IdentityLayer`] and, within that, [`routing::CsrfLayer`] around it.
pub fn router(accounts: Accounts) -> Router {
    Router::new()
        .route("/accounts/login/", get(login_form).post(log_in))
        .route("/accounts/logout/", post(log_out))
        .route("/accounts/whoami/", get(who_am_i))
        .layer(DefaultBodyLimit::max(FORM_LIMIT))
        .with_state(accounts)
        .merge(static_files::<Web>("accounts"))
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
    #[serde(default)]
    next: String,
}

async fn login_form(State(accounts): State<Accounts>, Query(Next { next }): Query<Next>) -> Response {
    accounts.inner.pages.render("login.html", json!({"next": local(&next), "username": ""}))
}

async fn log_in(
    State(accounts): State<Accounts>,
    extensions: Extensions,
    headers: HeaderMap,
    Form(form): Form<Login>,
) -> Response {
    let again = |error: &str| {
        let context = json!({"error": error, "next": local(&form.next), "username": form.username});
        accounts.inner.pages.render("login.html", context)
    };
    let opened = match accounts.attempt(&form.username, &form.password, Peer::of(&extensions)).await {
        Ok(Attempt::Proven(proven)) => {
            session::open(&accounts.inner.db, &proven, session::presented(&headers).as_deref()).await
        }
        Ok(Attempt::Wrong) => Ok(None),
        Ok(Attempt::Throttled(seconds)) => {
            let page = again("Too many failed attempts. Try again later.");
            let wait = [(header::RETRY_AFTER, seconds.to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, wait, page).into_response();
        }
        Err(error) => Err(error),
    };
    match opened {
        Ok(Some(key)) => (set_cookie(&accounts, Some(&key)), Redirect::to(local(&form.next))).into_response(),
        Ok(None) => (StatusCode::FORBIDDEN, again("Username and password do not match.")).into_response(),
        Err(error) => unavailable(&accounts, &error),
    }
}

async fn log_out(State(accounts): State<Accounts>, headers: HeaderMap) -> Response {
    if let Some(key) = session::presented(&headers)
        && let Err(error) = session::close(&accounts.inner.db, &key).await
    {
        return unavailable(&accounts, &error);
    }
    (set_cookie(&accounts, None), accounts.inner.pages.render("logged_out.html", json!({}))).into_response()
}

async fn who_am_i(user: Option<CurrentUser>, headers: HeaderMap) -> Response {
    let Some(CurrentUser(user)) = user else { return unauthorized(&headers) };
    let body = json!({"username": user.username(), "is_staff": user.is_staff()});
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn set_cookie(accounts: &Accounts, key: Option<&str>) -> impl axum::response::IntoResponseParts {
    let cookie = session::cookie(key, accounts.inner.settings.secure_cookies);
    axum::response::AppendHeaders([(header::SET_COOKIE, cookie)])
}

fn unavailable(accounts: &Accounts, error: &AccountError) -> Response {
    tracing::error!(%error, "a login or logout failed");
    let detail = "This could not be done now. Try again in a moment.";
    accounts.inner.pages.error(StatusCode::SERVICE_UNAVAILABLE, "Not available", detail, None)
}
