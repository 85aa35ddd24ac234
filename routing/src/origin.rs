//! `OriginValidator`: keeps pages of other sites from opening sockets with our users' cookies.

use async_trait::async_trait;
use consumers::{Denial, Result, Scope, StatusCode};
use http::Uri;

use crate::{Credential, Identity, Middleware};

/// Refuses, with 403, handshakes that pages of foreign sites make.
///
/// Browsers send an `Origin` with every handshake; other programs need not. So a *missing* one passes, unless it was
/// a cookie that did the authenticating; a foreign, empty or unreadable one is refused.
///
/// Patterns are those of Channels: `*` allows all; `example.com` that host on any port; `.example.com` the domain and
/// its subdomains; `https://example.com:8443` also asks for scheme and port (without a port, the scheme's own).
/// `*.example.com` is no wildcard.
#[derive(Debug, Clone)]
pub struct OriginValidator {
    allowed: Allowed,
}

#[derive(Debug, Clone)]
enum Allowed {
    SameHost,
    Patterns(Vec<Pattern>),
}

#[derive(Debug, Clone)]
enum Pattern {
    Any,
    Host(String),
    Exact(Origin),
}

/// An origin in parts, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl OriginValidator {
    /// Allows what matches one of the patterns; none at all allows nothing that has an origin.
    pub fn new<P: AsRef<str>>(patterns: impl IntoIterator<Item = P>) -> Self {
        let patterns = patterns.into_iter().map(|pattern| Pattern::new(pattern.as_ref())).collect();
        Self { allowed: Allowed::Patterns(patterns) }
    }

    /// Allows the pages that came from where the handshake goes: the origin's host and port are those of the `Host`
    /// header.
    #[must_use]
    pub fn same_host() -> Self {
        Self { allowed: Allowed::SameHost }
    }

    fn allows(&self, scope: &Scope) -> bool {
        if let Allowed::Patterns(patterns) = &self.allowed
            && patterns.iter().any(|pattern| matches!(pattern, Pattern::Any))
        {
            return true;
        }
        let Some(origin) = scope.header("origin") else {
            let identity = scope.extension::<Identity>();
            return identity.is_none_or(|identity| identity.credential != Credential::Cookie);
        };
        let Some(parsed) = Origin::parse(origin) else { return false };
        match &self.allowed {
            Allowed::SameHost => scope.header("host").is_some_and(|host| parsed.is_at(host)),
            Allowed::Patterns(patterns) => patterns.iter().any(|pattern| pattern.matches(&parsed)),
        }
    }
}

#[async_trait]
impl Middleware for OriginValidator {
    async fn handshake(&self, scope: &mut Scope) -> Result {
        if self.allows(scope) {
            return Ok(());
        }
        tracing::info!(origin = scope.header("origin"), path = scope.path(), "a foreign origin was refused");
        Err(Denial::new(StatusCode::FORBIDDEN, "this origin is not allowed").into())
    }
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        match Origin::parse(pattern) {
            _ if pattern == "*" => Self::Any,
            Some(origin) => Self::Exact(origin),
            None => Self::Host(pattern.to_ascii_lowercase()),
        }
    }

    fn matches(&self, origin: &Origin) -> bool {
        match self {
            Self::Any => true,
            Self::Host(host) => host.strip_prefix('.').map_or(origin.host == *host, |domain| {
                origin.host == domain || origin.host.ends_with(host.as_str())
            }),
            Self::Exact(exact) => exact == origin,
        }
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().or(match scheme.as_str() {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        });
        Some(Self { host: uri.host()?.to_ascii_lowercase(), scheme, port })
    }

    /// Whether a `Host` header names the same place; without a port it means the scheme's own.
    fn is_at(&self, host: &str) -> bool {
        Self::parse(&format!("{}://{host}", self.scheme)).is_some_and(|there| there == *self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consumers::ChannelLayers;
    use http::Request;

    fn scope(origin: Option<&str>, credential: Credential) -> Scope {
        let mut request = Request::get("/").header("host", "site.test:8000");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let identity = Identity { credential, ..Identity::default() };
        let mut parts = request.extension(identity).body(()).unwrap().into_parts().0;
        Scope::from_request(&mut parts, ChannelLayers::default())
    }

    fn check(allowed: &[&str], origin: &str, expected: bool) {
        let allows = OriginValidator::new(allowed).allows(&scope(Some(origin), Credential::None));
        assert_eq!(allows, expected, "{allowed:?} with {origin:?}");
    }

    #[test]
    fn patterns_mean_what_they_mean_in_channels() {
        check(&["allowed.test"], "http://allowed.test", true);
        check(&["allowed.test"], "https://ALLOWED.test:9000", true);
        check(&["allowed.test"], "http://bad.test", false);
        check(&["allowed.test"], "http://xallowed.test", false);
        check(&["*.allowed.test"], "http://www.allowed.test", false);
        check(&[".allowed.test"], "http://www.allowed.test", true);
        check(&[".allowed.test"], "http://allowed.test", true);
        check(&[".allowed.test"], "http://notallowed.test", false);
        check(&["http://allowed.test"], "http://allowed.test:80", true);
        check(&["http://allowed.test"], "https://allowed.test", false);
        check(&["https://allowed.test"], "https://allowed.test:443", true);
        check(&["http://allowed.test:8080"], "http://allowed.test", false);
        check(&["http://allowed.test:8080"], "http://allowed.test:8080", true);
        check(&["[::1]"], "http://[::1]:8000", true);
        check(&["*"], "http://anything.test", true);
        check(&["*"], "", true);
        check(&[], "http://allowed.test", false);
        check(&["allowed.test"], "", false);
        check(&["allowed.test"], "null", false);
        check(&["allowed.test"], "http://allowed.test.evil.test", false);
        check(&["allowed.test"], "http://allowed.test@evil.test", false);
        check(&["allowed.test"], "¿", false);
    }

    #[test]
    fn the_same_host_is_the_same_port_too() {
        let validator = OriginValidator::same_host();
        for (origin, expected) in [
            ("http://site.test:8000", true),
            ("https://site.test:8000", true),
            ("http://site.test", false),
            ("http://other.test:8000", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(validator.allows(&scope(Some(origin), Credential::Cookie)), expected, "{origin}");
        }
    }

    #[test]
    fn a_missing_origin_passes_unless_a_cookie_did_the_authenticating() {
        for validator in [OriginValidator::same_host(), OriginValidator::new(["site.test"])] {
            assert!(validator.allows(&scope(None, Credential::None)));
            assert!(validator.allows(&scope(None, Credential::Header)));
            assert!(!validator.allows(&scope(None, Credential::Cookie)));
        }
        assert!(OriginValidator::new(["*"]).allows(&scope(None, Credential::Cookie)));
    }
}
