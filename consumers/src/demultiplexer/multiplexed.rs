//! What the groups of a demultiplexer hear: frames for a stream, whoever sends them.

use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::envelope::Envelope;
use crate::Frame;

/// An event for the groups of [`Demultiplexer`](crate::Demultiplexer)s: what it carries reaches each client on the
/// stream that it names, past the consumer of that stream.
///
/// ```
/// # use consumers::{Context, GroupName, Multiplexed, Result};
/// # use serde::Serialize;
/// # #[derive(Serialize)]
/// # struct Change { pk: u64 }
/// # async fn f(ctx: &Context, group: &GroupName, change: Change) -> Result {
/// ctx.group_send(group, &Multiplexed::new("orders", &change)).await
/// # }
/// ```
///
/// In the layer it is `{"type": "demultiplexer.send", "stream": …, "payload": …}`, so Python sends the same with
/// `await channel_layer.group_send(group, {"type": "demultiplexer.send", "stream": "orders", "payload": {"pk": 7}})`.
/// The payload's keys keep their order. Bytes have no JSON form: an event that holds any is logged and dropped.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "type", rename = "demultiplexer.send")]
pub struct Multiplexed<'a, P: ?Sized> {
    stream: &'a str,
    payload: &'a P,
}

impl<'a, P: Serialize + ?Sized> Multiplexed<'a, P> {
    /// An event that reaches clients as `{"stream": stream, "payload": payload}`.
    #[must_use]
    pub fn new(stream: &'a str, payload: &'a P) -> Self {
        Self { stream, payload }
    }
}

/// The event as a demultiplexer hears it.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Heard {
    #[serde(rename = "demultiplexer.send")]
    Send { stream: String, payload: JsonText },
}

/// How it is relayed.
pub(crate) fn relayed(heard: &Heard) -> Option<Frame> {
    let Heard::Send { stream, payload: JsonText(payload) } = heard;
    Some(Envelope::new(stream, None).around(payload, None))
}

/// Any value, as JSON text whose keys stand as they came.
pub(crate) struct JsonText(String);

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::new();
        Writer(&mut text).deserialize(deserializer)?;
        Ok(Self(text))
    }
}

/// Writes a value down while it is read.
struct Writer<'a>(&'a mut String);

impl Writer<'_> {
    fn write<E: Error>(self, value: impl fmt::Display) -> Result<(), E> {
        write!(self.0, "{value}").map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that has a JSON form")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.write("null")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.write(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.write(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.write(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // What is no number in JSON becomes null.
        self.write(serde_json::Value::from(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.write(serde_json::Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.push('[');
        let start = self.0.len();
        while items.next_element_seed(Item { text: self.0, start })?.is_some() {}
        self.0.push(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.0.push('{');
        let start = self.0.len();
        while let Some(key) = entries.next_key::<String>()? {
            if self.0.len() > start {
                self.0.push(',');
            }
            write!(self.0, "{}:", serde_json::Value::from(key)).map_err(A::Error::custom)?;
            entries.next_value_seed(Writer(self.0))?;
        }
        self.0.push('}');
        Ok(())
    }
}

/// An item of a list that begins at `start`, with a comma before it unless it is the first.
struct Item<'a> {
    text: &'a mut String,
    start: usize,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.text.len() > self.start {
            self.text.push(',');
        }
        Writer(self.text).deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use channel_layer::Message;

    fn told(payload: &(impl Serialize + ?Sized)) -> Option<String> {
        let message = Message::new(&Multiplexed::new("s", payload)).unwrap();
        let frame = relayed(&*message.decode::<Heard>().ok()?)?;
        Some(String::from_utf8(frame.payload().to_vec()).unwrap())
    }

    #[derive(Serialize)]
    struct Change<'a> {
        zebra: (u64, i64, f64, f64),
        apple: Option<&'a str>,
        data: [Vec<bool>; 2],
    }

    #[test]
    fn values_of_every_kind_keep_their_order() {
        let data = [vec![], vec![true, false]];
        let change = Change { zebra: (u64::MAX, i64::MIN, 1.5, f64::NAN), apple: Some("é\n\""), data };
        let expected = concat!(
            r#"{"stream":"s","payload":{"zebra":[18446744073709551615,-9223372036854775808,1.5,null],"#,
            r#""apple":"é\n\"","data":[[],[true,false]]}}"#
        );
        assert_eq!(told(&change).unwrap(), expected);
        assert_eq!(told(&()).unwrap(), r#"{"stream":"s","payload":null}"#);
    }

    #[test]
    fn what_python_packs_is_read_and_what_has_no_json_form_is_not() {
        // {"type": "demultiplexer.send", "stream": "s", "payload": {"b": 1, "a": …}}
        let packed = |last: &[u8]| {
            let mut bytes =
                b"\x83\xa4type\xb2demultiplexer.send\xa6stream\xa1s\xa7payload\x82\xa1b\x01\xa1a".to_vec();
            bytes.extend_from_slice(last);
            Message::from_packed(bytes.into()).unwrap().decode::<Heard>()
        };
        let Heard::Send { payload, .. } = &*packed(b"\xc0").unwrap();
        assert_eq!(payload.0, r#"{"b":1,"a":null}"#);
        assert!(packed(b"\xc4\x01x").is_err(), "bytes");
        assert!(
            Message::new(&std::collections::BTreeMap::from([("type", "x")]))
                .unwrap()
                .decode::<Heard>()
                .is_err()
        );
    }
}
