//! What is known about a connection: its request, its route, and what middleware found out.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use channel_layer::ChannelLayer;
use http::request::Parts;
use http::{Extensions, HeaderName, StatusCode, header};
use percent_encoding::percent_decode_str;

use crate::{ChannelLayers, Denial, Error, Result};

/// A connection's scope: ASGI's word for what stays the same while it lives.
///
/// It holds copies of the few things it needs, for the request itself would keep the server's read buffer alive.
#[derive(Clone)]
pub struct Scope {
    path: Box<str>,
    /// How much of the path outer routers have matched, in bytes.
    matched: usize,
    query: Box<str>,
    headers: Box<[(HeaderName, Box<str>)]>,
    subprotocols: Box<[Box<str>]>,
    params: Vec<(Box<str>, Box<str>)>,
    extensions: Extensions,
    layers: ChannelLayers,
}

impl Scope {
    /// The scope of a request; its extensions (user, session, peer address) move over, its body does not matter.
    ///
    /// The path is percent-decoded; bytes that are not UTF-8 become U+FFFD. Header values are read as Latin-1, as
    /// Channels does. Headers that speak of the handshake only are left out.
    #[must_use]
    pub fn from_request(request: &mut Parts, layers: ChannelLayers) -> Self {
        let path = percent_decode_str(request.uri.path()).decode_utf8_lossy();
        let headers = request.headers.iter().filter(|(name, _)| !is_about_the_handshake(name));
        let offered = request.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        Self {
            path: path.into(),
            matched: 0,
            query: request.uri.query().unwrap_or_default().into(),
            headers: headers.map(|(name, value)| (name.clone(), latin_1(value.as_bytes()))).collect(),
            subprotocols: offered
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(Box::from)
                .collect(),
            params: Vec::new(),
            extensions: std::mem::take(&mut request.extensions),
            layers,
        }
    }

    /// The path of the request, percent-decoded, beginning with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The part of the path that no router has matched yet.
    #[must_use]
    pub fn remaining_path(&self) -> &str {
        &self.path[self.matched..]
    }

    /// The query string as it came, without the question mark.
    #[must_use]
    pub fn query_string(&self) -> &str {
        &self.query
    }

    /// The first value of a name in the query string, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        form_urlencoded::parse(self.query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The first value of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.as_str() == name).map(|(_, value)| &**value)
    }

    /// The sub-protocols that the client offers, in its order of preference.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.subprotocols.iter().map(|name| &**name)
    }

    /// A parameter of the route, such as `room` of `/chat/{room}/`, as a value of `T`. Of several routers that give one
    /// of this name, the innermost counts, as in Channels.
    ///
    /// # Errors
    /// A refusal with 404 when the client's text is no `T`; a defect when the route has no such parameter.
    pub fn param<T: FromStr>(&self, name: &str) -> Result<T> {
        let (_, value) = self
            .params
            .iter()
            .rfind(|(param, _)| &**param == name)
            .ok_or_else(|| Error::defect(format!("the route has no parameter {name:?}")))?;
        value.parse().map_err(|_| Denial::new(StatusCode::NOT_FOUND, "not found").into())
    }

    /// What a server or middleware has put here, by type, such as the user.
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.extensions.get()
    }

    /// The channel layers, by alias.
    #[must_use]
    pub fn channel_layers(&self) -> &ChannelLayers {
        &self.layers
    }

    /// The default channel layer.
    #[must_use]
    pub fn channel_layer(&self) -> Option<&Arc<dyn ChannelLayer>> {
        self.layers.get(ChannelLayers::DEFAULT)
    }

    /// Puts something here for consumers to find by type; for middleware.
    pub fn insert<T: Clone + Send + Sync + 'static>(&mut self, extension: T) {
        self.extensions.insert(extension);
    }

    /// Notes that a router has matched so many bytes of the remaining path, and the parameters in them.
    pub fn advance(&mut self, bytes: usize, params: impl IntoIterator<Item = (Box<str>, Box<str>)>) {
        self.matched = self.path.len().min(self.matched + bytes);
        self.params.extend(params);
    }
}

impl fmt::Debug for Scope {
    /// Leaves out headers and query, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("path", &self.path)
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

fn latin_1(bytes: &[u8]) -> Box<str> {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn is_about_the_handshake(name: &HeaderName) -> bool {
    [header::CONNECTION, header::UPGRADE].contains(name) || name.as_str().starts_with("sec-websocket-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(uri: &str, headers: &[(&str, &str)]) -> Scope {
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Scope::from_request(&mut request.body(()).unwrap().into_parts().0, ChannelLayers::default())
    }

    #[test]
    fn the_request_is_read_as_channels_reads_it() {
        let scope =
            scope("/ws/%C3%A9t%C3%A9/?a=1&b=%20x&a=2", &[("cookie", "k=v"), ("upgrade", "websocket")]);
        assert_eq!(scope.path(), "/ws/été/");
        assert_eq!(scope.query_string(), "a=1&b=%20x&a=2");
        assert_eq!(scope.query("a").as_deref(), Some("1"));
        assert_eq!(scope.query("b").as_deref(), Some(" x"));
        assert_eq!(scope.query("c"), None);
        assert_eq!(scope.header("cookie"), Some("k=v"));
        assert_eq!(scope.header("upgrade"), None);
    }

    #[test]
    fn offered_subprotocols_keep_their_order() {
        let offers = [("sec-websocket-protocol", "v2.chat, v1.chat"), ("sec-websocket-protocol", "plain")];
        assert_eq!(scope("/", &offers).subprotocols().collect::<Vec<_>>(), ["v2.chat", "v1.chat", "plain"]);
    }

    #[test]
    fn parameters_have_types() {
        let mut scope = scope("/7/x", &[]);
        scope.advance(2, [("id".into(), "7".into())]);
        assert_eq!(scope.remaining_path(), "/x");
        assert_eq!(scope.param::<u8>("id").unwrap(), 7);
        scope.advance(2, [("name".into(), "x".into())]);
        assert!(matches!(scope.param::<u8>("name"), Err(Error::Deny(denial)) if denial.status == 404));
        assert!(matches!(scope.param::<u8>("other"), Err(Error::Defect(_))));
    }

    #[test]
    fn debug_output_has_no_secrets() {
        let scope = scope("/?token=secret", &[("authorization", "secret")]);
        assert!(!format!("{scope:?}").contains("secret"));
    }
}
