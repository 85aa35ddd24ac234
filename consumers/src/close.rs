//! How a WebSocket ends: a code and a reason.

use std::fmt;

use tungstenite::Utf8Bytes;

/// The most bytes that a reason may have on the wire; a longer one is cut at a character.
const REASON_LIMIT: usize = 123;

/// A WebSocket close code, as RFC 6455 numbers them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: all is done.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the peer goes away, as when a page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1003: a kind of frame that is not taken here, such as binary where text is due.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005: the peer's close frame had no code. Never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection was lost without a close frame. Never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: text that is not UTF-8, or not what is due, such as invalid JSON.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: against the rules of the application.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message over the limit.
    pub const TOO_LARGE: Self = Self(1009);
    /// 1011: a defect on the server's side.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the server restarts; come back soon.
    pub const RESTART: Self = Self(1012);
    /// 1013: overload; come back later.
    pub const TRY_AGAIN: Self = Self(1013);

    /// The number.
    #[must_use]
    pub fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether the code may stand in a close frame: 1000 to 1003, 1007 to 1014, and 3000 to 4999 for libraries and
    /// applications.
    #[must_use]
    pub fn can_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The deliberate end of a socket, or the end that the peer made.
///
/// It is also an error that a handler may return: `Err(Close::new(4403, "not a member").into())`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Why, as a number.
    pub code: CloseCode,
    /// Why, in at most 123 bytes of text; what is longer is cut when it is sent.
    pub reason: Utf8Bytes,
}

impl Close {
    /// A close with a reason, which is cut to 123 bytes.
    ///
    /// A code that may not be sent (see [`CloseCode::can_be_sent`]) becomes 1011 on the wire.
    #[must_use]
    pub fn new(code: impl Into<CloseCode>, reason: impl AsRef<str>) -> Self {
        let reason = reason.as_ref();
        let end = reason.floor_char_boundary(REASON_LIMIT);
        Self { code: code.into(), reason: reason[..end].into() }
    }

    /// What stands on the wire for it: a code that may be sent, and no more of the reason than a frame holds.
    #[must_use]
    pub fn sendable(&self) -> Self {
        if self.code.can_be_sent() {
            return Self::new(self.code, &self.reason);
        }
        tracing::error!(code = self.code.as_u16(), "a close code that may not be sent became 1011");
        Self::from(CloseCode::INTERNAL)
    }
}

impl From<CloseCode> for Close {
    fn from(code: CloseCode) -> Self {
        Self { code, reason: Utf8Bytes::default() }
    }
}

impl From<u16> for Close {
    fn from(code: u16) -> Self {
        CloseCode(code).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let close = Close::new(4000, "é".repeat(100));
        assert_eq!(close.reason.len(), 122);
        assert_eq!(Close::new(4000, "short").reason.as_str(), "short");
        let written_out = Close { code: 4000.into(), reason: "é".repeat(100).into() };
        assert_eq!(written_out.sendable(), close);
    }

    #[test]
    fn only_legal_codes_reach_the_wire() {
        for code in [1000, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999] {
            assert_eq!(Close::from(code).sendable().code.as_u16(), code);
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            assert_eq!(Close::from(code).sendable().code, CloseCode::INTERNAL);
        }
    }
}
