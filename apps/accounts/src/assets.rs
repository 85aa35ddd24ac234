//! Style sheets, scripts and pictures that an app carries within the program.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rust_embed::{EmbeddedFile, RustEmbed};

/// Serves embedded files below `/static/<app>/`. Browsers ask each time whether a file has changed (names carry no
/// version), and are told so by its hash without the file being sent again.
pub fn static_files<F: RustEmbed + 'static>(app: &str) -> Router {
    Router::new().route(&format!("/static/{app}/{{*path}}"), get(serve::<F>))
}

async fn serve<F: RustEmbed>(Path(path): Path<String>, request: HeaderMap) -> Response {
    let Some(file) = F::get(&path) else {
        return (StatusCode::NOT_FOUND, "There is no such file.\n").into_response();
    };
    let tag = tag(&file);
    let headers = [
        (header::ETAG, tag.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    if is_known(&request, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(header::CONTENT_TYPE, content_type(&file))], file.data).into_response()
}

fn content_type(file: &EmbeddedFile) -> String {
    let kind = file.metadata.mimetype();
    let charset = if kind.starts_with("text/") { "; charset=utf-8" } else { "" };
    format!("{kind}{charset}")
}

fn tag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash[..16]))
}

/// Whether the client says that it has this version.
fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let values = request.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    #[derive(RustEmbed)]
    #[folder = "web/"]
    struct Web;

    async fn ask(path: &str, known: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(known) = known {
            request = request.header(header::IF_NONE_MATCH, known);
        }
        let request = request.body(Body::empty()).unwrap();
        static_files::<Web>("accounts").oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_file_is_sent_with_its_type_and_tag() {
        let response = ask("/static/accounts/icon.svg", None).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "image/svg+xml");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"<svg"));
        let style = ask("/static/accounts/site.css", None).await;
        assert_eq!(style.headers()[header::CONTENT_TYPE], "text/css; charset=utf-8");
    }

    #[tokio::test]
    async fn what_the_browser_has_is_not_sent_again() {
        let path = "/static/accounts/icon.svg";
        let tag = ask(path, None).await.headers()[header::ETAG].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"old\", {tag}"), "*".to_owned()] {
            let response = ask(path, Some(&known)).await;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(response.headers()[header::ETAG], *tag);
            assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
        assert_eq!(ask(path, Some("\"old\"")).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn nothing_else_is_found() {
        for path in [
            "/static/accounts/none.css",
            "/static/accounts/..%2FCargo.toml",
            "/static/accounts/../Cargo.toml",
        ] {
            assert_eq!(ask(path, None).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
