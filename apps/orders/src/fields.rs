//! What a client sends for an order, checked field by field.

use std::collections::BTreeMap;

use routing::consumers::db::read_decimal;
use rust_decimal::Decimal;
use serde_json::value::RawValue;

use crate::money::{INTEGER_DIGITS, SCALE, is_in_bounds};

/// The longest name of an instrument, in characters.
const INSTRUMENT_LIMIT: usize = 32;

const REQUIRED: &str = "This field is required.";

/// What is wrong, by field; `non_field_errors` is for what concerns none.
pub(crate) type FieldErrors = BTreeMap<&'static str, Vec<String>>;

/// What was sent, by name. A number keeps the digits that the client wrote, which a float would lose.
#[derive(Debug, Default)]
pub(crate) struct Fields(BTreeMap<String, Input>);

#[derive(Debug)]
enum Input {
    Text(String),
    Number(String),
    Null,
    Other,
}

/// Whether fields may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completeness {
    /// All but the owner are required.
    Whole,
    /// What is left out stays as it is.
    Partial,
}

/// Checked fields; those that were not sent are `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) owner: Option<String>,
    pub(crate) instrument: Option<String>,
    pub(crate) quantity: Option<Decimal>,
    pub(crate) price: Option<Decimal>,
}

impl Fields {
    /// Reads a JSON object.
    pub(crate) fn from_json(body: &[u8]) -> Result<Self, FieldErrors> {
        let object: BTreeMap<String, &RawValue> = serde_json::from_slice(body).map_err(|error| {
            BTreeMap::from([("non_field_errors", vec![format!("Not a JSON object: {error}.")])])
        })?;
        Ok(Self(object.into_iter().map(|(name, raw)| (name, Input::read(raw.get()))).collect()))
    }

    /// Reads a posted form.
    pub(crate) fn from_form(body: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(body).into_owned();
        Self(pairs.map(|(name, value)| (name, Input::Text(value))).collect())
    }

    /// A field as text, for a form that is shown again.
    pub(crate) fn text(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(Input::Text(text) | Input::Number(text)) => text,
            _ => "",
        }
    }

    /// Checks every field and says all that is wrong at once.
    pub(crate) fn check(&self, completeness: Completeness) -> Result<Draft, FieldErrors> {
        let mut errors = FieldErrors::new();
        let mut noted = |name, result: Result<Option<Decimal>, String>| {
            result.unwrap_or_else(|error| {
                errors.insert(name, vec![error]);
                None
            })
        };
        let quantity = noted("quantity", self.decimal("quantity", completeness, Decimal::MIN));
        let price = noted("price", self.decimal("price", completeness, Decimal::ZERO));
        let instrument = self.word("instrument", completeness).unwrap_or_else(|error| {
            errors.insert("instrument", vec![error]);
            None
        });
        let owner = self.word("owner", Completeness::Partial).unwrap_or_else(|error| {
            errors.insert("owner", vec![error]);
            None
        });
        if errors.is_empty() { Ok(Draft { owner, instrument, quantity, price }) } else { Err(errors) }
    }

    fn word(&self, name: &str, completeness: Completeness) -> Result<Option<String>, String> {
        let text = match (self.0.get(name), completeness) {
            (None, Completeness::Partial) => return Ok(None),
            (None, Completeness::Whole) => return Err(REQUIRED.to_owned()),
            (Some(Input::Null), _) => return Err("This field may not be null.".to_owned()),
            (Some(Input::Text(text) | Input::Number(text)), _) => text.trim(),
            (Some(Input::Other), _) => return Err("Not a valid string.".to_owned()),
        };
        let limit = if name == "instrument" { INSTRUMENT_LIMIT } else { 150 };
        if text.is_empty() {
            return Err("This field may not be blank.".to_owned());
        }
        if text.chars().count() > limit {
            return Err(format!("Ensure this field has no more than {limit} characters."));
        }
        if text.chars().any(char::is_control) {
            return Err("Control characters are not allowed.".to_owned());
        }
        Ok(Some(text.to_owned()))
    }

    fn decimal(
        &self,
        name: &str,
        completeness: Completeness,
        least: Decimal,
    ) -> Result<Option<Decimal>, String> {
        let text = match (self.0.get(name), completeness) {
            (None, Completeness::Partial) => return Ok(None),
            (None, Completeness::Whole) => return Err(REQUIRED.to_owned()),
            (Some(Input::Null), _) => return Err("This field may not be null.".to_owned()),
            (Some(Input::Text(text) | Input::Number(text)), _) => text.trim(),
            (Some(Input::Other), _) => return Err("A valid number is required.".to_owned()),
        };
        let decimal = read_decimal(text).map_err(|_| "A valid number is required.".to_owned())?;
        if !is_in_bounds(decimal) {
            return Err(format!(
                "Ensure that there are no more than {INTEGER_DIGITS} digits before the decimal point and {SCALE} after it."
            ));
        }
        if decimal < least {
            return Err(format!("Ensure this value is greater than or equal to {least}."));
        }
        Ok(Some(decimal))
    }
}

impl Input {
    fn read(raw: &str) -> Self {
        match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw).map_or(Self::Other, Self::Text),
            Some(b'-' | b'0'..=b'9') => Self::Number(raw.to_owned()),
            Some(b'n') => Self::Null,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, completeness: Completeness) -> Result<Draft, FieldErrors> {
        Fields::from_json(json.as_bytes())?.check(completeness)
    }

    /// The names of the fields that are wrong.
    fn wrong(json: &str) -> Vec<&'static str> {
        check(json, Completeness::Whole).unwrap_err().into_keys().collect()
    }

    #[test]
    fn numbers_and_texts_are_exact() {
        let json = r#"{"instrument":" EURUSD ","quantity":123456789.123456,"price":"1.50"}"#;
        let draft = check(json, Completeness::Whole).unwrap();
        assert_eq!(draft.instrument.as_deref(), Some("EURUSD"));
        assert_eq!(draft.quantity.unwrap().to_string(), "123456789.123456");
        assert_eq!(draft.price.unwrap().to_string(), "1.5");
        assert_eq!(
            check(r#"{"price":2e3}"#, Completeness::Partial).unwrap().price.unwrap().to_string(),
            "2000"
        );
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        assert_eq!(wrong("{}"), ["instrument", "price", "quantity"]);
        assert_eq!(
            wrong(r#"{"instrument":"","quantity":"x","price":-1}"#),
            ["instrument", "price", "quantity"]
        );
        assert_eq!(
            wrong(r#"{"instrument":null,"quantity":[1],"price":"1","owner":""}"#),
            ["instrument", "owner", "quantity"]
        );
        assert_eq!(
            wrong(r#"{"instrument":"a","quantity":"1000000000","price":"0.0000001"}"#),
            ["price", "quantity"]
        );
        assert_eq!(
            wrong(r#"{"instrument":"a\nb","quantity":"NaN","price":"1e400"}"#),
            ["instrument", "price", "quantity"]
        );
        assert_eq!(wrong("[1]"), ["non_field_errors"]);
        assert_eq!(wrong("{"), ["non_field_errors"]);
        let long = format!(r#"{{"instrument":"{}","quantity":1,"price":1}}"#, "x".repeat(33));
        assert_eq!(wrong(&long), ["instrument"]);
    }

    #[test]
    fn a_partial_draft_has_only_what_was_sent() {
        assert_eq!(check("{}", Completeness::Partial).unwrap(), Draft::default());
        let unknown = check(r#"{"id":9,"created":"x","nonsense":{}}"#, Completeness::Partial);
        assert_eq!(unknown.unwrap(), Draft::default());
    }

    #[test]
    fn forms_are_checked_alike() {
        let fields = Fields::from_form(b"owner=demo&instrument=A&quantity=-5&price=0");
        let draft = fields.check(Completeness::Whole).unwrap();
        assert_eq!((draft.owner.as_deref(), draft.quantity), (Some("demo"), Some(Decimal::from(-5))));
        assert_eq!(fields.text("quantity"), "-5");
    }
}
