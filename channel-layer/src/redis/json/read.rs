//! Reading JSON: what `json.loads` takes, straight into msgpack.

use crate::LayerError;
use crate::packed::DEPTH_LIMIT;

/// Packs one JSON value, its numbers and headers in the shortest form.
///
/// # Errors
/// [`LayerError::Decode`] when it is not JSON as Python writes it, has whole numbers over 64 bits or surrogates
/// without their other half, which have no packed form, or nests deeper than a message may.
pub(crate) fn read(json: &[u8]) -> Result<Vec<u8>, LayerError> {
    let mut reader = Reader { json, at: 0, depth: 0, packed: Vec::with_capacity(json.len()) };
    let read = reader.value().and_then(|()| reader.end());
    read.map_err(|fault| LayerError::Decode(format!("{fault} at byte {} of its JSON", reader.at)))?;
    Ok(reader.packed)
}

/// What is wrong at the reader's position.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("a value, `,` or closing bracket is missing")]
    Syntax,
    #[error("a key is missing")]
    Key,
    #[error("text is not well-formed")]
    Text,
    #[error("a whole number has over 64 bits")]
    Range,
    #[error("lists and maps nest deeper than {DEPTH_LIMIT} levels")]
    Depth,
}

/// Any of these may follow a value or stand before it.
const BLANKS: &[u8] = b" \t\n\r";

struct Reader<'a> {
    json: &'a [u8],
    at: usize,
    depth: usize,
    packed: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// Reads one value and all that is in it; `depth` bounds how often this calls itself.
    fn value(&mut self) -> Result<(), Fault> {
        self.skip_blanks();
        match self.rest() {
            [b'{', ..] => self.container(b'}'),
            [b'[', ..] => self.container(b']'),
            [b'"', ..] => self.text(),
            [b'-' | b'0'..=b'9', ..] => self.number(),
            _ => self.word(),
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.skip_blanks();
        if self.rest().is_empty() { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// Reads a list or a map, which are told apart by how they close.
    fn container(&mut self, close: u8) -> Result<(), Fault> {
        // A message is itself one level above those that the limit counts.
        if self.depth > DEPTH_LIMIT {
            return Err(Fault::Depth);
        }
        self.depth += 1;
        self.at += 1;
        let header = self.packed.len();
        // Few lists and maps have over 15 entries; the room that their header needs is made once that is known.
        self.packed.push(0);
        let count = self.entries(close)?;
        self.depth -= 1;
        let mut packed = Vec::with_capacity(5);
        let write = if close == b'}' { rmp::encode::write_map_len } else { rmp::encode::write_array_len };
        write(&mut packed, count).expect("a vector takes what is written");
        self.packed.splice(header..=header, packed);
        Ok(())
    }

    fn entries(&mut self, close: u8) -> Result<u32, Fault> {
        self.skip_blanks();
        if self.eat(close) {
            return Ok(0);
        }
        let mut count: u32 = 0;
        loop {
            if close == b'}' {
                self.key()?;
            }
            self.value()?;
            count = count.checked_add(1).ok_or(Fault::Syntax)?;
            self.skip_blanks();
            if self.eat(close) {
                return Ok(count);
            }
            if !self.eat(b',') {
                return Err(Fault::Syntax);
            }
        }
    }

    fn key(&mut self) -> Result<(), Fault> {
        self.skip_blanks();
        if self.rest().first() != Some(&b'"') {
            return Err(Fault::Key);
        }
        self.text()?;
        self.skip_blanks();
        if self.eat(b':') { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// Reads text from its opening quote to its closing one.
    fn text(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let mut length = 1;
        loop {
            match rest.get(length) {
                Some(b'"') => break,
                Some(b'\\') => length += 2,
                Some(_) => length += 1,
                None => return Err(Fault::Text),
            }
        }
        // Escapes are a library's business; it knows this much of the language.
        let text: String = serde_json::from_slice(&rest[..=length]).map_err(|_| Fault::Text)?;
        rmp::encode::write_str(&mut self.packed, &text).expect("a vector takes what is written");
        self.at += length + 1;
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        if self.eat(b'-') && self.eat_word("Infinity") {
            self.pack_float(f64::NEG_INFINITY);
            return Ok(());
        }
        if !self.eat(b'0') {
            self.digits()?;
        }
        let mut whole = true;
        if self.eat(b'.') {
            whole = false;
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            whole = false;
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        let text = std::str::from_utf8(&self.json[start..self.at]).map_err(|_| Fault::Syntax)?;
        if whole {
            return self.pack_whole(text);
        }
        // Like Python, what is too large for a double becomes an infinity.
        self.pack_float(text.parse().map_err(|_| Fault::Syntax)?);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { Err(Fault::Syntax) }
    }

    fn word(&mut self) -> Result<(), Fault> {
        for (word, packed) in [("null", 0xc0), ("true", 0xc3), ("false", 0xc2)] {
            if self.eat_word(word) {
                self.packed.push(packed);
                return Ok(());
            }
        }
        for (word, value) in [("NaN", f64::NAN), ("Infinity", f64::INFINITY)] {
            if self.eat_word(word) {
                self.pack_float(value);
                return Ok(());
            }
        }
        Err(Fault::Syntax)
    }

    fn pack_whole(&mut self, text: &str) -> Result<(), Fault> {
        let packed = if let Ok(value) = text.parse() {
            rmp::encode::write_sint(&mut self.packed, value)
        } else {
            rmp::encode::write_uint(&mut self.packed, text.parse().map_err(|_| Fault::Range)?)
        };
        packed.expect("a vector takes what is written");
        Ok(())
    }

    fn pack_float(&mut self, value: f64) {
        rmp::encode::write_f64(&mut self.packed, value).expect("a vector takes what is written");
    }

    fn rest(&self) -> &'a [u8] {
        &self.json[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().iter().take_while(|byte| BLANKS.contains(byte)).count();
    }

    fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.rest().first() == Some(&byte);
        self.at += usize::from(eaten);
        eaten
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let eaten = self.rest().starts_with(word.as_bytes());
        self.at += if eaten { word.len() } else { 0 };
        eaten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn python_takes_more_than_the_standard_allows() {
        for (json, packed) in [
            ("NaN", &b"\xcb\x7f\xf8\0\0\0\0\0\0"[..]),
            ("Infinity", b"\xcb\x7f\xf0\0\0\0\0\0\0"),
            ("-Infinity", b"\xcb\xff\xf0\0\0\0\0\0\0"),
            ("1e999", b"\xcb\x7f\xf0\0\0\0\0\0\0"),
            (r#"{"NaN": [NaN,"NaN"]}"#, b"\x81\xa3NaN\x92\xcb\x7f\xf8\0\0\0\0\0\0\xa3NaN"),
        ] {
            assert_eq!(read(json.as_bytes()).unwrap(), packed, "{json}");
        }
    }

    #[test]
    fn blanks_and_escapes_of_other_writers_are_taken() {
        let json = "\n{ \"a\" :\t[ 1 ,\r2.0e+0, -0 ] , \"\\u00e9\\/\" : \"\\ud83d\\ude80\" } ";
        let packed = b"\x82\xa1a\x93\x01\xcb\x40\0\0\0\0\0\0\0\x00\xa3\xc3\xa9/\xa4\xf0\x9f\x9a\x80";
        assert_eq!(read(json.as_bytes()).unwrap(), packed);
        assert_eq!(read("\"é\"".as_bytes()).unwrap(), b"\xa2\xc3\xa9");
    }

    #[test]
    fn whole_numbers_have_at_most_64_bits() {
        assert_eq!(read(b"18446744073709551615").unwrap(), b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!(read(b"-9223372036854775808").unwrap(), b"\xd3\x80\0\0\0\0\0\0\0");
        for json in ["18446744073709551616", "-9223372036854775809", "100000000000000000000000000"] {
            let error = read(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("64 bits"), "{error}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for json in [
            "",
            " ",
            "{",
            "[",
            "]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:2}",
            "{\"a\" 1}",
            "nul",
            "nan",
            "nulltrue",
            "1 2",
            "01",
            "-",
            "+1",
            ".5",
            "1.",
            "1e",
            "1e+",
            "0x1",
            "'a'",
            "-NaN",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\n\"",
            "\"\\ud800\"",
            "[1}",
            "{\"a\":1]",
            "\u{feff}1",
            "--1",
            "-Inf",
        ] {
            assert!(matches!(read(json.as_bytes()), Err(LayerError::Decode(_))), "{json:?} must be refused");
        }
        assert!(read(b"\"\xff\"").is_err(), "text must be UTF-8");
    }

    #[test]
    fn an_error_says_where_it_is() {
        let error = read(b"{\"a\": [1, x]}").unwrap_err().to_string();
        assert!(error.contains("at byte 10"), "{error}");
    }

    #[test]
    fn nesting_has_the_limit_of_messages() {
        let nested =
            |depth: usize| format!("{{\"type\": \"t\", \"x\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
        let message = read(nested(DEPTH_LIMIT).as_bytes()).unwrap();
        assert!(crate::Message::from_packed(message.into()).is_ok());
        assert!(read(nested(DEPTH_LIMIT + 1).as_bytes()).is_err());
        assert!(read("[".repeat(1_000_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(json in "[\\[\\]{}\",:\\\\0-9eE.+-truefalsnNI\\PC]{0,60}") {
            let _ = read(json.as_bytes());
        }

        #[test]
        fn no_bytes_panic(json in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&json);
        }

        /// Of what Python and the standard agree on, this takes what a strict library takes, and nothing else.
        #[test]
        fn it_agrees_with_a_library(parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..8)) {
            let json = parts.concat();
            let packed = read(json.as_bytes());
            let strict = serde_json::from_str::<serde_json::Value>(&json);
            prop_assert_eq!(packed.is_ok(), strict.is_ok(), "{}", json);
            // A minus zero is whole, and so just zero, to Python alone.
            if let (Ok(packed), Ok(strict), false) = (packed, strict, json.contains("-0")) {
                prop_assert_eq!(rmp_serde::from_slice::<serde_json::Value>(&packed).unwrap(), strict);
            }
        }
    }

    const PARTS: &[&str] = &[
        "[", "]", "{", "}", "[]", "{\"k\":", ",", ":", "\"a\"", "\"\\n\"", "1", "0", "-", ".5", "e-1",
        "true", "false", "null", " ",
    ];
}
