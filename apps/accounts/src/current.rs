//! Handlers that need a user say so by an argument.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, OptionalFromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use routing::{Identity, User};
use serde_json::json;

use crate::accounts::REALM;
use crate::next::login_address;

/// The user of a request, taken from the [`Identity`] that [`routing::IdentityLayer`] found.
///
/// As an argument it keeps anonymous requests out: below `/api/` they are answered with 401 and JSON, elsewhere sent
/// to the login page, which leads back. As `Option<CurrentUser>` it lets them in.
///
/// ```
/// async fn hello(accounts::CurrentUser(user): accounts::CurrentUser) -> String {
///     format!("Hello {}", user.username())
/// }
/// # let _: axum::Router = axum::Router::new().route("/hello/", axum::routing::get(hello));
/// ```
#[derive(Debug, Clone)]
pub struct CurrentUser(pub Arc<dyn User>);

impl<S: Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        known(parts).ok_or_else(|| {
            // A nested router sees only the rest of the path.
            let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
            if uri.path().starts_with("/api/") {
                return unauthorized(&parts.headers);
            }
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            ([(header::CACHE_CONTROL, "no-store")], Redirect::to(&login_address(path))).into_response()
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for CurrentUser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(known(parts))
    }
}

fn known(parts: &Parts) -> Option<CurrentUser> {
    parts.extensions.get::<Identity>()?.user.clone().map(CurrentUser)
}

/// The answer to an anonymous request for data. Scripts are asked for HTTP Basic; a browser's page is not, because
/// the browser would put a password dialog before the page that could show its login form.
pub(crate) fn unauthorized(headers: &HeaderMap) -> Response {
    let scheme = if headers.contains_key("sec-fetch-mode") { "Session" } else { "Basic" };
    let challenge = format!("{scheme} realm=\"{REALM}\"");
    let body = json!({"detail": "Log in, or send a username and a password by HTTP Basic."});
    let headers = [(header::WWW_AUTHENTICATE, challenge.as_str()), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::UNAUTHORIZED, headers, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, headers: &[(&str, &str)]) -> Response {
        let list = get(|CurrentUser(user): CurrentUser| async move { user.username().to_owned() });
        let any =
            get(
                |user: Option<CurrentUser>| async move { if user.is_some() { "known" } else { "anonymous" } },
            );
        let app = Router::new()
            .route("/list/", list.clone())
            .route("/any/", any)
            .nest("/api", Router::new().route("/list/", list));
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn pages_lead_to_the_login_and_back() {
        let response = ask("/list/?page=2", &[]).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert_eq!(response.headers()[header::LOCATION], "/accounts/login/?next=%2Flist%2F%3Fpage%3D2");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }

    #[tokio::test]
    async fn data_is_refused_even_in_a_nested_router() {
        let response = ask("/api/list/", &[]).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Basic realm=\"waterway\"");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    }

    #[tokio::test]
    async fn a_page_in_a_browser_gets_no_password_dialog() {
        let response = ask("/api/list/", &[("sec-fetch-mode", "cors")]).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Session realm=\"waterway\"");
    }

    #[tokio::test]
    async fn who_needs_no_user_lets_everybody_in() {
        assert_eq!(ask("/any/", &[]).await.status(), StatusCode::OK);
    }
}
