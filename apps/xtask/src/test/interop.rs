//! Beside Python's own: the Redis layers, Django's ORM as a writer, and the bridge of Channels 1. The tests that need
//! Python's packages run once for each version of them.

use std::path::Path;

use super::postgres::Postgres;
use super::shell::Failure;
use super::{bridge, cargo};
use crate::environment::Environment;

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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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
