//! What a consumer hears from the channel layer: a typed event, shared by everyone who gets it.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use channel_layer::{LayerError, Message};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::demultiplexer::Envelope;
use crate::frame::json_wire;
use crate::{Error, Result};

/// A message of the layer as a value of `E`: decoded once per process, however many consumers hear it.
pub struct Event<E> {
    value: Arc<E>,
    message: Message,
}

impl<E: DeserializeOwned + Send + Sync + 'static> Event<E> {
    pub(crate) fn new(message: Message) -> Result<Self, LayerError> {
        Ok(Self { value: message.decode()?, message })
    }
}

/// The finished JSON frame of a message, kept in the message for all who forward it.
struct Forwarded<E>(serde_json::Result<Bytes>, PhantomData<fn() -> E>);

impl<E: Serialize + 'static> Event<E> {
    /// The wire bytes of the event as JSON; the first who forwards it encodes.
    pub(crate) fn wire(&self) -> Result<Bytes> {
        let forwarded = self.message.derive(|_| Forwarded::<E>(json_wire(&*self.value), PhantomData));
        match &forwarded.0 {
            Ok(wire) => Ok(wire.clone()),
            Err(cause) => Err(Error::defect(cause.to_string())),
        }
    }

    /// The wire bytes of the event as JSON on a stream; the first who forwards it there encodes.
    pub(crate) fn wire_on(&self, envelope: &Arc<Envelope>) -> Result<Bytes> {
        let forwarded = self.message.derive(|_| ForwardedOn::<E>(Mutex::default(), PhantomData));
        let mut streams = forwarded.0.lock();
        if let Some((_, wire)) = streams.iter().find(|(known, _)| known == envelope) {
            return Ok(wire.clone());
        }
        let wire = envelope.around(&self.json()?, None).wire();
        streams.push((Arc::clone(envelope), wire.clone()));
        Ok(wire)
    }

    /// The event as JSON text, encoded anew.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string(&*self.value)?)
    }
}

/// The same for streams, each with its envelope.
struct ForwardedOn<E>(Mutex<Vec<(Arc<Envelope>, Bytes)>>, PhantomData<fn() -> E>);

impl<E> Deref for Event<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.value
    }
}

impl<E: fmt::Debug> fmt::Debug for Event<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Event").field(&self.value).finish()
    }
}

/// The events of a consumer that hears none; whatever is sent to it is logged and dropped.
#[derive(Debug, Clone, Copy)]
pub enum NoEvents {}

impl Serialize for NoEvents {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }
}

impl<'de> Deserialize<'de> for NoEvents {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("this consumer hears no events"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static ENCODED: AtomicUsize = AtomicUsize::new(0);

    #[derive(Serialize, Deserialize)]
    struct Counted {
        r#type: String,
        #[serde(serialize_with = "counting")]
        n: u8,
    }

    fn counting<S: Serializer>(n: &u8, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::Relaxed);
        n.serialize(serializer)
    }

    #[test]
    fn an_event_is_encoded_once_for_all_who_forward_it() {
        let message = Message::new(&Counted { r#type: "x".into(), n: 1 }).unwrap();
        let packed = ENCODED.swap(0, Ordering::Relaxed);
        assert_eq!(packed, 1);
        for _ in 0..100 {
            let event = Event::<Counted>::new(message.clone()).unwrap();
            assert_eq!(event.wire().unwrap(), crate::Frame::text(r#"{"type":"x","n":1}"#).wire());
        }
        assert_eq!(ENCODED.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn no_events_decodes_nothing() {
        let message = Message::new(&std::collections::BTreeMap::from([("type", "x")])).unwrap();
        assert!(Event::<NoEvents>::new(message).is_err());
    }
}
