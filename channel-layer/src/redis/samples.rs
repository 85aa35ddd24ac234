//! Messages, names and bytes for the tests of the wire format.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{ChannelName, Message};

/// The bytes that a text of hexadecimal digits stands for.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// A packed map of values that are packed already, in the given order.
pub(crate) fn packed_map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut packed = Vec::new();
    rmp::encode::write_map_len(&mut packed, u32::try_from(entries.len()).unwrap()).unwrap();
    for (key, value) in entries {
        rmp::encode::write_str(&mut packed, key).unwrap();
        packed.extend(value);
    }
    packed
}

/// Any value that a message may hold.
#[derive(Debug, Clone)]
enum Value {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_none(),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Signed(value) => to.serialize_i64(*value),
            Self::Unsigned(value) => to.serialize_u64(*value),
            Self::Float(value) => to.serialize_f64(*value),
            Self::Text(value) => to.serialize_str(value),
            Self::Bytes(value) => to.serialize_bytes(value),
            Self::List(values) => to.collect_seq(values),
            Self::Map(values) => to.collect_map(values),
        }
    }
}

/// A message of any content.
pub(crate) fn messages() -> impl Strategy<Value = Message> {
    let bytes = vec(any::<u8>(), 0..20).prop_map(Value::Bytes);
    messages_of(prop_oneof![4 => json_scalars(), 1 => bytes])
}

/// A message that JSON can carry: one without bytes.
pub(crate) fn json_messages() -> impl Strategy<Value = Message> {
    messages_of(json_scalars())
}

/// Names of channels of either kind.
pub(crate) fn names(count: Range<usize>) -> impl Strategy<Value = Vec<ChannelName>> {
    vec("[a-zA-Z0-9_.-]{1,40}(![a-z0-9]{1,40})?".prop_map(|name| ChannelName::new(name).unwrap()), count)
}

fn json_scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Signed),
        (-40_000_i64..40_000).prop_map(Value::Signed),
        any::<u64>().prop_map(Value::Unsigned),
        any::<f64>().prop_map(Value::Float),
        (-1e6..1e6).prop_map(Value::Float),
        prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)].prop_map(Value::Float),
        text().prop_map(Value::Text),
    ]
}

/// Text with whatever must be escaped or is long in UTF-8 or UTF-16.
fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..10).prop_map(String::from_iter)
}

fn messages_of(scalars: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Message> {
    let values = scalars.prop_recursive(4, 24, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Value::List),
            btree_map(text(), inner, 0..20).prop_map(Value::Map),
        ]
    });
    ("[a-z]{1,10}(\\.[a-z]{1,10})?", btree_map("[A-Z][a-z]{0,8}", values, 0..8))
        .prop_map(|(kind, fields)| Message::new(&Sample { kind, fields }).unwrap())
}

struct Sample {
    kind: String,
    fields: BTreeMap<String, Value>,
}

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.fields.len() + 1))?;
        map.serialize_entry("type", &self.kind)?;
        for (key, value) in &self.fields {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
