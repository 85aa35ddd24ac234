//! A site with nothing but accounts, on a database of its own, and a client that talks to it without a socket.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

use std::sync::Arc;

use accounts::testing::TestDatabase;
use accounts::{Accounts, Db, MIGRATIONS, NewUser, Settings, migrate, query};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use routing::{CsrfLayer, IdentityLayer};
use tower::ServiceExt;

pub(crate) const PASSWORD: &str = "correct horse";

/// The site; its database goes with it.
pub(crate) struct Site {
    pub(crate) accounts: Accounts,
    pub(crate) db: Db,
    router: Router,
    _database: TestDatabase,
}

/// What a client sees of an answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Site {
    /// A site with one user, `ana`.
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let database = TestDatabase::new();
        let db = database.open().await;
        migrate(&db, &[MIGRATIONS]).await.unwrap();
        let accounts = Accounts::new(db.clone(), settings).unwrap();
        let ana =
            NewUser { username: "ana", email: "", password: PASSWORD, is_staff: false, is_superuser: false };
        accounts.create_user(ana).await.unwrap();
        let router = accounts::router(accounts.clone())
            .layer(CsrfLayer)
            .layer(IdentityLayer::new(Arc::new(accounts.clone())));
        Self { accounts, db, router, _database: database }
    }

    /// Changes the database behind the site's back, and asserts that it changed something.
    pub(crate) async fn execute(&self, statement: &'static str) {
        assert!(query(statement).execute(&self.db).await.unwrap() > 0, "{statement}");
    }

    /// The one number that a query has as its answer, `n`.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        query(sql).fetch_one(&self.db).await.unwrap().get("n").unwrap()
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, "").await
    }

    /// Posts a form from a page of the site.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
        let headers = [headers, &[("sec-fetch-site", "same-origin")]].concat();
        self.send("POST", path, &headers, form).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        form: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "shop.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.body(Body::from(form.to_owned())).unwrap();
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// Logs `ana` in and returns the `Cookie` header of the new session.
    pub(crate) async fn log_in(&self) -> String {
        let answer = self.post("/accounts/login/", &[], &login_form(PASSWORD)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        answer.cookie()
    }

    /// Who the site thinks the client is: `None` for anonymous.
    pub(crate) async fn who(&self, headers: &[(&str, &str)]) -> Option<String> {
        let answer = self.get("/accounts/whoami/", headers).await;
        match answer.status {
            StatusCode::OK => {
                let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                Some(body["username"].as_str().unwrap().to_owned())
            }
            StatusCode::UNAUTHORIZED => None,
            other => panic!("unexpected {other}: {}", answer.body),
        }
    }
}

impl Answer {
    /// A header's text, or "".
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What a browser would send back of the cookie that came.
    pub(crate) fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}

pub(crate) fn login_form(password: &str) -> String {
    format!("username=ana&password={}", password.replace(' ', "+"))
}

pub(crate) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}
