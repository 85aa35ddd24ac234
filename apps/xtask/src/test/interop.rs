//! Beside Python's own: the Redis layers, Django's ORM as a writer, and the bridge of Channels 1. The tests that need
//! Python's packages run once for each version of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::postgres::Postgres;
use super::shell::{self, Failure};
use super::{bridge, cargo, tools};

/// Where the requirements of each version stand.
const REQUIREMENTS: &str = "channel-layer/tests/python";

/// What tells the versions apart: redis-py 8 has other defaults than the one that channels_redis was written for.
const VERSIONS: [&str; 2] = ["redis7", "redis8"];

/// Runs the tests that drive Python with each version: the first with files of SQLite, the others on PostgreSQL. Then
/// those of the bridge, on both.
pub(super) fn tests(root: &Path) -> Result<(), Failure> {
    let postgres = Postgres::start()?;
    let folder = root.join("target/interop");
    let environments = VERSIONS.map(|version| Environment::at(folder.join(version)));
    for (nth, (version, environment)) in VERSIONS.iter().zip(&environments).enumerate() {
        let requirements = root.join(REQUIREMENTS).join(format!("requirements-{version}.txt"));
        environment.ensure(&requirements)?;
        let server = (nth > 0).then(|| postgres.url());
        cargo::tests_with_python(root, &environment.python, server.as_deref())?;
    }
    bridge::tests(root, &folder, &environments[0].python, &postgres)
}

/// A virtual environment, which is made anew when what it should hold has changed.
struct Environment {
    folder: PathBuf,
    python: PathBuf,
    /// A copy of the requirements that were installed, written when all of them were.
    installed: PathBuf,
}

impl Environment {
    fn at(folder: PathBuf) -> Self {
        Self { python: folder.join("bin/python"), installed: folder.join("installed.txt"), folder }
    }

    fn ensure(&self, requirements: &Path) -> Result<(), Failure> {
        let wanted = fs::read_to_string(requirements)
            .map_err(Failure::io(format!("read {}", requirements.display())))?;
        if self.holds(&wanted) {
            return Ok(());
        }
        shell::run(Command::new(tools::PYTHON.path()?).args(["-m", "venv", "--clear"]).arg(&self.folder))?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        shell::run(Command::new(&self.python).args(install).arg(requirements))?;
        fs::write(&self.installed, wanted).map_err(Failure::io(format!("write {}", self.installed.display())))
    }

    fn holds(&self, wanted: &str) -> bool {
        self.python.exists() && fs::read_to_string(&self.installed).is_ok_and(|found| found == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_used_again_until_its_requirements_change() {
        let folder = tempfile::tempdir().unwrap();
        let requirements = folder.path().join("requirements.txt");
        fs::write(&requirements, "one==1\n").unwrap();
        let environment = Environment::at(folder.path().join("environment"));
        assert!(!environment.holds("one==1\n"));

        fs::create_dir_all(environment.python.parent().unwrap()).unwrap();
        fs::write(&environment.python, "").unwrap();
        assert!(!environment.holds("one==1\n"), "an installation was interrupted");
        fs::write(&environment.installed, "one==1\n").unwrap();
        // Nothing can be installed with an empty file for an interpreter, so nothing is.
        environment.ensure(&requirements).unwrap();
        assert!(!environment.holds("one==2\n"));
    }

    #[test]
    fn the_requirements_of_every_version_are_there_and_pinned() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        for version in VERSIONS {
            let path = root.join(REQUIREMENTS).join(format!("requirements-{version}.txt"));
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            for needed in ["channels_redis==", "Django==", "psycopg[binary]=="] {
                assert!(lines.clone().any(|line| line.starts_with(needed)), "{version}: {needed}");
            }
            assert!(lines.clone().all(|line| line.contains("==")), "{version}");
        }
    }
}
