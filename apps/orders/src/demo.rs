//! Demo data: two users and two thousand orders over instruments that exist.

use accounts::{AccountError, Accounts, Db, Dialect, NewUser, Target, query};
use chrono::{TimeDelta, Utc};
use rust_decimal::Decimal;

/// How many orders the demo has.
pub const DEMO_ORDERS: i64 = 2_000;

/// The users of the demo with their passwords. Nobody must be able to reach a server where they work from outside.
pub const DEMO_LOGINS: [(&str, &str); 2] = [("admin", "admin"), ("demo", "demo")];

/// Instruments, and roughly what one costs, in hundredths.
pub(crate) const INSTRUMENTS: [(&str, i64); 20] = [
    ("EURUSD", 108),
    ("GBPUSD", 127),
    ("USDJPY", 15_431),
    ("USDCHF", 88),
    ("AUDUSD", 65),
    ("XAUUSD", 268_450),
    ("XAGUSD", 3_112),
    ("BTCUSD", 9_745_000),
    ("ETHUSD", 331_200),
    ("AAPL", 22_952),
    ("MSFT", 41_700),
    ("NVDA", 14_195),
    ("AMZN", 19_738),
    ("SAP", 22_140),
    ("ASML", 64_210),
    ("NESN", 7_866),
    ("BRENT", 7_480),
    ("NATGAS", 313),
    ("DAX", 1_932_200),
    ("SPX", 596_934),
];

/// Why the demo data is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The users could not be made.
    #[error("the demo's users could not be made: {0}")]
    Accounts(#[from] AccountError),
    /// The orders could not be stored.
    #[error("the demo's orders could not be stored: {0}")]
    Database(#[from] sqlx::Error),
}

/// Makes the demo's users, unless they exist, and its orders, of which two thirds are `demo`'s, unless there are orders:
/// another process may load it at the same time. The same orders come out each time. Nothing is announced: nobody is connected when a demo is loaded.
///
/// # Errors
/// When the database fails.
pub async fn load_demo(db: &Db, accounts: &Accounts) -> Result<(), DemoError> {
    for (username, password) in DEMO_LOGINS {
        let is_staff = username == "admin";
        let user = NewUser { username, email: "", password, is_staff, is_superuser: is_staff };
        match accounts.create_user(user).await {
            Ok(_) | Err(AccountError::UsernameTaken(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut tx = db.begin_write().await?;
    if db.dialect() == Dialect::Postgres {
        // Of two processes one loads it, and the other waits.
        query("LOCK TABLE orders_order IN SHARE ROW EXCLUSIVE MODE").execute(&mut tx).await?;
    }
    if has_orders(&mut tx).await? {
        return Ok(());
    }
    let mut owners = Vec::new();
    for username in ["demo", "demo", "admin"] {
        let find = query("SELECT id FROM accounts_user WHERE username = $1").bind(username);
        owners.push(find.fetch_one(&mut tx).await?.get::<i64>("id")?);
    }
    let mut dice = Dice(42);
    let start = Utc::now() - TimeDelta::hours(8);
    for nth in 0..DEMO_ORDERS {
        let (instrument, hundredths) = dice.pick(&INSTRUMENTS);
        let price = Decimal::new(hundredths * dice.between(9_500, 10_500), 6);
        let made = start + TimeDelta::seconds(nth * 14);
        let insert = query(
            "INSERT INTO orders_order (owner_id, instrument, quantity, price, created, updated)
             VALUES ($1, $2, $3, $4, $5, $5)",
        );
        let insert = insert.bind(dice.pick(&owners)).bind(instrument);
        let insert = insert.bind(Decimal::new(dice.between(1, 500), 0) * Decimal::new(5, 1));
        insert.bind(price.round_dp(4)).bind(made).execute(&mut tx).await?;
    }
    Ok(tx.commit().await?)
}

/// Whether there are no orders yet.
///
/// # Errors
/// When the database fails.
pub async fn is_empty(db: &Db) -> Result<bool, sqlx::Error> {
    Ok(!has_orders(db).await?)
}

async fn has_orders(target: impl Into<Target<'_>> + Send) -> Result<bool, sqlx::Error> {
    Ok(query("SELECT 1 FROM orders_order LIMIT 1").fetch_optional(target).await?.is_some())
}

/// Numbers that look random and are the same each time: a linear congruential generator.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn between(&mut self, least: i64, most: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        least + i64::try_from((self.0 >> 33) % most.abs_diff(least - 1)).unwrap_or_default()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let last = i64::try_from(from.len()).unwrap_or(1) - 1;
        from[usize::try_from(self.between(0, last)).unwrap_or_default()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_stay_within_bounds_and_reach_both() {
        let mut dice = Dice(1);
        let thrown: Vec<_> = (0..1000).map(|_| dice.between(3, 7)).collect();
        assert_eq!((thrown.iter().min(), thrown.iter().max()), (Some(&3), Some(&7)));
        assert_eq!(Dice(1).between(3, 7), thrown[0]);
    }
}
