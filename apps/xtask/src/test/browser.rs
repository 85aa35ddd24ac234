//! The program as its users see it: a fresh database, a real server, a real browser.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::server::{self, Server};
use super::shell::{self, Failure};
use super::{cargo, tools};

/// The program under test, which is also its crate's name.
const PROGRAM: &str = "manage";

/// Where the tests stand. They run in a copy, so that what they install never lies in the repository.
const TESTS: &str = "apps/manage/tests/browser";

/// The modules of the page, of which the tests use some; they stand in the copy as they do here.
const MODULES: &str = "apps/orders/web";

/// Builds and starts the program on an empty database and runs the browser tests against it. The server must
/// also stop cleanly when it is told to.
pub(super) fn tests(root: &Path) -> Result<(), Failure> {
    let program = cargo::build(root, PROGRAM)?;
    let folder = tempfile::Builder::new().prefix("waterway-").tempdir();
    let folder = folder.map_err(Failure::io("make a temporary folder"))?;
    for part in [TESTS, MODULES] {
        copy(&root.join(part), &folder.path().join(part)).map_err(Failure::io(format!("copy {part}")))?;
    }
    let tests = folder.path().join(TESTS);
    install(&tests)?;

    let address = server::free_address()?;
    let database = format!("sqlite:{}", folder.path().join("waterway.db").display());
    let mut command = Command::new(program);
    command.args(["runserver", &address.to_string(), "--database", &database]).current_dir(folder.path());
    // Declared after the folder, the server is dropped before it: nothing writes to a folder that is gone.
    let mut server = Server::start(&mut command, address, &folder.path().join("server.log"))?;
    server.wait_until_ready("/readyz")?;
    let outcome = shell::run(
        Command::new(tools::NODE.path()?)
            .arg("--test")
            .current_dir(&tests)
            .env("BASE_URL", format!("http://{address}"))
            .env("CHROMIUM", tools::CHROMIUM.path()?),
    );
    if outcome.is_err() {
        server.show_log();
    }
    let stopped = server.stop();
    outcome.and(stopped)
}

/// Installs what the tests need, exactly as locked. Install scripts stay off: they would fetch browsers, and
/// the tests use the one of this machine.
fn install(tests: &Path) -> Result<(), Failure> {
    let options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    shell::run(Command::new(tools::NPM.path()?).args(options).current_dir(tests))
}

/// Copies a folder without what was installed into it by hand.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
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
