//! The program as its users see it: a fresh database, a real server or two, a real browser.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::postgres::Postgres;
use super::shell::{self, Failure};
use super::site::{Setup, Site};
use super::{cargo, tools};
use crate::redis::Redis;

/// The program under test, which is also its crate's name.
const PROGRAM: &str = "manage";

/// Where the tests stand. They run in a copy, so that what they install never lies in the repository.
const TESTS: &str = "apps/manage/tests/browser";

/// The modules of the page, of which the tests use some; they stand in the copy as they do here.
const MODULES: &str = "apps/orders/web";

/// Tests of the page, whatever serves it.
const OF_THE_PAGE: &str = "orders.test.mjs";

/// Tests of the page's market: of several processes one must invent the prices for all.
const OF_THE_MARKET: &str = "market.test.mjs";

/// Tests of what several processes are to each other.
const OF_PROCESSES: &str = "processes.test.mjs";

/// Builds the program and runs the browser tests against it: served by one process, and by two.
pub(super) fn tests(root: &Path) -> Result<(), Failure> {
    let program = cargo::build(root, PROGRAM)?;
    let folder = shell::temporary_folder()?;
    for part in [TESTS, MODULES] {
        copy(&root.join(part), &folder.path().join(part)).map_err(Failure::io(format!("copy {part}")))?;
    }
    install(&folder.path().join(TESTS))?;
    let bench = Bench { program: &program, folder: folder.path() };
    bench.one_process()?;
    bench.two_processes()
}

/// What all runs use.
struct Bench<'a> {
    program: &'a Path,
    /// Holds the copy of the tests, and what the sites write.
    folder: &'a Path,
}

impl Bench<'_> {
    /// The program as it is when nobody sets anything: alone, with a file.
    fn one_process(&self) -> Result<(), Failure> {
        let database = format!("sqlite:{}", self.folder.join("waterway.db").display());
        self.run(1, &Setup { layer: "memory://".to_owned(), database }, &[OF_THE_PAGE, OF_THE_MARKET])
    }

    /// Two processes that share all they know. What the other backend of Redis does differently is told by the tests
    /// of processes alone.
    fn two_processes(&self) -> Result<(), Failure> {
        let (redis, postgres) = (Redis::start()?, Postgres::start()?);
        let on = |scheme: &str| Setup {
            layer: format!("{scheme}://{}", redis.address()),
            database: postgres.url(),
        };
        self.run(2, &on("redis"), &[OF_THE_PAGE, OF_THE_MARKET, OF_PROCESSES])?;
        self.run(2, &on("redis+pubsub"), &[OF_THE_MARKET, OF_PROCESSES])
    }

    /// Starts a site and runs tests against it, one file after the other: they share its orders. The site must also
    /// stop cleanly when it is told to.
    fn run(&self, processes: usize, setup: &Setup, files: &[&str]) -> Result<(), Failure> {
        let site = Site::start(self.program, processes, setup, self.folder)?;
        let outcome = shell::run(
            Command::new(tools::NODE.path()?)
                .args(["--test", "--test-concurrency=1"])
                .args(files)
                .current_dir(self.folder.join(TESTS))
                .envs(setup.variables())
                .env("SITE", site.addresses())
                .env("PROGRAM", self.program)
                .env("CHROMIUM", tools::CHROMIUM.path()?),
        );
        if outcome.is_err() {
            site.show_logs();
        }
        let stopped = site.stop();
        outcome.and(stopped)
    }
}

/// Installs what the tests need, exactly as locked. Install scripts stay off: they would fetch browsers, and
/// the tests use the one of this machine.
pub(super) fn install(tests: &Path) -> Result<(), Failure> {
    let options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    shell::run(Command::new(tools::NPM.path()?).args(options).current_dir(tests))
}

/// Copies a folder without what was installed into it by hand.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_name() == "node_modules" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_everything_but_installed_packages() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        for path in ["package.json", "help/login.mjs", "node_modules/a/index.js"] {
            fs::create_dir_all(from.join(path).parent().unwrap()).unwrap();
            fs::write(from.join(path), path).unwrap();
        }
        let to = folder.path().join("to");
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("help/login.mjs")).unwrap(), "help/login.mjs");
        assert!(to.join("package.json").exists());
        assert!(!to.join("node_modules").exists());
    }
}
