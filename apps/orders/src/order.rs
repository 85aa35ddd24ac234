//! The model: an order as the database holds it and as JSON shows it.

use accounts::Row;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::money::Total;

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
    pub(crate) fn from_row(row: &Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.get("id")?,
            owner: row.get("username")?,
            owner_id: row.get("owner_id")?,
            instrument: row.get("instrument")?,
            quantity: row.decimal("quantity")?,
            price: row.decimal("price")?,
            created: row.time("created")?,
            updated: row.time("updated")?,
        })
    }

    /// The same for a row of a list, which can do without one that a foreign program has spoilt: it is logged.
    pub(crate) fn if_readable(row: &Row) -> Option<Self> {
        let order = Self::from_row(row);
        order
            .inspect_err(|cause| {
                let id = row.get::<i64>("id").ok();
                tracing::error!(id, %cause, "an order cannot be read and is left out of a list: correct it");
            })
            .ok()
    }

    /// Quantity times price: the order's part of the sum.
    pub(crate) fn total(&self) -> Total {
        total_of(self.id, self.quantity, self.price)
    }
}

/// The part of the sum of a row with an `id`, a `quantity` and a `price`. What cannot be read counts as nothing, and is
/// logged, since one row that a foreign program stored must not make the whole sum unavailable.
pub(crate) fn total_in(row: &Row) -> Result<Total, sqlx::Error> {
    let id = row.get("id")?;
    let total =
        row.decimal("quantity").and_then(|quantity| Ok(total_of(id, quantity, row.decimal("price")?)));
    Ok(total.unwrap_or_else(|cause| {
        tracing::error!(id, %cause, "an order cannot be read and is not part of the sum: correct it");
        Total::default()
    }))
}

/// An order's part of the sum. What is out of bounds counts as nothing as well.
fn total_of(id: i64, quantity: Decimal, price: Decimal) -> Total {
    Total::of(quantity, price).unwrap_or_else(|| {
        tracing::error!(
            id,
            "an order is out of bounds and not part of the sum: correct its quantity and price"
        );
        Total::default()
    })
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
}
