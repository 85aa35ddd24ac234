//! The messages that are sent: each tells when it was sent and its number, and then has some weight.

use std::time::Instant;

/// What a message begins with, and what its parts end with: the same within JSON, so that any server may wrap it.
const MARK: &[u8] = b"@@";
const END: u8 = b'@';

/// How far into a frame the message may begin, behind whatever the server puts before it.
const WRAPPED: usize = 96;

/// The least weight of a message that has room for its parts.
pub(crate) const LEAST: usize = 44;

/// A message that has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// Looks for a message in what a frame carries; greetings and the like have none.
    pub(crate) fn find(payload: &'a [u8]) -> Option<Self> {
        let begin = &payload[..payload.len().min(WRAPPED)];
        let at = begin.windows(MARK.len()).position(|window| window == MARK)?;
        Some(Self(&payload[at + MARK.len()..]))
    }

    /// Nanoseconds between the clock's start and its sending.
    pub(crate) fn sent(&self) -> u64 {
        number(self.0).0
    }

    /// Its number, counted from 1.
    pub(crate) fn number(&self) -> u64 {
        number(number(self.0).1).0
    }
}

/// Digits up to the next end, and what follows.
fn number(bytes: &[u8]) -> (u64, &[u8]) {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = bytes[..digits]
        .iter()
        .fold(0, |value: u64, digit| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    (value, bytes.get(digits + 1..).unwrap_or_default())
}

/// Makes messages.
pub(crate) struct Writer {
    start: Instant,
    weight: usize,
    /// What stands before a message and behind it.
    around: (String, String),
    numbered: u64,
}

impl Writer {
    /// Messages of so many bytes, each in the place of `%P%` in the template.
    pub(crate) fn new(weight: usize, template: &str) -> Self {
        let (before, behind) = template.split_once("%P%").unwrap_or(("", ""));
        let around = (before.to_owned(), behind.to_owned());
        Self { start: Instant::now(), weight: weight.max(LEAST), around, numbered: 0 }
    }

    /// Nanoseconds since the clock's start.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The number of the newest message.
    pub(crate) fn newest(&self) -> u64 {
        self.numbered
    }

    /// Writes the next message, sent now.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) {
        self.numbered += 1;
        out.extend_from_slice(self.around.0.as_bytes());
        let begin = out.len();
        out.extend_from_slice(MARK);
        for part in [self.now(), self.numbered] {
            out.extend_from_slice(part.to_string().as_bytes());
            out.push(END);
        }
        out.resize(begin + self.weight, b'x');
        out.extend_from_slice(self.around.1.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_again() {
        let mut writer = Writer::new(128, r#"42["said","%P%"]"#);
        for number in 1..=12 {
            let before = writer.now();
            let mut out = Vec::new();
            writer.write(&mut out);
            assert_eq!(out.len(), 128 + 13);
            let message = Message::find(&out).unwrap();
            assert_eq!(message.number(), number);
            assert!((before..=writer.now()).contains(&message.sent()));
        }
    }

    #[test]
    fn the_least_weight_has_room_for_the_largest_numbers() {
        assert_eq!(LEAST, MARK.len() + 2 * (u64::MAX.to_string().len() + 1));
    }

    #[test]
    fn greetings_are_no_messages() {
        for greeting in [&b""[..], b"@", br#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":[]}"#, &[b'x'; 500]] {
            assert_eq!(Message::find(greeting), None);
        }
        assert_eq!(Writer::new(0, "%P%").newest(), 0);
        let broken = Message::find(b"@@").unwrap();
        assert_eq!((broken.sent(), broken.number()), (0, 0));
    }
}
