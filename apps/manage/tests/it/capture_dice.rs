//! Numbers that look random and are the same each time.

use std::time::Duration;

pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// From `low` up to `high`, without it.
    pub(crate) fn within(&mut self, low: i64, high: i64) -> i64 {
        low + i64::try_from(self.below(u64::try_from(high - low).unwrap())).unwrap()
    }

    pub(crate) fn up_to(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(f64::from(u32::try_from(self.below(1000)).unwrap()) / 1000.0)
    }
}
