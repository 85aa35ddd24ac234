//! Many writers at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::capture::outbox::Outbox;
use crate::capture::postgres::testing::{View, World, run};

const WRITERS: u64 = 20;
const KEYS: u64 = 40;
const TRANSACTIONS: usize = 60;
const LONG_TRANSACTIONS: usize = 3;
const LONG: Duration = Duration::from_millis(1_500);

/// Numbers that are as good as random, and the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A statement that does something to some row.
fn statement(dice: &mut Dice) -> String {
    let (id, n) = (dice.roll(KEYS), dice.roll(1_000));
    match dice.roll(5) {
        0 => format!("DELETE FROM t WHERE id = {id}"),
        1 => format!("INSERT INTO t VALUES ({id}, {n}) ON CONFLICT (id) DO UPDATE SET n = excluded.n"),
        2 => format!("INSERT INTO t VALUES ({id}, {n}) ON CONFLICT DO NOTHING"),
        // A row that gets another key; often there is one already.
        3 => format!("UPDATE t SET id = {n} % {KEYS} WHERE id = {id}"),
        _ => format!("UPDATE t SET n = n + {n} WHERE id = {id}"),
    }
}

/// Some statements that end in a commit or a rollback; errors, such as a deadlock, end them too.
async fn transaction(session: &mut PgConnection, dice: &mut Dice, pause: Option<Duration>) {
    run(session, "BEGIN").await;
    for step in 0..=dice.roll(4) {
        let sql = format!("SAVEPOINT s{step}; {}", statement(dice));
        let end = match session.execute(AssertSqlSafe(sql)).await {
            Ok(_) if dice.roll(4) > 0 => format!("RELEASE s{step}"),
            _ => format!("ROLLBACK TO s{step}"),
        };
        run(session, &end).await;
    }
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
    }
    run(session, if dice.roll(3) == 0 { "ROLLBACK" } else { "COMMIT" }).await;
}

/// One of the writers; two of them keep their transactions open for long.
async fn write(world: &World, seed: u64) {
    let (mut session, mut dice) = (world.session().await, Dice(seed * 7_919 + 1));
    run(&mut session, "SET deadlock_timeout = '20ms'; SET lock_timeout = '300ms'").await;
    let (count, pause) = if seed < 2 { (LONG_TRANSACTIONS, Some(LONG)) } else { (TRANSACTIONS, None) };
    for _ in 0..count {
        transaction(&mut session, &mut dice, pause).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `cargo xtask test`"]
async fn a_view_that_hears_of_changes_equals_the_table() {
    let world = World::with_table().await;
    let mut outbox = world.own().await;
    let writing = join_all((0..WRITERS).map(|seed| write(&world, seed)));
    let mut view = View::default();
    let (mut count, mut longest) = (0, Duration::ZERO);
    tokio::pin!(writing);
    let mut is_writing = true;
    loop {
        let begun = Instant::now();
        let batch = outbox.read().await.unwrap();
        longest = longest.max(begun.elapsed());
        batch.changes.iter().for_each(|change| view.hear(change));
        count += batch.changes.len();
        outbox.advance(usize::MAX);
        if count % 3 == 0 {
            outbox.tidy().await.unwrap();
        }
        if !is_writing && !batch.has_more && batch.changes.is_empty() {
            break;
        }
        tokio::select! {
            _ = &mut writing, if is_writing => is_writing = false,
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
    assert_eq!(view.0, world.rows("t").await);
    assert!(count > 500, "{count} changes");
    assert!(longest < LONG, "{longest:?}");
    outbox.tidy().await.unwrap();
    assert_eq!(outbox.tidy().await.unwrap().rows, 0);
}
