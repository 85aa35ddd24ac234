//! What travels over a socket: frames, and the types that consumers make of them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tungstenite::Utf8Bytes;

use crate::{Close, CloseCode, Error, Result};

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;

/// The most bytes that the head of a frame has.
const HEAD_LIMIT: usize = 10;

/// A WebSocket message: text or binary, its bytes shared by reference count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Text, known to be UTF-8.
    Text(Utf8Bytes),
    /// Bytes.
    Binary(Bytes),
}

impl Frame {
    /// A text frame.
    #[must_use]
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// A text frame that holds a value as JSON.
    ///
    /// # Errors
    /// When the value has no JSON form, such as a map whose keys are not text.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        serde_json::to_string(value).map(Self::text)
    }

    /// The bytes of the payload, of whichever kind.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Appends the finished bytes that go over the wire, as a server writes them: unmasked and in one piece.
    pub(crate) fn encode(&self, wire: &mut BytesMut) {
        let opcode = if matches!(self, Self::Text(_)) { TEXT } else { BINARY };
        encode(opcode, self.payload(), wire);
    }

    /// The finished bytes of this frame alone, as a server writes them: unmasked and in one piece.
    #[must_use]
    pub fn wire(&self) -> Bytes {
        let mut wire = BytesMut::with_capacity(HEAD_LIMIT + self.payload().len());
        self.encode(&mut wire);
        wire.freeze()
    }
}

/// The finished bytes of a text frame that holds a value as JSON, which is written where it leaves from.
pub(crate) fn json_wire<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Bytes> {
    let mut wire = Vec::with_capacity(256);
    wire.extend([0; HEAD_LIMIT]);
    serde_json::to_writer(&mut wire, value)?;
    let (head, length) = head(TEXT, wire.len() - HEAD_LIMIT);
    let start = HEAD_LIMIT - length;
    wire[start..HEAD_LIMIT].copy_from_slice(&head[..length]);
    let mut wire = Bytes::from(wire);
    wire.advance(start);
    Ok(wire)
}

/// Appends a frame.
pub(crate) fn encode(opcode: u8, payload: &[u8], wire: &mut BytesMut) {
    let (head, length) = head(opcode, payload.len());
    wire.reserve(length + payload.len());
    wire.put_slice(&head[..length]);
    wire.put_slice(payload);
}

/// The head of a frame as RFC 6455, section 5.2, lays it out, and how long it is.
fn head(opcode: u8, payload: usize) -> ([u8; HEAD_LIMIT], usize) {
    const FINAL: u8 = 0x80;
    let mut head = [0; HEAD_LIMIT];
    head[0] = FINAL | opcode;
    let length = match (u8::try_from(payload), u16::try_from(payload)) {
        (Ok(short @ 0..=125), _) => {
            head[1] = short;
            2
        }
        (_, Ok(length)) => {
            head[1] = 126;
            head[2..4].copy_from_slice(&length.to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&(payload as u64).to_be_bytes());
            HEAD_LIMIT
        }
    };
    (head, length)
}

/// What a consumer takes from its client: a type that can be made of a frame.
///
/// Implemented for [`Frame`] (anything), `String` (text), `Bytes` (binary), [`Json<T>`] (text), and for
/// `Result<T>` of these, by which a consumer answers bad input itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made of a WebSocket frame",
    note = "use `Frame`, `String`, `Bytes` or `Json<T>` as `type Incoming`, or implement `FromFrame`"
)]
pub trait FromFrame: Sized + Send {
    /// Reads the frame; the error is what happens to the socket, by default close 1003 for the wrong kind of frame
    /// and 1007 for content that cannot be read. On a stream of a [`Demultiplexer`](crate::Demultiplexer) a close is
    /// not carried out: its reason is the answer.
    fn from_frame(frame: Frame) -> Result<Self>;
}

impl FromFrame for Frame {
    fn from_frame(frame: Frame) -> Result<Self> {
        Ok(frame)
    }
}

impl FromFrame for String {
    fn from_frame(frame: Frame) -> Result<Self> {
        text(frame).map(|text| text.as_str().to_owned())
    }
}

impl FromFrame for Bytes {
    fn from_frame(frame: Frame) -> Result<Self> {
        match frame {
            Frame::Binary(bytes) => Ok(bytes),
            Frame::Text(_) => Err(Close::new(CloseCode::UNSUPPORTED, "binary frames are due here").into()),
        }
    }
}

impl<T: FromFrame> FromFrame for Result<T> {
    fn from_frame(frame: Frame) -> Result<Self> {
        Ok(T::from_frame(frame))
    }
}

/// A text frame that holds JSON. Invalid JSON closes the socket with 1007, a binary frame with 1003.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Send> FromFrame for Json<T> {
    fn from_frame(frame: Frame) -> Result<Self> {
        let text = text(frame)?;
        serde_json::from_str(text.as_str()).map(Self).map_err(|cause| {
            tracing::debug!(%cause, "a client's frame is not the JSON that is due");
            Close::new(CloseCode::INVALID_PAYLOAD, "not the JSON that is due here").into()
        })
    }
}

fn text(frame: Frame) -> Result<Utf8Bytes> {
    match frame {
        Frame::Text(text) => Ok(text),
        Frame::Binary(_) => Err(Error::from(Close::new(CloseCode::UNSUPPORTED, "text frames are due here"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tungstenite::protocol::frame::FrameHeader;

    #[test]
    fn frames_are_written_as_another_library_reads_them() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let wire = Frame::Binary(vec![7; length].into()).wire();
            let mut cursor = std::io::Cursor::new(&wire);
            let (header, payload) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert!(header.is_final && header.mask.is_none());
            assert_eq!(payload, length as u64);
            assert_eq!(wire.len() as u64 - cursor.position(), length as u64);
        }
        assert_eq!(Frame::text("hi").wire().as_ref(), b"\x81\x02hi");
    }

    #[test]
    fn json_that_is_written_in_place_is_the_same_frame() {
        for length in [0, 100, 123, 124, 300, 65_533, 65_534, 100_000] {
            let text = "x".repeat(length);
            assert_eq!(json_wire(&text).unwrap(), Frame::json(&text).unwrap().wire());
        }
    }

    fn code<T: FromFrame>(frame: Frame) -> u16 {
        match T::from_frame(frame) {
            Err(Error::Close(close)) => close.code.as_u16(),
            Err(other) => panic!("{other:?}"),
            Ok(_) => 0,
        }
    }

    #[test]
    fn frames_of_the_wrong_kind_close_with_1003_and_bad_json_with_1007() {
        let binary = Frame::Binary(Bytes::from_static(b"1"));
        assert_eq!(code::<String>(binary.clone()), 1003);
        assert_eq!(code::<Json<u8>>(binary.clone()), 1003);
        assert_eq!(code::<Bytes>(Frame::text("1")), 1003);
        assert_eq!(code::<Json<u8>>(Frame::text("{")), 1007);
        assert_eq!(code::<Json<u8>>(Frame::text("")), 1007);
        assert_eq!(code::<Json<u8>>(Frame::text("1")), 0);
        assert_eq!(code::<Frame>(binary), 0);
    }

    #[test]
    fn a_consumer_may_take_bad_input_as_a_value() {
        let incoming = <Result<Json<u8>>>::from_frame(Frame::text("{")).unwrap();
        assert!(incoming.is_err());
    }
}
