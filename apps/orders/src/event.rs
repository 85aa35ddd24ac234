//! What a committed write tells those who see the order.

use routing::consumers::binding::Action;
use serde::{Deserialize, Serialize};

use crate::Order;

/// A committed write, as it goes to everyone who sees the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "order.changed")]
pub struct OrderChanged {
    /// What happened, as its receiver sees it.
    pub action: Action,
    /// The order after the write; when it is gone, as it was last.
    pub order: Order,
    /// What the write adds to the receiver's sum, as decimal text.
    pub delta: String,
    /// When the write was read after its commit, in microseconds since 1970, and larger than that of every write that
    /// was told before. A sum that does not have the write yet has a smaller one.
    pub revision: i64,
    /// When it was sent, in microseconds since 1970.
    pub sent_at: i64,
    /// Tells this write from every other one. What is told twice, as it may be after a crash, has the same key.
    pub key: String,
}

impl OrderChanged {
    /// The event of a write by the order before and after it, as its receiver sees them.
    pub(crate) fn new(
        action: Action,
        before: Option<Order>,
        after: Option<Order>,
        key: &str,
        revision: i64,
    ) -> Option<Self> {
        let total = |order: &Option<Order>| order.as_ref().map(Order::total).unwrap_or_default();
        let delta = (total(&after) - total(&before)).to_string();
        let order = after.or(before)?;
        Some(Self { action, order, delta, revision, sent_at: revision, key: key.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn order(quantity: i64) -> Option<Order> {
        Some(Order {
            id: 7,
            owner: "ana".to_owned(),
            owner_id: 1,
            instrument: "EURUSD".into(),
            quantity: quantity.into(),
            price: 2.into(),
            created: DateTime::UNIX_EPOCH,
            updated: DateTime::UNIX_EPOCH,
        })
    }

    #[test]
    fn the_delta_is_what_a_sum_over_what_is_seen_gains() {
        let delta =
            |before, after| OrderChanged::new(Action::Update, before, after, "k", 1).map(|event| event.delta);
        assert_eq!(delta(None, order(10)).as_deref(), Some("20"));
        assert_eq!(delta(order(10), order(7)).as_deref(), Some("-6"));
        assert_eq!(delta(order(10), None).as_deref(), Some("-20"));
        assert_eq!(delta(None, None), None);
    }
}
