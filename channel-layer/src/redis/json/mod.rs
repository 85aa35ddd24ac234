//! The JSON body format, as Python's `json` module writes and reads it by default. It is not quite JSON: doubles may
//! be `NaN`, `Infinity` and `-Infinity`, which is why no JSON library serves.

mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LayerError;
    use crate::redis::samples::{self, hex};
    use proptest::prelude::*;

    #[test]
    fn the_vectors_of_python_pass_both_ways() {
        for (packed, json) in [
            ("83a161c3a162c0a16381a16490", r#"{"a": true, "b": null, "c": {"d": []}}"#),
            (
                "82a474797065a174a474657874b668c3a96c6c6f20e2988320f09f9a8020e697a5e69cac",
                r#"{"type": "t", "text": "h\u00e9llo \u2603 \ud83d\ude80 \u65e5\u672c"}"#,
            ),
            (
                "87a474797065a174a27069cb40091eb851eb851fa36f6e65cb3ff0000000000000a26e7acb8000000000000000\
                 a3696e66cb7ff0000000000000a46e696e66cbfff0000000000000a36e616ecb7ff8000000000000",
                r#"{"type": "t", "pi": 3.14, "one": 1.0, "nz": -0.0, "inf": Infinity, "ninf": -Infinity, "nan": NaN}"#,
            ),
            (
                "83a474797065a174a16482a1619201920281a162c0a16580a16c90",
                r#"{"type": "t", "d": {"a": [1, [2, {"b": null}]], "e": {}}, "l": []}"#,
            ),
            (
                "82a474797065a174a16cdc0010000102030405060708090a0b0c0d0e0f",
                r#"{"type": "t", "l": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]}"#,
            ),
        ] {
            let packed = hex(packed);
            assert_eq!(String::from_utf8(write(&packed).unwrap()).unwrap(), json);
            assert_eq!(read(json.as_bytes()).unwrap(), packed, "{json}");
        }
    }

    #[test]
    fn an_error_of_writing_is_the_senders_and_one_of_reading_the_peers() {
        assert!(matches!(write(b"\x81\xa1a\xc4\x01a"), Err(LayerError::Encode(_))));
        assert!(matches!(read(b"{"), Err(LayerError::Decode(_))));
    }

    proptest! {
        #[test]
        fn what_was_written_reads_the_same(message in samples::json_messages()) {
            let json = write(message.packed()).unwrap();
            prop_assert!(json.is_ascii());
            prop_assert_eq!(read(&json).unwrap(), message.packed().as_ref());
        }
    }
}
