//! The figures of both sides as one Markdown table.

use std::fmt::Write;

use crate::measure::{CAPACITY, Comparison, Figures, MANY, Measured, PAUSE};

/// How a figure is called, how many decimals it has, and where it is found.
type Row<In> = (&'static str, usize, fn(&In) -> f64);

const ROWS: [Row<Figures>; 6] = [
    ("group_sends a second", 0, |figures| figures.sends),
    ("deliveries a second", 0, |figures| figures.deliveries),
    ("delivered, %", 2, |figures| figures.delivered),
    ("CPU s per 1,000 sends: sender", 4, |figures| figures.sender_cpu),
    ("CPU s per 1,000 sends: receiver", 4, |figures| figures.receiver_cpu),
    ("CPU s per 1,000 sends: Redis", 4, |figures| figures.redis_cpu),
];

const LATENCIES: [Row<Measured>; 2] = [
    ("single message, send to receive: p50, ms", 3, |measured| measured.p50),
    ("single message, send to receive: p99, ms", 3, |measured| measured.p99),
];

/// A sentence that says what was measured, and the table.
pub(crate) fn render(comparisons: &[Comparison], seconds: f64, redis: &str) -> String {
    let mut text = heading(comparisons, seconds, redis);
    for (name, decimals, of) in ROWS {
        let one_by_one = |side: &Measured| of(&side.one_by_one);
        text += &line(&format!("one by one: {name}"), decimals, comparisons, one_by_one);
    }
    for (name, decimals, of) in ROWS {
        let from_many = |side: &Measured| of(&side.from_many);
        text += &line(&format!("from {MANY} tasks: {name}"), decimals, comparisons, from_many);
    }
    for (name, decimals, of) in LATENCIES {
        text += &line(name, decimals, comparisons, of);
    }
    text
}

fn heading(comparisons: &[Comparison], seconds: f64, redis: &str) -> String {
    let mut text = String::new();
    if let Some(Comparison { ours, theirs, .. }) = comparisons.first() {
        let _ = write!(text, "{} beside {}, ", ours.versions, theirs.versions);
    }
    let pause = PAUSE * 1000.0;
    let _ = write!(
        text,
        "Redis {redis}. Cells are ours / theirs = ratio. {seconds} s each, capacity {CAPACITY}, payload 128 bytes, \
         awaited means after Redis's reply; a single message every {pause} ms.\n\n| layer, members |"
    );
    for comparison in comparisons {
        let _ = write!(text, " {} |", comparison.case);
    }
    text + "\n|---|" + &"---|".repeat(comparisons.len()) + "\n"
}

fn line(name: &str, decimals: usize, comparisons: &[Comparison], of: impl Fn(&Measured) -> f64) -> String {
    let mut line = format!("| {name} |");
    for comparison in comparisons {
        let (ours, theirs) = (of(&comparison.ours), of(&comparison.theirs));
        let _ = write!(line, " {ours:.decimals$} / {theirs:.decimals$} = {:.2} |", ours / theirs);
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::CASES;

    #[test]
    fn a_line_holds_both_sides_of_every_case_and_their_ratio() {
        let measured = |p50| Measured { p50, ..Measured::default() };
        let comparison = |case| Comparison { case, ours: measured(0.25), theirs: measured(1.0) };
        let table = render(&CASES.map(comparison), 1.0, "7.0");
        let p50 = table.lines().find(|line| line.contains("p50")).unwrap();
        assert_eq!(p50.matches(" 0.250 / 1.000 = 0.25 |").count(), CASES.len());
        assert!(
            table.contains("| pub/sub, 1 | pub/sub, 100 | core, 1 | core, 100 |\n|---|---|---|---|---|\n")
        );
    }
}
