//! Processes are killed in the middle of relaying, or stopped for a while, again and again: whoever goes on listening,
//! and whoever starts anew, ends with what the table holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use accounts::{Db, Dialect, query};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::capture_client::{Client, Shown};
use crate::capture_dice::Dice;
use crate::capture_site::{FAILOVER, OWNER, Site};
use crate::capture_writer::{Progress, Writer};
use crate::redis_server::RedisServer;

/// How often the process that relays is killed.
const KILLS_ON_SQLITE: usize = 100;
const KILLS_ON_POSTGRES: usize = 20;

/// How often a process that is alone is killed.
const KILLS_ALONE: usize = 20;

/// How long a process relays before it is killed, at most.
const LIFE: Duration = Duration::from_millis(300);

/// How often a process is stopped, and for how long: long enough for more messages than its queue in Redis holds.
const STOPS: usize = 3;
const STOPPED: Duration = Duration::from_secs(3);

struct Torture {
    site: Site,
    db: Db,
    dice: Dice,
    progress: Arc<Progress>,
    writer: JoinHandle<()>,
    clients: JoinSet<Client>,
    /// Those whose process was killed, and those who have heard everything.
    ended: Vec<Client>,
    /// How long nobody relayed, each time.
    failovers: Vec<Duration>,
    /// How many kills came between a commit and its telling.
    between: usize,
}

impl Torture {
    async fn new(redis: Option<&RedisServer>) -> Self {
        let (site, db, owners) = Site::new(redis).await;
        let progress = Arc::<Progress>::default();
        // The database as another program opens it: nobody here knows of its commits.
        let writer = Writer { db: db.clone(), owners, dice: Dice(1), progress: Arc::clone(&progress) };
        let mut torture = Self {
            site,
            db,
            dice: Dice(2),
            progress,
            writer: tokio::spawn(writer.run()),
            clients: JoinSet::new(),
            ended: Vec::new(),
            failovers: Vec::new(),
            between: 0,
        };
        for nth in 0..torture.site.len() {
            torture.join(nth, &[true, false]).await;
        }
        torture
    }

    /// Lets clients start on a process: staff, and others.
    async fn join(&mut self, nth: usize, are_staff: &[bool]) {
        let host = self.site.host(nth);
        for &is_staff in are_staff {
            let client = Client::open(&host, is_staff, Arc::clone(&self.progress)).await;
            self.clients.spawn(client.run());
        }
    }

    /// Kills the process that relays at a random moment, half of the time as soon as something was committed that
    /// nobody has heard of; then starts it again.
    async fn kill(&mut self) {
        let active = self.site.relaying().await;
        sleep(self.dice.up_to(LIFE)).await;
        if self.dice.below(2) == 0 {
            // On a machine that is fast enough, it may be told before anybody looks.
            drop(timeout(LIFE, self.commit()).await);
        }
        self.between += usize::from(self.progress.unheard() > 0);
        self.site.kill(active);
        let killed = Instant::now();
        if self.site.len() > 1 {
            // Somebody starts while nobody relays.
            let is_staff = self.dice.below(2) == 0;
            self.join(1 - active, &[is_staff]).await;
            self.site.relaying().await;
            self.failovers.push(killed.elapsed());
        }
        self.site.start(active);
        self.join(active, &[true, false]).await;
        self.check_clients();
    }

    /// Waits until something was committed that nobody has heard of.
    async fn commit(&self) {
        while self.progress.unheard() == 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Fails as soon as a client has.
    fn check_clients(&mut self) {
        while let Some(client) = self.clients.try_join_next() {
            let logs = || self.site.logs().join("\n---\n");
            self.ended.push(client.unwrap_or_else(|error| panic!("{error}: {}", logs())));
        }
    }

    /// Stops the process that does not relay, and lets it go on.
    async fn stop(&mut self) {
        let other = 1 - self.site.relaying().await;
        self.site.signal(other, "-STOP");
        sleep(STOPPED).await;
        self.site.signal(other, "-CONT");
        sleep(STOPPED / 3).await;
        self.check_clients();
    }

    /// Ends the writing; compares what everybody holds with the table.
    async fn end(&mut self) {
        self.site.relaying().await;
        self.progress.is_over.store(true, Ordering::SeqCst);
        while !self.clients.is_empty() {
            self.check_clients();
            sleep(Duration::from_millis(20)).await;
        }
        self.progress.is_heard.store(true, Ordering::SeqCst);
        (&mut self.writer).await.unwrap();
        let table = table(&self.db).await;
        let at_the_end = self.ended.iter().filter(|client| client.has_ended);
        assert!(at_the_end.clone().count() >= 2 * self.site.len());
        at_the_end.for_each(|client| assert_same(client, &table));
    }

    fn count(&self, of: fn(&Client) -> u64) -> u64 {
        self.ended.iter().map(of).sum()
    }

    /// Ends after so many kills, and tells what they have done.
    async fn finish(mut self, kills: usize) {
        self.end().await;
        let (repeats, checks) = (self.count(|client| client.repeats), self.count(|client| client.checks));
        let silence = self.ended.iter().map(|client| client.silence).max();
        self.failovers.sort();
        let middle = self.failovers.get(self.failovers.len() / 2);
        println!(
            "{} transactions and {kills} kills, {} of them between a commit and its telling: {checks} sums were right, \
             {repeats} changes came again, {} losses were told; nobody relayed for {middle:?}, at most {:?}; the \
             longest silence was {silence:?}",
            self.progress.committed.load(Ordering::SeqCst),
            self.between,
            self.count(|client| client.losses),
            self.failovers.last(),
        );
        assert!(checks > 100, "hardly anything was heard");
        assert!(4 * self.between > kills, "most kills have hit nothing");
        assert!(repeats > 0 || self.site.len() == 1, "nothing was told twice");
        assert!(self.failovers.iter().all(|failover| *failover < FAILOVER));
    }
}

/// What the table holds.
async fn table(db: &Db) -> BTreeMap<i64, Shown> {
    let select = query(
        "SELECT o.id, u.username, o.instrument, o.quantity, o.price
         FROM orders_order o JOIN accounts_user u ON u.id = o.owner_id",
    );
    let mut table = BTreeMap::new();
    for row in select.fetch_all(db).await.unwrap() {
        let [quantity, price] =
            ["quantity", "price"].map(|column| row.decimal(column).unwrap().normalize().to_string());
        let [username, instrument] = ["username", "instrument"].map(|column| row.get(column).unwrap());
        table.insert(row.get("id").unwrap(), [username, instrument, quantity, price]);
    }
    table
}

/// Asserts that a client holds what it may see of the table.
fn assert_same(client: &Client, table: &BTreeMap<i64, Shown>) {
    let seen: BTreeMap<_, _> =
        table.iter().filter(|(_, order)| client.is_staff || order[0] == OWNER).collect();
    let number = |text: &str| text.parse::<i64>().unwrap();
    let sum: i64 = seen.values().map(|order| number(&order[2]) * number(&order[3])).sum();
    assert_eq!(client.sum, sum);
    for (id, order) in &client.heard {
        assert_eq!(order.as_ref(), seen.get(id).copied(), "order {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_the_one_that_relays_is_killed() {
    let redis = RedisServer::start();
    let mut torture = Torture::new(Some(&redis)).await;
    let kills = match torture.db.dialect() {
        Dialect::Sqlite => KILLS_ON_SQLITE,
        Dialect::Postgres => KILLS_ON_POSTGRES,
    };
    for _ in 0..kills {
        torture.kill().await;
    }
    torture.finish(kills).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_alone_is_killed() {
    let mut torture = Torture::new(None).await;
    for _ in 0..KILLS_ALONE {
        torture.kill().await;
    }
    torture.finish(KILLS_ALONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_the_one_that_does_not_relay_is_stopped_for_a_while() {
    let redis = RedisServer::start();
    let mut torture = Torture::new(Some(&redis)).await;
    // Who has not started when its process is stopped has nothing to lose.
    let clients = 2 * torture.site.len() as u64;
    while torture.progress.started.load(Ordering::SeqCst) < clients {
        torture.check_clients();
        sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..STOPS {
        torture.stop().await;
    }
    torture.end().await;
    let losses = torture.count(|client| client.losses);
    assert!(losses >= 2 * STOPS as u64, "its queue has not overflowed each time: {losses} losses");
    assert!(torture.count(|client| client.checks) > 100, "hardly anything was heard");
}
