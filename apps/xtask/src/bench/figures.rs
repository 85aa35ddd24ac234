//! The figures of a server: one set for each pair, and their medians.

use serde_json::Value;

/// What the load generator has reported; what a workload does not have is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) cpu_us: Option<f64>,
    pub(super) between_us: Option<f64>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) kib_per_connection: Option<f64>,
    pub(super) accept_s_per_1000: Option<f64>,
    pub(super) rss_mib: Option<f64>,
    /// Percent of what was due.
    pub(super) delivered: Option<f64>,
    /// Messages that came before an earlier one.
    pub(super) out_of_order: Option<f64>,
    /// Connections that were closed with 1013.
    pub(super) closed_1013: Option<f64>,
    /// Messages lost of which the client was told, and not told.
    pub(super) told: Option<f64>,
    pub(super) untold: Option<f64>,
}

impl Figures {
    /// Reads the generator's last line.
    pub(super) fn read(output: &str) -> Option<Self> {
        let report: Value = serde_json::from_str(output.lines().last()?).ok()?;
        let figure = |name: &str| report[name].as_f64();
        let due = figure("due").filter(|due| *due > 0.0);
        Some(Self {
            cpu_us: figure("cpu_us"),
            between_us: figure("between_us"),
            p50_ms: figure("p50_ms"),
            p99_ms: figure("p99_ms"),
            kib_per_connection: figure("kib_per_connection"),
            accept_s_per_1000: figure("accept_s_per_1000"),
            rss_mib: figure("rss_mib"),
            delivered: due.and_then(|due| Some(figure("delivered")? * 100.0 / due)),
            // Where nothing is due there is no order.
            out_of_order: due.and_then(|_| figure("out_of_order")),
            closed_1013: figure("closed_1013"),
            told: figure("told"),
            untold: figure("untold"),
        })
    }
}

/// The median of what there is.
pub(super) fn median(figures: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.flatten().collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        count if count % 2 == 1 => Some(figures[middle]),
        _ => Some(f64::midpoint(figures[middle - 1], figures[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_read() {
        let output = "{\"cpu_us\":9}\n{\"cpu_us\":3.5,\"due\":200,\"delivered\":150}\n";
        let figures = Figures::read(output).unwrap();
        let expected = Figures { cpu_us: Some(3.5), delivered: Some(75.0), ..Figures::default() };
        assert_eq!(figures, expected);
        assert_eq!(Figures::read("no JSON"), None);
        assert_eq!(Figures::read(r#"{"due":0,"delivered":0}"#), Some(Figures::default()));
    }

    #[test]
    fn the_median_is_of_those_that_are_there() {
        assert_eq!(median([Some(3.0), None, Some(1.0), Some(9.0)].into_iter()), Some(3.0));
        assert_eq!(median([Some(3.0), Some(1.0)].into_iter()), Some(2.0));
        assert_eq!(median([None].into_iter()), None);
    }
}
