//! What a measurement has found, as a line to read or as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::latencies::Latencies;
use crate::process::Usage;

/// Figures that a workload does not have are left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) workload: &'static str,
    pub(crate) connections: usize,
    /// What came, and what should have.
    pub(crate) delivered: u64,
    pub(crate) due: u64,
    pub(crate) seconds: f64,
    /// Microseconds of CPU for each delivery, the server's, those of what stands between its processes, and our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) between_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generator_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_ms: Option<f64>,
    /// KiB of resident memory that each connection has added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kib_per_connection: Option<f64>,
    /// Seconds of CPU for a thousand handshakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) accept_s_per_1000: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_mib: Option<f64>,
    /// Connections that the server has closed.
    pub(crate) closed: usize,
    /// Messages that came before an earlier one, among the connections that are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) out_of_order: Option<u64>,
    /// What only happens to connections that come, go or sleep.
    #[serde(flatten)]
    pub(crate) unrest: Option<Unrest>,
}

/// What becomes of connections that come, go or sleep.
#[derive(Debug, Serialize)]
pub(crate) struct Unrest {
    /// Connections that were closed and opened again by us.
    pub(crate) reconnected: u64,
    /// Of those that the server has closed, whom it told that it was for a lack of room: with 1013.
    pub(crate) closed_1013: usize,
    /// Messages that a connection lost and was told of.
    pub(crate) told: u64,
    /// Messages that a connection lost without a word.
    pub(crate) untold: u64,
}

impl Report {
    /// Adds what the deliveries have cost the server and us.
    pub(crate) fn with_cost(mut self, server: Option<[Usage; 2]>, own: [Usage; 2]) -> Self {
        self.cpu_us = server.map(|server| self.of_each(server));
        self.generator_us = Some(self.of_each(own));
        self.rss_mib = server.map(|[_, after]| after.rss as f64 / 1024.0);
        self
    }

    /// Adds what they have cost those who stand between the server's processes.
    pub(crate) fn with_between(mut self, between: Option<[Usage; 2]>) -> Self {
        self.between_us = between.map(|between| self.of_each(between));
        self
    }

    /// Microseconds of CPU for each delivery.
    fn of_each(&self, [before, after]: [Usage; 2]) -> f64 {
        (after.cpu - before.cpu).as_secs_f64() * 1e6 / self.delivered.max(1) as f64
    }

    pub(crate) fn with_latencies(mut self, latencies: &Latencies) -> Self {
        let millis = |latency: Duration| latency.as_secs_f64() * 1000.0;
        self.p50_ms = latencies.percentile(50).map(millis);
        self.p99_ms = latencies.percentile(99).map(millis);
        self.max_ms = latencies.longest().map(millis);
        self
    }

    /// What the server's memory and CPU have grown by while connections were opened.
    pub(crate) fn with_connections(mut self, grown: Option<[Usage; 2]>) -> Self {
        let connections = self.connections as f64;
        self.kib_per_connection =
            grown.map(|[before, after]| (after.rss as f64 - before.rss as f64) / connections);
        self.accept_s_per_1000 =
            grown.map(|[before, after]| (after.cpu - before.cpu).as_secs_f64() * 1000.0 / connections);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<14} {:<8} {:>6} connections", self.name, self.workload, self.connections)?;
        if self.due > 0 {
            let share = self.delivered as f64 * 100.0 / self.due as f64;
            write!(f, "  {share:.2}% delivered, {:.0}/s", self.delivered as f64 / self.seconds)?;
        }
        let figures = [
            (self.cpu_us, "us CPU per delivery"),
            (self.between_us, "us between"),
            (self.generator_us, "us generator"),
            (self.p50_ms, "ms p50"),
            (self.p99_ms, "ms p99"),
            (self.max_ms, "ms max"),
            (self.kib_per_connection, "KiB per connection"),
            (self.accept_s_per_1000, "s CPU per 1,000 accepts"),
        ];
        for (figure, what) in figures {
            if let Some(figure) = figure {
                write!(f, "  {figure:.3} {what}")?;
            }
        }
        if let Some(rss) = self.rss_mib {
            write!(f, "  {rss:.1} MiB")?;
        }
        write!(f, "  closed {}", self.closed)?;
        if let Some(count) = self.out_of_order {
            write!(f, "  out of order {count}")?;
        }
        let Some(Unrest { reconnected, closed_1013, told, untold }) = &self.unrest else { return Ok(()) };
        write!(
            f,
            "  closed with 1013 {closed_1013}  reconnected {reconnected}  told lost {told}  lost untold {untold}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(millis: u64, rss: u64) -> Usage {
        Usage { cpu: Duration::from_millis(millis), rss }
    }

    #[test]
    fn cost_is_told_for_each_delivery() {
        let report = Report { delivered: 1000, due: 2000, seconds: 1.0, ..Report::default() };
        let report = report.with_cost(Some([usage(10, 0), usage(14, 2048)]), [usage(0, 0), usage(1, 0)]);
        let report = report.with_between(Some([usage(3, 9), usage(5, 9)]));
        assert_eq!(report.between_us, Some(2.0));
        assert_eq!((report.cpu_us, report.generator_us, report.rss_mib), (Some(4.0), Some(1.0), Some(2.0)));
        let line = report.to_string();
        assert!(line.contains("50.00% delivered, 1000/s") && line.contains("4.000 us CPU"), "{line}");
    }

    #[test]
    fn connections_are_told_each_and_in_thousands() {
        let report = Report { connections: 500, ..Report::default() };
        let report = report.with_connections(Some([usage(10, 1000), usage(20, 2500)]));
        assert_eq!((report.kib_per_connection, report.accept_s_per_1000), (Some(3.0), Some(0.02)));
    }

    #[test]
    fn json_leaves_out_what_was_not_measured() {
        let json = serde_json::to_value(Report { connections: 3, ..Report::default() }).unwrap();
        assert_eq!(json["connections"], 3);
        assert!(json.get("cpu_us").is_none(), "{json}");
    }
}
