//! Bytes that real Python layers have written: each is read, and written again to the bit.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::envelope::Target;
use super::samples::hex;
use super::wire::{Codec, Format};
use crate::{ChannelName, LayerError, Message};

const PROCESS: &str = "specific.ffdc09a33189469d9666c261287cbdec!";

fn codec(random_prefix_length: usize) -> Codec {
    Codec { format: Format::Msgpack, keyring: None, random_prefix_length, ttl: None }
}

fn channels(names: &[&str]) -> Vec<ChannelName> {
    names.iter().map(|name| ChannelName::new(name).unwrap()).collect()
}

/// A member as stored in a sorted set: it must read as the event and the names, and be written so again.
#[track_caller]
fn member(digits: &str, event: &impl Serialize, target: Target<'_>, names: &[ChannelName]) {
    let (prefix, body) = digits.split_once('|').unwrap();
    let stored = Bytes::from([hex(prefix), hex(body)].concat());
    let message = Message::new(event).unwrap();
    let (decoded, receivers) = codec(12).decode(&stored).unwrap();
    assert_eq!((&decoded, &receivers.names[..]), (&message, names));
    let written = codec(12).encode(&message, target).unwrap();
    assert_eq!(written.len(), stored.len());
    assert_eq!(written[12..], stored[12..]);
}

/// A body alone.
#[track_caller]
fn body<E: Serialize + DeserializeOwned + PartialEq + Debug + Send + Sync + 'static>(
    digits: &str,
    event: &E,
) {
    let body = Bytes::from(hex(digits));
    let message = codec(0).decode_plain(&body).unwrap();
    assert_eq!(*message.decode::<E>().unwrap(), *event);
    assert_eq!(codec(0).encode_plain(&Message::new(event).unwrap()).unwrap(), body);
}

/// Makes the struct that stands for a Python dict, its keys in the order of its fields.
macro_rules! dict {
    ($($key:ident: $type:ty = $value:expr),* $(,)?) => {{
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Dict { r#type: String, $($key: $type),* }
        Dict { r#type: "t".into(), $($key: $value),* }
    }};
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Packed(#[serde(with = "as_bytes")] Vec<u8>);

/// Serde takes a vector of bytes for a list of numbers unless it is told.
mod as_bytes {
    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

#[test]
fn a_direct_send_to_a_normal_channel() {
    let event = BTreeMap::from([("type", "test.message"), ("text", "Ahoy-hoy!")]);
    member(
        "3f78f226e2c5a5440de3e607|82a474797065ac746573742e6d657373616765a474657874a941686f792d686f7921",
        &event,
        Target::Queue,
        &[],
    );
}

#[test]
fn a_direct_send_to_a_specific_channel() {
    #[derive(Serialize)]
    struct Event {
        r#type: &'static str,
        n: u8,
    }
    let names = channels(&[&format!("{PROCESS}d01fb86e8fa5490292310a40ad7c207a")]);
    member(
        "cd25531483bac002cc4db92a|83a474797065a161a16e01b05f5f617367695f6368616e6e656c5f5fd94a73706563696\
        669632e66666463303961333331383934363964393636366332363132383763626465632164303166623836653866613\
        53439303239323331306134306164376332303761",
        &Event { r#type: "a", n: 1 },
        Target::direct(&names[0]),
        &names,
    );
}

#[derive(Serialize)]
struct Hello {
    r#type: &'static str,
    x: Option<()>,
}

#[test]
fn a_group_send_to_a_normal_channel() {
    let names = channels(&["plain"]);
    member(
        "617f33d6c00bc3310f317491|83a474797065ab68656c6c6f2e776f726c64a178c0b05f5f617367695f6368616e6e656\
        c5f5f91a5706c61696e",
        &Hello { r#type: "hello.world", x: None },
        Target::Members(&names),
        &names,
    );
}

#[test]
fn a_group_send_to_two_members_of_one_process() {
    let names = channels(&[
        &format!("{PROCESS}d01fb86e8fa5490292310a40ad7c207a"),
        &format!("{PROCESS}24a83587502a415ab0ad73fbfbd442bb"),
    ]);
    member(
        "e021ec7afd69456b927d199f|83a474797065ab68656c6c6f2e776f726c64a178c0b05f5f617367695f6368616e6e656\
        c5f5f92d94a73706563696669632e6666646330396133333138393436396439363636633236313238376362646563216\
        430316662383665386661353439303239323331306134306164376332303761d94a73706563696669632e66666463303\
        961333331383934363964393636366332363132383763626465632132346138333538373530326134313561623061643\
        73366626662643434326262",
        &Hello { r#type: "hello.world", x: None },
        Target::Members(&names),
        &names,
    );
}

#[test]
fn a_target_alone() {
    let message = Message::new(&BTreeMap::from([("type", "t")])).unwrap();
    let names = channels(&["specific.0123456789abcdef0123456789abcdef!fedcba9876543210fedcba9876543210"]);
    let written = codec(0).encode(&message, Target::direct(&names[0])).unwrap();
    let stored = hex(
        "82a474797065a174b05f5f617367695f6368616e6e656c5f5fd94a73706563696669632e303132333435363738396162\
        636465663031323334353637383961626364656621666564636261393837363534333231306665646362613938373635\
        3433323130",
    );
    assert_eq!(written, stored);
    let (decoded, receivers) = codec(0).decode(&written).unwrap();
    assert_eq!((decoded, receivers.names), (message, names));
}

#[test]
fn text() {
    let event =
        BTreeMap::from([("type".to_owned(), "chat.message".to_owned()), ("text".into(), "hello".into())]);
    body("82a474797065ac636861742e6d657373616765a474657874a568656c6c6f", &event);
    body(
        "82a474797065a174a474657874b668c3a96c6c6f20e2988320f09f9a8020e697a5e69cac",
        &dict! { text: String = "héllo ☃ 🚀 日本".into() },
    );
    body(
        "83a474797065a174a3733331bf61616161616161616161616161616161616161616161616161616161616161a3733332\
        d9206262626262626262626262626262626262626262626262626262626262626262",
        &dict! { s31: String = "a".repeat(31), s32: String = "b".repeat(32) },
    );
}

#[test]
fn whole_numbers() {
    let digits = "de0016a474797065a174a2693000a4693132377fa469313238cc80a469323535ccffa469323536cd0100a66936353533\
        35cdffffa6693635353336ce00010000a3753332ceffffffffa3753333cf0000000100000000a4696d6178cf7fffffff\
        ffffffffa4756d6178cfffffffffffffffffa26e31ffa36e3332e0a36e3333d0dfa46e313238d080a46e313239d1ff7f\
        a66e3332373638d18000a66e3332373639d2ffff7fffa36e3267d280000000a46e326731d3ffffffff7fffffffa4696d\
        696ed38000000000000000";
    body(
        digits,
        &dict! {
            i0: u64 = 0, i127: i64 = 127, i128: u64 = 128, i255: i64 = 255, i256: u64 = 256, i65535: i64 = 65_535,
            i65536: u64 = 65_536, u32: i64 = (1 << 32) - 1, u33: i64 = 1 << 32, imax: i64 = i64::MAX,
            umax: u64 = u64::MAX, n1: i64 = -1, n32: i64 = -32, n33: i64 = -33, n128: i64 = -128, n129: i64 = -129,
            n32768: i64 = -32_768, n32769: i64 = -32_769, n2g: i64 = -(1 << 31), n2g1: i64 = -(1 << 31) - 1,
            imin: i64 = i64::MIN,
        },
    );
}

#[test]
fn doubles() {
    #[derive(Serialize, Deserialize, Debug)]
    struct Doubles {
        r#type: String,
        pi: f64,
        one: f64,
        nz: f64,
        inf: f64,
        ninf: f64,
        nan: f64,
    }
    impl Doubles {
        /// `NaN` is not equal to itself, and both zeros are equal: only bits tell.
        fn bits(&self) -> [u64; 6] {
            [self.pi, self.one, self.nz, self.inf, self.ninf, self.nan].map(f64::to_bits)
        }
    }
    impl PartialEq for Doubles {
        fn eq(&self, other: &Self) -> bool {
            self.bits() == other.bits()
        }
    }
    body(
        "87a474797065a174a27069cb40091eb851eb851fa36f6e65cb3ff0000000000000a26e7acb8000000000000000a3696e\
        66cb7ff0000000000000a46e696e66cbfff0000000000000a36e616ecb7ff8000000000000",
        #[expect(clippy::approx_constant, reason = "the vector has these digits")]
        &Doubles {
            r#type: "t".into(),
            pi: 3.14,
            one: 1.0,
            nz: -0.0,
            inf: f64::INFINITY,
            ninf: f64::NEG_INFINITY,
            nan: f64::NAN,
        },
    );
}

#[test]
fn bytes_and_constants() {
    body(
        "83a474797065a174a162c4030001ffa165c400",
        &dict! { b: Packed = Packed(vec![0, 1, 255]), e: Packed = Packed(vec![]) },
    );
    body(
        "84a474797065a174a16ec0a174c3a166c2",
        &dict! { n: Option<u8> = None, t: bool = true, f: bool = false },
    );
}

#[test]
fn lists_and_maps() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Inner {
        a: (u8, (u8, BTreeMap<String, Option<u8>>)),
        e: BTreeMap<String, u8>,
    }
    let inner = Inner { a: (1, (2, BTreeMap::from([("b".into(), None)]))), e: BTreeMap::new() };
    body(
        "83a474797065a174a16482a1619201920281a162c0a16580a16c90",
        &dict! { d: Inner = inner, l: Vec<u8> = vec![] },
    );
    body("82a474797065a174a37475709301a1789102", &dict! { tup: (u8, String, (u8,)) = (1, "x".into(), (2,)) });
    body(
        "82a474797065a174a16cdc0010000102030405060708090a0b0c0d0e0f",
        &dict! { l: Vec<u8> = (0..16).collect() },
    );
    body(
        "de0010a474797065a174a36b303000a36b303101a36b303202a36b303303a36b303404a36b303505a36b303606a36b30\
        3707a36b303808a36b303909a36b31300aa36b31310ba36b31320ca36b31330da36b31340e",
        &dict! {
            k00: u8 = 0, k01: u8 = 1, k02: u8 = 2, k03: u8 = 3, k04: u8 = 4, k05: u8 = 5, k06: u8 = 6, k07: u8 = 7,
            k08: u8 = 8, k09: u8 = 9, k10: u8 = 10, k11: u8 = 11, k12: u8 = 12, k13: u8 = 13, k14: u8 = 14,
        },
    );
}

#[test]
fn what_pub_sub_published() {
    body("82a474797065a174a474657874a668c3a96c6c6f", &dict! { text: String = "héllo".into() });
    body(
        "86a474797065a174a169cd012ca166cb3ff8000000000000a162c40200ffa16ec0a16c920181a161c3",
        &dict! {
            i: u16 = 300, f: f64 = 1.5, b: Packed = Packed(vec![0, 255]), n: Option<u8> = None,
            l: (u8, BTreeMap<String, bool>) = (1, BTreeMap::from([("a".into(), true)])),
        },
    );
    let message = codec(0).decode_plain(&hex("82a474797065a5672e6d7367a17801").into()).unwrap();
    assert_eq!(message.kind(), "g.msg");
}

#[test]
fn a_message_without_a_type_is_poison() {
    let body = hex("83a161c3a162c0a16381a16490").into();
    assert!(matches!(codec(0).decode_plain(&body), Err(LayerError::Decode(_))));
}
