//! The program, in a folder of its own.

use std::path::PathBuf;
use std::process::{Command, Output};

use accounts::testing::TestDatabase;
use tempfile::TempDir;

/// What the environment might say to the program; tests say it themselves.
const VARIABLES: [&str; 6] = [
    "RUST_LOG",
    "WATERWAY_DATABASE",
    "WATERWAY_LAYER",
    "WATERWAY_MARKET_RATE",
    "WATERWAY_SECURE_COOKIES",
    "WATERWAY_SUPERUSER_PASSWORD",
];

/// A folder in which the program is run; it goes with its database, which is the file `waterway.db` in it or on the server
/// for tests.
pub(crate) struct Folder {
    folder: TempDir,
    server: Option<TestDatabase>,
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let database = TestDatabase::new();
        let server = database.address().starts_with("postgres").then_some(database);
        Self { folder: tempfile::tempdir().unwrap(), server }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the program's database is, unless it is told otherwise.
    pub(crate) fn database(&self) -> String {
        let file = || format!("sqlite:{}", self.path("waterway.db").display());
        self.server.as_ref().map_or_else(file, |server| server.address().to_owned())
    }

    /// The program with some arguments, about to be run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_manage"));
        command.args(arguments).current_dir(self.folder.path());
        for name in VARIABLES {
            command.env_remove(name);
        }
        if let Some(server) = &self.server {
            command.env("WATERWAY_DATABASE", server.address());
        }
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// Makes a user who may do everything.
    pub(crate) fn create_superuser(&self, username: &str, password: &str) {
        let mut command = self.command(&["createsuperuser", "--noinput", "--username", username]);
        let run = Run::of(command.env("WATERWAY_SUPERUSER_PASSWORD", password));
        assert_eq!(run.code, Some(0), "{run:?}");
    }
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Asserts that the program failed, and said why in one line and nothing else on its output.
    pub(crate) fn assert_failed(&self, why: &str) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert!(self.stderr.contains(why) && self.stderr.contains("error: "), "{why}: {self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
    }
}
