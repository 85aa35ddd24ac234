//! Python packages, in a virtual environment of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, Failure};
use crate::tools;

/// A virtual environment, which is made anew when what it should hold has changed.
pub(crate) struct Environment {
    folder: PathBuf,
    pub(crate) python: PathBuf,
    /// A copy of the requirements that were installed, written when all of them were.
    installed: PathBuf,
}

impl Environment {
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { python: folder.join("bin/python"), installed: folder.join("installed.txt"), folder }
    }

    /// Installs what is required, unless that was done before.
    pub(crate) fn ensure(&self, requirements: &Path) -> Result<(), Failure> {
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
}
