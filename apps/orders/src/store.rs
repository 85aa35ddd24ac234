//! Orders in the database: reads over one snapshot, writes that know the row before and after them.

use accounts::{Arg, Db, Target, Transaction, query};
use chrono::Utc;

use crate::Order;
use crate::event::Written;
use crate::fields::Draft;
use crate::money::Total;
use crate::order::{COLUMNS, total_of};
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

/// The sum over what somebody sees, and up to which write it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) sum: Total,
    pub(crate) revision: i64,
}

/// Reads the sum and the revision of one moment.
pub(crate) async fn snapshot(db: &Db, visible: Visible) -> Result<Snapshot, StoreError> {
    let mut tx = db.begin_read().await?;
    let revision = query("SELECT revision FROM orders_revision").fetch_one(&mut tx).await?.get("revision")?;
    let totals = match visible {
        Visible::All => query("SELECT id, quantity, price FROM orders_order"),
        Visible::OwnedBy(owner) => {
            query("SELECT id, quantity, price FROM orders_order WHERE owner_id = $1").bind(owner)
        }
    };
    let rows = totals.fetch_all(&mut tx).await?;
    let parts = rows
        .iter()
        .map(|row| Ok(total_of(row.get("id")?, row.decimal("quantity")?, row.decimal("price")?)))
        .collect::<Result<Vec<_>, sqlx::Error>>()?;
    Ok(Snapshot { sum: parts.into_iter().sum(), revision })
}

/// One order, if it is visible.
pub(crate) async fn find(db: &Db, id: i64, visible: Visible) -> Result<Order, StoreError> {
    find_on(db, id, visible).await
}

async fn find_on(
    target: impl Into<Target<'_>> + Send,
    id: i64,
    visible: Visible,
) -> Result<Order, StoreError> {
    let find = format!(
        "SELECT {COLUMNS} FROM orders_order o JOIN accounts_user u ON u.id = o.owner_id WHERE o.id = $1"
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
    let orders = rows.iter().map(Order::from_row).collect::<Result<_, _>>()?;
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

/// Writes in a transaction of its own and numbers the write.
pub(crate) async fn write(db: &Db, write: Write) -> Result<Written, StoreError> {
    let mut tx = db.begin_write().await?;
    let revision = number(&mut tx).await?;
    let (before, after) = match write {
        Write::Create { owner_id, draft } => (None, Some(insert(&mut tx, owner_id, draft).await?)),
        Write::Update { id, seen_by, draft } => {
            let before = find_on(&mut tx, id, seen_by).await?;
            let after = update(&mut tx, &before, draft).await?;
            (Some(before), Some(after))
        }
        Write::Delete { id, seen_by } => {
            let before = find_on(&mut tx, id, seen_by).await?;
            query("DELETE FROM orders_order WHERE id = $1").bind(id).execute(&mut tx).await?;
            (Some(before), None)
        }
    };
    tx.commit().await?;
    Ok(Written { before, after, revision })
}

/// Numbers the write that a transaction makes. It comes first: it locks the one row of its table, so that of several
/// writers, in whatever process, each sees what the one before it has committed.
pub(crate) async fn number(tx: &mut Transaction) -> Result<i64, sqlx::Error> {
    let number = query("UPDATE orders_revision SET revision = revision + 1 RETURNING revision");
    number.fetch_one(tx).await?.get("revision")
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
    find_on(tx, row.get("id")?, Visible::All).await
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
    find_on(tx, before.id, Visible::All).await
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

    /// Gives an order one price after the other, all different from those of other writers.
    async fn reprice(db: Db, id: i64, writer: i64) -> Vec<Written> {
        let mut written = Vec::new();
        for nth in 0..WRITES {
            let draft = priced(writer * WRITES + nth);
            written.push(write(&db, Write::Update { id, seen_by: Visible::All, draft }).await.unwrap());
        }
        written
    }

    /// Writes without the lock of [`Orders`](crate::Orders), as several processes do.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_writers_each_sees_what_the_one_before_it_wrote() {
        let database = TestDatabase::new();
        let db = database.open().await;
        accounts::migrate(&db, &[accounts::MIGRATIONS, crate::MIGRATIONS]).await.unwrap();
        let accounts = Accounts::new(db.clone(), Settings::default()).unwrap();
        let ana =
            NewUser { username: "ana", email: "", password: "pw", is_staff: false, is_superuser: false };
        let owner_id = accounts.create_user(ana).await.unwrap().id();
        let first = write(&db, Write::Create { owner_id, draft: priced(-1) }).await.unwrap();
        let id = first.after.as_ref().unwrap().id;

        let writers = (0..WRITERS).map(|writer| tokio::spawn(reprice(db.clone(), id, writer)));
        let mut all = vec![first];
        for writer in writers.collect::<Vec<_>>() {
            all.extend(writer.await.unwrap());
        }
        all.sort_by_key(|written| written.revision);
        assert_eq!(all.len(), usize::try_from(1 + WRITERS * WRITES).unwrap());
        for (nth, pair) in all.windows(2).enumerate() {
            assert_eq!(pair[0].revision + 1, pair[1].revision);
            assert_eq!(pair[0].after, pair[1].before, "write {nth}");
        }
    }
}
