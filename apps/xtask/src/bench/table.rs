//! The figures of a workload as one Markdown table.

use super::figures::{Figures, median};
use super::workloads::Workload;

/// A server and its figures, one set for each pair.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) pairs: Vec<Option<Figures>>,
}

struct Column {
    name: &'static str,
    decimals: usize,
    of: fn(&Figures) -> Option<f64>,
    /// Another column says what it is beside the first row.
    is_compared: bool,
}

const fn column(name: &'static str, decimals: usize, of: fn(&Figures) -> Option<f64>) -> Column {
    Column { name, decimals, of, is_compared: false }
}

const COLUMNS: [Column; 12] = [
    Column { is_compared: true, ..column("CPU us", 3, |figures| figures.cpu_us) },
    column("CPU us of Redis", 3, |figures| figures.between_us),
    column("p50 ms", 3, |figures| figures.p50_ms),
    column("p99 ms", 3, |figures| figures.p99_ms),
    column("KiB a connection", 2, |figures| figures.kib_per_connection),
    Column { is_compared: true, ..column("CPU s per 1,000 accepts", 4, |figures| figures.accept_s_per_1000) },
    column("server MiB", 1, |figures| figures.rss_mib),
    column("delivered %", 2, |figures| figures.delivered),
    column("out of order", 0, |figures| figures.out_of_order),
    column("closed with 1013", 0, |figures| figures.closed_1013),
    column("told lost", 0, |figures| figures.told),
    column("lost untold", 0, |figures| figures.untold),
];

/// A heading, and the table. The first row is what the others are compared with.
pub(super) fn render(workload: &Workload, pairs: usize, rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return format!("### {}: nothing was measured\n", workload.name) };
    let has = |column: &&Column| rows.iter().any(|row| row.figure(column.of).is_some());
    let columns: Vec<&Column> = COLUMNS.iter().filter(has).collect();
    let mut text = format!(
        "### {}: {}\n\nMedians of {pairs}; CPU us are the server's for each delivery.\n\n| server |",
        workload.name, workload.title
    );
    let mut rule = String::from("\n|---|");
    for Column { name, is_compared, .. } in &columns {
        text += &format!(" {name} |");
        rule += "---|";
        if *is_compared {
            text += &format!(" x {} |", first.name);
            rule += "---|";
        }
    }
    text += &rule;
    text.push('\n');
    for row in rows {
        text += &format!("| {} |", row.name);
        for Column { decimals, of, is_compared, .. } in &columns {
            text += &format!(" {} |", cell(row.figure(*of), *decimals));
            if *is_compared {
                text += &format!(" {} |", cell(row.ratio(first, *of), 2));
            }
        }
        text.push('\n');
    }
    text
}

/// A figure as a table shows it.
pub(super) fn cell(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.decimals$}"))
}

impl Row {
    /// The median of the pairs.
    pub(super) fn figure(&self, of: fn(&Figures) -> Option<f64>) -> Option<f64> {
        median(self.pairs.iter().map(|pair| pair.as_ref().and_then(of)))
    }

    /// The largest of the pairs.
    pub(super) fn most(&self, of: fn(&Figures) -> Option<f64>) -> Option<f64> {
        self.pairs.iter().flatten().filter_map(of).reduce(f64::max)
    }

    /// The smallest of the pairs.
    pub(super) fn least(&self, of: fn(&Figures) -> Option<f64>) -> Option<f64> {
        self.pairs.iter().flatten().filter_map(of).reduce(f64::min)
    }

    /// How many pairs failed.
    pub(super) fn failed(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.is_none()).count()
    }

    /// The median of the ratios within the pairs.
    pub(super) fn ratio(&self, to: &Self, of: fn(&Figures) -> Option<f64>) -> Option<f64> {
        let figure = |pair: &Option<Figures>| pair.as_ref().and_then(of);
        let both = self.pairs.iter().zip(&to.pairs);
        median(both.map(|(mine, other)| Some(figure(mine)? / figure(other).filter(|other| *other > 0.0)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::workloads::WORKLOADS;
    use super::*;

    fn row(name: &'static str, cpu: &[f64]) -> Row {
        let figures =
            |cpu: &f64| Some(Figures { cpu_us: Some(*cpu), delivered: Some(100.0), ..Figures::default() });
        Row { name, pairs: cpu.iter().map(figures).collect() }
    }

    #[test]
    fn ratios_are_those_of_the_pairs() {
        let table = render(&WORKLOADS[0], 3, &[row("raw", &[1.0, 2.0, 4.0]), row("ours", &[1.5, 2.0, 8.0])]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[4], "| server | CPU us | x raw | delivered % |");
        assert_eq!(lines[6..], ["| raw | 2.000 | 1.00 | 100.00 |", "| ours | 2.000 | 1.50 | 100.00 |"]);
    }

    #[test]
    fn what_failed_is_a_dash() {
        let mut failed = row("ours", &[1.0]);
        failed.pairs[0] = None;
        let table = render(&WORKLOADS[0], 1, &[row("raw", &[1.0]), failed]);
        assert!(table.ends_with("| ours | – | – | – |\n"), "{table}");
        assert!(render(&WORKLOADS[0], 1, &[]).contains("nothing was measured"));
    }
}
