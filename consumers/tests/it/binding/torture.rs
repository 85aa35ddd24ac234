//! Half a minute of many writers, some of which take their time and many of which change their minds: what clients
//! then hold is the table, and each row went through its changes in the order of their commits.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use consumers::binding::Bound;
use consumers::capture::Capture;
use consumers::db::{Db, Dialect, Query, Transaction, query};
use consumers::testing::WebsocketCommunicator;
use consumers::{Demultiplexer, InMemoryLayer, Scope};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Client, Fixture, Things};

/// How long the writers go on.
const LASTS: Duration = Duration::from_secs(30);

const WRITERS: u64 = 20;

/// The first of them take their time.
const SLOW: u64 = 4;

/// Clients that join at random moments, every third of which subscribes again and again.
const JOINERS: u64 = 12;

/// Rooms that rows move between, and one that every row is in.
const ROOMS: i64 = 4;
const EVERYWHERE: i64 = 99;

/// Rows that all writers write, and rows of the slow ones, which others would have to wait for.
const ROWS: Range<i64> = 1..61;
const SLOW_ROWS: Range<i64> = 1001..1021;

/// The row that tells how late changes are, in a room of its own.
const PROBE: i64 = 5000;
const PROBE_ROOM: i64 = 50;
const PROBE_EVERY: Duration = Duration::from_millis(20);

/// How late nearly all changes may be, however busy the machine: far less than slow transactions last.
const LATE: Duration = Duration::from_secs(2);

/// The rows that are written last of all: this, and the number of the room.
const DONE: i64 = 9000;

/// What is part of the name in a row that must never be seen.
const POISON: &str = "x";

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn within(&mut self, range: &Range<i64>) -> i64 {
        let length = u64::try_from(range.end - range.start).unwrap();
        range.start + i64::try_from(self.below(length)).unwrap()
    }

    fn up_to(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(f64::from(u32::try_from(self.below(1000)).unwrap()) / 1000.0)
    }
}

/// One of the writers.
struct Writer {
    db: Db,
    dice: Dice,
    number: u64,
    rows: Range<i64>,
    /// How long a transaction stays open at most, and how long it is until the next one.
    holds: Duration,
    rests: Duration,
    done: Written,
}

/// What a writer has done.
#[derive(Default)]
struct Written {
    committed: HashSet<String>,
    rolled_back: usize,
    failed: usize,
    longest: Duration,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { committed, rolled_back, failed, longest } = self;
        let committed = committed.len();
        write!(
            f,
            "{committed} committed, {rolled_back} rolled back, {failed} failed, the longest took {longest:?}"
        )
    }
}

impl Writer {
    fn new(db: Db, number: u64) -> Self {
        let is_slow = number < SLOW;
        // SQLite has one writer at a time, so one that takes its time stops all others.
        let (holds, rests) = match (is_slow, db.dialect()) {
            (false, _) => (Duration::ZERO, Duration::from_millis(100)),
            (true, Dialect::Postgres) => (Duration::from_secs(10), Duration::from_millis(100)),
            (true, Dialect::Sqlite) => (Duration::from_millis(500), Duration::from_secs(4)),
        };
        let rows = if is_slow || number == SLOW { SLOW_ROWS } else { ROWS };
        Self { db, dice: Dice(number), number, rows, holds, rests, done: Written::default() }
    }

    async fn run(mut self) -> Written {
        let end = Instant::now() + LASTS;
        for nth in 0.. {
            // The first ones take as long as they may.
            let holds = if nth == 0 { self.holds } else { self.dice.up_to(self.holds) };
            if Instant::now() + holds >= end {
                break;
            }
            let name = format!("{}.{nth}", self.number);
            match self.write(&name, holds).await {
                Ok(true) => drop(self.done.committed.insert(name)),
                Ok(false) => self.done.rolled_back += 1,
                // Two that wait for each other's rows: PostgreSQL ends one of them. Or one has waited too long.
                Err(_) => self.done.failed += 1,
            }
            sleep(self.dice.up_to(self.rests)).await;
        }
        self.done
    }

    /// A transaction of one to four statements, a third of which are rolled back; whether it was committed.
    async fn write(&mut self, name: &str, holds: Duration) -> Result<bool, sqlx::Error> {
        let commits = self.dice.below(3) > 0;
        let name = if commits { name.to_owned() } else { format!("{POISON}{name}") };
        let mut transaction = self.db.begin_write().await?;
        let start = Instant::now();
        let statements = 1 + self.dice.below(4);
        for step in 0..statements {
            self.step(&mut transaction, &format!("{name}-{step}")).await?;
            if !holds.is_zero() {
                sleep(holds / u32::try_from(statements).unwrap()).await;
            }
        }
        self.done.longest = self.done.longest.max(start.elapsed());
        if commits {
            transaction.commit().await?;
        }
        Ok(commits)
    }

    /// One statement: as it is, in a savepoint, or after one of which nothing is left.
    async fn step(&mut self, transaction: &mut Transaction, name: &str) -> Result<(), sqlx::Error> {
        let savepoint = self.dice.below(4);
        if savepoint < 2 {
            query("SAVEPOINT s").execute(&mut *transaction).await?;
        }
        if savepoint == 0 {
            self.statement(format!("{POISON}{name}")).execute(&mut *transaction).await?;
            query("ROLLBACK TO SAVEPOINT s").execute(&mut *transaction).await?;
        }
        self.statement(name.to_owned()).execute(&mut *transaction).await?;
        if savepoint < 2 {
            query("RELEASE SAVEPOINT s").execute(&mut *transaction).await?;
        }
        Ok(())
    }

    /// A statement that changes something. The amount of a row counts its changes.
    fn statement(&mut self, name: String) -> Query {
        let id = self.dice.within(&self.rows);
        let room = self.dice.within(&(0..ROOMS));
        match self.dice.below(8) {
            0 => query("DELETE FROM app_thing WHERE id = $1").bind(id),
            1 => query(
                "UPDATE app_thing SET amount = amount + 1, name = CAST($2 AS TEXT) || '/' || id
                 WHERE id >= $1 AND id < $1 + 4",
            )
            .bind(id)
            .bind(name),
            2 | 3 => query("UPDATE app_thing SET amount = amount + 1, name = $2, room = $3 WHERE id = $1")
                .bind(id)
                .bind(name)
                .bind(room),
            4 if self.db.dialect() == Dialect::Sqlite => query(
                "INSERT OR REPLACE INTO app_thing (id, name, amount, room, also)
                 VALUES ($1, $2, ifnull((SELECT amount FROM app_thing WHERE id = $1), 0) + 1, $3, 99)",
            )
            .bind(id)
            .bind(name)
            .bind(room),
            _ => query(
                "INSERT INTO app_thing (id, name, amount, room, also) VALUES ($1, $2, 1, $3, 99)
                 ON CONFLICT (id) DO UPDATE
                 SET amount = app_thing.amount + 1, name = excluded.name, room = excluded.room",
            )
            .bind(id)
            .bind(name)
            .bind(room),
        }
    }
}

/// Changes one row again and again; when each version was committed.
async fn probe(db: Db) -> BTreeMap<i64, Instant> {
    let end = Instant::now() + LASTS;
    let mut committed = BTreeMap::new();
    let mut version = 0;
    while Instant::now() < end {
        sleep(PROBE_EVERY).await;
        let update = query("UPDATE app_thing SET amount = amount + 1 WHERE id = $1").bind(PROBE);
        // On a machine that is very busy, SQLite's lock may not be free in time.
        if update.execute(&db).await.is_ok() {
            version += 1;
            committed.insert(version, Instant::now());
        }
    }
    committed
}

/// Takes changes until there is nothing more to come.
struct Reader {
    client: Client,
    rooms: Vec<i64>,
    /// The keys of all changes.
    keys: HashSet<String>,
    /// The transactions whose work was seen.
    transactions: HashSet<String>,
    snapshots: usize,
    /// When each version of the probe came.
    probed: BTreeMap<i64, Instant>,
    /// How many changes each row had in the client's sight, where that is known of all rows.
    amounts: Option<HashMap<i64, i64>>,
}

impl Reader {
    async fn new(things: &Bound<Things>, rooms: &[i64]) -> Self {
        let things = things.clone();
        let app = Demultiplexer::new().stream("things", move |_: &Scope| Ok(things.consumer()));
        let names = rooms.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let mut socket = WebsocketCommunicator::new(app, &format!("/?rooms={names}"));
        socket.connect().await.unwrap();
        Self {
            client: Client { socket, view: BTreeMap::new() },
            rooms: rooms.to_vec(),
            keys: HashSet::new(),
            transactions: HashSet::new(),
            snapshots: 0,
            probed: BTreeMap::new(),
            amounts: (rooms == [EVERYWHERE]).then(HashMap::new),
        }
    }

    async fn subscribe(&mut self) {
        self.client.say(json!({"action": "subscribe"})).await;
    }

    /// Takes what comes until the last rows have.
    async fn read(&mut self) {
        while !self.rooms.iter().all(|room| self.client.view.contains_key(&(DONE + room))) {
            let frame = self.client.hear().await;
            self.take(&frame);
        }
    }

    /// Joins after a while, and may begin anew after more of it.
    async fn join(mut self, mut dice: Dice, begins_anew: bool) -> Self {
        sleep(dice.up_to(LASTS)).await;
        self.subscribe().await;
        while begins_anew && timeout(dice.up_to(LASTS / 10), self.read()).await.is_err() {
            self.subscribe().await;
        }
        self.read().await;
        self
    }

    fn take(&mut self, frame: &Value) {
        self.client.take(frame);
        if frame["action"] == "snapshot" {
            self.snapshots += usize::from(frame["begins"] == true);
            self.take_rows(frame);
            return;
        }
        let (pk, data) = (frame["pk"].as_i64().unwrap(), &frame["data"]);
        let is_new = self.keys.insert(format!("{} {}", frame["key"], frame["action"]));
        assert!(is_new, "told twice: {frame}");
        self.check(frame, pk, data["amount"].as_i64());
        if !data.is_null() {
            self.see(pk, data);
        }
    }

    fn take_rows(&mut self, snapshot: &Value) {
        if snapshot["begins"] == true
            && let Some(amounts) = &mut self.amounts
        {
            amounts.clear();
        }
        for row in snapshot["rows"].as_array().unwrap() {
            let pk = row["pk"].as_i64().unwrap();
            if let Some(amounts) = &mut self.amounts {
                amounts.insert(pk, row["data"]["amount"].as_i64().unwrap());
            }
            self.see(pk, &row["data"]);
        }
    }

    /// Whether this is the change that comes after the last one of its row.
    fn check(&mut self, frame: &Value, pk: i64, amount: Option<i64>) {
        let Some(amounts) = &mut self.amounts else { return };
        let before = match amount {
            Some(amount) => amounts.insert(pk, amount),
            None => amounts.remove(&pk),
        };
        let expected = match frame["action"].as_str().unwrap() {
            "create" => before.is_none() && (amount == Some(1) || pk >= PROBE),
            "update" => before.is_some_and(|before| amount == Some(before + 1)),
            _ => before.is_some(),
        };
        assert!(expected, "after {before:?}: {frame}");
    }

    fn see(&mut self, pk: i64, data: &Value) {
        let name = data["name"].as_str().unwrap();
        assert!(!name.contains(POISON), "what was rolled back was told: {data}");
        if pk == PROBE {
            let version = data["amount"].as_i64().unwrap();
            self.probed.entry(version).or_insert_with(Instant::now);
        } else if pk < PROBE {
            self.transactions.insert(name.split('-').next().unwrap().to_owned());
        }
    }
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (changes, rows) = (self.keys.len(), self.client.view.len());
        write!(f, "rooms {:?}: {changes} changes, {} snapshots, {rows} rows", self.rooms, self.snapshots)
    }
}

/// What is in the table and seen in these rooms.
async fn table(db: &Db, rooms: &[i64]) -> BTreeMap<i64, Value> {
    let rows = query("SELECT id, name, amount, room, also FROM app_thing").fetch_all(db).await.unwrap();
    let mut table = BTreeMap::new();
    for row in rows {
        let (room, also) = (row.get::<i64>("room").unwrap(), row.get::<Option<i64>>("also").unwrap());
        if [Some(room), also].into_iter().flatten().any(|room| rooms.contains(&room)) {
            let (name, amount) = (row.get::<String>("name").unwrap(), row.get::<i64>("amount").unwrap());
            let data = json!({"name": name, "amount": amount, "room": room, "also": also});
            table.insert(row.get("id").unwrap(), data);
        }
    }
    table
}

/// How late the probe was, sorted.
fn lateness(committed: &BTreeMap<i64, Instant>, seen: &BTreeMap<i64, Instant>) -> Vec<Duration> {
    let late = |(version, at): (&i64, &Instant)| {
        // A snapshot may have brought a later version at once.
        let (_, seen) = seen.range(version..).next().expect("the last one was seen");
        seen.saturating_duration_since(*at)
    };
    let mut lateness: Vec<_> = committed.iter().map(late).collect();
    lateness.sort();
    lateness
}

/// Lets everyone write, most of them as other programs would; what they have done, and the commits of the probe.
async fn write(site: &Fixture) -> (Written, BTreeMap<i64, Instant>) {
    let mut dbs = vec![site.db.clone()];
    for _ in 1..4 {
        dbs.push(site._database.open().await);
    }
    let probe = tokio::spawn(probe(site.db.clone()));
    let writers = (0..WRITERS).zip(dbs.iter().cycle());
    let writers: JoinSet<_> = writers.map(|(number, db)| Writer::new(db.clone(), number).run()).collect();
    let mut all = Written::default();
    for written in writers.join_all().await {
        all.committed.extend(written.committed);
        all.rolled_back += written.rolled_back;
        all.failed += written.failed;
        all.longest = all.longest.max(written.longest);
    }
    (all, probe.await.unwrap())
}

/// Writes the last rows, one for each room.
async fn finish(db: &Db) {
    let mut last = db.begin_write().await.unwrap();
    for room in (0..ROOMS).chain([PROBE_ROOM, EVERYWHERE]) {
        let insert = query("INSERT INTO app_thing (id, name, room, also) VALUES ($1, 'done', $2, 99)");
        insert.bind(DONE + room).bind(room).execute(&mut last).await.unwrap();
    }
    last.commit().await.unwrap();
}

/// Lets everyone read: some from the beginning to the end, others as they come.
async fn read(things: [&Bound<Things>; 2]) -> JoinSet<Reader> {
    let mut readers = JoinSet::new();
    for (room, things) in [EVERYWHERE, PROBE_ROOM].into_iter().flat_map(|room| things.map(|it| (room, it))) {
        let mut reader = Reader::new(things, &[room]).await;
        reader.subscribe().await;
        let snapshot = reader.client.hear().await;
        reader.take(&snapshot);
        readers.spawn(async move {
            reader.read().await;
            reader
        });
    }
    let rooms: [&[i64]; 5] = [&[0], &[1], &[0, 2], &[EVERYWHERE], &[0, 1, 2, 3]];
    for (nth, rooms) in (0..JOINERS).zip(rooms.into_iter().cycle()) {
        let things = things[usize::from(nth % 2 == 0)];
        readers.spawn(Reader::new(things, rooms).await.join(Dice(100 + nth), nth % 3 == 0));
    }
    readers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_writers_for_half_a_minute() {
    let site = Fixture::new().await;
    // Another process of the site, with a cursor and clients of its own.
    let mut capture = Capture::new(site._database.open().await, Arc::new(InMemoryLayer::default()));
    let others = capture.bind(Things);
    let _capturing = capture.start().await.unwrap();
    let insert = query("INSERT INTO app_thing (id, name, room, also) VALUES ($1, 'probe', $2, 99)");
    insert.bind(PROBE).bind(PROBE_ROOM).execute(&site.db).await.unwrap();

    let readers = read([&site.things, &others]).await;
    let (written, probed) = write(&site).await;
    finish(&site.db).await;
    println!("{written}, {} of the probe", probed.len());
    assert!(written.committed.len() > 300 && written.rolled_back > 100, "{written}");
    if site.db.dialect() == Dialect::Postgres {
        assert!(written.longest > 4 * LATE, "{written}");
    }
    for reader in readers.join_all().await {
        println!("{reader}");
        assert_eq!(reader.client.view, table(&site.db, &reader.rooms).await, "{reader}");
        assert!(reader.transactions.is_subset(&written.committed), "{reader}");
        if reader.rooms == [PROBE_ROOM] {
            let late = lateness(&probed, &reader.probed);
            let [middle, nearly_all, last] =
                [50, 99, 100].map(|percent| late[(late.len() - 1) * percent / 100]);
            println!("commit to client: p50 {middle:?}, p99 {nearly_all:?}, max {last:?}");
            assert!(nearly_all < LATE, "{nearly_all:?}");
        }
    }
}
