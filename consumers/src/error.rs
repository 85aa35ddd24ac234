//! What a handler's `?` means: a deliberate close, a refusal, a layer that failed, or a defect.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use channel_layer::LayerError;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::Close;

/// What consumers and applications return: nothing, or an [`Error`].
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why a handler did not do its work. Any `std` error becomes one by `?`.
///
/// It is deliberately not a `std` error itself: that is what lets `?` take them all.
#[non_exhaustive]
pub enum Error {
    /// The consumer ends the socket on purpose.
    Close(Close),
    /// The consumer refuses the handshake; after the handshake it closes with 1008.
    Deny(Box<Denial>),
    /// The layer is full or away. This event failed and the socket lives; in `connect` the handshake is refused
    /// with 503.
    Layer(LayerError),
    /// The socket has ended, so nothing more can be sent; the handler may well stop here.
    Gone,
    /// Anything else: the socket closes with 1011 and the cause goes to the log, never to the client.
    Defect(Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// A defect told in words.
    #[must_use]
    pub fn defect(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Defect(cause.into())
    }

    /// What an HTTP client is told when this ends a handshake. The cause of a defect is logged, not told.
    pub(crate) fn into_denial(self) -> Denial {
        match self {
            Self::Deny(denial) => *denial,
            Self::Close(close) => Denial::new(StatusCode::FORBIDDEN, close.reason.as_str()),
            Self::Gone => Denial::new(StatusCode::FORBIDDEN, ""),
            Self::Layer(cause) => {
                tracing::warn!(%cause, "handshake refused: the channel layer failed");
                Denial::new(StatusCode::SERVICE_UNAVAILABLE, "try again later")
            }
            Self::Defect(cause) => {
                tracing::error!(%cause, "handshake refused: the consumer failed");
                Denial::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
            }
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let cause: Box<dyn StdError + Send + Sync> = Box::new(error);
        match cause.downcast::<LayerError>() {
            Ok(layer) if layer.is_transient() => Self::Layer(*layer),
            Ok(layer) => Self::Defect(layer),
            Err(cause) => Self::Defect(cause),
        }
    }
}

impl From<Close> for Error {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

impl From<Denial> for Error {
    fn from(denial: Denial) -> Self {
        Self::Deny(Box::new(denial))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close(close) => write!(f, "close {:?} {:?}", close.code, close.reason.as_str()),
            Self::Deny(denial) => write!(f, "denied with {}", denial.status),
            Self::Layer(cause) => write!(f, "channel layer: {cause}"),
            Self::Gone => f.write_str("the socket has ended"),
            Self::Defect(cause) => write!(f, "{cause:?}"),
        }
    }
}

/// A refusal of a handshake: the HTTP response that the client gets instead of a socket.
///
/// ```
/// use consumers::{Denial, StatusCode};
/// let denial = Denial::new(StatusCode::FORBIDDEN, "log in first").header("x-hint", "/accounts/login/");
/// assert_eq!(denial.status, StatusCode::FORBIDDEN);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Denial {
    /// The status; 403 is what Channels' servers always say.
    pub status: StatusCode,
    /// Response headers; the content type is plain text unless set.
    pub headers: HeaderMap,
    /// Response body.
    pub body: Bytes,
}

impl Denial {
    /// A refusal with a text body.
    #[must_use]
    pub fn new(status: StatusCode, body: impl Into<String>) -> Self {
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, text)]);
        Self { status, headers, body: Bytes::from(body.into()) }
    }

    /// Sets a header; one that is not legal in HTTP is left out.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            self.headers.insert(name, value);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use channel_layer::GroupName;

    fn of<T>(result: std::result::Result<T, impl Into<Error>>) -> Error {
        match result {
            Ok(_) => panic!("expected an error"),
            Err(error) => error.into(),
        }
    }

    #[test]
    fn a_question_mark_tells_the_layer_from_a_defect() {
        assert!(matches!(of(Err::<(), _>(LayerError::Unavailable("x".into()))), Error::Layer(_)));
        assert!(matches!(of(Err::<(), _>(LayerError::Encode("x".into()))), Error::Defect(_)));
        assert!(matches!(of(GroupName::new("no good")), Error::Defect(_)));
        assert!(matches!(of("x".parse::<u8>()), Error::Defect(_)));
        assert!(matches!(of(Err::<(), _>(Close::new(4000, ""))), Error::Close(_)));
    }

    #[test]
    fn a_refusal_leaks_no_cause() {
        for (error, status) in [
            (Error::defect("password=secret"), StatusCode::INTERNAL_SERVER_ERROR),
            (Error::Layer(LayerError::Unavailable("secret host".into())), StatusCode::SERVICE_UNAVAILABLE),
        ] {
            let denial = error.into_denial();
            assert_eq!(denial.status, status);
            assert!(!String::from_utf8_lossy(&denial.body).contains("secret"));
        }
    }
}
