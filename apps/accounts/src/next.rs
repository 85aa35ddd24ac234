//! Where to go after a login: only to a page of this site, or a link could use our login form to lead people astray.

/// Longer addresses than this, in bytes, are not kept.
const LENGTH_LIMIT: usize = 2000;

/// The address, if it is a path of this site, else the start page.
///
/// Browsers read `//host` and `/\host` as another site, and drop tabs and line ends before they read; so nothing
/// but printable ASCII without a backslash passes, which is all that a well-formed address has.
pub(crate) fn local(next: &str) -> &str {
    let is_local = next.starts_with('/') && !next.starts_with("//");
    let is_clean = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_local && is_clean && next.len() <= LENGTH_LIMIT { next } else { "/" }
}

/// The address of the login page that leads on to `next`.
pub(crate) fn login_address(next: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", local(next)).finish();
    format!("/accounts/login/?{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_this_site_pass() {
        for good in ["/", "/admin/orders/?q=a%20b&page=2", "/a//b", "/?next=//evil.example"] {
            assert_eq!(local(good), good);
        }
    }

    #[test]
    fn everything_else_leads_home() {
        let long = format!("/{}", "x".repeat(LENGTH_LIMIT));
        for bad in [
            "",
            "admin/",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " /a",
            "/a\r\nSet-Cookie: a=b",
            "https://evil.example/",
            "javascript:alert(1)",
            "/ä",
            "/a\\b",
            &long,
        ] {
            assert_eq!(local(bad), "/", "{bad:?}");
        }
    }

    #[test]
    fn the_login_page_carries_the_whole_address() {
        assert_eq!(login_address("/a/?b=c&d=e"), "/accounts/login/?next=%2Fa%2F%3Fb%3Dc%26d%3De");
        assert_eq!(login_address("//evil.example"), "/accounts/login/?next=%2F");
    }
}
