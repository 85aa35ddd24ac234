//! `cargo xtask test`: every check of the repository in one command, stopping at the first that fails.

mod bridge;
mod browser;
mod interop;
mod postgres;
mod site;
mod summary;
mod web;

use std::path::Path;

use clap::{Args, ValueEnum};

use crate::{cargo, server, shell, tools};

use shell::Failure;
use summary::Job;
use tools::Tool;

/// Which steps to run; all of them unless told otherwise.
#[derive(Debug, Default, Args)]
pub(crate) struct Selection {
    /// Run these steps only.
    #[arg(long, value_enum, num_args = 1.., value_name = "STEP")]
    only: Vec<Step>,
    /// Leave these steps out.
    #[arg(long, value_enum, num_args = 1.., value_name = "STEP")]
    skip: Vec<Step>,
}

/// A step, in the order in which steps run: what fails fastest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The formatting of all crates.
    Fmt,
    /// The lints of all crates, their tests included.
    Clippy,
    /// The docs of all crates, with every link resolved.
    Doc,
    /// The unit and integration tests of all crates.
    Tests,
    /// The tests of what has a database once more, on PostgreSQL.
    Postgres,
    /// The examples in the docs.
    Doctests,
    /// The unit tests of the browser modules.
    Web,
    /// Beside Python's own: the Redis layers, Django as a writer, and the bridge of Channels 1.
    Interop,
    /// The program, looked at through a real browser: one process, and two that share Redis and PostgreSQL.
    Browser,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Doc => "doc",
            Self::Tests => "tests",
            Self::Postgres => "postgres",
            Self::Doctests => "doctests",
            Self::Web => "web",
            Self::Interop => "interop",
            Self::Browser => "browser",
        }
    }

    /// What must be installed before the step can run.
    fn tools(self) -> &'static [Tool] {
        match self {
            Self::Fmt | Self::Clippy | Self::Doc | Self::Doctests => &[],
            Self::Tests => &[tools::REDIS],
            Self::Postgres => &[tools::POSTGRES, tools::INITDB],
            Self::Web => &[tools::NODE],
            Self::Interop => {
                &[tools::REDIS, tools::PYTHON, tools::NODE, tools::NPM, tools::POSTGRES, tools::INITDB]
            }
            Self::Browser => {
                &[tools::NODE, tools::NPM, tools::CHROMIUM, tools::REDIS, tools::POSTGRES, tools::INITDB]
            }
        }
    }

    fn run(self, root: &Path) -> Result<(), Failure> {
        match self {
            Self::Fmt => cargo::fmt(root),
            Self::Clippy => cargo::clippy(root),
            Self::Doc => cargo::doc(root),
            Self::Tests => cargo::tests(root),
            Self::Postgres => postgres::tests(root),
            Self::Doctests => cargo::doctests(root),
            Self::Web => web::unit_tests(root),
            Self::Interop => interop::tests(root),
            Self::Browser => browser::tests(root),
        }
    }
}

impl Selection {
    fn steps(&self) -> Vec<Step> {
        let wanted =
            |step: &Step| (self.only.is_empty() || self.only.contains(step)) && !self.skip.contains(step);
        Step::value_variants().iter().copied().filter(wanted).collect()
    }
}

/// Runs the selected steps on the repository at `root`, and tells whether all of them succeeded.
///
/// Missing tools are installed first, so that nobody waits ten minutes to learn that there is no browser.
pub(crate) fn run(root: &Path, selection: &Selection) -> bool {
    let steps = selection.steps();
    if steps.is_empty() {
        println!("xtask test: no step is left to run: every one is skipped");
        return false;
    }
    let needed: Vec<Tool> = steps.iter().flat_map(|step| step.tools()).copied().collect();
    let mut jobs = vec![Job::new("tools", move || tools::ensure(&needed))];
    jobs.extend(steps.into_iter().map(|step| Job::new(step.name(), move || step.run(root))));
    let summary = summary::run(jobs);
    println!("\n{summary}");
    summary.succeeded()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_steps_run_in_order_unless_told_otherwise() {
        assert_eq!(Selection::default().steps(), Step::value_variants());
    }

    #[test]
    fn steps_can_be_chosen_and_left_out() {
        let selection =
            Selection { only: vec![Step::Browser, Step::Doc, Step::Fmt], skip: vec![Step::Doc, Step::Web] };
        assert_eq!(selection.steps(), [Step::Fmt, Step::Browser]);
    }

    #[test]
    fn an_empty_selection_is_a_failure() {
        let selection = Selection { only: vec![Step::Fmt], skip: vec![Step::Fmt] };
        assert!(!run(Path::new("/nowhere"), &selection));
    }

    #[test]
    fn a_step_is_called_on_the_command_line_as_in_the_summary() {
        for step in Step::value_variants() {
            assert_eq!(Step::from_str(step.name(), false), Ok(*step));
        }
    }
}
