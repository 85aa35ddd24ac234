//! The `websocketbridge.js` of Channels 1, as it was published, against an example server of ours on both databases.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::postgres::Postgres;
use super::shell::{self, Failure};
use super::{browser, cargo, tools};

/// The last version of Channels that had a bridge, and where the bridge lies in it.
const CHANNELS: &str = "channels==1.1.8";
const BRIDGE: &str = "channels/static/channels/js/websocketbridge.js";

/// Where the tests stand. They run in a copy, so that what they install never lies in the repository.
const TESTS: &str = "routing/tests/bridge";

/// The server, and the feature that it needs.
const EXAMPLE: &str = "bindings";
const FEATURE: &str = "routing/database";

/// Fetches the bridge into `folder` by this Python's pip, builds the server, and runs the tests.
pub(super) fn tests(root: &Path, folder: &Path, python: &Path, postgres: &Postgres) -> Result<(), Failure> {
    let bridge = fetch(folder, python)?;
    let program = cargo::build_example(root, FEATURE, EXAMPLE)?;
    let copy = shell::temporary_folder()?;
    browser::copy(&root.join(TESTS), copy.path()).map_err(Failure::io(format!("copy {TESTS}")))?;
    browser::install(copy.path())?;
    let file = format!("sqlite:{}", copy.path().join("things.db").display());
    shell::run(
        Command::new(tools::NODE.path()?)
            // The bridge has timers that outlive it.
            .args(["--test", "--test-force-exit", "bridge.test.mjs"])
            .current_dir(copy.path())
            .env("BRIDGE", bridge)
            .env("PROGRAM", program)
            .env("DATABASES", format!("{file} {}", postgres.url())),
    )
}

/// The bridge's file, which is fetched once. Nothing else of that old package is used, and nothing that it needs.
fn fetch(folder: &Path, python: &Path) -> Result<PathBuf, Failure> {
    let folder = folder.join(CHANNELS);
    let bridge = folder.join(BRIDGE);
    if !bridge.is_file() {
        let install =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"];
        let mut command = Command::new(python);
        shell::run(
            command.args(install).args(["--only-binary", ":all:", CHANNELS, "--target"]).arg(&folder),
        )?;
    }
    Ok(bridge)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_bridge_that_is_there_is_not_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let bridge = folder.path().join(CHANNELS).join(BRIDGE);
        fs::create_dir_all(bridge.parent().unwrap()).unwrap();
        fs::write(&bridge, "as it is").unwrap();
        assert_eq!(fetch(folder.path(), Path::new("no-such-python")).unwrap(), bridge);
        assert_eq!(fs::read_to_string(bridge).unwrap(), "as it is");
    }
}
