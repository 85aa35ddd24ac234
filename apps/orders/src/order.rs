//! The model: an order as the database holds it and as JSON shows it.

use chrono::{DateTime, NaiveDateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::money::Total;

/// How times stand in the database: as Django's SQLite backend writes them, in UTC.
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.6f";

/// The columns that [`Order::from_row`] reads, and where they come from.
pub(crate) const COLUMNS: &str =
    "o.id, o.owner_id, u.username, o.instrument, o.quantity, o.price, o.created, o.updated";

/// An order: so much of an instrument at a price, for its owner.
///
/// In JSON, decimals are text and exact, times are RFC 3339 in UTC, and the owner is a username.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The primary key.
    pub id: i64,
    /// The username of the owner.
    pub owner: String,
    /// The primary key of the owner, which clients have no use for.
    #[serde(skip)]
    pub owner_id: i64,
    /// What is traded, such as `EURUSD`; at most 32 characters.
    pub instrument: String,
    /// How much; negative when sold.
    pub quantity: Decimal,
    /// At what price each; not negative.
    pub price: Decimal,
    /// When the order was made.
    pub created: DateTime<Utc>,
    /// When it last changed.
    pub updated: DateTime<Utc>,
}

impl Order {
    pub(crate) fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            owner: row.try_get("username")?,
            owner_id: row.try_get("owner_id")?,
            instrument: row.try_get("instrument")?,
            quantity: decimal(row, "quantity")?,
            price: decimal(row, "price")?,
            created: time(row, "created")?,
            updated: time(row, "updated")?,
        })
    }

    /// Quantity times price: the order's part of the sum.
    pub(crate) fn total(&self) -> Total {
        total_of(self.id, self.quantity, self.price)
    }
}

/// An order's part of the sum. What is out of bounds counts as nothing, and is logged, since one row that a foreign
/// program stored must not make the whole sum unavailable.
pub(crate) fn total_of(id: i64, quantity: Decimal, price: Decimal) -> Total {
    Total::of(quantity, price).unwrap_or_else(|| {
        tracing::error!(
            id,
            "an order is out of bounds and not part of the sum: correct its quantity and price"
        );
        Total::default()
    })
}

/// Reads a decimal that is stored as text.
pub(crate) fn decimal(row: &SqliteRow, column: &str) -> Result<Decimal, sqlx::Error> {
    let text: String = row.try_get(column)?;
    Decimal::from_str_exact(&text).map_err(|error| undecodable(column, error))
}

fn time(row: &SqliteRow, column: &str) -> Result<DateTime<Utc>, sqlx::Error> {
    let text: String = row.try_get(column)?;
    // Django leaves a fraction of zero out.
    let time = NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f");
    time.map(|time| time.and_utc()).map_err(|error| undecodable(column, error))
}

fn undecodable(column: &str, error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) }
}

/// How the database writes a time.
pub(crate) fn stored_time(time: DateTime<Utc>) -> String {
    time.format(TIME_FORMAT).to_string()
}

/// How the database writes a decimal: without trailing zeros.
pub(crate) fn stored_decimal(decimal: Decimal) -> String {
    decimal.normalize().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_shows_exact_text_and_no_keys_of_users() {
        let order = Order {
            id: 7,
            owner: "demo".into(),
            owner_id: 3,
            instrument: "EURUSD".into(),
            quantity: "-10".parse().unwrap(),
            price: "1.0842".parse().unwrap(),
            created: DateTime::UNIX_EPOCH,
            updated: DateTime::UNIX_EPOCH,
        };
        let json = serde_json::to_string(&order).unwrap();
        let expected = r#"{"id":7,"owner":"demo","instrument":"EURUSD","quantity":"-10","price":"1.0842","created":"1970-01-01T00:00:00Z","updated":"1970-01-01T00:00:00Z"}"#;
        assert_eq!(json, expected);
        assert_eq!(order.total().to_string(), "-10.842");
    }

    #[test]
    fn times_are_stored_as_django_stores_them() {
        let time = DateTime::from_timestamp_micros(1_795_236_596_582_017).unwrap();
        assert_eq!(stored_time(time), "2026-11-21 04:49:56.582017");
    }

    #[test]
    fn decimals_are_stored_without_trailing_zeros() {
        assert_eq!(stored_decimal("100.500".parse().unwrap()), "100.5");
        assert_eq!(stored_decimal("1000".parse().unwrap()), "1000");
    }
}
