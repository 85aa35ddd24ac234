//! The budgets of what was measured, and whether they were kept, in one table.

use super::figures::Figures;
use super::table::{Row, cell};
use super::workloads::Workload;

/// What a server may need for a workload.
struct Budget {
    workload: &'static str,
    what: &'static str,
    server: &'static str,
    of: fn(&Figures) -> Option<f64>,
    /// What it is compared with in each pair; nothing, when the figure itself is what is limited.
    beside: Option<&'static str>,
    limit: f64,
    decimals: usize,
}

/// CPU for each delivery, beside that of another server.
const fn cpu(workload: &'static str, server: &'static str, beside: &'static str, limit: f64) -> Budget {
    let (what, of) = ("CPU for each delivery", |figures: &Figures| figures.cpu_us);
    Budget { workload, what, server, of, beside: Some(beside), limit, decimals: 2 }
}

const fn memory(workload: &'static str) -> Budget {
    let (what, of) = ("KiB a connection", |figures: &Figures| figures.kib_per_connection);
    Budget { workload, what, server: "waterway", of, beside: None, limit: 3.0, decimals: 2 }
}

const fn accepts(workload: &'static str) -> Budget {
    let (what, of) = ("CPU s per 1,000 accepts", |figures: &Figures| figures.accept_s_per_1000);
    Budget { workload, what, server: "waterway", of, beside: None, limit: 0.03, decimals: 4 }
}

/// Something of which there may be nothing.
const fn none(
    workload: &'static str,
    what: &'static str,
    server: &'static str,
    of: fn(&Figures) -> Option<f64>,
) -> Budget {
    Budget { workload, what, server, of, beside: None, limit: 0.0, decimals: 0 }
}

const BUDGETS: [Budget; 19] = [
    cpu("fan-out", "waterway", "raw", 1.05),
    cpu("fan-out", "waterway", "bun", 1.0),
    cpu("burst", "waterway", "raw", 1.2),
    cpu("burst", "waterway", "bun", 1.0),
    cpu("4k", "waterway", "raw", 1.15),
    cpu("64k", "waterway", "raw", 1.15),
    cpu("echo", "waterway", "bare-echo", 1.2),
    cpu("groups", "waterway", "raw", 1.3),
    cpu("change", "waterway", "raw", 1.5),
    cpu("workers", "waterway-2", "waterway", 1.1),
    none("workers", "messages out of order", "waterway-2", |figures| figures.out_of_order),
    cpu("redis", "waterway-pubsub", "waterway", 1.3),
    cpu("redis", "waterway-core", "waterway", 1.3),
    memory("idle"),
    memory("idle-15k"),
    accepts("idle"),
    accepts("idle-15k"),
    none("slow", "messages lost untold", "waterway", |figures| figures.untold),
    none("soak", "messages lost untold", "waterway", |figures| figures.untold),
];

/// The table; nothing, when nothing was measured that has a budget.
pub(super) fn render(measured: &[(&Workload, Vec<Row>)]) -> Option<String> {
    let lines: String = BUDGETS.iter().filter_map(|budget| budget.line(measured)).collect();
    let heading =
        "### budgets: medians of the pairs\n\n| workload | what | server | measured | budget | kept |";
    (!lines.is_empty()).then(|| format!("{heading}\n|---|---|---|---|---|---|\n{lines}"))
}

impl Budget {
    /// A line of the table, unless a server that it takes was not measured.
    fn line(&self, measured: &[(&Workload, Vec<Row>)]) -> Option<String> {
        let (_, rows) = measured.iter().find(|(workload, _)| workload.name == self.workload)?;
        let row = |name: &str| rows.iter().find(|row| row.name == name);
        let (server, of) = (row(self.server)?, self.of);
        let other = match self.beside {
            Some(name) => Some(row(name)?),
            None => None,
        };
        let figure = match other {
            Some(other) => server.ratio(other, of),
            // Of what there may be nothing, one pair without is no excuse for another.
            None if self.limit == 0.0 => server.most(of),
            None => server.figure(of),
        };
        let unit = self.beside.map_or_else(String::new, |name| format!(" x {name}"));
        let failed = server.failed() + other.map_or(0, Row::failed);
        let kept = self.kept(figure, failed, server);
        let Self { workload, what, server, decimals, .. } = self;
        let [measured, limit] = [figure, Some(self.limit)].map(|figure| cell(figure, *decimals));
        Some(format!("| {workload} | {what} | {server} | {measured}{unit} | {limit}{unit} | {kept} |\n"))
    }

    /// Whether it was kept by a figure, and if not, why. What is cheap because it is not delivered is not kept.
    fn kept(&self, figure: Option<f64>, failed: usize, server: &Row) -> String {
        let delivered = self.beside.and_then(|_| server.least(|figures| figures.delivered)).unwrap_or(100.0);
        match figure {
            None => "not measured".to_owned(),
            Some(_) if failed > 0 => format!("**no**: {failed} failed"),
            Some(figure) if figure > self.limit => "**no**".to_owned(),
            Some(_) if delivered < 100.0 => format!("**no**: {delivered:.2}% delivered"),
            Some(_) => "yes".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::peers::PEERS;
    use super::super::workloads::WORKLOADS;
    use super::*;

    fn row(name: &'static str, figures: &[Figures]) -> Row {
        Row { name, pairs: figures.iter().copied().map(Some).collect() }
    }

    fn cpu_of(name: &'static str, cpu: [f64; 3]) -> Row {
        row(name, &cpu.map(|cpu| Figures { cpu_us: Some(cpu), ..Figures::default() }))
    }

    fn workload(name: &str) -> &'static Workload {
        WORKLOADS.iter().find(|workload| workload.name == name).unwrap()
    }

    #[test]
    fn budgets_are_of_what_there_is() {
        for budget in &BUDGETS {
            let offer = workload(budget.workload).offer;
            for name in [Some(budget.server), budget.beside].into_iter().flatten() {
                let peer = PEERS.iter().find(|peer| peer.name == name).unwrap();
                assert!(peer.offers(offer), "{name} does not do {}", budget.workload);
            }
        }
    }

    #[test]
    fn what_is_within_is_kept_and_what_is_over_is_not() {
        let rows = vec![
            cpu_of("raw", [4.0, 5.0, 8.0]),
            cpu_of("waterway", [4.4, 5.0, 8.2]),
            cpu_of("bun", [4.0, 5.5, 7.0]),
        ];
        let table = render(&[(workload("fan-out"), rows)]).unwrap();
        let lines: Vec<&str> = table.lines().skip(4).collect();
        let expected = [
            "| fan-out | CPU for each delivery | waterway | 1.02 x raw | 1.05 x raw | yes |",
            "| fan-out | CPU for each delivery | waterway | 1.10 x bun | 1.00 x bun | **no** |",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_loss_a_failure_or_a_message_that_is_not_delivered_in_one_pair_counts() {
        let untold = |untold| Figures { untold: Some(untold), ..Figures::default() };
        let slow = row("waterway", &[0.0, 4000.0, 0.0].map(untold));
        let table = render(&[(workload("slow"), vec![slow])]).unwrap();
        assert!(table.ends_with("| messages lost untold | waterway | 4000 | 0 | **no** |\n"), "{table}");
        let kept = |mine: Option<Figures>| {
            let mut ours = cpu_of("waterway", [1.0; 3]);
            ours.pairs[1] = mine;
            let table = render(&[(workload("change"), vec![cpu_of("raw", [1.0; 3]), ours])]).unwrap();
            table.trim_end().rsplit("1.50 x raw | ").next().unwrap().to_owned()
        };
        let delivered =
            |percent| Figures { cpu_us: Some(1.0), delivered: Some(percent), ..Figures::default() };
        assert_eq!(kept(Some(delivered(100.0))), "yes |");
        assert_eq!(kept(Some(delivered(60.0))), "**no**: 60.00% delivered |");
        assert_eq!(kept(None), "**no**: 1 failed |");
    }

    #[test]
    fn what_failed_is_not_measured_and_what_was_left_out_is_no_line() {
        let idle = Row { name: "waterway", pairs: vec![None] };
        let table = render(&[(workload("idle"), vec![idle])]).unwrap();
        assert!(
            table.ends_with("| CPU s per 1,000 accepts | waterway | – | 0.0300 | not measured |\n"),
            "{table}"
        );
        assert_eq!(render(&[(workload("fan-out"), vec![cpu_of("waterway", [1.0; 3])])]), None);
    }
}
