//! The outbox as a relay uses it, with several processes, crashes and all.

use super::*;
use crate::capture::Seen;
use crate::capture::outbox::BATCH;
use crate::capture::sqlite::seen;
use crate::db;

fn shared() -> Cursor {
    Cursor::Shared("layer".into())
}

/// How long a test waits for what should happen; what should not happen is waited for as long as it takes to poll.
const SOON: Duration = Duration::from_secs(5);

async fn insert(writer: &mut SqliteConnection, ids: std::ops::Range<i64>) {
    let rows: Vec<String> = ids.map(|id| format!("({id}, 'row {id}')")).collect();
    run(writer, &format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
}

#[tokio::test]
async fn a_reader_begins_at_the_present_and_goes_on_from_where_it_was() {
    let file = File::new().await;
    let mut first = file.outbox().await;
    let mut writer = file.writer().await;
    insert(&mut writer, 1..3).await;
    let mut second = file.outbox().await;
    insert(&mut writer, 3..4).await;
    assert_eq!(told(&mut second).await, ["+3,row 3"]);
    let again = [first.read().await.unwrap(), first.read().await.unwrap()];
    assert_eq!(
        again[0].changes, again[1].changes,
        "what was not published is read again, with the same keys"
    );
    assert_eq!(told(&mut first).await.len(), 3);
    assert!(told(&mut first).await.is_empty());
}

#[tokio::test]
async fn much_is_read_in_batches() {
    let file = File::new().await;
    let mut outbox = file.outbox().await;
    let mut writer = file.writer().await;
    insert(&mut writer, 0..1300).await;
    let mut batches = Vec::new();
    loop {
        let batch = outbox.read().await.unwrap();
        outbox.advance(usize::MAX);
        batches.push(batch.changes.len());
        if !batch.has_more {
            break;
        }
    }
    assert_eq!(batches, [BATCH, BATCH, 1300 - 2 * BATCH]);
}

#[tokio::test]
async fn large_rows_are_read_in_smaller_batches() {
    let file = File::new().await;
    let mut outbox = file.outbox().await;
    let insert =
        "INSERT INTO t SELECT value, hex(zeroblob(500000)) || value FROM json_each('[1,2,3,4,5,6,7,8,9,10]')";
    run(&mut file.writer().await, insert).await;
    let first = outbox.read().await.unwrap();
    outbox.advance(usize::MAX);
    assert_eq!((first.changes.len(), first.has_more), (9, true), "a megabyte each");
    let second = outbox.read().await.unwrap();
    assert_eq!((second.changes.len(), second.has_more), (1, false));
}

#[tokio::test]
async fn a_commit_of_this_process_wakes_the_reader() {
    let file = File::new().await;
    let mut outbox = file.outbox().await;
    outbox.read().await.unwrap();
    // The first wait may end early, because nothing is known yet of other processes.
    outbox.wait().await;
    outbox.read().await.unwrap();
    let db = Db::Sqlite(file.db.clone());
    let write = async {
        db::query("INSERT INTO t VALUES (1, 'x')").execute(&db).await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = write => unreachable!(),
        woken = wakes_within(&mut outbox, SOON) => assert!(woken),
    }
    assert_eq!(told(&mut outbox).await, ["+1,x"]);
}

#[tokio::test]
async fn a_commit_of_another_process_is_found_by_asking() {
    let file = File::new().await;
    let mut outbox = file.outbox().await;
    outbox.wait().await;
    let mut writer = file.writer().await;
    for id in 1..20 {
        let started = std::time::Instant::now();
        insert(&mut writer, id..id + 1).await;
        assert!(wakes_within(&mut outbox, SOON).await);
        assert!(started.elapsed() < Duration::from_millis(900), "it was not the longest wait that ended");
        assert_eq!(told(&mut outbox).await.len(), 1);
    }
}

#[tokio::test]
async fn a_reader_that_has_nothing_to_do_wakes_nobody() {
    let file = File::new().await;
    let (mut one, mut two) = (file.outbox().await, file.outbox().await);
    insert(&mut file.writer().await, 1..2).await;
    for _ in 0..4 {
        for outbox in [&mut one, &mut two] {
            told(outbox).await;
            outbox.tidy().await.unwrap();
        }
    }
    let mut watcher = file.writer().await;
    let version = async |watcher: &mut SqliteConnection| -> i64 {
        sqlx::query_scalar("PRAGMA data_version").fetch_one(watcher).await.unwrap()
    };
    let before = version(&mut watcher).await;
    for outbox in [&mut one, &mut two] {
        told(outbox).await;
        outbox.tidy().await.unwrap();
        outbox.mend().await.unwrap();
    }
    assert_eq!(version(&mut watcher).await, before, "nothing was written");
    let (first, second) = tokio::join!(
        wakes_within(&mut one, Duration::from_millis(200)),
        wakes_within(&mut two, Duration::from_millis(200))
    );
    // Each may wake once for what the other wrote before.
    if first {
        assert!(!wakes_within(&mut one, Duration::from_millis(200)).await);
    }
    if second {
        assert!(!wakes_within(&mut two, Duration::from_millis(200)).await);
    }
}

#[tokio::test]
async fn rows_go_when_every_reader_has_passed_them() {
    let file = File::new().await;
    let (mut fast, mut slow) = (file.outbox().await, file.outbox().await);
    insert(&mut file.writer().await, 1..11).await;
    told(&mut fast).await;
    assert_eq!(fast.tidy().await.unwrap().rows, 10);
    assert_eq!(told(&mut slow).await.len(), 10);
    assert_eq!(slow.tidy().await.unwrap().rows, 0);
    assert_eq!(file.count("SELECT count(*) FROM waterway_outbox").await, 0);
    insert(&mut file.writer().await, 11..12).await;
    let change = slow.read().await.unwrap().changes.remove(0);
    assert_eq!(change.position, 12, "numbers are not given again");
}

#[tokio::test]
async fn a_dead_reader_holds_nothing_back_and_is_told_when_it_lives_after_all() {
    let file = File::new().await;
    let (mut alive, mut dead) = (file.outbox().await, file.outbox().await);
    insert(&mut file.writer().await, 1..11).await;
    told(&mut alive).await;
    let set = format!("UPDATE waterway_cursor SET renewed = renewed - 31 WHERE name = '{}'", dead.place.name);
    run(&mut file.writer().await, &set).await;
    assert_eq!(alive.tidy().await.unwrap().rows, 0);
    insert(&mut file.writer().await, 11..12).await;
    assert_eq!(told(&mut dead).await, ["+11,row 11"]);
    dead.tidy().await.unwrap();
    let first = dead.read().await.unwrap().changes;
    assert_eq!(first.iter().map(in_short).collect::<Vec<_>>(), ["reset all"]);
    assert_eq!(dead.read().await.unwrap().changes[0].key, first[0].key);
    dead.advance(usize::MAX);
    dead.tidy().await.unwrap();
    assert!(told(&mut dead).await.is_empty(), "told once");
}

#[tokio::test]
async fn what_was_published_but_not_written_down_is_published_again_with_the_same_key() {
    let file = File::new().await;
    let mut outbox = file.outbox_of(shared()).await;
    assert!(outbox.take_turn().await.unwrap());
    insert(&mut file.writer().await, 1..3).await;
    assert_eq!(told(&mut outbox).await.len(), 2);
    outbox.tidy().await.unwrap();
    insert(&mut file.writer().await, 3..5).await;
    let published = outbox.read().await.unwrap().changes;
    outbox.advance(usize::MAX);
    drop(outbox);
    insert(&mut file.writer().await, 5..6).await;
    let mut next = file.outbox_of(shared()).await;
    assert!(next.take_turn().await.unwrap());
    let again = next.read().await.unwrap().changes;
    assert_eq!(again[..2], published[..]);
    assert_eq!(again.len(), 3, "and what was committed while nobody read");
}

#[tokio::test]
async fn who_ended_in_the_middle_of_a_batch_is_followed_from_there() {
    let file = File::new().await;
    let mut outbox = file.outbox_of(shared()).await;
    assert!(outbox.take_turn().await.unwrap());
    insert(&mut file.writer().await, 1..11).await;
    assert_eq!(outbox.read().await.unwrap().changes.len(), 10);
    outbox.advance(0);
    let batch = outbox.read().await.unwrap().changes;
    outbox.advance(4);
    outbox.tidy().await.unwrap();
    assert_eq!(outbox.read().await.unwrap().changes, batch[4..]);
    drop(outbox);
    let mut next = file.outbox_of(shared()).await;
    assert!(next.take_turn().await.unwrap());
    assert_eq!(next.read().await.unwrap().changes, batch[4..]);
}

#[tokio::test]
async fn one_process_at_a_time_reads_for_a_shared_layer() {
    let file = File::new().await;
    let other_process = file.open().await;
    let mut first = file.outbox_of(shared()).await;
    let mut second = SqliteOutbox::open(&other_process, vec![table("t")], shared()).await.unwrap();
    assert!(first.take_turn().await.unwrap() && first.take_turn().await.unwrap());
    assert!(!second.take_turn().await.unwrap());
    assert!(second.read().await.is_err());
    insert(&mut file.writer().await, 1..3).await;
    second.tidy().await.unwrap();
    assert_eq!(told(&mut first).await.len(), 2);
    first.tidy().await.unwrap();
    insert(&mut file.writer().await, 3..4).await;
    drop(first);
    assert!(second.take_turn().await.unwrap());
    assert_eq!(told(&mut second).await, ["+3,row 3"]);
}

#[tokio::test]
async fn a_shared_reader_that_was_away_too_long_is_told() {
    let file = File::new().await;
    drop(file.outbox_of(shared()).await);
    insert(&mut file.writer().await, 1..3).await;
    run(&mut file.writer().await, "UPDATE waterway_cursor SET renewed = renewed - 86401").await;
    let mut own = file.outbox().await;
    own.tidy().await.unwrap();
    let mut late = file.outbox_of(shared()).await;
    run(&mut file.writer().await, "DELETE FROM waterway_cursor").await;
    assert!(late.take_turn().await.unwrap());
    assert_eq!(told(&mut late).await, ["reset all"]);
    assert_eq!(file.count("SELECT count(*) FROM waterway_cursor").await, 1);
}

#[tokio::test]
async fn without_a_reader_the_outbox_is_bounded_and_the_loss_is_told() {
    let file = File::new().await;
    let open = async || SqliteOutbox::open_bounded(&file.db, vec![table("t")], shared(), 100).await.unwrap();
    let mut outbox = open().await;
    assert!(outbox.take_turn().await.unwrap());
    insert(&mut file.writer().await, 1..3).await;
    let known = outbox.read().await.unwrap().changes;
    outbox.advance(usize::MAX);
    outbox.tidy().await.unwrap();
    drop(outbox);
    let mut writer = file.writer().await;
    for start in (0..6).map(|n| 10 + n * 500) {
        insert(&mut writer, start..start + 500).await;
        assert!(file.count("SELECT count(*) FROM waterway_outbox").await <= 100 + 1024);
    }
    let mut outbox = open().await;
    assert!(outbox.take_turn().await.unwrap());
    let first = outbox.read().await.unwrap();
    assert_eq!(in_short(&first.changes[0]), "reset all");
    assert_eq!(in_short(&first.changes[1]), format!("+{0},row {0}", first.changes[1].position + 6));
    assert!(first.changes.iter().all(|change| change.key != known[0].key));
    outbox.advance(usize::MAX);
    while !told(&mut outbox).await.is_empty() {}
    let last = told(&mut outbox).await;
    assert!(last.is_empty());
    assert_eq!(outbox.tidy().await.unwrap().rows, 0);
}

#[tokio::test]
async fn a_reader_that_kept_up_is_not_told_of_a_loss() {
    let file = File::new().await;
    let mut outbox = SqliteOutbox::open_bounded(&file.db, vec![table("t")], Cursor::Own, 100).await.unwrap();
    let mut writer = file.writer().await;
    let mut heard = 0;
    for start in (0..60).map(|n| n * 50) {
        insert(&mut writer, start..start + 50).await;
        let changes = told(&mut outbox).await;
        assert!(!changes.contains(&"reset all".to_owned()));
        heard += changes.len();
    }
    assert_eq!(heard, 3000);
}

#[tokio::test]
async fn a_long_writer_stops_neither_reading_nor_tidying() {
    let file = File::new().await;
    let mut outbox = file.outbox().await;
    insert(&mut file.writer().await, 1..3).await;
    let mut long = file.writer().await;
    run(&mut long, "BEGIN IMMEDIATE").await;
    insert(&mut long, 3..4).await;
    let started = std::time::Instant::now();
    assert_eq!(told(&mut outbox).await.len(), 2);
    assert_eq!(outbox.tidy().await.unwrap().rows, 3);
    assert!(outbox.mend().await.unwrap().is_empty());
    assert!(started.elapsed() < Duration::from_secs(1));
    run(&mut long, "COMMIT").await;
    assert_eq!(told(&mut outbox).await.len(), 1);
    assert_eq!(outbox.tidy().await.unwrap().rows, 0);
}

#[tokio::test]
async fn a_busy_pool_does_not_keep_the_reader_waiting() {
    let file = File::new().await;
    let mut outbox = file.outbox().await;
    insert(&mut file.writer().await, 1..2).await;
    let mut all = Vec::new();
    while let Some(connection) = file.db.pool.try_acquire() {
        all.push(connection);
    }
    while all.len() < usize::try_from(file.db.pool.options().get_max_connections()).unwrap() {
        all.push(file.db.pool.acquire().await.unwrap());
    }
    assert_eq!(told(&mut outbox).await.len(), 1);
    outbox.tidy().await.unwrap();
}

#[tokio::test]
async fn a_reader_goes_on_after_an_error() {
    let file = File::new().await;
    let mut outbox = file.outbox().await;
    insert(&mut file.writer().await, 1..2).await;
    run(&mut file.writer().await, "ALTER TABLE waterway_outbox RENAME TO away").await;
    assert!(outbox.read().await.is_err());
    assert!(wakes_within(&mut outbox, SOON).await);
    assert!(outbox.tidy().await.is_err());
    run(&mut file.writer().await, "ALTER TABLE away RENAME TO waterway_outbox").await;
    assert!(outbox.take_turn().await.unwrap());
    assert_eq!(told(&mut outbox).await.len(), 1);
}

#[tokio::test]
async fn a_snapshot_knows_what_it_holds() {
    let file = File::with("CREATE TABLE t(id INTEGER PRIMARY KEY, a)").await;
    let mut early = file.db.pool.begin().await.unwrap();
    assert_eq!(seen(&mut early).await.unwrap(), Seen::Sequence(0));
    let mut outbox = file.outbox().await;
    let mut writer = file.writer().await;
    insert(&mut writer, 1..3).await;
    let mut snapshot = file.db.pool.begin().await.unwrap();
    let held = seen(&mut snapshot).await.unwrap();
    insert(&mut writer, 3..5).await;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut *snapshot).await.unwrap();
    assert_eq!(rows, 2);
    let changes = outbox.read().await.unwrap().changes;
    assert_eq!(changes.iter().filter(|change| held.holds(change.position)).count(), 2);
    assert_eq!(changes.len(), 4);
    outbox.advance(usize::MAX);
    outbox.tidy().await.unwrap();
    let mut later = file.db.pool.begin().await.unwrap();
    let held = seen(&mut later).await.unwrap();
    assert!(changes.iter().all(|change| held.holds(change.position)), "trimming does not forget the number");
    assert_eq!(seen(&mut early).await.unwrap(), Seen::Sequence(0));
}
