//! Orders in the database: reads over one snapshot, writes that know the row before and after them.

use accounts::Db;
use chrono::Utc;
use sqlx::{Row, Sqlite, SqliteConnection, Transaction};

use crate::Order;
use crate::event::Written;
use crate::fields::Draft;
use crate::money::Total;
use crate::order::{COLUMNS, decimal, stored_decimal, stored_time, total_of};
use crate::query::{Arg, Page, Query};

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
    let mut tx = db.sqlite().begin().await?;
    let revision =
        sqlx::query("SELECT revision FROM orders_revision").fetch_one(&mut *tx).await?.try_get(0)?;
    let rows = match visible {
        Visible::All => {
            sqlx::query("SELECT id, quantity, price FROM orders_order").fetch_all(&mut *tx).await?
        }
        Visible::OwnedBy(owner) => {
            let query = sqlx::query("SELECT id, quantity, price FROM orders_order WHERE owner_id = $1");
            query.bind(owner).fetch_all(&mut *tx).await?
        }
    };
    let parts = rows
        .iter()
        .map(|row| Ok(total_of(row.try_get("id")?, decimal(row, "quantity")?, decimal(row, "price")?)))
        .collect::<Result<Vec<_>, sqlx::Error>>()?;
    Ok(Snapshot { sum: parts.into_iter().sum(), revision })
}

/// One order, if it is visible.
pub(crate) async fn find(db: &Db, id: i64, visible: Visible) -> Result<Order, StoreError> {
    let mut connection = db.sqlite().acquire().await?;
    find_on(&mut connection, id, visible).await
}

async fn find_on(connection: &mut SqliteConnection, id: i64, visible: Visible) -> Result<Order, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM orders_order o JOIN accounts_user u ON u.id = o.owner_id WHERE o.id = $1"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(query)).bind(id).fetch_optional(connection).await?;
    let order = row.as_ref().map(Order::from_row).transpose()?;
    order.filter(|order| visible.shows(order)).ok_or(StoreError::NotFound)
}

/// A page of what is visible and matches, with the counts of both.
pub(crate) async fn list(db: &Db, visible: Visible, query: &Query) -> Result<Page, StoreError> {
    let mut tx = db.sqlite().begin().await?;
    let (base, args) = Query::visible(visible);
    let total = count(&mut tx, &base, &args).await?;
    let (filter, args) = query.filter(visible);
    let filtered = if query.search.is_empty() { total } else { count(&mut tx, &filter, &args).await? };
    let sql = format!("SELECT {COLUMNS} {filter} {}", query.order_and_limit());
    let rows = bound(sql, &args).fetch_all(&mut *tx).await?;
    let orders = rows.iter().map(Order::from_row).collect::<Result<_, _>>()?;
    Ok(Page { total, filtered, orders })
}

async fn count(tx: &mut Transaction<'_, Sqlite>, filter: &str, args: &[Arg]) -> Result<i64, sqlx::Error> {
    bound(format!("SELECT count(*) {filter}"), args).fetch_one(&mut **tx).await?.try_get(0)
}

/// A query made of this module's own text, with what came from outside as arguments.
fn bound(sql: String, args: &[Arg]) -> sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments> {
    args.iter().fold(sqlx::query(sqlx::AssertSqlSafe(sql)), |query, arg| match arg {
        Arg::Number(number) => query.bind(*number),
        Arg::Text(text) => query.bind(text.clone()),
    })
}

/// The names of the users who may own orders, and of the one who owns this order, active or not.
pub(crate) async fn owners(db: &Db, order_id: Option<i64>) -> Result<Vec<String>, StoreError> {
    let query = sqlx::query(
        "SELECT username FROM accounts_user
         WHERE is_active OR id = (SELECT owner_id FROM orders_order WHERE id = $1)
         ORDER BY username LIMIT 1000",
    );
    let rows = query.bind(order_id).fetch_all(db.sqlite()).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// Writes in a transaction of its own and numbers the write.
pub(crate) async fn write(db: &Db, write: Write) -> Result<Written, StoreError> {
    let mut tx = db.begin_write().await?;
    let (before, after) = match write {
        Write::Create { owner_id, draft } => (None, Some(insert(&mut tx, owner_id, draft).await?)),
        Write::Update { id, seen_by, draft } => {
            let before = find_on(&mut tx, id, seen_by).await?;
            let after = update(&mut tx, &before, draft).await?;
            (Some(before), Some(after))
        }
        Write::Delete { id, seen_by } => {
            let before = find_on(&mut tx, id, seen_by).await?;
            sqlx::query("DELETE FROM orders_order WHERE id = $1").bind(id).execute(&mut *tx).await?;
            (Some(before), None)
        }
    };
    let numbered = "UPDATE orders_revision SET revision = revision + 1 RETURNING revision";
    let revision = sqlx::query(numbered).fetch_one(&mut *tx).await?.try_get(0)?;
    tx.commit().await?;
    Ok(Written { before, after, revision })
}

async fn insert(tx: &mut SqliteConnection, owner_id: i64, draft: Draft) -> Result<Order, StoreError> {
    let owner_id = match draft.owner {
        Some(username) => owner(tx, &username).await?,
        None => owner_id,
    };
    let now = stored_time(Utc::now());
    let insert = sqlx::query(
        "INSERT INTO orders_order (owner_id, instrument, quantity, price, created, updated)
         VALUES ($1, $2, $3, $4, $5, $5) RETURNING id",
    );
    let row = insert
        .bind(owner_id)
        .bind(draft.instrument.unwrap_or_default())
        .bind(stored_decimal(draft.quantity.unwrap_or_default()))
        .bind(stored_decimal(draft.price.unwrap_or_default()))
        .bind(now)
        .fetch_one(&mut *tx)
        .await?;
    find_on(tx, row.try_get(0)?, Visible::All).await
}

async fn update(tx: &mut SqliteConnection, before: &Order, draft: Draft) -> Result<Order, StoreError> {
    let owner_id = match draft.owner {
        // An owner who stays need not be active, so that what was read can be written back.
        Some(username) if username != before.owner => owner(tx, &username).await?,
        _ => before.owner_id,
    };
    let update = sqlx::query(
        "UPDATE orders_order SET owner_id = $1, instrument = $2, quantity = $3, price = $4, updated = $5 WHERE id = $6",
    );
    update
        .bind(owner_id)
        .bind(draft.instrument.as_ref().unwrap_or(&before.instrument))
        .bind(stored_decimal(draft.quantity.unwrap_or(before.quantity)))
        .bind(stored_decimal(draft.price.unwrap_or(before.price)))
        .bind(stored_time(Utc::now()))
        .bind(before.id)
        .execute(&mut *tx)
        .await?;
    find_on(tx, before.id, Visible::All).await
}

async fn owner(tx: &mut SqliteConnection, username: &str) -> Result<i64, StoreError> {
    let query = sqlx::query("SELECT id FROM accounts_user WHERE username = $1 AND is_active").bind(username);
    let row = query.fetch_optional(tx).await?.ok_or_else(|| StoreError::NoSuchOwner(username.to_owned()))?;
    Ok(row.try_get(0)?)
}
