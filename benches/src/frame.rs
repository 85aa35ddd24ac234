//! WebSocket frames, as far as a load generator needs them: whole messages, in all three forms of their length.

/// The opcode of a text frame.
pub const TEXT: u8 = 1;
/// The opcode of a binary frame.
pub const BINARY: u8 = 2;
/// The opcode of a close frame.
pub const CLOSE: u8 = 8;
/// The opcode of a ping.
pub const PING: u8 = 9;
/// The opcode of a pong.
pub const PONG: u8 = 10;

/// Says that a frame is the last of its message.
const FIN: u8 = 0x80;
/// Says that a frame is masked; it stands beside the length.
const MASKED: u8 = 0x80;
/// What stands for a length of two bytes, and the first of eight.
const SHORT: u8 = 126;
const LONG: u8 = 127;
/// The mask of everything we send. One that is known costs the server as much as a random one.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x0f];

/// A frame within the bytes that have come.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What kind of frame it is.
    pub opcode: u8,
    /// What it carries, still masked when `mask` says so.
    pub payload: &'a [u8],
    /// How a client has masked it.
    pub mask: Option<[u8; 4]>,
    /// How many bytes the whole frame takes.
    pub length: usize,
}

impl Frame<'_> {
    /// Appends what it carries, unmasked.
    pub fn append_payload(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.payload);
        if let Some(mask) = self.mask {
            apply(mask, &mut out[start..]);
        }
    }
}

/// The frame at the beginning of the bytes, when all of it has come.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Frame<'_>> {
    let [first, second, ..] = *bytes else { return None };
    let (payload_length, mut at) = match second & !MASKED {
        SHORT => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        LONG => (usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?, 10),
        length => (usize::from(length), 2),
    };
    let mask = if second & MASKED == 0 {
        None
    } else {
        at += 4;
        Some(*bytes.get(at - 4..)?.first_chunk()?)
    };
    let length = at.checked_add(payload_length)?;
    let payload = bytes.get(at..length)?;
    Some(Frame { opcode: first & 0x0f, payload, mask, length })
}

/// Appends a frame as servers send it.
pub fn encode(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    append_head(opcode, payload.len(), 0, out);
    out.extend_from_slice(payload);
}

/// Appends a frame as clients send it.
pub fn encode_masked(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    append_head(opcode, payload.len(), MASKED, out);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    apply(MASK, &mut out[start..]);
}

fn append_head(opcode: u8, length: usize, masked: u8, out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length), _) if length < SHORT => out.push(masked | length),
        (_, Ok(length)) => {
            out.push(masked | SHORT);
            out.extend_from_slice(&length.to_be_bytes());
        }
        (..) => {
            out.push(masked | LONG);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Masks or unmasks: by words, which the compiler turns into wider ones, and the few bytes that are left over.
fn apply(mask: [u8; 4], bytes: &mut [u8]) {
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    rest.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths around every change of form.
    const LENGTHS: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, 70_001];

    fn payload(length: usize) -> Vec<u8> {
        (0..=255).cycle().take(length).collect()
    }

    #[test]
    fn what_is_encoded_is_parsed_again() {
        for length in LENGTHS {
            let payload = payload(length);
            for (encode, masked) in [(encode as fn(u8, &[u8], &mut Vec<u8>), false), (encode_masked, true)] {
                let mut bytes = Vec::new();
                encode(BINARY, &payload, &mut bytes);
                let whole = bytes.len();
                bytes.extend(b"the next frame");
                let frame = parse(&bytes).unwrap();
                let mut read = Vec::new();
                frame.append_payload(&mut read);
                assert_eq!((frame.opcode, frame.length, frame.mask.is_some()), (BINARY, whole, masked));
                assert!(read == payload, "{length}");
            }
        }
    }

    #[test]
    fn a_part_of_a_frame_is_none() {
        for length in [0, 5, 126, 65_536] {
            for encode in [encode as fn(u8, &[u8], &mut Vec<u8>), encode_masked] {
                let mut bytes = Vec::new();
                encode(TEXT, &payload(length), &mut bytes);
                assert!((0..bytes.len().min(20)).all(|end| parse(&bytes[..end]).is_none()));
                assert!(parse(&bytes[..bytes.len() - 1]).is_none());
            }
        }
    }

    #[test]
    fn tungstenite_reads_what_we_write() {
        use tokio_tungstenite::tungstenite::protocol::frame::FrameSocket;
        for length in LENGTHS {
            let mut bytes = Vec::new();
            encode(TEXT, &payload(length), &mut bytes);
            let read = FrameSocket::new(std::io::Cursor::new(bytes)).read(None).unwrap().unwrap();
            assert!(read.payload() == payload(length), "{length}");
        }
    }

    #[test]
    fn a_length_beyond_memory_is_no_panic() {
        let mut bytes = vec![FIN | TEXT, MASKED | LONG];
        bytes.extend([0xff; 12]);
        assert_eq!(parse(&bytes), None);
    }
}
