//! What the rows of orders mean to whom: the owner hears of an order, and so do staff.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use accounts::{Db, query};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use routing::Identity;
use routing::consumers::binding::{Action, Binding, Change};
use routing::consumers::{Denial, GroupName, Result, Scope, StatusCode, capture};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Order;
use crate::event::OrderChanged;

/// How long the name of an owner is believed.
const NAMES_LAST: Duration = Duration::from_secs(60);

/// How many names are kept.
const NAMES_LIMIT: usize = 10_000;

/// The binding of the table `orders_order`, for those who watch: what is written comes by REST.
pub(crate) struct OrdersBinding {
    db: Db,
    names: Mutex<HashMap<i64, (String, Instant)>>,
}

/// A row of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OrderRow {
    id: i64,
    owner_id: i64,
    instrument: String,
    quantity: Decimal,
    price: Decimal,
    #[serde(deserialize_with = "capture::time")]
    created: DateTime<Utc>,
    #[serde(deserialize_with = "capture::time")]
    updated: DateTime<Utc>,
}

impl OrderRow {
    fn order(&self, owner: String) -> Order {
        Order {
            id: self.id,
            owner,
            owner_id: self.owner_id,
            instrument: self.instrument.clone(),
            quantity: self.quantity.normalize(),
            price: self.price.normalize(),
            created: self.created,
            updated: self.updated,
        }
    }
}

impl Binding for OrdersBinding {
    type Row = OrderRow;
    const MODEL: &'static str = "orders.order";
    const TABLE: &'static str = "orders_order";
    const FIELDS: &'static [&'static str] = &[];

    fn groups(&self, row: &OrderRow) -> Vec<GroupName> {
        vec![staff_group(), owner_group(row.owner_id)]
    }

    fn subscriptions(&self, scope: &Scope) -> Result<Vec<GroupName>> {
        let user = scope.extension::<Identity>().and_then(|identity| identity.user.as_ref());
        let user = user.ok_or_else(|| Denial::new(StatusCode::FORBIDDEN, "log in first"))?;
        Ok(vec![if user.is_staff() { staff_group() } else { owner_group(user.id()) }])
    }

    async fn permits(&self, _: &Scope, _: Action, _: Option<&OrderRow>) -> Result<bool> {
        Ok(false)
    }

    async fn payload(&self, change: &Change<'_, OrderRow>) -> Result<Option<Value>> {
        let (before, after) = (self.order(change.before).await?, self.order(change.after).await?);
        let event = OrderChanged::new(change.action, before, after, change.key, change.revision);
        Ok(event.map(serde_json::to_value).transpose()?)
    }
}

impl OrdersBinding {
    pub(crate) fn new(db: Db) -> Self {
        Self { db, names: Mutex::default() }
    }

    async fn order(&self, row: Option<&OrderRow>) -> Result<Option<Order>, sqlx::Error> {
        match row {
            Some(row) => Ok(Some(row.order(self.name(row.owner_id).await?))),
            None => Ok(None),
        }
    }

    /// The name of a user; empty when the user is gone, and the order with him.
    async fn name(&self, id: i64) -> Result<String, sqlx::Error> {
        let known = self.names.lock().get(&id).cloned();
        if let Some((name, at)) = &known
            && at.elapsed() < NAMES_LAST
        {
            return Ok(name.clone());
        }
        let find = query("SELECT username FROM accounts_user WHERE id = $1").bind(id);
        let name = match find.fetch_optional(&self.db).await? {
            Some(row) => row.get("username")?,
            None => known.map(|(name, _)| name).unwrap_or_default(),
        };
        let mut names = self.names.lock();
        if names.len() >= NAMES_LIMIT {
            names.clear();
        }
        names.insert(id, (name, Instant::now()));
        Ok(names[&id].0.clone())
    }
}

/// What staff hear: every order's changes.
fn staff_group() -> GroupName {
    GroupName::new("orders.staff").expect("the name is within the grammar")
}

/// What one user hears: the changes of orders that are theirs.
fn owner_group(owner_id: i64) -> GroupName {
    GroupName::new(format!("orders.owner.{owner_id}")).expect("a number is within the grammar")
}
