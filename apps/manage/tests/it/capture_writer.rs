//! A program of its own that writes orders, and knows what the sums are after each of its transactions.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use accounts::{Db, Transaction, query};
use tokio::time::sleep;

use crate::capture_dice::Dice;

/// How long it rests at most.
const REST: Duration = Duration::from_millis(30);

/// How long it rests between last orders.
const BETWEEN_LAST: Duration = Duration::from_millis(200);

/// How many orders there are at most.
const ORDERS: usize = 40;

/// The instrument of what nobody may see, and of last orders.
pub(crate) const POISON: &str = "X";
pub(crate) const LAST: &str = "END";

/// What everybody knows of the writing.
#[derive(Default)]
pub(crate) struct Progress {
    /// The sums over all orders and over those of the one who sees their own, by the instrument that ends a transaction.
    sums: Mutex<HashMap<String, [i64; 2]>>,
    /// The last transaction that was committed, and the last one that somebody has heard of.
    pub(crate) committed: AtomicU64,
    pub(crate) heard: AtomicU64,
    /// How many starts were answered.
    pub(crate) started: AtomicU64,
    /// No more is to be written, but for last orders.
    pub(crate) is_over: AtomicBool,
    /// Everybody has heard of a last order.
    pub(crate) is_heard: AtomicBool,
}

impl Progress {
    /// The sums when this is the last change of a transaction.
    pub(crate) fn sums(&self, instrument: &str) -> Option<[i64; 2]> {
        self.sums.lock().unwrap().get(instrument).copied()
    }

    /// Transactions that were committed, and that nobody has heard of.
    pub(crate) fn unheard(&self) -> u64 {
        self.committed.load(Ordering::SeqCst).saturating_sub(self.heard.load(Ordering::SeqCst))
    }
}

/// An order as it is written.
#[derive(Debug, Clone, Copy)]
struct Written {
    owner: i64,
    quantity: i64,
    price: i64,
}

pub(crate) struct Writer {
    pub(crate) db: Db,
    /// The member of staff, and the one who sees their own orders.
    pub(crate) owners: [i64; 2],
    pub(crate) dice: Dice,
    pub(crate) progress: Arc<Progress>,
}

type Orders = BTreeMap<i64, Written>;

impl Writer {
    /// Writes until it is told that it is over, and then last orders, for who starts right then does not hear of the first.
    pub(crate) async fn run(mut self) {
        let mut orders = Orders::new();
        for nth in 1.. {
            if self.progress.is_over.load(Ordering::SeqCst) {
                break;
            }
            self.write(&mut orders, nth).await;
            sleep(self.dice.up_to(REST)).await;
        }
        while !self.progress.is_heard.load(Ordering::SeqCst) {
            self.write_last().await;
            sleep(BETWEEN_LAST).await;
        }
    }

    /// A last order, which is worth nothing, so that all sums stay.
    async fn write_last(&self) {
        let mut transaction = self.db.begin_write().await.unwrap();
        let order = Written { owner: self.owners[1], quantity: 1, price: 0 };
        insert(&mut transaction, LAST, order).await;
        transaction.commit().await.unwrap();
    }

    /// A transaction of up to four changes; every fifth is rolled back.
    async fn write(&mut self, orders: &mut Orders, nth: u64) {
        let commits = self.dice.below(5) > 0;
        let (sign, last) = if commits { ("w", "W") } else { (POISON, POISON) };
        let mut then = orders.clone();
        let mut transaction = self.db.begin_write().await.unwrap();
        for _ in 0..self.dice.below(4) {
            self.change(&mut transaction, &mut then, &format!("{sign}{nth}")).await;
        }
        let instrument = format!("{last}{nth}");
        let owner = self.owner();
        match self.pick(&then).filter(|_| then.len() >= ORDERS) {
            Some(id) => self.update(&mut transaction, &mut then, &instrument, (id, owner)).await,
            None => self.create(&mut transaction, &mut then, &instrument, owner).await,
        }
        if commits {
            self.note(&then, &instrument);
            transaction.commit().await.unwrap();
            self.progress.committed.store(nth, Ordering::SeqCst);
            *orders = then;
        }
    }

    async fn change(&mut self, transaction: &mut Transaction, orders: &mut Orders, instrument: &str) {
        let owner = self.owner();
        match (self.dice.below(4), self.pick(orders)) {
            (0, Some(id)) => {
                let delete = query("DELETE FROM orders_order WHERE id = $1").bind(id);
                assert_eq!(delete.execute(transaction).await.unwrap(), 1);
                orders.remove(&id);
            }
            (1 | 2, Some(id)) => self.update(transaction, orders, instrument, (id, owner)).await,
            _ => self.create(transaction, orders, instrument, owner).await,
        }
    }

    async fn create(
        &mut self,
        transaction: &mut Transaction,
        orders: &mut Orders,
        instrument: &str,
        owner: i64,
    ) {
        let order = self.order(owner);
        orders.insert(insert(transaction, instrument, order).await, order);
    }

    async fn update(
        &mut self,
        transaction: &mut Transaction,
        orders: &mut Orders,
        instrument: &str,
        (id, owner): (i64, i64),
    ) {
        let order = self.order(owner);
        let update = query(
            "UPDATE orders_order SET owner_id = $1, instrument = $2, quantity = $3, price = $4 WHERE id = $5",
        );
        let update = update.bind(owner).bind(instrument).bind(order.quantity).bind(order.price).bind(id);
        assert_eq!(update.execute(transaction).await.unwrap(), 1);
        orders.insert(id, order);
    }

    /// Writes down what the sums are when the change of this instrument is committed.
    fn note(&self, orders: &Orders, instrument: &str) {
        let total = |order: &Written| order.quantity * order.price;
        let all = orders.values().map(total).sum();
        let own = orders.values().filter(|order| order.owner == self.owners[1]).map(total).sum();
        self.progress.sums.lock().unwrap().insert(instrument.to_owned(), [all, own]);
    }

    fn order(&mut self, owner: i64) -> Written {
        Written { owner, quantity: self.dice.within(-1000, 1000), price: self.dice.within(0, 1000) }
    }

    fn owner(&mut self) -> i64 {
        if self.dice.below(2) == 0 { self.owners[0] } else { self.owners[1] }
    }

    fn pick(&mut self, orders: &Orders) -> Option<i64> {
        let length = u64::try_from(orders.len()).unwrap();
        let nth = self.dice.below(length.max(1));
        orders.keys().nth(usize::try_from(nth).unwrap()).copied()
    }
}

/// Writes a new order; its key.
async fn insert(transaction: &mut Transaction, instrument: &str, order: Written) -> i64 {
    let insert = query(
        "INSERT INTO orders_order (owner_id, instrument, quantity, price, created, updated)
         VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP) RETURNING id",
    );
    let insert = insert.bind(order.owner).bind(instrument).bind(order.quantity).bind(order.price);
    insert.fetch_one(transaction).await.unwrap().get("id").unwrap()
}
