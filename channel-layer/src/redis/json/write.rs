//! Writing JSON: what `json.dumps` gives.

use std::fmt::Write;

use rmp::Marker;

use crate::LayerError;
use crate::packed::{Item, Malformed, Walk};

/// Writes a message that was checked as JSON: `", "` and `": "` between its parts, ASCII only, doubles as Python's
/// `repr` shows them.
///
/// # Errors
/// [`LayerError::Encode`] for bytes, which JSON cannot carry.
pub(crate) fn write(packed: &[u8]) -> Result<Vec<u8>, LayerError> {
    let mut writer =
        Writer { walk: Walk { bytes: packed, at: 0 }, json: String::with_capacity(packed.len() * 2) };
    writer.value()?;
    Ok(writer.json.into_bytes())
}

struct Writer<'a> {
    walk: Walk<'a>,
    json: String,
}

impl<'a> Writer<'a> {
    /// Writes one value and all that is in it. A message nests so little that this may call itself.
    fn value(&mut self) -> Result<(), LayerError> {
        let start = self.walk.at;
        match self.item()? {
            Item::Text(text) => self.text(text),
            Item::Binary => return Err(bytes()),
            Item::List(count) => self.list(count)?,
            Item::Map(count) => self.map(count)?,
            Item::Scalar => self.scalar(start)?,
        }
        Ok(())
    }

    fn list(&mut self, count: usize) -> Result<(), LayerError> {
        self.json.push('[');
        for index in 0..count {
            self.separate(index);
            self.value()?;
        }
        self.json.push(']');
        Ok(())
    }

    fn map(&mut self, count: usize) -> Result<(), LayerError> {
        self.json.push('{');
        for index in 0..count {
            self.separate(index);
            let Item::Text(key) = self.item()? else { return Err(bytes()) };
            self.text(key);
            self.json.push_str(": ");
            self.value()?;
        }
        self.json.push('}');
        Ok(())
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.json.push_str(", ");
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.json.push('"');
        for character in std::str::from_utf8(text).expect("the walk has seen that text is UTF-8").chars() {
            put_character(&mut self.json, character);
        }
        self.json.push('"');
    }

    /// Writes the null, bool or number that was packed from `start` on.
    fn scalar(&mut self, start: usize) -> Result<(), LayerError> {
        let mut packed = &self.walk.bytes[start..self.walk.at];
        let misread = |error: &dyn std::error::Error| LayerError::Encode(error.to_string());
        match Marker::from_u8(packed[0]) {
            Marker::Null => self.json.push_str("null"),
            Marker::True => self.json.push_str("true"),
            Marker::False => self.json.push_str("false"),
            Marker::F32 => {
                let value = rmp::decode::read_f32(&mut packed).map_err(|error| misread(&error))?;
                self.json.push_str(&float(value.into()));
            }
            Marker::F64 => {
                let value = rmp::decode::read_f64(&mut packed).map_err(|error| misread(&error))?;
                self.json.push_str(&float(value));
            }
            _ => {
                let value: i128 = rmp::decode::read_int(&mut packed).map_err(|error| misread(&error))?;
                self.json.push_str(&value.to_string());
            }
        }
        Ok(())
    }

    fn item(&mut self) -> Result<Item<'a>, LayerError> {
        self.walk.item().map_err(|error: Malformed| LayerError::Encode(error.to_string()))
    }
}

fn bytes() -> LayerError {
    LayerError::Encode("JSON cannot carry bytes: send text, or set the layer's format to msgpack".into())
}

fn put_character(json: &mut String, character: char) {
    match character {
        '"' => json.push_str("\\\""),
        '\\' => json.push_str("\\\\"),
        '\n' => json.push_str("\\n"),
        '\r' => json.push_str("\\r"),
        '\t' => json.push_str("\\t"),
        '\u{8}' => json.push_str("\\b"),
        '\u{c}' => json.push_str("\\f"),
        ' '..='~' => json.push(character),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(json, "\\u{unit:04x}").expect("a string takes what is written");
            }
        }
    }
}

/// A double as Python's `repr` shows it: the shortest digits that give it back, with an exponent below 1e-4 and from
/// 1e16 on.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_infinite() {
        return format!("{sign}Infinity");
    }
    let (digits, exponent) = shortest(value.abs());
    let (first, rest) = digits.split_at(1);
    let places = usize::from(exponent.unsigned_abs());
    match exponent {
        -4..=-1 => format!("{sign}0.{:0<1$}{digits}", "", places - 1),
        0..=15 if rest.len() > places => format!("{sign}{first}{}.{}", &rest[..places], &rest[places..]),
        0..=15 => format!("{sign}{first}{rest:0<places$}.0"),
        _ => {
            let point = if rest.is_empty() { "" } else { "." };
            let way = if exponent < 0 { '-' } else { '+' };
            format!("{sign}{first}{point}{rest}e{way}{places:02}")
        }
    }
}

/// The fewest digits that give a double back, as if a point stood after the first, and its power of ten.
fn shortest(value: f64) -> (String, i16) {
    let shortest = format!("{value:e}");
    // Where two are equally near, as 0.2 and 0.3 to a quarter, Rust takes the larger and Python the even one, which
    // formatting to that many digits gives. Next to a power of two it may give another double, then none was near.
    let digits = shortest.split_once('e').map_or("", |(mantissa, _)| mantissa);
    let decimals = digits.len().saturating_sub(2);
    let even = format!("{value:.decimals$e}");
    let chosen = if even.parse() == Ok(value) { even } else { shortest };
    let (mantissa, exponent) = chosen.split_once('e').expect("this notation has an exponent");
    (mantissa.replace('.', ""), exponent.parse().expect("the exponent of a double has three digits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_look_as_in_python() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (3.25, "3.25"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1_795_236_596.582_017, "1795236596.582017"),
            (12_345.0, "12345.0"),
            (120.0, "120.0"),
            (1e15, "1000000000000000.0"),
            (1_064_455_803_015_418.0 + 0.25, "1064455803015418.2"),
            (-194_031_464_386_951.0 - 0.625, "-194031464386951.62"),
            (1_064_455_803_015_418.0 + 0.75, "1064455803015418.8"),
            (5_764_607_523_034_235e-39, "5.764607523034235e-24"),
            (9.5367431640625e-7, "9.5367431640625e-07"),
            (2f64.powi(-44), "5.684341886080802e-14"),
            (2f64.powi(89), "6.189700196426902e+26"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (-1.234e16, "-1.234e+16"),
            (1e22, "1e+22"),
            (1.5e300, "1.5e+300"),
            (1e-4, "0.0001"),
            (0.000_123_4, "0.0001234"),
            (1e-5, "1e-05"),
            (1e-7, "1e-07"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn text_is_escaped_as_in_python() {
        let mut packed = vec![0xd9, 15];
        packed.extend("\"\\/\n\r\t\u{8}\u{c}\0\x1f ~\x7fé".as_bytes());
        assert_eq!(write(&packed).unwrap(), br#""\"\\/\n\r\t\b\f\u0000\u001f ~\u007f\u00e9""#);
    }

    #[test]
    fn whole_numbers_keep_all_their_digits() {
        for (packed, text) in [
            (&b"\x7f"[..], "127"),
            (b"\xe0", "-32"),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
            (b"\xd3\x80\0\0\0\0\0\0\0", "-9223372036854775808"),
            (b"\xca\x3f\xc0\0\0", "1.5"),
        ] {
            assert_eq!(write(packed).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn bytes_are_refused_as_values_and_as_keys() {
        for packed in [&b"\xc4\x01a"[..], b"\x91\xc4\x01a", b"\x81\xc4\x01a\xc0"] {
            assert!(matches!(write(packed), Err(LayerError::Encode(_))));
        }
    }

    proptest! {
        #[test]
        fn a_double_reads_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(float(value).parse::<f64>().unwrap().to_bits(), bits);
        }

        #[test]
        fn any_text_is_what_a_json_library_reads(text: String) {
            let mut packed = Vec::new();
            rmp::encode::write_str(&mut packed, &text).unwrap();
            let json = write(&packed).unwrap();
            prop_assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        }
    }
}
