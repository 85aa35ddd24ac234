//! For whom a message is: the key `__asgi_channel__`, spliced into the packed map and out of it, so that the rest is
//! neither decoded nor written anew.

use bytes::Bytes;

use crate::packed::{Item, Malformed, Walk};
use crate::{ChannelName, LayerError};

/// The key that only layers may use.
const KEY: &str = "__asgi_channel__";

/// What a message says about its receivers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// Nothing: a direct send to a normal channel, whose queue is its own.
    Queue,
    /// A direct send to a process-specific channel, whose queue is shared by its process.
    Channel(&'a ChannelName),
    /// A group send to the members that share one queue; a normal channel is a list of one.
    Members(&'a [ChannelName]),
}

impl<'a> Target<'a> {
    /// The target of a direct send.
    pub(crate) fn direct(channel: &'a ChannelName) -> Self {
        if channel.is_process_specific() { Self::Channel(channel) } else { Self::Queue }
    }
}

/// Adds the target as the last entry of a message's map.
///
/// # Errors
/// [`LayerError::Encode`] when the message has the reserved key already.
pub(crate) fn seal(message: &Bytes, target: Target<'_>) -> Result<Bytes, LayerError> {
    let map = scan(message).map_err(|error| LayerError::Encode(error.to_string()))?;
    if !map.targets.is_empty() {
        return Err(LayerError::Encode(format!("the key `{KEY}` belongs to the layer")));
    }
    let names = match target {
        Target::Queue => return Ok(message.clone()),
        Target::Channel(name) => std::slice::from_ref(name),
        Target::Members(names) => names,
    };
    // Every header is at most five bytes.
    let room = names.iter().map(|name| 5 + name.as_str().len()).sum::<usize>() + KEY.len() + 15;
    let mut sealed = Vec::with_capacity(message.len() + room);
    put_map_header(&mut sealed, map.entries + 1);
    sealed.extend_from_slice(&message[map.body..]);
    put_text(&mut sealed, KEY);
    if let Target::Members(_) = target {
        put_list_header(&mut sealed, names.len());
    }
    for name in names {
        put_text(&mut sealed, name.as_str());
    }
    Ok(sealed.into())
}

/// For whom a received message is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Receivers {
    /// Names that break our grammar are skipped: nobody here can have one.
    pub(crate) names: Vec<ChannelName>,
    /// It was sent to a group, whoever made them its members.
    pub(crate) are_members: bool,
}

/// Takes the target out of a received map, wherever it stands. There are no receivers when the map has no target.
///
/// # Errors
/// [`LayerError::Decode`] when this is no map, or its target is neither a name nor a list.
pub(crate) fn open(sealed: &Bytes) -> Result<(Bytes, Receivers), LayerError> {
    let map = scan(sealed).map_err(|error| LayerError::Decode(error.to_string()))?;
    let Some(last) = map.targets.last() else { return Ok((sealed.clone(), Receivers::default())) };
    // With a key twice the last one counts, as in Python.
    let receivers = receivers(&sealed[..last.end], last.value)?;
    let mut message = Vec::with_capacity(sealed.len());
    put_map_header(&mut message, map.entries - map.targets.len());
    let mut from = map.body;
    for entry in &map.targets {
        message.extend_from_slice(&sealed[from..entry.start]);
        from = entry.end;
    }
    message.extend_from_slice(&sealed[from..]);
    Ok((message.into(), receivers))
}

/// A packed map, as far as splicing needs to know it: offsets of its body and of its targets.
struct Map {
    entries: usize,
    body: usize,
    targets: Vec<Entry>,
}

struct Entry {
    start: usize,
    value: usize,
    end: usize,
}

fn scan(bytes: &[u8]) -> Result<Map, Malformed> {
    let mut walk = Walk { bytes, at: 0 };
    let Item::Map(entries) = walk.item()? else { return Err(Malformed::NotAMap) };
    let mut map = Map { entries, body: walk.at, targets: Vec::new() };
    for _ in 0..entries {
        let start = walk.at;
        let is_target = walk.key()? == KEY.as_bytes();
        let value = walk.at;
        walk.skip()?;
        if is_target {
            map.targets.push(Entry { start, value, end: walk.at });
        }
    }
    Ok(map)
}

/// Reads the names of a target: text, or a list of texts.
fn receivers(bytes: &[u8], at: usize) -> Result<Receivers, LayerError> {
    let mut walk = Walk { bytes, at };
    let malformed = |error: Malformed| LayerError::Decode(error.to_string());
    let count = match walk.item().map_err(malformed)? {
        Item::Text(name) => {
            return Ok(Receivers { names: name_of(name).into_iter().collect(), are_members: false });
        }
        Item::List(count) => count,
        Item::Scalar | Item::Binary | Item::Map(_) => {
            return Err(LayerError::Decode(format!("`{KEY}` is neither a name nor a list of names")));
        }
    };
    let mut names = Vec::new();
    for _ in 0..count {
        let start = walk.at;
        if let Item::Text(name) = walk.item().map_err(malformed)? {
            names.extend(name_of(name));
        } else {
            walk.at = start;
            walk.skip().map_err(malformed)?;
        }
    }
    Ok(Receivers { names, are_members: true })
}

fn name_of(text: &[u8]) -> Option<ChannelName> {
    std::str::from_utf8(text).ok().and_then(|text| ChannelName::new(text).ok())
}

fn put_map_header(to: &mut Vec<u8>, entries: usize) {
    let entries = u32::try_from(entries).expect("a map of 16 MiB has fewer than 2^32 entries");
    rmp::encode::write_map_len(to, entries).expect("a vector takes what is written");
}

fn put_list_header(to: &mut Vec<u8>, items: usize) {
    let items = u32::try_from(items).expect("a process has fewer than 2^32 mailboxes");
    rmp::encode::write_array_len(to, items).expect("a vector takes what is written");
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    rmp::encode::write_str(to, text).expect("a vector takes what is written");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;
    use crate::redis::samples::{self, packed_map};
    use proptest::prelude::*;

    fn names(texts: &[&str]) -> Vec<ChannelName> {
        texts.iter().map(|text| ChannelName::new(text).unwrap()).collect()
    }

    fn opened(sealed: Vec<u8>) -> (Bytes, Vec<ChannelName>) {
        let (message, receivers) = open(&sealed.into()).unwrap();
        (message, receivers.names)
    }

    fn members(names: Vec<ChannelName>) -> Receivers {
        Receivers { names, are_members: true }
    }

    #[test]
    fn the_target_is_removed_wherever_it_stands() {
        let target = (KEY, text("a!b"));
        let others = [("type", text("t")), ("x", vec![0x93, 1, 2, 3])];
        for at in 0..=2 {
            let mut entries = others.to_vec();
            entries.insert(at, target.clone());
            let (message, names) = opened(packed_map(&entries));
            assert_eq!(message, packed_map(&others), "at {at}");
            assert_eq!(names, self::names(&["a!b"]));
        }
    }

    fn text(text: &str) -> Vec<u8> {
        let mut packed = Vec::new();
        put_text(&mut packed, text);
        packed
    }

    #[test]
    fn of_two_targets_the_last_counts_and_both_go() {
        let sealed = packed_map(&[(KEY, text("a")), ("type", text("t")), (KEY, text("b"))]);
        let (message, names) = opened(sealed);
        assert_eq!(message, packed_map(&[("type", text("t"))]));
        assert_eq!(names, self::names(&["b"]));
    }

    #[test]
    fn names_nobody_can_have_are_skipped() {
        let list =
            [vec![0x95], text("a!b"), text("no spaces"), vec![0x91, 0x07], vec![0xc0], text("c")].concat();
        let (_, names) = opened(packed_map(&[("type", text("t")), (KEY, list)]));
        assert_eq!(names, self::names(&["a!b", "c"]));
        let (_, names) = opened(packed_map(&[(KEY, text("a!b!c"))]));
        assert_eq!(names, []);
    }

    #[test]
    fn a_target_of_another_kind_is_an_error() {
        for value in [vec![0xc0], vec![0x07], vec![0x80], vec![0xc4, 0x01, b'a']] {
            let error = open(&packed_map(&[(KEY, value)]).into()).unwrap_err();
            assert!(matches!(error, LayerError::Decode(_)), "{error}");
        }
    }

    #[test]
    fn only_a_key_of_the_whole_message_is_the_target() {
        let inner = packed_map(&[(KEY, text("a!b"))]);
        let sealed = packed_map(&[("type", text("t")), ("inner", inner)]);
        assert_eq!(opened(sealed.clone()), (sealed.into(), Vec::new()));
    }

    #[test]
    fn the_reserved_key_is_refused_at_the_sender() {
        let message = packed_map(&[("type", text("t")), (KEY, text("a!b"))]).into();
        let name = ChannelName::new("a!b").unwrap();
        for target in [Target::Queue, Target::Channel(&name), Target::Members(std::slice::from_ref(&name))] {
            assert!(matches!(seal(&message, target), Err(LayerError::Encode(_))), "{target:?}");
        }
    }

    #[test]
    fn a_direct_send_names_only_a_process_specific_channel() {
        let names = names(&["plain", "a!b"]);
        assert!(matches!(Target::direct(&names[0]), Target::Queue));
        assert!(matches!(Target::direct(&names[1]), Target::Channel(_)));
    }

    #[test]
    fn headers_grow_and_shrink_with_their_maps() {
        for entries in [14, 15, 16, 65_534, 65_535, 65_536] {
            let keys: Vec<String> = (1..entries).map(|at| format!("k{at}")).collect();
            let filled = keys.iter().map(|key| (key.as_str(), vec![0xc0]));
            let message: Bytes =
                packed_map(&[("type", text("t"))].into_iter().chain(filled).collect::<Vec<_>>()).into();
            let sealed = seal(&message, Target::Members(&names(&["a!b"]))).unwrap();
            assert_eq!(open(&sealed).unwrap(), (message, members(names(&["a!b"]))), "{entries} entries");
        }
    }

    proptest! {
        #[test]
        fn a_message_comes_out_as_it_went_in(message in samples::messages(), named in samples::names(0..40)) {
            let packed = message.packed();
            let sealed = seal(packed, Target::Members(&named)).unwrap();
            prop_assert_eq!(open(&sealed).unwrap(), (packed.clone(), members(named.clone())));
            // What Python would unpack is a message, too.
            prop_assert!(Message::from_packed(sealed).is_ok());
            if let Some(name) = named.first() {
                let sealed = seal(packed, Target::Channel(name)).unwrap();
                prop_assert_eq!(open(&sealed).unwrap(), (packed.clone(), Receivers { names: vec![name.clone()], are_members: false }));
            }
            let sealed = seal(packed, Target::Queue).unwrap();
            prop_assert_eq!(open(&sealed).unwrap(), (packed.clone(), Receivers::default()));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = open(&packed_map(&[(KEY, bytes.clone())]).into());
            let _ = open(&bytes.clone().into());
            let _ = seal(&bytes.into(), Target::Queue);
        }
    }
}
