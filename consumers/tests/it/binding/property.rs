//! Snapshot and changes together are the table, whenever a client joins and whatever is written meanwhile.

use consumers::db::{Db, query};
use tokio::task::JoinSet;

use super::{Client, Fixture};

const WRITERS: u64 = 6;
const TRANSACTIONS: usize = 40;
const CLIENTS: usize = 8;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn number(&mut self, limit: u64) -> i64 {
        i64::try_from(self.below(limit)).unwrap()
    }
}

/// Writes transactions of one to four statements, a third of which are rolled back.
async fn write(db: Db, seed: u64) {
    let mut dice = Dice(seed);
    for nth in 0..TRANSACTIONS {
        let mut transaction = db.begin_write().await.unwrap();
        for step in 0..=dice.below(3) {
            let id = 1 + dice.number(30);
            let statement = match dice.below(4) {
                0 => query("DELETE FROM app_thing WHERE id = $1").bind(id),
                1 => query("UPDATE app_thing SET room = $2, also = $3 WHERE id = $1")
                    .bind(id)
                    .bind(dice.number(3))
                    .bind((dice.below(2) == 0).then(|| dice.number(3))),
                2 => query("UPDATE app_thing SET amount = amount + $2 WHERE id = $1")
                    .bind(id)
                    .bind(dice.number(3)),
                _ => query(
                    "INSERT INTO app_thing (id, name, room) VALUES ($1, $2, $3)
                     ON CONFLICT (id) DO UPDATE SET amount = app_thing.amount + 1",
                )
                .bind(id)
                .bind(format!("{seed}-{nth}-{step}"))
                .bind(dice.number(3)),
            };
            if statement.execute(&mut transaction).await.is_err() {
                // Two that wait for each other's rows: PostgreSQL ends one of them.
                break;
            }
            tokio::task::yield_now().await;
        }
        if dice.below(3) > 0 {
            // A transaction that has failed is rolled back instead.
            let _ = transaction.commit().await;
        }
    }
}

/// Joins after a while, and takes changes until the room is marked as done.
async fn follow(mut client: Client, after: usize) -> Client {
    for _ in 0..after * 300 {
        tokio::task::yield_now().await;
    }
    client.subscribe().await;
    while !client.view.contains_key(&999) {
        let frame = client.hear().await;
        client.take(&frame);
    }
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_and_changes_are_the_table_whenever_a_client_joins() {
    let site = Fixture::new().await;
    let mut clients = JoinSet::new();
    for nth in 0..CLIENTS {
        let rooms = ["0", "1", "0,1", "0,1,2"][nth % 4];
        let client = site.client(&format!("rooms={rooms}")).await;
        clients.spawn(async move { (rooms, follow(client, nth).await) });
    }
    let writers: JoinSet<_> = (1..=WRITERS).map(|seed| write(site.db.clone(), seed)).collect();
    writers.join_all().await;
    site.execute("INSERT INTO app_thing (id, name, room, also) VALUES (999, 'done', 0, 1)").await;
    for (rooms, client) in clients.join_all().await {
        let fresh = site.subscribed(rooms).await;
        assert_eq!(client.view, fresh.view, "rooms {rooms}");
    }
}
