//! Frames as bytes, written and read by hand, so that no code under test checks itself.

use tokio_tungstenite::tungstenite::Bytes;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const RSV2: u8 = 0x20;
pub(crate) const RSV3: u8 = 0x10;

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as a client sends it; `head` is its first byte: FIN, reserved bits and opcode.
pub(crate) fn frame(head: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = header(head, 0x80, payload.len() as u64);
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The start of a frame up to its length; `mask` is 0x80 for a client's frames.
pub(crate) fn header(head: u8, mask: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![head];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..=125), _) => bytes.push(mask | length),
        (_, Ok(length)) => {
            bytes.push(mask | 126);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes
}

/// A close frame.
pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// A message in as many frames as there are pieces.
pub(crate) fn fragments(opcode: u8, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let last = pieces.len() - 1;
    let head = |at| (if at == 0 { opcode } else { CONTINUATION }) | (if at == last { FIN } else { 0 });
    pieces.iter().enumerate().map(|(at, piece)| frame(head(at), piece)).collect()
}

/// A frame that came from the server.
#[derive(PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) opcode: u8,
    pub(crate) payload: Bytes,
}

impl std::fmt::Debug for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.payload[..self.payload.len().min(40)];
        write!(
            f,
            "opcode {:#x}, {} bytes: {:?}",
            self.opcode,
            self.payload.len(),
            start.escape_ascii().to_string()
        )
    }
}

impl Got {
    /// Takes a whole frame off the front. It must be one that a server may send: in one piece, unmasked, without
    /// reserved bits, its length in the shortest form.
    pub(crate) fn parse(unread: &mut Vec<u8>) -> Option<Self> {
        let [head, length, ..] = **unread else { return None };
        assert_eq!(head & !0x0f, FIN, "FIN alone is set");
        let (start, length) = match length {
            0..=125 => (2, u64::from(length)),
            126 => (4, u64::from(u16::from_be_bytes(unread.get(2..4)?.try_into().unwrap()))),
            127 => (10, u64::from_be_bytes(unread.get(2..10)?.try_into().unwrap())),
            _ => panic!("a server masks nothing"),
        };
        assert_eq!(start, header(head, 0, length).len(), "the length is in its shortest form");
        let end = start + usize::try_from(length).unwrap();
        let payload = Bytes::copy_from_slice(unread.get(start..end)?);
        unread.drain(..end);
        Some(Self { opcode: head & 0x0f, payload })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}
