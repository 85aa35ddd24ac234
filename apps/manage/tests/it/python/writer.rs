//! A Python process with Django's own ORM on the site's database, told over pipes what to do.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::program::Folder;

/// How long Python may take to start and to do one thing.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Writer {
    process: Child,
    commands: ChildStdin,
    answers: mpsc::Receiver<String>,
}

impl Writer {
    /// Starts the Python of `WATERWAY_PYTHON`.
    pub(super) fn start(folder: &Folder) -> Self {
        let python = std::env::var_os("WATERWAY_PYTHON")
            .expect("WATERWAY_PYTHON is a Python with Django: run `cargo xtask test --only interop`");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/writer.py");
        let mut command = Command::new(python);
        command.arg(script).arg(folder.database()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the Python of WATERWAY_PYTHON starts");
        let commands = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        // Each command is answered before the next one is given.
        let (sender, answers) = mpsc::channel(1);
        // The last answer may come when the test has ended.
        std::thread::spawn(move || lines.for_each(|line| drop(sender.blocking_send(line))));
        Self { process, commands, answers }
    }

    /// Has something done; what it gives.
    pub(super) async fn ask(&mut self, what: &str, with: Value) -> Value {
        writeln!(self.commands, "{}", json!({"do": what, "with": with})).unwrap();
        let answer = tokio::time::timeout(PATIENCE, self.answers.recv()).await;
        let answer = answer.expect("Python answers in time").expect("Python lives; what it said is above");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer.get("ok").unwrap_or_else(|| panic!("{what} raised {answer}")).clone()
    }

    /// Makes an order, and gives its key.
    pub(super) async fn create(&mut self, owner: &str, instrument: &str, quantity: &str, price: &str) -> i64 {
        let order = json!({"owner": owner, "instrument": instrument, "quantity": quantity, "price": price});
        self.ask("create", order).await.as_i64().unwrap()
    }

    /// Runs SQL over a connection that Django does not know, as a shell does.
    pub(super) async fn shell(&mut self, script: impl Into<String>) {
        self.ask("shell", json!({"script": script.into()})).await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
