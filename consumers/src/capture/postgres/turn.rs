//! A turn: reading the outbox by one cursor over one connection, which is lost with that connection.

use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};

use super::super::outbox::{BATCH, Batch, Depth, Kind, Recorded};
use super::super::seen::Transactions;
use super::catalog::Watch;
use super::cursor::{self, Name};
use super::{CaptureError, rows};

/// How often a cursor that does not move is renewed, so that nobody takes it for dead.
const RENEW: Duration = Duration::from_secs(5);

/// How often rows are looked for that someone had locked when they were to be dropped.
const SWEEP: Duration = Duration::from_secs(60);

/// How many rows one statement drops, and how many statements one call makes.
const DROP_ROWS: i64 = 1_000;
const DROP_STATEMENTS: usize = 10;

/// The reader of a cursor.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) connection: PgConnection,
    cursor: Name,
    /// Which transactions have been published.
    position: Transactions,
    /// Where it is in the midst of the changes that one snapshot has found.
    page: Option<Page>,
    /// What the last read takes it to, once it has been published, and the numbers of what it has found.
    step: Option<Step>,
    read: Vec<i64>,
    /// To be told before anything else, when changes were lost.
    loss: Option<Recorded>,
    /// Whether something was published that is not written down.
    has_moved: bool,
    renewed: Instant,
    /// What all cursors have seen and what has been dropped.
    dropped: Transactions,
    swept: Instant,
}

/// A place within what one snapshot has found.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// The snapshot, which the position will be.
    pub(super) present: Transactions,
    /// The number of the last row.
    pub(super) last: i64,
}

#[derive(Debug)]
enum Step {
    Loss,
    Page(Page),
    Present(Transactions),
}

impl Turn {
    /// Begins where the cursor says.
    pub(super) async fn begin(mut connection: PgConnection, cursor: Name) -> Result<Self, CaptureError> {
        let (position, page, loss) = match cursor::load(&mut connection, &cursor).await? {
            Some((position, page)) => (position, page, None),
            None => (cursor::restart(&mut connection, &cursor).await?, None, Some(loss()?)),
        };
        let now = Instant::now();
        Ok(Self {
            connection,
            cursor,
            position,
            page,
            step: None,
            read: Vec::new(),
            loss,
            has_moved: false,
            renewed: now,
            dropped: Transactions::default(),
            swept: now,
        })
    }

    /// The next changes; the same ones until they are [published](Self::advance).
    pub(super) async fn read(&mut self, watch: &Watch) -> Result<Batch, CaptureError> {
        if let Some(loss) = &self.loss {
            self.step = Some(Step::Loss);
            return Ok(Batch { changes: vec![loss.clone()], has_more: true });
        }
        let (present, mut found) = match &self.page {
            None => rows::first(&mut self.connection, &self.position).await?,
            Some(page) => {
                let next = rows::next(&mut self.connection, &self.position, &page.present, page.last);
                (page.present.clone(), next.await?)
            }
        };
        found.truncate(BATCH);
        let has_more = found.last().is_some_and(|row| row.is_followed);
        self.step = Some(match found.last() {
            Some(row) if has_more => Step::Page(Page { present, last: row.seq }),
            _ => Step::Present(present),
        });
        let is_news = !found.is_empty();
        let changes = found.into_iter().filter_map(|row| Some((row.seq, row.into_change(watch)?)));
        let (read, changes): (Vec<_>, Vec<_>) = changes.unzip();
        self.read = read;
        if changes.is_empty() {
            // There is nothing to publish, and in the next read fewer transactions to look for.
            self.step();
            self.has_moved |= is_news;
        }
        Ok(Batch { changes, has_more })
    }

    /// So many changes of what was read last have been published, or all of it.
    pub(super) fn advance(&mut self, told: usize) {
        let Some(step) = &self.step else { return };
        let (Step::Page(Page { present, .. }) | Step::Present(present)) = step else { return self.step() };
        if told < self.read.len() {
            let last = told.checked_sub(1).and_then(|nth| self.read.get(nth));
            let page = last.map(|last| Page { present: present.clone(), last: *last });
            // When nothing was published, it is where it was.
            self.step = page.map(Step::Page);
        }
        self.has_moved |= self.step.is_some();
        self.step();
    }

    fn step(&mut self) {
        match self.step.take() {
            Some(Step::Loss) => self.loss = None,
            Some(Step::Page(page)) => self.page = Some(page),
            Some(Step::Present(present)) => {
                self.position = present;
                self.page = None;
            }
            None => {}
        }
    }

    /// Writes the cursor down and drops what all have seen.
    pub(super) async fn tidy(&mut self) -> Result<Depth, CaptureError> {
        if self.has_moved || self.renewed.elapsed() >= RENEW {
            self.write().await?;
        }
        let row = sqlx::query(DEPTH).fetch_one(&mut self.connection).await?;
        let positions: Vec<String> = row.try_get("positions")?;
        let positions: Vec<Transactions> =
            positions.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let seen = cursor::seen_by_all(&positions);
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            self.dropped = Transactions::default();
        }
        let dropped = if seen == self.dropped { 0 } else { self.drop_seen(seen).await? };
        Ok(Depth { rows: (row.try_get::<i64, _>("rows")? - dropped).max(0) })
    }

    async fn write(&mut self) -> Result<(), CaptureError> {
        if !cursor::write(&mut self.connection, &self.cursor, &self.position, self.page.as_ref()).await? {
            // Nobody waited for us, so what we have not told may have been dropped.
            tracing::warn!(
                cursor = self.cursor.name,
                "the cursor was taken for dead; changes may have been lost"
            );
            self.position = cursor::restart(&mut self.connection, &self.cursor).await?;
            (self.page, self.step, self.loss) = (None, None, Some(loss()?));
        }
        (self.has_moved, self.renewed) = (false, Instant::now());
        cursor::bury(&mut self.connection).await
    }

    /// Drops the rows that are seen now and were not when rows were dropped before: nothing that is old or dead is
    /// looked at again. Returns how many.
    async fn drop_seen(&mut self, seen: Transactions) -> Result<i64, CaptureError> {
        let mut count = 0;
        for _ in 0..DROP_STATEMENTS {
            let ended =
                self.dropped.running.difference(&seen.running).map(i64::to_string).collect::<Vec<_>>();
            let late = if ended.is_empty() { 0 } else { self.drop_of(&ended).await? };
            count += late;
            if late == DROP_ROWS {
                continue;
            }
            let (rows, last) = self.drop_up_to(&seen).await?;
            count += rows;
            if rows < DROP_ROWS {
                self.dropped = seen;
                break;
            }
            // Those before the last one are done, and of that one perhaps not all.
            let running = seen.running.range(..last).copied().collect();
            self.dropped = Transactions { end: last, running };
        }
        Ok(count)
    }

    /// Drops rows of transactions that ran when rows were dropped before.
    async fn drop_of(&mut self, ended: &[String]) -> Result<i64, CaptureError> {
        let delete = "
            DELETE FROM waterway_outbox WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM waterway_outbox WHERE xid = ANY ($1::text[]::xid8[])
                LIMIT $2 FOR UPDATE SKIP LOCKED))";
        let delete = sqlx::query(delete).bind(ended).bind(DROP_ROWS).execute(&mut self.connection).await?;
        Ok(i64::try_from(delete.rows_affected()).unwrap_or(i64::MAX))
    }

    /// Drops rows of transactions that had not begun when rows were dropped before.
    async fn drop_up_to(&mut self, seen: &Transactions) -> Result<(i64, i64), CaptureError> {
        let delete = "
            WITH gone AS (
                DELETE FROM waterway_outbox WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM waterway_outbox
                    WHERE xid >= $1::text::xid8 AND xid < $2::text::xid8 AND xid <> ALL ($3::text[]::xid8[])
                    ORDER BY xid LIMIT $4 FOR UPDATE SKIP LOCKED))
                RETURNING xid::text::bigint AS xid)
            SELECT count(*), coalesce(max(xid), 0) FROM gone";
        let running: Vec<_> = seen.running.iter().map(i64::to_string).collect();
        let delete = sqlx::query(delete).bind(self.dropped.end.to_string()).bind(seen.end.to_string());
        let row = delete.bind(running).bind(DROP_ROWS).fetch_one(&mut self.connection).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }
}

#[cfg(test)]
impl Turn {
    /// As if the time had come.
    pub(super) fn sweep_now(&mut self) {
        self.swept = self.swept.checked_sub(SWEEP).expect("the machine has run for longer");
    }

    /// As if the time had come.
    pub(super) fn renew_now(&mut self) {
        self.renewed = self.renewed.checked_sub(RENEW).expect("the machine has run for longer");
    }
}

/// Where the cursors are and how many rows there are: counted, when there are few, and else by their numbers.
const DEPTH: &str = "
    SELECT ARRAY(SELECT position::text FROM waterway_cursor) AS positions,
           CASE WHEN n < 10000 THEN n
                ELSE greatest(n, (SELECT max(seq) - min(seq) + 1 FROM waterway_outbox)) END AS rows
    FROM (SELECT count(*) AS n FROM (SELECT FROM waterway_outbox LIMIT 10000) AS few) AS counted";

/// Tells that changes were lost.
fn loss() -> Result<Recorded, CaptureError> {
    // It is in nobody's snapshot, so everybody hears of it.
    let key = format!("loss-{}", cursor::random_id()?);
    Ok(Recorded { key, position: i64::MAX, table: String::new(), kind: Kind::ResetAll })
}
