//! The packed form of a message: a walk over msgpack that checks what every peer must be able to read.

use bytes::{BufMut, Bytes, BytesMut};
use rmp::Marker;

/// How deep lists and maps may nest, so that no decoder's stack overflows.
pub(crate) const DEPTH_LIMIT: usize = 256;

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a message is a map")]
    NotAMap,
    #[error("a message needs a `type` that is text")]
    NoType,
    #[error("map keys must be text")]
    Key,
    #[error("extension types have no meaning to other peers")]
    Extension,
    #[error("lists and maps nest deeper than {DEPTH_LIMIT} levels")]
    Depth,
    #[error("text is not UTF-8")]
    Utf8,
    #[error("the bytes end early")]
    Short,
    #[error("bytes follow the message")]
    Trailing,
}

/// A checked message: a map whose first key is `type`.
pub(crate) struct Packed {
    bytes: Bytes,
    kind: Bytes,
}

impl Packed {
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn kind(&self) -> &str {
        std::str::from_utf8(&self.kind).expect("`check` has seen that the type is UTF-8")
    }
}

/// Checks a packed message and moves its `type` to the front.
pub(crate) fn check(bytes: Bytes) -> Result<Packed, Malformed> {
    let mut walk = Walk { bytes: &bytes, at: 0 };
    let Item::Map(entries) = walk.item()? else { return Err(Malformed::NotAMap) };
    let body = walk.at;
    let mut found = None;
    for _ in 0..entries {
        let start = walk.at;
        let key = walk.key()?;
        let value = walk.at;
        walk.skip()?;
        if key == b"type" {
            // With a key twice the last one counts, as in Python.
            found = Some((start, value, walk.at));
        }
    }
    if walk.at < bytes.len() {
        return Err(Malformed::Trailing);
    }
    let (start, value, end) = found.ok_or(Malformed::NoType)?;
    let Item::Text(kind) = (Walk { bytes: &bytes[..end], at: value }).item()? else {
        return Err(Malformed::NoType);
    };
    let kind = bytes.slice_ref(kind);
    if start == body {
        return Ok(Packed { bytes, kind });
    }
    let mut moved = BytesMut::with_capacity(bytes.len());
    for part in [&bytes[..body], &bytes[start..end], &bytes[body..start], &bytes[end..]] {
        moved.put_slice(part);
    }
    let offset = body + (end - kind.len() - start);
    let bytes = moved.freeze();
    Ok(Packed { kind: bytes.slice(offset..offset + kind.len()), bytes })
}

/// One value, as far as a walk needs to know it.
pub(crate) enum Item<'a> {
    Scalar,
    Text(&'a [u8]),
    Binary,
    List(usize),
    Map(usize),
}

/// A position in packed bytes that steps from value to value.
pub(crate) struct Walk<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Walk<'a> {
    /// Steps over one value and all that is in it.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        // Each level holds how many values are left in it, and whether every other one is a key.
        let mut levels: Vec<(usize, bool)> = Vec::new();
        let mut next = self.item()?;
        loop {
            match next {
                Item::List(count) => levels.push((count, false)),
                Item::Map(count) => levels.push((count * 2, true)),
                Item::Scalar | Item::Text(_) | Item::Binary => {}
            }
            if levels.len() > DEPTH_LIMIT {
                return Err(Malformed::Depth);
            }
            while levels.last().is_some_and(|(left, _)| *left == 0) {
                levels.pop();
            }
            let Some((left, keyed)) = levels.last_mut() else { return Ok(()) };
            let is_key = *keyed && *left % 2 == 0;
            *left -= 1;
            if is_key {
                self.key()?;
                next = Item::Scalar;
            } else {
                next = self.item()?;
            }
        }
    }

    /// Reads the key of a map's entry; one that is bytes reads as empty.
    pub(crate) fn key(&mut self) -> Result<&'a [u8], Malformed> {
        match self.item()? {
            Item::Text(key) => Ok(key),
            // Python lets bytes pass as keys; no field of ours is named by them.
            Item::Binary => Ok(&[]),
            Item::Scalar | Item::List(_) | Item::Map(_) => Err(Malformed::Key),
        }
    }

    /// Reads one value's head, and its body when it has no values inside.
    pub(crate) fn item(&mut self) -> Result<Item<'a>, Malformed> {
        let marker = Marker::from_u8(self.take(1)?[0]);
        Ok(match marker {
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => {
                Item::Scalar
            }
            Marker::U8 | Marker::I8 => self.scalar(1)?,
            Marker::U16 | Marker::I16 => self.scalar(2)?,
            Marker::U32 | Marker::I32 | Marker::F32 => self.scalar(4)?,
            Marker::U64 | Marker::I64 | Marker::F64 => self.scalar(8)?,
            Marker::FixStr(length) => self.text(length.into())?,
            Marker::Str8 => self.length(1).and_then(|length| self.text(length))?,
            Marker::Str16 => self.length(2).and_then(|length| self.text(length))?,
            Marker::Str32 => self.length(4).and_then(|length| self.text(length))?,
            Marker::Bin8 => self.length(1).and_then(|length| self.binary(length))?,
            Marker::Bin16 => self.length(2).and_then(|length| self.binary(length))?,
            Marker::Bin32 => self.length(4).and_then(|length| self.binary(length))?,
            Marker::FixArray(count) => Item::List(count.into()),
            Marker::Array16 => Item::List(self.length(2)?),
            Marker::Array32 => Item::List(self.length(4)?),
            Marker::FixMap(count) => Item::Map(count.into()),
            Marker::Map16 => Item::Map(self.length(2)?),
            Marker::Map32 => Item::Map(self.length(4)?),
            _ => return Err(Malformed::Extension),
        })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed::Short)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed::Short)?;
        self.at = end;
        Ok(taken)
    }

    fn length(&mut self, width: usize) -> Result<usize, Malformed> {
        Ok(self.take(width)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn scalar(&mut self, width: usize) -> Result<Item<'a>, Malformed> {
        self.take(width).map(|_| Item::Scalar)
    }

    fn text(&mut self, length: usize) -> Result<Item<'a>, Malformed> {
        let text = self.take(length)?;
        std::str::from_utf8(text).map_err(|_| Malformed::Utf8)?;
        Ok(Item::Text(text))
    }

    fn binary(&mut self, length: usize) -> Result<Item<'a>, Malformed> {
        self.take(length).map(|_| Item::Binary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(bytes: &'static [u8]) -> Result<String, Malformed> {
        check(Bytes::from_static(bytes)).map(|packed| packed.kind().to_owned())
    }

    #[test]
    fn every_form_of_value_is_walked() {
        let bytes = b"\x88\xa4type\xa1t\xa1a\x93\x01\xff\xc0\xa1b\x81\xa1c\xcb\0\0\0\0\0\0\0\0\xa1d\xc4\x02hi\
            \xa1e\xdc\0\x01\xc3\xa1f\xde\0\x01\xd9\x01k\xcd\x01\0\xa1g\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa1h\x90";
        assert_eq!(kind(bytes).unwrap(), "t");
    }

    #[test]
    fn broken_messages_are_told_apart() {
        for (bytes, expected) in [
            (&b"\x93\x01\x02\x03"[..], Malformed::NotAMap),
            (b"", Malformed::Short),
            (b"\x80", Malformed::NoType),
            (b"\x81\xa4type\x07", Malformed::NoType),
            (b"\x82\xa4type\xa1t\x01\x02", Malformed::Key),
            (b"\x82\xa4type\xa1t\xa1a\x81\x01\x02", Malformed::Key),
            (b"\x81\xa4type\xa1t\x00", Malformed::Trailing),
            (b"\x82\xa4type\xa1t\xa1a\xd4\x05\x00", Malformed::Extension),
            (b"\x82\xa4type\xa1t\xa1a\xa1\xff", Malformed::Utf8),
            (b"\x82\xa4type\xa1t\xa1a\xdd\xff\xff\xff\xff", Malformed::Short),
        ] {
            assert_eq!(kind(bytes), Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth: usize| {
            let mut bytes = b"\x82\xa4type\xa1t\xa1a".to_vec();
            bytes.extend(std::iter::repeat_n(0x91, depth));
            bytes.push(0xc0);
            check(bytes.into()).map(|_| ())
        };
        assert_eq!(nested(DEPTH_LIMIT), Ok(()));
        assert_eq!(nested(DEPTH_LIMIT + 1), Err(Malformed::Depth));
        assert_eq!(nested(1_000_000), Err(Malformed::Depth));
    }

    proptest! {
        /// Hostile bytes from a shared Redis must never panic the process that reads them.
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut map = b"\x82\xa4type\xa1t\xa1a".to_vec();
            map.extend(&bytes);
            let _ = check(map.into());
            let _ = check(bytes.into());
        }
    }
}
