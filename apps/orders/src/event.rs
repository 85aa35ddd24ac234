//! What a committed write tells whom.

use routing::consumers::{Frame, GroupName};
use serde::{Deserialize, Serialize};

use crate::Order;

/// What happened to an order, as its receiver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is there now.
    Create,
    /// It has other values now.
    Update,
    /// It is gone.
    Delete,
}

/// A committed write, on its way to everyone who sees the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "order.changed")]
pub struct OrderChanged {
    /// What happened.
    pub action: Action,
    /// The order after the write; when it is gone, as it was last.
    pub order: Order,
    /// What the write adds to the receiver's sum, as decimal text.
    pub delta: String,
    /// The number of the write; a snapshot says up to which number it has counted.
    pub revision: i64,
    /// When it was sent, in microseconds since 1970.
    pub sent_at: i64,
}

impl OrderChanged {
    /// The frame that clients get.
    pub(crate) fn frame(&self) -> Option<Frame> {
        Frame::json(self).ok()
    }
}

/// What staff hear: every order's changes.
pub(crate) fn staff_group() -> GroupName {
    GroupName::new("orders.staff").expect("the name is within the grammar")
}

/// What one user hears: the changes of orders that are theirs.
pub(crate) fn owner_group(owner_id: i64) -> GroupName {
    GroupName::new(format!("orders.owner.{owner_id}")).expect("a number is within the grammar")
}

/// A write with the row before and after it.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) before: Option<Order>,
    pub(crate) after: Option<Order>,
    pub(crate) revision: i64,
}

impl Written {
    /// The events of the write and who gets each. A change of owner is a delete for the one and a create for the
    /// other, but one update for staff, who see both.
    pub(crate) fn events(&self, sent_at: i64) -> Vec<(GroupName, OrderChanged)> {
        let mut events = Vec::with_capacity(3);
        let mut tell = |group, before: Option<&Order>, after: Option<&Order>| {
            let (action, order) = match (before, after) {
                (None, Some(order)) => (Action::Create, order),
                (Some(_), Some(order)) => (Action::Update, order),
                (Some(order), None) => (Action::Delete, order),
                (None, None) => return,
            };
            let total = |order: Option<&Order>| order.map(Order::total).unwrap_or_default();
            let delta = (total(after) - total(before)).to_string();
            events.push((
                group,
                OrderChanged { action, order: order.clone(), delta, revision: self.revision, sent_at },
            ));
        };
        let (before, after) = (self.before.as_ref(), self.after.as_ref());
        tell(staff_group(), before, after);
        match (before, after) {
            (Some(old), Some(new)) if old.owner_id != new.owner_id => {
                tell(owner_group(old.owner_id), before, None);
                tell(owner_group(new.owner_id), None, after);
            }
            _ => {
                let owner = after.or(before).map(|order| owner_group(order.owner_id));
                owner.into_iter().for_each(|group| tell(group, before, after));
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn order(owner_id: i64, quantity: i64) -> Option<Order> {
        Some(Order {
            id: 7,
            owner: format!("user{owner_id}"),
            owner_id,
            instrument: "EURUSD".into(),
            quantity: quantity.into(),
            price: 2.into(),
            created: DateTime::UNIX_EPOCH,
            updated: DateTime::UNIX_EPOCH,
        })
    }

    /// Group, action, owner and delta of each event.
    fn told(before: Option<Order>, after: Option<Order>) -> Vec<String> {
        let written = Written { before, after, revision: 1 };
        let line = |(group, event): (GroupName, OrderChanged)| {
            format!("{group} {:?} {} {}", event.action, event.order.owner, event.delta)
        };
        written.events(0).into_iter().map(line).collect()
    }

    #[test]
    fn everyone_who_sees_the_order_is_told_once() {
        assert_eq!(
            told(None, order(1, 10)),
            ["orders.staff Create user1 20", "orders.owner.1 Create user1 20"]
        );
        assert_eq!(
            told(order(1, 10), order(1, 7)),
            ["orders.staff Update user1 -6", "orders.owner.1 Update user1 -6"]
        );
        assert_eq!(
            told(order(1, 10), None),
            ["orders.staff Delete user1 -20", "orders.owner.1 Delete user1 -20"]
        );
    }

    #[test]
    fn a_change_of_owner_is_a_delete_for_the_old_and_a_create_for_the_new() {
        assert_eq!(
            told(order(1, 10), order(2, 11)),
            [
                "orders.staff Update user2 2",
                "orders.owner.1 Delete user1 -20",
                "orders.owner.2 Create user2 22"
            ]
        );
    }
}
