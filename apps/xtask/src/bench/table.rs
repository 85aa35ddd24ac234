//! The figures of a workload as one Markdown table.

use super::figures::{Figures, median};
use super::workloads::Workload;

/// A server and its figures, one set for each pair.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) pairs: Vec<Option<Figures>>,
}

/// How a column is called, how many decimals it has, and where its figure is found.
type Column = (&'static str, usize, fn(&Figures) -> Option<f64>);

const COLUMNS: [Column; 11] = [
    ("CPU us", 3, |figures| figures.cpu_us),
    ("CPU us of Redis", 3, |figures| figures.between_us),
    ("p50 ms", 3, |figures| figures.p50_ms),
    ("p99 ms", 3, |figures| figures.p99_ms),
    ("KiB a connection", 2, |figures| figures.kib_per_connection),
    ("CPU s per 1,000 accepts", 4, |figures| figures.accept_s_per_1000),
    ("server MiB", 1, |figures| figures.rss_mib),
    ("delivered %", 2, |figures| figures.delivered),
    ("closed with 1013", 0, |figures| figures.closed_1013),
    ("told lost", 0, |figures| figures.told),
    ("lost untold", 0, |figures| figures.untold),
];

/// A heading, and the table. The first row is what the others are compared with.
pub(super) fn render(workload: &Workload, pairs: usize, rows: &[Row]) -> String {
    let has = |column: &&Column| rows.iter().any(|row| row.figure(column.2).is_some());
    let columns: Vec<&Column> = COLUMNS.iter().filter(has).collect();
    let mut text = format!(
        "### {}: {}\n\nMedians of {pairs}; CPU us are the server's for each delivery.\n\n| server |",
        workload.name, workload.title
    );
    let Some(first) = rows.first() else { return format!("### {}: nothing was measured\n", workload.name) };
    let ratio = format!("x {}", first.name);
    for (nth, (name, ..)) in columns.iter().enumerate() {
        let name = if nth == 0 { format!("{name} | {ratio}") } else { (*name).to_owned() };
        text += &format!(" {name} |");
    }
    text += &format!("\n|---|{}\n", "---|".repeat(columns.len() + 1));
    for row in rows {
        text += &format!("| {} |", row.name);
        for (nth, (_, decimals, of)) in columns.iter().enumerate() {
            text += &format!(" {} |", cell(row.figure(*of), *decimals));
            if nth == 0 {
                text += &format!(" {} |", cell(row.ratio(first, *of), 2));
            }
        }
        text.push('\n');
    }
    text
}

fn cell(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.decimals$}"))
}

impl Row {
    fn figure(&self, of: fn(&Figures) -> Option<f64>) -> Option<f64> {
        median(self.pairs.iter().map(|pair| pair.as_ref().and_then(of)))
    }

    /// The median of the ratios within the pairs.
    fn ratio(&self, to: &Self, of: fn(&Figures) -> Option<f64>) -> Option<f64> {
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
