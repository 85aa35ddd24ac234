//! A message as it travels: envelope, format, encryption and random prefix, in this order, and back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::envelope::{self, Receivers, Target};
use super::fernet::Keyring;
use super::json;
use crate::{LayerError, MESSAGE_LIMIT, Message};

/// The most bytes that a body is read of: a message at its limit grows at most sixfold as JSON and by a third when
/// it is encrypted.
const BODY_LIMIT: usize = 8 * MESSAGE_LIMIT;

/// How messages are written in Redis. Nothing there tells, so all peers must be set alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// msgpack, the default.
    #[default]
    Msgpack,
    /// JSON, which cannot carry bytes.
    Json,
}

/// Turns messages into what Redis keeps, and back.
pub(crate) struct Codec {
    pub(crate) format: Format,
    /// Bodies are encrypted when there is one.
    pub(crate) keyring: Option<Keyring>,
    /// Random bytes before the body, which make equal messages distinct members of a sorted set; 12 in Channels.
    pub(crate) random_prefix_length: usize,
    /// How old an encrypted message may be; in Channels the layer's expiry and ten seconds.
    pub(crate) ttl: Option<Duration>,
}

impl Codec {
    /// A message for a queue, with its target and a random prefix of its own.
    ///
    /// # Errors
    /// [`LayerError::Encode`] when the message has the layer's own key, or the format cannot carry it.
    pub(crate) fn encode(&self, message: &Message, target: Target<'_>) -> Result<Bytes, LayerError> {
        let body = self.write(envelope::seal(message.packed(), target)?)?;
        if self.random_prefix_length == 0 {
            return Ok(body);
        }
        let mut member = vec![0; self.random_prefix_length];
        fill_at_random(&mut member)?;
        member.extend_from_slice(&body);
        Ok(member.into())
    }

    /// A message from a queue, and for whom it is; there are no receivers when it does not say.
    ///
    /// # Errors
    /// [`LayerError::Decode`] or [`LayerError::MessageTooLarge`] when it is none: such a message is lost.
    pub(crate) fn decode(&self, member: &Bytes) -> Result<(Message, Receivers), LayerError> {
        if member.len() < self.random_prefix_length {
            return Err(LayerError::Decode("it is shorter than its random prefix".into()));
        }
        let body = self.read(member.slice(self.random_prefix_length..), self.ttl)?;
        let (packed, receivers) = envelope::open(&body)?;
        Ok((Message::from_packed(packed)?, receivers))
    }

    /// A message for pub/sub: the body alone.
    ///
    /// # Errors
    /// [`LayerError::Encode`] when the format cannot carry the message.
    pub(crate) fn encode_plain(&self, message: &Message) -> Result<Bytes, LayerError> {
        self.write(message.packed().clone())
    }

    /// A message from pub/sub, however old: Redis has kept it no longer than it took to pass it on.
    ///
    /// # Errors
    /// [`LayerError::Decode`] or [`LayerError::MessageTooLarge`] when it is none: such a message is lost.
    pub(crate) fn decode_plain(&self, body: &Bytes) -> Result<Message, LayerError> {
        Message::from_packed(self.read(body.clone(), None)?)
    }

    fn write(&self, packed: Bytes) -> Result<Bytes, LayerError> {
        let body = match self.format {
            Format::Msgpack => packed,
            Format::Json => json::write(&packed)?.into(),
        };
        let Some(keyring) = &self.keyring else { return Ok(body) };
        let mut iv = [0; 16];
        fill_at_random(&mut iv)?;
        Ok(keyring.encrypt(&body, now(), iv).into())
    }

    fn read(&self, body: Bytes, ttl: Option<Duration>) -> Result<Bytes, LayerError> {
        if body.len() > BODY_LIMIT {
            return Err(LayerError::MessageTooLarge { size: body.len(), limit: BODY_LIMIT });
        }
        let body = match &self.keyring {
            None => body,
            Some(keyring) => {
                let plain = keyring.decrypt(&body, now(), ttl);
                plain.map_err(|error| LayerError::Decode(error.to_string()))?.into()
            }
        };
        match self.format {
            Format::Msgpack => Ok(body),
            Format::Json => Ok(json::read(&body)?.into()),
        }
    }
}

/// Whole seconds since 1970, which is what a Fernet token is stamped with.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn fill_at_random(bytes: &mut [u8]) -> Result<(), LayerError> {
    getrandom::fill(bytes)
        .map_err(|error| LayerError::Unavailable(format!("the system has no random numbers: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChannelName;
    use crate::redis::samples::{self, hex, packed_map};
    use proptest::prelude::*;

    fn codec(format: Format, secrets: &[&str]) -> Codec {
        Codec {
            format,
            keyring: Keyring::new(secrets),
            random_prefix_length: 12,
            ttl: Some(Duration::from_secs(70)),
        }
    }

    fn receivers(are_members: bool, names: &[ChannelName]) -> Receivers {
        Receivers { names: names.to_vec(), are_members }
    }

    fn message(fields: &[(&str, &str)]) -> Message {
        let fields: Vec<_> = fields.iter().map(|(key, value)| (*key, hex(value))).collect();
        Message::from_packed(packed_map(&fields).into()).unwrap()
    }

    #[test]
    fn equal_messages_get_prefixes_of_their_own() {
        let message = message(&[("type", "a174")]);
        for length in [0, 4, 8, 12, 40] {
            let codec = Codec { random_prefix_length: length, ..codec(Format::Msgpack, &[]) };
            let [one, two] = [(); 2].map(|()| codec.encode(&message, Target::Queue).unwrap());
            assert_eq!(one[length..], message.packed()[..]);
            assert_eq!(one == two, length == 0, "a prefix of {length}");
            assert_eq!(codec.decode(&one).unwrap(), (message.clone(), Receivers::default()));
        }
    }

    #[test]
    fn an_encrypted_member_is_a_prefix_and_a_token() {
        let message = message(&[("type", "a174"), ("text", "a26869")]);
        let member =
            codec(Format::Msgpack, &["secret-key-for-tests"]).encode(&message, Target::Queue).unwrap();
        assert_eq!(member.len(), 132);
        assert!(member[12..].starts_with(b"gAAAAA"), "version and time of a token");
    }

    #[test]
    fn an_old_token_is_lost_in_a_queue_but_not_in_pub_sub() {
        let codec = codec(Format::Msgpack, &["k"]);
        let packed = packed_map(&[("type", hex("a174"))]);
        let token = |age| codec.keyring.as_ref().unwrap().encrypt(&packed, now() - age, [0; 16]);
        let queued = |age| codec.decode(&[&[0; 12], token(age).as_bytes()].concat().into());
        assert!(queued(60).is_ok());
        assert!(matches!(queued(80), Err(LayerError::Decode(_))));
        assert!(codec.decode_plain(&token(100_000).into()).is_ok());
    }

    #[test]
    fn poison_is_a_typed_error() {
        let no_type = packed_map(&[("a", hex("01"))]);
        let type_is_no_text = packed_map(&[("type", hex("01"))]);
        let number_as_key = hex("82a474797065a1740102");
        let time_stamp = packed_map(&[("type", hex("a174")), ("at", hex("d6ff00000000"))]);
        for body in [no_type, type_is_no_text, number_as_key, time_stamp, hex("93010203"), hex("")] {
            let plain = codec(Format::Msgpack, &[]);
            let member = Bytes::from([&[0; 12], &body[..]].concat());
            assert!(matches!(plain.decode(&member), Err(LayerError::Decode(_))), "{body:?}");
            assert!(matches!(plain.decode_plain(&body.clone().into()), Err(LayerError::Decode(_))));
            for other in [codec(Format::Json, &[]), codec(Format::Msgpack, &["k"])] {
                assert!(matches!(other.decode(&member), Err(LayerError::Decode(_))), "{body:?}");
            }
        }
        assert!(matches!(
            codec(Format::Msgpack, &[]).decode(&hex("0102").into()),
            Err(LayerError::Decode(_))
        ));
        let json = Bytes::from_static(br#"{"text": "no type"}"#);
        assert!(matches!(codec(Format::Json, &[]).decode_plain(&json), Err(LayerError::Decode(_))));
    }

    #[test]
    fn a_body_over_the_limit_is_not_read() {
        let body = Bytes::from(vec![b' '; BODY_LIMIT + 1]);
        let error = codec(Format::Json, &[]).decode_plain(&body).unwrap_err();
        assert!(matches!(error, LayerError::MessageTooLarge { .. }), "{error}");
    }

    #[test]
    fn json_carries_the_target_as_its_last_key() {
        let channel = ChannelName::new("a!b").unwrap();
        let codec = Codec { random_prefix_length: 0, ..codec(Format::Json, &[]) };
        let message = message(&[("type", "a174"), ("n", "01")]);
        let one = codec.encode(&message, Target::Channel(&channel)).unwrap();
        assert_eq!(one, &br#"{"type": "t", "n": 1, "__asgi_channel__": "a!b"}"#[..]);
        let many = codec.encode(&message, Target::Members(&[channel.clone(), channel.clone()])).unwrap();
        assert_eq!(many, &br#"{"type": "t", "n": 1, "__asgi_channel__": ["a!b", "a!b"]}"#[..]);
        assert_eq!(
            codec.decode(&one).unwrap(),
            (message.clone(), receivers(false, std::slice::from_ref(&channel)))
        );
        assert_eq!(codec.decode(&many).unwrap(), (message, receivers(true, &[channel.clone(), channel])));
    }

    #[test]
    fn json_refuses_bytes_at_the_sender() {
        let message = message(&[("type", "a174"), ("b", "c4020001")]);
        assert!(matches!(codec(Format::Json, &[]).encode_plain(&message), Err(LayerError::Encode(_))));
    }

    proptest! {
        #[test]
        fn every_setting_gives_a_message_back(
            message in samples::json_messages(), names in samples::names(1..20), json: bool, encrypted: bool,
        ) {
            let format = if json { Format::Json } else { Format::Msgpack };
            let (sender, receiver) = if encrypted { (&["old"][..], &["new", "old"][..]) } else { (&[][..], &[][..]) };
            let (sender, receiver) = (codec(format, sender), codec(format, receiver));
            for (target, expected) in [
                (Target::Queue, receivers(false, &[])),
                (Target::Channel(&names[0]), receivers(false, &names[..1])),
                (Target::Members(&names), receivers(true, &names)),
            ] {
                let (received, to) = receiver.decode(&sender.encode(&message, target).unwrap()).unwrap();
                prop_assert_eq!(&received, &message);
                prop_assert_eq!(to, expected);
            }
            let received = receiver.decode_plain(&sender.encode_plain(&message).unwrap()).unwrap();
            prop_assert_eq!(received, message);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), json: bool, encrypted: bool) {
            let format = if json { Format::Json } else { Format::Msgpack };
            let codec = codec(format, if encrypted { &["k"] } else { &[] });
            let bytes = Bytes::from(bytes);
            let _ = codec.decode(&bytes);
            let _ = codec.decode_plain(&bytes);
            let plain = Bytes::from_owner([&[0; 12], &bytes[..]].concat());
            let _ = codec.decode(&plain);
        }
    }
}
