//! HTML pages: an app's templates within the frame that all apps share.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use minijinja::Environment;
use minijinja::value::Serde;
use routing::User;
use serde::Serialize;
use serde_json::json;

/// The templates that every app can extend or render.
const SHARED: [(&str, &str); 2] = [
    ("base.html", include_str!("../templates/base.html")),
    ("error.html", include_str!("../templates/error.html")),
];

/// What a page may load, and from where: this site, and the one network that serves the table library.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; script-src 'self' https://cdn.jsdelivr.net; \
    style-src 'self' https://cdn.jsdelivr.net; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; \
    form-action 'self'";

/// The pages of one app; cheap to clone.
///
/// ```
/// let pages = accounts::Pages::new(&[("hello.html", "{% extends 'base.html' %}{% block main %}Hi {{ name }}{% endblock %}")])?;
/// let response = pages.render("hello.html", std::collections::HashMap::from([("name", "Ana")]));
/// assert_eq!(response.status(), 200);
/// # Ok::<(), accounts::TemplateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pages {
    templates: Arc<Environment<'static>>,
}

/// A template that cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[error("a template cannot be parsed: {0}")]
pub struct TemplateError(#[from] minijinja::Error);

/// A user as templates see one, under the name `user`.
#[derive(Debug, Clone, Serialize)]
pub struct PageUser {
    username: String,
    is_staff: bool,
}

impl PageUser {
    /// What templates may know of `user`.
    #[must_use]
    pub fn new(user: &dyn User) -> Self {
        Self { username: user.username().to_owned(), is_staff: user.is_staff() }
    }
}

impl Pages {
    /// An app's templates, as pairs of name and source, beside `base.html` and `error.html`. What templates named
    /// `*.html` show is escaped.
    ///
    /// # Errors
    /// The first template that cannot be parsed.
    pub fn new(templates: &[(&'static str, &'static str)]) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        for (name, source) in SHARED.iter().chain(templates) {
            environment.add_template(name, source)?;
        }
        Ok(Self { templates: Arc::new(environment) })
    }

    /// Renders a template as a page with status 200, which no cache keeps. A template that fails is logged and
    /// answered with 500.
    #[must_use]
    pub fn render(&self, name: &str, context: impl Serialize) -> Response {
        let page = self.templates.get_template(name).and_then(|template| template.render(Serde(context)));
        match page {
            Ok(page) => (headers(), Html(page)).into_response(),
            Err(error) => {
                tracing::error!(template = name, %error, "a page could not be rendered");
                (StatusCode::INTERNAL_SERVER_ERROR, headers(), "This page could not be made.\n")
                    .into_response()
            }
        }
    }

    /// The page that says what went wrong: `title` in a word or two, `detail` in a sentence that says what to do.
    #[must_use]
    pub fn error(&self, status: StatusCode, title: &str, detail: &str, user: Option<&dyn User>) -> Response {
        let user = user.map(PageUser::new);
        let context = json!({"status": status.as_u16(), "title": title, "detail": detail, "user": user});
        (status, self.render("error.html", context)).into_response()
    }
}

fn headers() -> impl axum::response::IntoResponseParts {
    [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`: with that, browsers send `Origin: null` with forms, which CSRF protection refuses.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ]
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[derive(Debug)]
    struct Staff;

    impl User for Staff {
        fn id(&self) -> i64 {
            1
        }
        fn username(&self) -> &str {
            "<ana>"
        }
        fn is_staff(&self) -> bool {
            true
        }
        fn is_superuser(&self) -> bool {
            false
        }
        fn is_active(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn a_page_is_html_that_loads_nothing_foreign() {
        let pages = Pages::new(&[("a.html", "<p>{{ text }}")]).unwrap();
        let response = pages.render("a.html", json!({"text": "<script>"}));
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers();
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(headers[header::REFERRER_POLICY], "same-origin");
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with(
                "default-src 'self'; connect-src 'self' ws: wss:; script-src 'self' https://cdn."
            )
        );
        assert!(!policy.contains("unsafe"));
        assert_eq!(text(response).await, "<p>&lt;script&gt;");
    }

    #[tokio::test]
    async fn errors_have_a_page_in_the_frame() {
        let pages = Pages::new(&[]).unwrap();
        let response = pages.error(StatusCode::FORBIDDEN, "Not for you", "Ask a colleague.", Some(&Staff));
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        let page = text(response).await;
        for part in ["403", "Not for you", "Ask a colleague.", "&lt;ana&gt;", "Admin"] {
            assert!(page.contains(part), "{part} is missing");
        }
        assert!(text(pages.error(StatusCode::NOT_FOUND, "Gone", "", None)).await.contains("Log in"));
    }

    #[tokio::test]
    async fn what_fails_shows_no_cause() {
        let pages = Pages::new(&[("a.html", "{{ secret_function() }}")]).unwrap();
        for name in ["a.html", "missing.html"] {
            let response = pages.render(name, json!({}));
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY));
            assert_eq!(text(response).await, "This page could not be made.\n");
        }
        assert!(Pages::new(&[("a.html", "{% if %}")]).is_err());
    }
}
