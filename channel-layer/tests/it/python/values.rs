//! Every kind of value, as Python writes it and as it is packed, byte for byte.

use std::collections::BTreeMap;

use channel_layer::{Format, Message};
use serde::{Deserialize, Serialize};

use super::pair::{Plan, heard, hex};

/// Literals, and what msgpack makes of them.
const PACKED: &[(&str, &str)] = &[
    (
        "{'type': 't', 'i0': 0, 'i127': 127, 'i128': 128, 'i255': 255, 'i256': 256, 'i65535': 65535, \
         'i65536': 65536, 'u32': 4294967295, 'u33': 4294967296, 'imax': 9223372036854775807, \
         'umax': 18446744073709551615, 'n1': -1, 'n32': -32, 'n33': -33, 'n128': -128, 'n129': -129, \
         'n32768': -32768, 'n32769': -32769, 'n2g': -2147483648, 'n2g1': -2147483649, \
         'imin': -9223372036854775808}",
        "de0016a474797065a174a2693000a4693132377fa469313238cc80a469323535ccffa469323536cd0100a6693635353335\
         cdffffa6693635353336ce00010000a3753332ceffffffffa3753333cf0000000100000000a4696d6178cf7fffffffffffffff\
         a4756d6178cfffffffffffffffffa26e31ffa36e3332e0a36e3333d0dfa46e313238d080a46e313239d1ff7f\
         a66e3332373638d18000a66e3332373639d2ffff7fffa36e3267d280000000a46e326731d3ffffffff7fffffff\
         a4696d696ed38000000000000000",
    ),
    (
        "{'type': 't', 'pi': 3.14, 'one': 1.0, 'nz': -0.0, 'inf': inf, 'ninf': -inf, 'nan': nan}",
        "87a474797065a174a27069cb40091eb851eb851fa36f6e65cb3ff0000000000000a26e7acb8000000000000000\
         a3696e66cb7ff0000000000000a46e696e66cbfff0000000000000a36e616ecb7ff8000000000000",
    ),
    ("{'type': 't', 'n': None, 't': True, 'f': False}", "84a474797065a174a16ec0a174c3a166c2"),
    (
        "{'type': 't', 'd': {'a': [1, [2, {'b': None}]], 'e': {}}, 'l': []}",
        "83a474797065a174a16482a1619201920281a162c0a16580a16c90",
    ),
    (
        "{'type': 't', 'text': 'héllo ☃ 🚀 日本'}",
        "82a474797065a174a474657874b668c3a96c6c6f20e2988320f09f9a8020e697a5e69cac",
    ),
    (
        "{'type': 't', 'empty': '', '': 'empty', 'nul': '\\x00'}",
        "84a474797065a174a5656d707479a0a0a5656d707479a36e756ca100",
    ),
    (
        "{'type': 't', 's31': 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 's32': 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'}",
        "83a474797065a174a3733331bf61616161616161616161616161616161616161616161616161616161616161\
         a3733332d9206262626262626262626262626262626262626262626262626262626262626262",
    ),
    (
        "{'type': 't', 'l': [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]}",
        "82a474797065a174a16cdc0010000102030405060708090a0b0c0d0e0f",
    ),
    (
        "{'type': 't', 'k00': 0, 'k01': 1, 'k02': 2, 'k03': 3, 'k04': 4, 'k05': 5, 'k06': 6, 'k07': 7, \
         'k08': 8, 'k09': 9, 'k10': 10, 'k11': 11, 'k12': 12, 'k13': 13, 'k14': 14}",
        "de0010a474797065a174a36b303000a36b303101a36b303202a36b303303a36b303404a36b303505a36b303606a36b303707\
         a36b303808a36b303909a36b31300aa36b31310ba36b31320ca36b31330da36b31340e",
    ),
];

/// What JSON cannot carry.
const BYTES: (&str, &str) =
    ("{'type': 't', 'b': b'\\x00\\x01\\xff', 'e': b''}", "83a474797065a174a162c4030001ffa165c400");

/// Sends every value both ways, to a process-specific channel and through a group.
pub(super) async fn pass_both_ways(plan: Plan) {
    let pair = plan.start();
    let (there, mut here) = (pair.python_channel().await, pair.mailbox().await);
    let binary = (plan.format == Format::Msgpack).then_some(BYTES);
    for (literal, packed) in PACKED.iter().copied().chain(binary) {
        let packed = hex(packed);
        pair.python.send(here.name().as_str(), literal).await;
        assert_eq!(heard(&mut here).await.packed()[..], packed, "{literal}");
        let message = Message::from_packed(packed.into()).unwrap();
        pair.rust.send(&there, message).await.unwrap();
        assert_eq!(pair.python.receive(there.as_str()).await, literal);
    }
}

/// A tuple comes as a list, also between two Pythons.
pub(super) async fn tuples_come_as_lists(plan: Plan) {
    let pair = plan.start();
    let mut here = pair.mailbox().await;
    pair.python.send(here.name().as_str(), "{'type': 't', 'tup': (1, 'x', (2,))}").await;
    assert_eq!(heard(&mut here).await.packed()[..], hex("82a474797065a174a37475709301a1789102"));
}

/// A megabyte is what every layer must carry.
pub(super) async fn a_megabyte_passes_both_ways(plan: Plan) {
    let pair = plan.start();
    let (there, mut here) = (pair.python_channel().await, pair.mailbox().await);
    let long = "é".repeat(1 << 19);
    pair.python.send(here.name().as_str(), &super::pair::literal(&long)).await;
    assert_eq!(super::pair::text(&heard(&mut here).await), long);
    pair.rust.send(&there, super::pair::said(&long)).await.unwrap();
    assert_eq!(pair.python.receive(there.as_str()).await, super::pair::literal(&long));
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(tag = "type", rename = "order.changed")]
struct Order {
    id: u64,
    change: i64,
    price: f64,
    note: Option<String>,
    is_open: bool,
    tags: Vec<String>,
    counts: BTreeMap<String, (u8, i32)>,
}

/// A typed event here is a dict there, and the other way round.
pub(super) async fn typed_events_pass_both_ways(plan: Plan) {
    let pair = plan.start();
    let (there, mut here) = (pair.python_channel().await, pair.mailbox().await);
    let order = Order {
        id: u64::MAX,
        change: i64::MIN,
        price: 0.1,
        note: None,
        is_open: true,
        tags: vec!["日本".to_owned()],
        counts: BTreeMap::from([("a".to_owned(), (255, -70000))]),
    };
    let literal = "{'type': 'order.changed', 'id': 18446744073709551615, 'change': -9223372036854775808, \
                   'price': 0.1, 'note': None, 'is_open': True, 'tags': ['日本'], 'counts': {'a': [255, -70000]}}";
    pair.rust.send(&there, Message::new(&order).unwrap()).await.unwrap();
    assert_eq!(pair.python.receive(there.as_str()).await, literal);
    pair.python.send(here.name().as_str(), literal).await;
    assert_eq!(*heard(&mut here).await.decode::<Order>().unwrap(), order);
}
