//! Latencies, counted in classes, so that ten minutes of them take no more memory than a second.

use std::time::Duration;

/// How many classes each power of two is divided into: a figure is at most one part in so many too low.
const PARTS: u64 = 64;
/// The classes of every power of two that nanoseconds in 64 bits have.
const CLASSES: usize = 64 * 64;

/// How many latencies fell into each class.
pub(crate) struct Latencies {
    counts: Vec<u32>,
    total: u64,
    longest: u64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; CLASSES], total: 0, longest: 0 }
    }

    pub(crate) fn note(&mut self, nanos: u64) {
        self.counts[class_of(nanos)] += 1;
        self.total += 1;
        self.longest = self.longest.max(nanos);
    }

    /// Adds what others have noted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, more)| *mine += more);
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        (self.total, self.longest) = (0, 0);
    }

    /// The latency that so many percent do not exceed, when there is any.
    pub(crate) fn percentile(&self, percent: u64) -> Option<Duration> {
        let wanted = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let class = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        })?;
        Some(Duration::from_nanos(floor_of(class)))
    }

    pub(crate) fn longest(&self) -> Option<Duration> {
        (self.total > 0).then(|| Duration::from_nanos(self.longest))
    }
}

/// Small numbers have a class each; above them a class is a power of two and the six bits that follow its first.
fn class_of(nanos: u64) -> usize {
    let power = u64::from(nanos.max(PARTS).ilog2() - PARTS.ilog2());
    usize::try_from(power * PARTS + (nanos >> power)).expect("there are few classes")
}

/// The smallest number of a class.
fn floor_of(class: usize) -> u64 {
    let class = class as u64;
    if class < 2 * PARTS {
        return class;
    }
    let power = class / PARTS - 1;
    (class - power * PARTS) << power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_close_to_the_floor_of_its_class() {
        let numbers = (0..63).flat_map(|power| [1 << power, (1 << power) + 1, (1_u64 << power) * 3 / 2]);
        for number in numbers.chain([0, u64::MAX]) {
            let class = class_of(number);
            let floor = floor_of(class);
            assert!(floor <= number && number - floor <= number / PARTS, "{number}: {class} {floor}");
            assert!(class < CLASSES);
        }
    }

    #[test]
    fn classes_are_in_order() {
        assert!((0..10_000).all(|number| class_of(number) <= class_of(number + 1)));
        assert!((0..1000).all(|class| class_of(floor_of(class)) == class));
    }

    #[test]
    fn percentiles_are_those_of_all_that_was_added() {
        let (mut all, mut more) = (Latencies::new(), Latencies::new());
        assert_eq!((all.percentile(50), all.longest()), (None, None));
        (1..=50).for_each(|nanos| all.note(nanos));
        (51..=100).for_each(|nanos| more.note(nanos));
        all.add(&more);
        let [half, most] = [50, 99].map(|percent| all.percentile(percent).unwrap().as_nanos());
        assert_eq!((half, most, all.longest().unwrap().as_nanos()), (50, 99, 100));
        all.clear();
        assert_eq!(all.percentile(50), None);
    }
}
