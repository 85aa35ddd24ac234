//! Latencies, and the line of the table that they come to.

use std::time::{Duration, Instant};

use crate::Failure;

/// In order of size.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn new(mut latencies: Vec<Duration>) -> Result<Self, Failure> {
        if latencies.is_empty() {
            return Err("nothing was measured".into());
        }
        latencies.sort();
        Ok(Self(latencies))
    }

    /// From each moment to the other one. What was seen before COMMIT had returned was not late at all.
    pub(crate) fn between(committed: &[Instant], seen: &[Instant]) -> Result<Self, Failure> {
        if committed.len() != seen.len() {
            return Err(format!("{} changes were committed, {} came", committed.len(), seen.len()).into());
        }
        Self::new(committed.iter().zip(seen).map(|(from, to)| to.saturating_duration_since(*from)).collect())
    }

    /// Latency that so many percent do not exceed, in milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        self.0[(self.0.len() - 1) * percent / 100].as_secs_f64() * 1000.0
    }

    /// A line of the table.
    pub(crate) fn row(&self, what: &str, lasted: Duration) -> String {
        let rate = self.0.len() as f64 / lasted.as_secs_f64();
        let [middle, nearly_all, all] = [50, 99, 100].map(|percent| self.percentile(percent));
        format!("| {what} | {rate:.0} | {middle:.3} | {nearly_all:.3} | {all:.3} |")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_rate_and_percentiles() {
        let latencies = Latencies::new((1..=101).rev().map(Duration::from_millis).collect()).unwrap();
        let row = latencies.row("x", Duration::from_secs(10));
        assert_eq!(row, "| x | 10 | 51.000 | 100.000 | 101.000 |");
        assert!(Latencies::new(Vec::new()).is_err());
    }

    #[test]
    fn each_commit_has_its_own_latency() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let latencies = Latencies::between(&[at(0), at(5), at(9)], &[at(2), at(4), at(10)]).unwrap();
        assert_eq!(latencies.0, [0, 1, 2].map(Duration::from_millis));
        assert!(Latencies::between(&[at(0)], &[]).is_err());
    }
}
