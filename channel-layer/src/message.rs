//! A message: a map with a `type`, packed once and shared by everyone who gets it.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::LayerError;
use crate::packed::{self, Packed};

/// The most bytes that a packed message may have: 16 MiB. (Channels demands that 1 MB passes; the Redis layers of
/// Python set no limit, so one is set here.)
pub const MESSAGE_LIMIT: usize = 16 << 20;

/// What travels over a channel layer: a msgpack map whose first key is `type`, shared by reference count.
///
/// Values are what Python's peers can read: null, bool, integers of 64 bits, doubles, text, bytes, lists and maps
/// with text keys. It is packed when it is made and decoded at most once per type per process, however many
/// consumers it reaches.
///
/// ```
/// use channel_layer::Message;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// #[serde(tag = "type")]
/// enum Told {
///     #[serde(rename = "chat.message")]
///     Message { text: String },
/// }
///
/// let message = Message::new(&Told::Message { text: "hi".into() })?;
/// assert_eq!(message.kind(), "chat.message");
/// assert_eq!(*message.decode::<Told>()?, Told::Message { text: "hi".into() });
/// # Ok::<(), channel_layer::LayerError>(())
/// ```
#[derive(Clone)]
pub struct Message(Arc<Shared>);

struct Shared {
    packed: Packed,
    /// What was made of this message: mostly one entry, since a group's members mostly share one event type.
    derived: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
}

type Cell<T> = OnceLock<Arc<T>>;

impl Message {
    /// Packs a value, which must be a map or struct with a text `type`.
    ///
    /// # Errors
    /// [`LayerError::Encode`] when it is not, or holds what Python's peers cannot read (a key that is not text, an
    /// integer over 64 bits); [`LayerError::MessageTooLarge`] over [`MESSAGE_LIMIT`].
    pub fn new<E: Serialize + ?Sized>(event: &E) -> Result<Self, LayerError> {
        let mut bytes = Vec::with_capacity(128);
        // Human-readable forms (a UUID as text) are what Python and JSON peers expect of such values.
        let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_human_readable();
        event.serialize(&mut serializer).map_err(|error| LayerError::Encode(error.to_string()))?;
        Self::from_packed(bytes.into()).map_err(|error| match error {
            LayerError::Decode(reason) => LayerError::Encode(reason),
            other => other,
        })
    }

    /// Takes a message that a peer has packed; `type` is moved to the front if it stands elsewhere.
    ///
    /// # Errors
    /// [`LayerError::Decode`] when it is not a well-formed map with a text `type`;
    /// [`LayerError::MessageTooLarge`] over [`MESSAGE_LIMIT`].
    pub fn from_packed(bytes: Bytes) -> Result<Self, LayerError> {
        if bytes.len() > MESSAGE_LIMIT {
            return Err(LayerError::MessageTooLarge { size: bytes.len(), limit: MESSAGE_LIMIT });
        }
        let packed = packed::check(bytes).map_err(|error| LayerError::Decode(error.to_string()))?;
        Ok(Self(Arc::new(Shared { packed, derived: Mutex::default() })))
    }

    /// The `type` by which a consumer chooses its handler, such as `chat.message`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.packed.kind()
    }

    /// The msgpack map.
    #[must_use]
    pub fn packed(&self) -> &Bytes {
        self.0.packed.bytes()
    }

    /// The message as a value of `E`; the first to ask decodes, all others share.
    ///
    /// # Errors
    /// [`LayerError::Decode`] when the message is no `E`.
    pub fn decode<E: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<E>, LayerError> {
        let decoded = self.derive(|message: &Self| {
            let mut deserializer =
                rmp_serde::Deserializer::new(message.packed().as_ref()).with_human_readable();
            E::deserialize(&mut deserializer).map(Arc::new).map_err(|error| error.to_string())
        });
        Result::clone(&decoded).map_err(LayerError::Decode)
    }

    /// A value made of this message by the first who asks for its type, and shared by all who ask later, such as a
    /// finished frame: the layer need not know what it is.
    pub fn derive<T: Send + Sync + 'static>(&self, make: impl FnOnce(&Self) -> T) -> Arc<T> {
        // `make` runs outside the lock, for it may derive from this message again; who races with it waits.
        Arc::clone(self.cell::<T>().get_or_init(|| Arc::new(make(self))))
    }

    /// The place where the one `T` of this message is kept.
    fn cell<T: Send + Sync + 'static>(&self) -> Arc<Cell<T>> {
        let mut derived = self.0.derived.lock();
        let known = derived.iter().find_map(|cell| Arc::clone(cell).downcast().ok());
        known.unwrap_or_else(|| {
            let cell = Arc::new(Cell::<T>::new());
            derived.push(Arc::clone(&cell) as Arc<dyn Any + Send + Sync>);
            cell
        })
    }
}

impl fmt::Debug for Message {
    /// Shows the type and size only: what a message says belongs in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("type", &self.kind()).field("bytes", &self.packed().len()).finish()
    }
}

impl PartialEq for Message {
    /// Two messages are equal when their packed bytes are.
    fn eq(&self, other: &Self) -> bool {
        self.packed() == other.packed()
    }
}

impl Eq for Message {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(tag = "type")]
    enum Event {
        #[serde(rename = "test.message")]
        Test { text: String },
    }

    #[test]
    fn it_packs_as_python_does() {
        let message = Message::new(&Event::Test { text: "Ahoy-hoy!".into() }).unwrap();
        let expected = b"\x82\xa4type\xactest.message\xa4text\xa9Ahoy-hoy!";
        assert_eq!(message.packed().as_ref(), expected);
        assert_eq!(message.kind(), "test.message");
    }

    #[test]
    fn the_type_comes_first_wherever_it_stood() {
        let value = BTreeMap::from([("a", "1"), ("type", "x.y"), ("z", "2")]);
        let message = Message::new(&value).unwrap();
        assert_eq!(message.packed().as_ref(), b"\x83\xa4type\xa3x.y\xa1a\xa11\xa1z\xa12");
        assert_eq!(*message.decode::<BTreeMap<String, String>>().unwrap().get("z").unwrap(), "2");
    }

    #[test]
    fn what_a_python_peer_could_not_read_is_refused_at_the_sender() {
        #[derive(Serialize)]
        struct Keys {
            r#type: &'static str,
            map: BTreeMap<u8, u8>,
        }
        let keys = Keys { r#type: "x", map: BTreeMap::from([(1, 2)]) };
        for error in [
            Message::new(&keys).unwrap_err(),
            Message::new(&"text").unwrap_err(),
            Message::new(&BTreeMap::from([("text", "no type")])).unwrap_err(),
            Message::new(&BTreeMap::from([("type", 7)])).unwrap_err(),
        ] {
            assert!(matches!(error, LayerError::Encode(_)), "{error}");
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused() {
        let event = Event::Test { text: "x".repeat(MESSAGE_LIMIT) };
        assert!(matches!(Message::new(&event), Err(LayerError::MessageTooLarge { .. })));
    }

    #[test]
    fn it_is_decoded_once_per_type() {
        static DECODED: AtomicUsize = AtomicUsize::new(0);
        #[derive(Deserialize)]
        #[serde(from = "Event")]
        struct Counted;
        impl From<Event> for Counted {
            fn from(_: Event) -> Self {
                DECODED.fetch_add(1, Ordering::Relaxed);
                Self
            }
        }
        let message = Message::new(&Event::Test { text: "once".into() }).unwrap();
        for _ in 0..10 {
            message.clone().decode::<Counted>().unwrap();
            message.decode::<Event>().unwrap();
        }
        assert_eq!(DECODED.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_message_of_another_type_is_an_error_not_a_panic() {
        let message = Message::new(&BTreeMap::from([("type", "other")])).unwrap();
        assert!(matches!(message.decode::<Event>(), Err(LayerError::Decode(_))));
    }

    #[test]
    fn debug_output_keeps_the_content_private() {
        let message = Message::new(&Event::Test { text: "secret".into() }).unwrap();
        assert_eq!(format!("{message:?}"), r#"Message { type: "test.message", bytes: 31 }"#);
    }
}
