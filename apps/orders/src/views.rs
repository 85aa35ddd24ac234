//! The app's routes, composed: page, REST and admin.

use accounts::{Pages, TemplateError};
use axum::Router;
use axum::extract::FromRef;

use crate::{Orders, admin, page, rest};

const TEMPLATES: &[(&str, &str)] = &[
    ("page.html", include_str!("../templates/page.html")),
    ("admin/list.html", include_str!("../templates/admin/list.html")),
    ("admin/form.html", include_str!("../templates/admin/form.html")),
    ("admin/confirm_delete.html", include_str!("../templates/admin/confirm_delete.html")),
];

/// What the pages' handlers need.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) orders: Orders,
    pub(crate) pages: Pages,
}

impl FromRef<Site> for Orders {
    fn from_ref(site: &Site) -> Self {
        site.orders.clone()
    }
}

/// The page at `/`, REST below `/api/data/`, the admin below `/admin/`, and files below `/static/orders/` and
/// `/static/vendor/`.
///
/// It needs [`routing::IdentityLayer`] and, within that, [`routing::CsrfLayer`] around it.
///
/// # Errors
/// A template that cannot be parsed, which this crate's tests rule out.
pub fn router(orders: Orders) -> Result<Router, TemplateError> {
    let site = Site { orders: orders.clone(), pages: Pages::new(TEMPLATES)? };
    Ok(Router::new()
        .merge(page::router())
        .merge(admin::router())
        .with_state(site)
        .merge(rest::router().with_state(orders)))
}
