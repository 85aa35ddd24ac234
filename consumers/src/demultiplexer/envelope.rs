//! The JSON around what a stream carries: `{"stream":…,"payload":…}`, and the `request_id` if there is one.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::{Error, Frame, Result};

/// What stands before and behind the payloads of one stream. A stream of a demultiplexer that is itself a stream has
/// both envelopes in one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Envelope {
    name: Box<str>,
    head: Box<str>,
    tail: Box<str>,
}

impl Envelope {
    pub(crate) fn new(name: &str, outer: Option<&Self>) -> Self {
        let (outer_head, outer_tail) = outer.map_or(("", ""), |outer| (&outer.head, &outer.tail));
        let quoted = serde_json::Value::from(name);
        Self {
            name: name.into(),
            head: format!(r#"{outer_head}{{"stream":{quoted},"payload":"#).into(),
            tail: format!("}}{outer_tail}").into(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A frame around a payload, which is JSON.
    pub(crate) fn around(&self, payload: &str, request_id: Option<&RawValue>) -> Frame {
        let Self { head, tail, .. } = self;
        Frame::text(match request_id {
            None => [head, payload, tail].concat(),
            Some(id) => [head, payload, r#","request_id":"#, id.get(), tail].concat(),
        })
    }

    /// The same around a frame, of which it is not known whether it holds JSON.
    pub(crate) fn around_frame(&self, frame: &Frame, request_id: Option<&RawValue>) -> Result<Frame> {
        match frame {
            Frame::Text(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => {
                Ok(self.around(text, request_id))
            }
            Frame::Text(_) => Err(Error::defect("streams carry JSON, and this text is none")),
            Frame::Binary(_) => Err(Error::defect("streams carry JSON, and no binary frames")),
        }
    }

    /// The same around what a relay has rendered; what is no JSON is logged and dropped.
    pub(crate) fn around_relayed(&self, frame: &Frame) -> Option<Frame> {
        match self.around_frame(frame, None) {
            Ok(frame) => Some(frame),
            Err(cause) => {
                tracing::error!(?cause, stream = self.name(), "a relayed frame was dropped");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_nest_and_names_are_quoted() {
        let outer = Envelope::new("a \"b\"", None);
        assert_eq!(outer.around("1", None), Frame::text(r#"{"stream":"a \"b\"","payload":1}"#));
        let id = RawValue::from_string("[7]".into()).unwrap();
        let inner = Envelope::new("c", Some(&outer));
        let expected = r#"{"stream":"a \"b\"","payload":{"stream":"c","payload":{},"request_id":[7]}}"#;
        assert_eq!(inner.around("{}", Some(&id)), Frame::text(expected));
    }

    #[test]
    fn only_json_is_carried() {
        let envelope = Envelope::new("s", None);
        for text in ["", "{", "{} x", "'a'", "NaN"] {
            let Err(Error::Defect(cause)) = envelope.around_frame(&Frame::text(text), None) else {
                panic!("{text} was taken")
            };
            assert!(cause.to_string().contains("streams carry JSON"));
            assert_eq!(envelope.around_relayed(&Frame::text(text)), None);
        }
        let binary = Frame::Binary(bytes::Bytes::from_static(b"{}"));
        assert!(envelope.around_frame(&binary, None).is_err());
        assert!(envelope.around_frame(&Frame::text(" [1, null]\n"), None).is_ok());
    }
}
