//! Orders in the database: reads over one snapshot, writes that know the row before and after them.

use accounts::{Arg, Db, Dialect, Target, Transaction, query};
use chrono::Utc;

use crate::Order;
use crate::fields::Draft;
use crate::money::Total;
use crate::order::{COLUMNS, total_in};
use crate::query::{Page, Query};

/// Whose orders somebody sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visible {
    /// Staff see all.
    All,
    /// Others see their own.
    OwnedBy(i64),
}

impl Visible {
    pub(crate) fn to(user: &dyn routing::User) -> Self {
        if user.is_staff() { Self::All } else { Self::OwnedBy(user.id()) }
    }

    fn shows(self, order: &Order) -> bool {
        match self {
            Self::All => true,
            Self::OwnedBy(owner) => order.owner_id == owner,
        }
    }
}

/// A write that was asked for.
#[derive(Debug)]
pub(crate) enum Write {
    Create { owner_id: i64, draft: Draft },
    Update { id: i64, seen_by: Visible, draft: Draft },
    Delete { id: i64, seen_by: Visible },
}

/// Why nothing was written, or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("there is no such order")]
    NotFound,
    #[error("there is no active user {0:?}")]
    NoSuchOwner(String),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// The sum over what somebody sees, in a transaction.
pub(crate) async fn sum(tx: &mut Transaction, visible: Visible) -> Result<Total, StoreError> {
    let totals = match visible {
        Visible::All => query("SELECT id, quantity, price FROM orders_order"),
        Visible::OwnedBy(owner) => {
            query("SELECT id, quantity, price FROM orders_order WHERE owner_id = $1").bind(owner)
        }
    };
    let rows = totals.fetch_all(tx).await?;
    let parts = rows.iter().map(total_in).collect::<Result<Vec<_>, _>>()?;
    Ok(parts.into_iter().sum())
}

/// One order, if it is visible.
pub(crate) async fn find(db: &Db, id: i64, visible: Visible) -> Result<Order, StoreError> {
    find_on(db, id, visible, "").await
}

/// One order that nobody else changes until the transaction ends.
async fn lock(tx: &mut Transaction, id: i64, visible: Visible) -> Result<Order, StoreError> {
    let lock = match tx.dialect() {
        // A transaction that may write has the whole file.
        Dialect::Sqlite => "",
        Dialect::Postgres => "FOR UPDATE OF o",
    };
    find_on(tx, id, visible, lock).await
}

async fn find_on(
    target: impl Into<Target<'_>> + Send,
    id: i64,
    visible: Visible,
    lock: &str,
) -> Result<Order, StoreError> {
    let find = format!(
        "SELECT {COLUMNS} FROM orders_order o JOIN accounts_user u ON u.id = o.owner_id WHERE o.id = $1 {lock}"
    );
    let row = query(sqlx::AssertSqlSafe(find)).bind(id).fetch_optional(target).await?;
    let order = row.as_ref().map(Order::from_row).transpose()?;
    order.filter(|order| visible.shows(order)).ok_or(StoreError::NotFound)
}

/// A page of what is visible and matches, with the counts of both.
pub(crate) async fn list(db: &Db, visible: Visible, asked: &Query) -> Result<Page, StoreError> {
    let mut tx = db.begin_read().await?;
    let (base, args) = Query::visible(visible);
    let total = count(&mut tx, &base, &args).await?;
    let (filter, args) = asked.filter(visible, db.dialect());
    let filtered = if asked.search.is_empty() { total } else { count(&mut tx, &filter, &args).await? };
    let sql = format!("SELECT {COLUMNS} {filter} {}", asked.order_and_limit(db.dialect()));
    let rows = bound(sql, &args).fetch_all(&mut tx).await?;
    let orders = rows.iter().filter_map(Order::if_readable).collect();
    Ok(Page { total, filtered, orders })
}

async fn count(tx: &mut Transaction, filter: &str, args: &[Arg]) -> Result<i64, sqlx::Error> {
    bound(format!("SELECT count(*) AS n {filter}"), args).fetch_one(tx).await?.get("n")
}

/// A query made of this module's own text, with what came from outside as arguments.
fn bound(sql: String, args: &[Arg]) -> accounts::Query {
    args.iter().cloned().fold(query(sqlx::AssertSqlSafe(sql)), accounts::Query::bind)
}

/// The names of the users who may own orders, and of the one who owns this order, active or not.
pub(crate) async fn owners(db: &Db, order_id: Option<i64>) -> Result<Vec<String>, StoreError> {
    let owners = query(
        "SELECT username FROM accounts_user
         WHERE is_active OR id = (SELECT owner_id FROM orders_order WHERE id = $1)
         ORDER BY username LIMIT 1000",
    );
    let rows = owners.bind(order_id).fetch_all(db).await?;
    Ok(rows.iter().map(|row| row.get("username")).collect::<Result<_, _>>()?)
}

/// Writes in a transaction of its own; the order as it is then, or was last.
pub(crate) async fn write(db: &Db, write: Write) -> Result<Order, StoreError> {
    let mut tx = db.begin_write().await?;
    let order = match write {
        Write::Create { owner_id, draft } => insert(&mut tx, owner_id, draft).await?,
        Write::Update { id, seen_by, draft } => {
            let before = lock(&mut tx, id, seen_by).await?;
            update(&mut tx, &before, draft).await?
        }
        Write::Delete { id, seen_by } => {
            let before = lock(&mut tx, id, seen_by).await?;
            query("DELETE FROM orders_order WHERE id = $1").bind(id).execute(&mut tx).await?;
            before
        }
    };
    tx.commit().await?;
    Ok(order)
}

async fn insert(tx: &mut Transaction, owner_id: i64, draft: Draft) -> Result<Order, StoreError> {
    let owner_id = match draft.owner {
        Some(username) => owner(tx, &username).await?,
        None => owner_id,
    };
    let now = Utc::now();
    let insert = query(
        "INSERT INTO orders_order (owner_id, instrument, quantity, price, created, updated)
         VALUES ($1, $2, $3, $4, $5, $5) RETURNING id",
    );
    let row = insert
        .bind(owner_id)
        .bind(draft.instrument.unwrap_or_default())
        .bind(draft.quantity.unwrap_or_default())
        .bind(draft.price.unwrap_or_default())
        .bind(now)
        .fetch_one(&mut *tx)
        .await?;
    find_on(tx, row.get("id")?, Visible::All, "").await
}

async fn update(tx: &mut Transaction, before: &Order, draft: Draft) -> Result<Order, StoreError> {
    let owner_id = match draft.owner {
        // An owner who stays need not be active, so that what was read can be written back.
        Some(username) if username != before.owner => owner(tx, &username).await?,
        _ => before.owner_id,
    };
    let update = query(
        "UPDATE orders_order SET owner_id = $1, instrument = $2, quantity = $3, price = $4, updated = $5 WHERE id = $6",
    );
    update
        .bind(owner_id)
        .bind(draft.instrument.as_deref().unwrap_or(&before.instrument))
        .bind(draft.quantity.unwrap_or(before.quantity))
        .bind(draft.price.unwrap_or(before.price))
        .bind(Utc::now())
        .bind(before.id)
        .execute(&mut *tx)
        .await?;
    find_on(tx, before.id, Visible::All, "").await
}

async fn owner(tx: &mut Transaction, username: &str) -> Result<i64, StoreError> {
    let find = query("SELECT id FROM accounts_user WHERE username = $1 AND is_active").bind(username);
    let row = find.fetch_optional(tx).await?.ok_or_else(|| StoreError::NoSuchOwner(username.to_owned()))?;
    Ok(row.get("id")?)
}

#[cfg(test)]
mod tests {
    use accounts::testing::TestDatabase;
    use accounts::{Accounts, NewUser, Settings};
    use routing::User;
    use rust_decimal::Decimal;

    use super::*;

    const WRITERS: i64 = 8;
    const WRITES: i64 = 10;

    fn priced(price: i64) -> Draft {
        Draft {
            instrument: Some("A".to_owned()),
            quantity: Some(1.into()),
            price: Some(price.into()),
            ..Draft::default()
        }
    }

    /// Adds one to an order's quantity and then to its price, as one who read it before would.
    async fn add(db: Db, id: i64) {
        for _ in 0..WRITES {
            let mut tx = db.begin_write().await.unwrap();
            let before = lock(&mut tx, id, Visible::All).await.unwrap();
            let draft = Draft { quantity: Some(before.quantity + Decimal::ONE), ..Draft::default() };
            update(&mut tx, &before, draft).await.unwrap();
            tx.commit().await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_writers_each_sees_what_the_one_before_it_wrote() {
        let database = TestDatabase::new();
        let db = database.open().await;
        accounts::migrate(&db, &[accounts::MIGRATIONS, crate::MIGRATIONS]).await.unwrap();
        let accounts = Accounts::new(db.clone(), Settings::default()).unwrap();
        let ana =
            NewUser { username: "ana", email: "", password: "pw", is_staff: false, is_superuser: false };
        let owner_id = accounts.create_user(ana).await.unwrap().id();
        let id = write(&db, Write::Create { owner_id, draft: priced(1) }).await.unwrap().id;
        let writers = (0..WRITERS).map(|_| tokio::spawn(add(db.clone(), id)));
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        assert_eq!(find(&db, id, Visible::All).await.unwrap().quantity, (1 + WRITERS * WRITES).into());
    }
}
