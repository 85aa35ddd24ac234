//! Which changes a snapshot of the database holds already.

use std::collections::BTreeSet;
use std::str::FromStr;

/// The moment of a snapshot, as it tells the changes that it holds from those that come after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// SQLite has one writer at a time, so the sequence numbers of its outbox are in the order of commits: the
    /// snapshot holds everything up to this one.
    Sequence(i64),
    /// On PostgreSQL a later number may commit first, so the snapshot says which transactions it sees.
    Transactions(Transactions),
}

/// The transactions that a snapshot of PostgreSQL sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transactions {
    /// The first transaction that had not begun.
    pub(crate) end: i64,
    /// Those before it that had not ended.
    pub(crate) running: BTreeSet<i64>,
}

impl Seen {
    /// Whether the snapshot holds a change that was committed, by its position in the outbox.
    pub(crate) fn holds(&self, position: i64) -> bool {
        match self {
            Self::Sequence(last) => position <= *last,
            Self::Transactions(seen) => position < seen.end && !seen.running.contains(&position),
        }
    }
}

/// A text that is no snapshot of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PostgreSQL has shown a snapshot in a form that is not known: {0:?}")]
pub struct UnknownSnapshot(String);

impl FromStr for Transactions {
    type Err = UnknownSnapshot;

    /// Reads what `pg_current_snapshot()` shows: `xmin:xmax:xip,xip,…`.
    fn from_str(text: &str) -> Result<Self, UnknownSnapshot> {
        let unknown = || UnknownSnapshot(text.to_owned());
        let mut parts = text.splitn(3, ':').skip(1);
        let end = parts.next().and_then(|end| end.parse().ok()).ok_or_else(unknown)?;
        let running = parts.next().ok_or_else(unknown)?;
        let running =
            running.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().map_err(|_| unknown()));
        Ok(Self { end, running: running.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_postgres_holds_what_had_ended() {
        let seen = Seen::Transactions("10:20:10,14,15".parse().unwrap());
        let held: Vec<_> = (8..22).filter(|id| seen.holds(*id)).collect();
        assert_eq!(held, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
        assert_eq!("20:20:".parse(), Ok(Transactions { end: 20, running: BTreeSet::new() }));
        for text in ["", "1", "1:x:", "1:2", "1:2:x"] {
            assert!(text.parse::<Transactions>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_snapshot_of_sqlite_holds_everything_up_to_a_number() {
        assert!(Seen::Sequence(7).holds(7) && !Seen::Sequence(7).holds(8));
    }
}
