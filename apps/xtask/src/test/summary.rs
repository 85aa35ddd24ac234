//! Runs jobs one after the other until one fails, and says at the end what became of each.

use std::fmt;
use std::time::{Duration, Instant};

use super::shell::Failure;

/// A named piece of work.
pub(super) struct Job<'a> {
    name: &'static str,
    work: Box<dyn FnOnce() -> Result<(), Failure> + 'a>,
}

impl<'a> Job<'a> {
    pub(super) fn new(name: &'static str, work: impl FnOnce() -> Result<(), Failure> + 'a) -> Self {
        Self { name, work: Box::new(work) }
    }
}

/// What became of the jobs; its text is a table, with the failure as its last line.
#[derive(Debug)]
pub(super) struct Summary {
    rows: Vec<Row>,
    total: Duration,
    failure: Option<(&'static str, Failure)>,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    result: &'static str,
    time: Option<Duration>,
}

/// Runs the jobs in order; those after a failure do not run.
pub(super) fn run(jobs: Vec<Job<'_>>) -> Summary {
    let begin = Instant::now();
    let mut summary = Summary { rows: Vec::new(), total: Duration::ZERO, failure: None };
    for Job { name, work } in jobs {
        if summary.failure.is_some() {
            summary.rows.push(Row { name, result: "not run", time: None });
            continue;
        }
        println!("\n==> {name}");
        let begin = Instant::now();
        let outcome = work();
        let time = begin.elapsed();
        let result = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("<== {name}: {result} in {:.1} s", time.as_secs_f64());
        summary.rows.push(Row { name, result, time: Some(time) });
        summary.failure = outcome.err().map(|failure| (name, failure));
    }
    summary.total = begin.elapsed();
    summary
}

impl Summary {
    /// Whether every job ran and none failed.
    pub(super) fn succeeded(&self) -> bool {
        self.failure.is_none()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<10} {:<8} {:>8}", "step", "result", "seconds")?;
        for row in &self.rows {
            let time = row.time.map(|time| format!("{:.1}", time.as_secs_f64())).unwrap_or_default();
            writeln!(f, "{:<10} {:<8} {time:>8}", row.name, row.result)?;
        }
        let total = self.total.as_secs_f64();
        match &self.failure {
            None => write!(f, "xtask test: everything passed in {total:.1} s"),
            Some((name, failure)) => write!(f, "xtask test: {name} failed after {total:.1} s: {failure}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn jobs_run_in_order_until_one_fails() {
        let ran = RefCell::new(Vec::new());
        let job = |name: &'static str, outcome: Result<(), Failure>| {
            let ran = &ran;
            Job::new(name, move || {
                ran.borrow_mut().push(name);
                outcome
            })
        };
        let failure = Failure::NoTests("*.test.mjs".to_owned());
        let summary = run(vec![job("one", Ok(())), job("two", Err(failure)), job("three", Ok(()))]);

        assert_eq!(*ran.borrow(), ["one", "two"]);
        assert!(!summary.succeeded());
        let results: Vec<&str> = summary.rows.iter().map(|row| row.result).collect();
        assert_eq!(results, ["ok", "FAILED", "not run"]);
        let text = summary.to_string();
        assert!(text.lines().last().unwrap().contains("two failed"), "{text}");
    }

    #[test]
    fn nothing_failed_when_all_jobs_succeed() {
        let summary = run(vec![Job::new("one", || Ok(())), Job::new("two", || Ok(()))]);
        assert!(summary.succeeded());
        assert!(summary.to_string().lines().last().unwrap().contains("everything passed"));
    }
}
