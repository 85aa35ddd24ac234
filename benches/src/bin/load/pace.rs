//! When the next message goes.

use std::time::Duration;

use clap::Args;

use crate::fleet::WAIT;

const NANOS: u128 = 1_000_000_000;

/// By how much is on its way, or by the clock.
#[derive(Debug, Clone, Args)]
pub(crate) struct Pace {
    /// How many messages may be on their way.
    #[arg(long, default_value_t = 1)]
    pub(crate) window: u64,
    /// Messages a second, instead of a window.
    #[arg(long, conflicts_with = "window")]
    pub(crate) rate: Option<u64>,
}

impl Pace {
    /// How many messages may have been sent by now, when so many have come everywhere, and how long to wait before
    /// asking again.
    pub(crate) fn next(&self, elapsed: Duration, everywhere: u64, sent: u64) -> (u64, Duration) {
        match self.rate {
            Some(rate) => by_clock(rate, elapsed, sent),
            None => (everywhere + self.window, WAIT),
        }
    }
}

/// The same for so many messages a second.
pub(crate) fn by_clock(rate: u64, elapsed: Duration, sent: u64) -> (u64, Duration) {
    let rate = u128::from(rate.max(1));
    let due = elapsed.as_nanos() * rate / NANOS;
    let may = u64::try_from(due).unwrap_or(u64::MAX).max(sent);
    let next_at = u64::try_from((u128::from(may) + 1) * NANOS / rate).unwrap_or(u64::MAX);
    (may, Duration::from_nanos(next_at).saturating_sub(elapsed).min(WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lets_so_many_be_on_their_way() {
        let pace = Pace { window: 16, rate: None };
        assert_eq!(pace.next(Duration::ZERO, 0, 0).0, 16);
        assert_eq!(pace.next(Duration::ZERO, 3, 16).0, 19);
    }

    #[test]
    fn a_rate_is_kept_and_never_taken_back() {
        let pace = Pace { window: 1, rate: Some(1000) };
        let at = |micros, sent| pace.next(Duration::from_micros(micros), 0, sent);
        assert_eq!(at(0, 0), (0, Duration::from_millis(1)));
        assert_eq!(at(1500, 0), (1, Duration::from_micros(500)));
        assert_eq!(at(1500, 2), (2, Duration::from_micros(1500)));
        assert_eq!(at(10_000_000, 0).0, 10_000);
    }
}
