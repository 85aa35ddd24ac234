//! A row as triggers write it down: texts by the names of columns, and how a type is made of them.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::db::read_time;

/// The values of a row as texts, or NULL, by the names of their columns.
///
/// Whole numbers and decimals are written out exactly, whether they are true is `true` or `false` on PostgreSQL and
/// `1` or `0` on SQLite, bytes are hexadecimal (with `\x` before them on PostgreSQL), times are what the database
/// shows in UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Columns(BTreeMap<String, Option<String>>);

/// A row that is not what its type says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column:?}: {reason}")]
pub struct ColumnError {
    /// The column that cannot be read; empty when it is about the row as a whole, such as a column that is missing.
    pub column: String,
    /// Why.
    pub reason: String,
}

impl Columns {
    /// The value of a column; `None` when it is NULL or there is none.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    /// Sets a column.
    pub fn set(&mut self, column: impl Into<String>, value: Option<String>) {
        self.0.insert(column.into(), value);
    }

    /// All columns with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(column, value)| (column.as_str(), value.as_deref()))
    }

    /// Makes a value of the row. Fields are read from the texts: numbers and decimals from what is written out,
    /// options from NULL, and lists and maps from JSON.
    ///
    /// # Errors
    /// [`ColumnError`], which names the first column that cannot be read.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ColumnError> {
        let mut current = None;
        T::deserialize(Row { columns: self.0.iter(), current: &mut current })
            .map_err(|error| ColumnError { column: current.unwrap_or_default(), reason: error.0 })
    }
}

impl FromIterator<(String, Option<String>)> for Columns {
    fn from_iter<I: IntoIterator<Item = (String, Option<String>)>>(columns: I) -> Self {
        Self(columns.into_iter().collect())
    }
}

/// Reads a time from its text on either database: of SQLite as Django writes it, in UTC, of PostgreSQL with its offset.
/// For fields of rows: `#[serde(deserialize_with = "capture::time")]`.
///
/// # Errors
/// When the text is no time.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    read_time(&text).map_err(|_| de::Error::custom("a time is due"))
}

/// A complaint of serde's.
#[derive(Debug)]
struct Complaint(String);

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Complaint {}

impl de::Error for Complaint {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self(reason.to_string())
    }
}

/// A row as serde reads it: a map, of which it says where it stands.
struct Row<'a> {
    columns: std::collections::btree_map::Iter<'a, String, Option<String>>,
    current: &'a mut Option<String>,
}

impl<'de> Deserializer<'de> for Row<'de> {
    type Error = Complaint;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        visitor.visit_map(Entries { row: self, value: None })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Entries<'a> {
    row: Row<'a>,
    value: Option<&'a Option<String>>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Complaint;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Complaint> {
        *self.row.current = None;
        let Some((column, value)) = self.row.columns.next() else { return Ok(None) };
        self.value = Some(value);
        let key = seed.deserialize(StrDeserializer::<Complaint>::new(column))?;
        *self.row.current = Some(column.clone());
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Complaint> {
        let value = self.value.take().and_then(Option::as_deref);
        seed.deserialize(Text(value))
    }
}

/// One value, NULL or a text that is read as whatever is wanted.
struct Text<'a>(Option<&'a str>);

impl<'a> Text<'a> {
    fn text(self) -> Result<&'a str, Complaint> {
        self.0.ok_or_else(|| de::Error::custom("there is no value"))
    }

    fn json<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        let value: serde_json::Value = serde_json::from_str(self.text()?).map_err(de::Error::custom)?;
        value.deserialize_any(visitor).map_err(de::Error::custom)
    }
}

/// Reads numbers from their texts.
macro_rules! numbers {
    ($($method:ident $visit:ident $what:literal),+ $(,)?) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
            match self.text()?.parse() {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(de::Error::custom(concat!($what, " is due"))),
            }
        }
    )+ };
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Complaint;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        match self.0 {
            Some(text) => visitor.visit_str(text),
            None => visitor.visit_unit(),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        match self.text()? {
            "true" | "1" => visitor.visit_bool(true),
            "false" | "0" => visitor.visit_bool(false),
            _ => Err(de::Error::custom("true or false is due")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        if self.0.is_none() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Complaint> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        self.json(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        self.json(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Complaint> {
        self.json(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Complaint> {
        StrDeserializer::<Complaint>::new(self.text()?).deserialize_enum(name, variants, visitor)
    }

    numbers! {
        deserialize_i8 visit_i8 "a whole number", deserialize_i16 visit_i16 "a whole number",
        deserialize_i32 visit_i32 "a whole number", deserialize_i64 visit_i64 "a whole number",
        deserialize_i128 visit_i128 "a whole number", deserialize_u8 visit_u8 "a whole number",
        deserialize_u16 visit_u16 "a whole number", deserialize_u32 visit_u32 "a whole number",
        deserialize_u64 visit_u64 "a whole number", deserialize_u128 visit_u128 "a whole number",
        deserialize_f32 visit_f32 "a number", deserialize_f64 visit_f64 "a number",
    }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::Decimal;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Thing {
        id: i64,
        name: String,
        price: Decimal,
        open: bool,
        parent: Option<i64>,
        tags: Vec<String>,
        ratio: f64,
        colour: Colour,
    }

    #[derive(Deserialize)]
    struct Timed {
        #[serde(deserialize_with = "time")]
        at: DateTime<Utc>,
    }

    #[test]
    fn times_of_both_databases_are_read() {
        let at = |text: &str| {
            Columns::from_iter([("at".to_owned(), Some(text.to_owned()))])
                .read::<Timed>()
                .map(|timed| timed.at)
        };
        let expected = DateTime::from_timestamp_micros(1_795_236_596_582_017).unwrap();
        assert_eq!(at("2026-11-21 04:49:56.582017").unwrap(), expected);
        assert_eq!(at("2026-11-21T05:49:56.582017+01:00").unwrap(), expected);
        assert_eq!(at("soon").unwrap_err().column, "at");
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Green,
    }

    fn columns(change: (&str, Option<&str>)) -> Columns {
        let mut columns: Columns = [
            ("id", "7"),
            ("name", "zoë"),
            ("price", "1.50"),
            ("open", "1"),
            ("tags", r#"["a","b"]"#),
            ("ratio", "0.25"),
            ("colour", "green"),
            ("unknown", "x"),
        ]
        .map(|(column, value)| (column.to_owned(), Some(value.to_owned())))
        .into_iter()
        .collect();
        columns.set("parent", None);
        columns.set(change.0, change.1.map(str::to_owned));
        columns
    }

    #[test]
    fn a_row_is_made_of_texts() {
        let expected = Thing {
            id: 7,
            name: "zoë".into(),
            price: "1.50".parse().unwrap(),
            open: true,
            parent: Some(3),
            tags: vec!["a".into(), "b".into()],
            ratio: 0.25,
            colour: Colour::Green,
        };
        assert_eq!(columns(("parent", Some("3"))).read::<Thing>().unwrap(), expected);
        assert_eq!(columns(("open", Some("false"))).read::<Thing>().unwrap().parent, None);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (column, value, hint) in [
            ("id", Some("x"), "whole number"),
            ("id", Some("9223372036854775808"), "whole number"),
            ("id", None, "no value"),
            ("price", Some("much"), ""),
            ("open", Some("yes"), "true or false"),
            ("tags", Some("["), ""),
            ("colour", Some("blue"), "variant"),
        ] {
            let error = columns((column, value)).read::<Thing>().unwrap_err();
            assert_eq!(error.column, column, "{error}");
            assert!(error.reason.contains(hint), "{error}");
        }
        let missing = Columns::default().read::<Thing>().unwrap_err();
        assert_eq!(missing.column, "");
        assert!(missing.reason.contains("missing field"), "{missing}");
    }
}
