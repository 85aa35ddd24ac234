//! How many ticks are due: as many as the time that has passed asks for, whatever the timer makes of it.

use std::time::Duration;

/// The shortest time between two looks at the clock; faster rates send several ticks at each.
const SHORTEST_PERIOD: Duration = Duration::from_millis(2);

/// The most ticks that are sent at once, beyond twice those of one period: a burst would fill the queues of those who
/// listen.
const MOST_AT_ONCE: u128 = 20;

/// The pace of a rate.
#[derive(Debug)]
pub(super) struct Pace {
    rate: u32,
    /// How many ticks have been due.
    passed: u128,
}

impl Pace {
    /// The pace of so many ticks a second; none for 0.
    pub(super) fn new(rate: u32) -> Option<Self> {
        (rate > 0).then_some(Self { rate, passed: 0 })
    }

    /// How often to look.
    pub(super) fn period(&self) -> Duration {
        (Duration::from_secs(1) / self.rate).max(SHORTEST_PERIOD)
    }

    /// How many ticks are due so long after the beginning, beyond those that have been. With a small delay it catches
    /// up little by little; of a pause, which is a machine that slept or a layer that hung, a tenth of a second is due
    /// and the rest has passed.
    pub(super) fn due(&mut self, elapsed: Duration) -> usize {
        let total = self.in_time(elapsed);
        let owed = total.saturating_sub(self.passed).min(u128::from(self.rate / 10 + 1));
        let due = owed.min(MOST_AT_ONCE + 2 * self.in_time(self.period()));
        self.passed = total - (owed - due);
        usize::try_from(due).unwrap_or_default()
    }

    fn in_time(&self, time: Duration) -> u128 {
        time.as_nanos() * u128::from(self.rate) / 1_000_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_does_not_depend_on_when_it_is_asked() {
        for rate in [1, 7, 50, 999, 5_000] {
            let mut pace = Pace::new(rate).unwrap();
            let (mut at, mut sum) = (Duration::ZERO, 0);
            for n in 0..1000 {
                at += Duration::from_micros(3_000 + 17 * (n % 13));
                sum += pace.due(at);
            }
            assert_eq!(sum as u128, at.as_nanos() * u128::from(rate) / 1_000_000_000, "{rate}");
        }
    }

    #[test]
    fn after_a_pause_there_is_no_flood_and_what_is_due_comes_little_by_little() {
        let mut pace = Pace::new(1000).unwrap();
        let at = |ms: u64| Duration::from_millis(3_600_000 + ms);
        let due: Vec<_> = (0..6).map(|n| pace.due(at(2 * n))).collect();
        assert_eq!(due, [24, 24, 24, 24, 13, 2], "101, and 2 for each further period");
    }

    #[test]
    fn a_slow_pace_looks_rarely_and_a_fast_one_not_too_often() {
        assert_eq!(Pace::new(2).unwrap().period(), Duration::from_millis(500));
        assert_eq!(Pace::new(10_000).unwrap().period(), SHORTEST_PERIOD);
        assert!(Pace::new(0).is_none());
    }
}
