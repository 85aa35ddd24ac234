//! What is measured with nobody beside it: programs that print figures of their own.

use std::path::Path;
use std::process::Command;

use crate::cargo;
use crate::shell::{self, Failure};

/// A program that says itself what it has measured.
pub(super) struct Alone {
    pub(super) name: &'static str,
    title: &'static str,
    run: fn(&Path) -> Result<String, Failure>,
}

pub(super) const ALONE: [Alone; 2] = [
    Alone {
        name: "crowd",
        title: "a group of 100,000 mailboxes, each with a task that waits, and what a small group feels meanwhile",
        run: |root| {
            let programs = cargo::build_benches(root, &["crowd"])?;
            shell::read(&mut Command::new(programs.join("crowd")))
        },
    },
    Alone {
        name: "steps",
        title: "single steps, among them a group of 100,000 mailboxes and the three of the workload change",
        run: cargo::micro_benches,
    },
];

impl Alone {
    /// Runs it; a heading, and what it has printed.
    pub(super) fn measure(&self, root: &Path) -> String {
        println!("\n==> {}", self.name);
        match (self.run)(root) {
            Ok(printed) => format!("### {}: {}\n\n```text\n{}\n```\n", self.name, self.title, printed.trim()),
            Err(failure) => format!("### {}: {failure}\n", self.name),
        }
    }
}
