//! The time stamps by which Redis orders messages.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A producer's clock whose every reading is later than the one before, also between threads and when the system's
/// clock stands or is set back: equal scores would leave the order of messages to their random prefixes.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// The last reading, in microseconds since 1970.
    last: AtomicU64,
}

impl Clock {
    /// The time now, at least one microsecond after the last reading.
    pub(crate) fn tick(&self) -> Score {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.tick_at(u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
    }

    fn tick_at(&self, now: u64) -> Score {
        let later = |last: u64| now.max(last.saturating_add(1));
        // Nothing but the number itself is shared, so no ordering with other memory is needed.
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last)));
        Score(last.map_or_else(later, later))
    }
}

/// A point in time as the score of a sorted set; shown as Python shows `time.time()`, such as `1795236596.582017`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score(u64);

impl Score {
    /// Whole seconds since 1970, from which ages are subtracted when old entries are trimmed.
    pub(crate) fn whole_seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Seconds since 1970, to compare with a score that Redis returned. A double tells microseconds apart until
    /// the year 2242.
    pub(crate) fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The shortest digits that give the same double, which is Python's `repr` in this range.
        write!(f, "{:?}", self.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_score_reads_as_python_writes_it() {
        for (micros, text) in [
            (1_795_236_596_582_017, "1795236596.582017"),
            (1_795_236_596_789_520, "1795236596.78952"),
            (1_795_236_596_000_000, "1795236596.0"),
            (1_795_236_596_000_001, "1795236596.000001"),
        ] {
            assert_eq!(Score(micros).to_string(), text);
        }
        assert_eq!(Score(1_795_236_596_999_999).whole_seconds(), 1_795_236_596);
    }

    #[test]
    fn it_follows_the_system_and_never_stands_or_steps_back() {
        let clock = Clock::default();
        let readings = [1000, 1000, 1000, 500, 2000, 2000].map(|now| clock.tick_at(now).0);
        assert_eq!(readings, [1000, 1001, 1002, 1003, 2000, 2001]);
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((clock.tick().seconds() - before).abs() < 60.0);
    }

    #[test]
    fn threads_never_share_a_reading() {
        let clock = Clock::default();
        let read = || (0..2000).map(|_| clock.tick_at(7)).collect::<Vec<_>>();
        let readings: Vec<Score> = std::thread::scope(|scope| {
            let readers = [scope.spawn(read), scope.spawn(read), scope.spawn(read)];
            readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
        });
        assert_eq!(readings.iter().map(|score| score.0).collect::<HashSet<_>>().len(), 6000);
    }

    proptest! {
        /// Neighbouring microseconds must stay apart, and in order, as the doubles that Redis compares.
        #[test]
        fn a_microsecond_is_enough(micros in 1_700_000_000_000_000_u64..8_000_000_000_000_000) {
            prop_assert!(Score(micros).seconds() < Score(micros + 1).seconds());
            let shown: f64 = Score(micros).to_string().parse().unwrap();
            prop_assert_eq!(shown.to_bits(), Score(micros).seconds().to_bits());
        }
    }
}
