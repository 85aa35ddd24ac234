//! The steps that cargo does.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::shell::{self, Failure};

/// Tells tests which PostgreSQL server to use; without it they use files of SQLite.
const DATABASE_SERVER: &str = "WATERWAY_POSTGRES";

/// The crates whose tests need a database.
const DATABASE_CRATES: [&str; 3] = ["accounts", "orders", "manage"];

/// Of consumers these do.
const DATABASE_MODULES: &str = "package(consumers) & test(/^(db|capture::postgres|binding)::/)";

/// Checks the formatting of all crates.
pub(super) fn fmt(root: &Path) -> Result<(), Failure> {
    shell::run(cargo(root).args(["fmt", "--all", "--check"]))
}

/// Checks the lints of all crates, tests and benches included.
pub(super) fn clippy(root: &Path) -> Result<(), Failure> {
    shell::run(cargo(root).args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Builds the docs of all crates, where a broken link is an error.
pub(super) fn doc(root: &Path) -> Result<(), Failure> {
    shell::run(cargo(root).args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Runs the unit and integration tests of all crates: with nextest where it is installed, because it runs the
/// tests of different crates side by side.
pub(super) fn tests(root: &Path) -> Result<(), Failure> {
    if shell::succeeds(cargo(root).args(["nextest", "--version"])) {
        shell::run(cargo(root).args(["nextest", "run", "--workspace"]).env_remove(DATABASE_SERVER))
    } else {
        let test = ["test", "--workspace", "--lib", "--bins", "--tests"];
        shell::run(cargo(root).args(test).env_remove(DATABASE_SERVER))
    }
}

/// Runs the tests that drive Python, which are ignored otherwise: the modules named `python` of all crates, built as
/// the other tests were. Those that need a database have it on this server, or else in files. Tests that are ignored
/// for other reasons stay so.
pub(super) fn tests_with_python(root: &Path, python: &Path, server: Option<&str>) -> Result<(), Failure> {
    let mut command = cargo(root);
    command.env("WATERWAY_PYTHON", python);
    match server {
        Some(server) => command.env(DATABASE_SERVER, server),
        None => command.env_remove(DATABASE_SERVER),
    };
    if shell::succeeds(cargo(root).args(["nextest", "--version"])) {
        command.args(["nextest", "run", "--workspace", "--run-ignored", "only"]);
        shell::run(command.args(["-E", "test(/^python::/)"]))
    } else {
        command.args(["test", "--workspace", "--lib", "--bins", "--tests"]);
        shell::run(command.args(["--", "--ignored", "python::"]))
    }
}

/// Runs the tests of the crates that have a database, those that need this server included. Those
/// that need Python as well have a step of their own.
pub(super) fn tests_on(root: &Path, server: &str) -> Result<(), Failure> {
    let mut command = cargo(root);
    if shell::succeeds(cargo(root).args(["nextest", "--version"])) {
        // The whole workspace is what was built for the step before. Of its tests these are run, and our own of the
        // server.
        let crates = DATABASE_CRATES.map(|name| format!("package({name})")).join(" + ");
        let filter =
            format!("({crates} + test(/^test::postgres::/) + ({DATABASE_MODULES})) - test(/^python::/)");
        command.args(["nextest", "run", "--workspace", "--run-ignored", "all", "-E", &filter]);
    } else {
        command.args(["test", "--lib", "--bins", "--tests"]);
        command.args(DATABASE_CRATES.iter().flat_map(|name| ["-p", name]));
        command.args(["-p", "consumers", "--", "--include-ignored"]);
        command.args(["--skip", "capture::sqlite", "--skip", "python::"]);
    }
    shell::run(command.env(DATABASE_SERVER, server))
}

/// Runs the examples in the docs.
pub(super) fn doctests(root: &Path) -> Result<(), Failure> {
    shell::run(cargo(root).args(["test", "--doc", "--workspace"]))
}

/// Builds the program of a crate that has the crate's name, and returns its path.
pub(super) fn build(root: &Path, name: &str) -> Result<PathBuf, Failure> {
    built(cargo(root).args(["build", "-p", name, "--bin", name]), "bin", name)
}

/// Builds the measured programs of the benches, and returns the folder in which they are.
pub(super) fn build_benches(root: &Path, names: &[&str]) -> Result<PathBuf, Failure> {
    let mut command = cargo(root);
    command.args(["build", "--release", "-p", "benches"]);
    command.args(names.iter().flat_map(|name| ["--bin", name]));
    let first = built(&mut command, "bin", names[0])?;
    Ok(first.parent().unwrap_or(root).to_owned())
}

/// Runs the benches of single steps, and returns what they print.
pub(super) fn micro_benches(root: &Path) -> Result<String, Failure> {
    shell::read(cargo(root).args(["bench", "-p", "benches", "--bench", "micro"]))
}

/// Builds the program of a package that is not of this workspace, and returns its path.
pub(super) fn build_elsewhere(folder: &Path, name: &str) -> Result<PathBuf, Failure> {
    built(cargo(folder).args(["build", "--release", "--target-dir", "target"]), "bin", name)
}

/// Builds an example of a crate with a feature of that crate, of what the tests were built of, and returns its path.
pub(super) fn build_example(root: &Path, feature: &str, name: &str) -> Result<PathBuf, Failure> {
    let arguments = ["build", "--workspace", "--features", feature, "--example", name];
    built(cargo(root).args(arguments), "example", name)
}

/// Runs a command that builds something of this kind and name, and returns its path.
fn built(command: &mut Command, kind: &str, name: &str) -> Result<PathBuf, Failure> {
    // cargo is asked for the path, because the target folder is wherever the user's configuration puts it.
    let messages = shell::read(command.args(["--message-format", "json-render-diagnostics"]))?;
    program_in(&messages, kind, name).ok_or_else(|| Failure::NoProgram(name.to_owned()))
}

/// The path of a program in cargo's messages, which are one JSON object a line.
fn program_in(messages: &str, kind: &str, name: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_program = message["target"]["name"] == name && message["target"]["kind"][0] == kind;
        if is_program { message["executable"].as_str().map(PathBuf::from) } else { None }
    })
}

/// The cargo that runs us, without what it told us about ourselves: some build scripts look at these variables
/// and would run again each time that `cargo` and `cargo xtask` take turns.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"orders","kind":["lib"]},"executable":null}
{"reason":"build-script-executed","package_id":"x"}
{"reason":"compiler-artifact","target":{"name":"manage","kind":["lib"]},"executable":null}
{"reason":"compiler-artifact","target":{"name":"manage","kind":["bin"]},"executable":"/target/debug/manage"}
{"reason":"compiler-artifact","target":{"name":"chat","kind":["example"]},"executable":"/target/debug/examples/chat"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(program_in(messages, "bin", "manage"), Some(PathBuf::from("/target/debug/manage")));
        assert_eq!(
            program_in(messages, "example", "chat"),
            Some(PathBuf::from("/target/debug/examples/chat"))
        );
        assert_eq!(program_in(messages, "bin", "orders"), None);
        assert_eq!(program_in(messages, "bin", "chat"), None);
    }

    #[test]
    fn cargo_is_not_told_who_runs_it() {
        let command = cargo(Path::new("."));
        let removed = command.get_envs().find(|(name, _)| *name == "CARGO_MANIFEST_DIR");
        assert!(matches!(removed, Some((_, None))));
    }
}
