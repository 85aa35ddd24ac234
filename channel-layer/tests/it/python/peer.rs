//! A Python process with one layer of `channels_redis`, told over pipes what to do.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

/// How long the peer may take to receive what was sent, in seconds, and to answer at all.
const RECEIVE: u64 = 15;
const PATIENCE: Duration = Duration::from_secs(RECEIVE + 5);

/// Where answers are waited for, by the number of their command.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// Messages pass in and out as Python literals.
pub(super) struct Peer {
    process: Child,
    commands: Mutex<Option<ChildStdin>>,
    next: AtomicU64,
    waiting: Waiting,
}

/// An exception that was raised over there: the name of its class, and what it says.
pub(super) struct Raised {
    pub(super) class: String,
    text: String,
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.text)
    }
}

impl Peer {
    /// Starts the Python of `WATERWAY_PYTHON` with a layer of this kind, `core` or `pubsub`, and its CONFIG.
    pub(super) fn start(kind: &str, config: &Value) -> Self {
        let python = std::env::var_os("WATERWAY_PYTHON")
            .expect("WATERWAY_PYTHON is a Python with channels_redis: run `cargo xtask test --only interop`");
        let mut process = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/peer.py"))
            .args([kind, &config.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Python of WATERWAY_PYTHON starts");
        let commands = Mutex::new(process.stdin.take());
        let answers = process.stdout.take().expect("its output is piped");
        let waiting = Waiting::default();
        let known = Arc::clone(&waiting);
        std::thread::spawn(move || dispatch(answers, &known));
        Self { process, commands, next: AtomicU64::new(1), waiting }
    }

    pub(super) async fn new_channel(&self) -> String {
        self.text("new_channel", json!({})).await
    }

    pub(super) async fn send(&self, channel: &str, literal: &str) {
        self.try_send(channel, literal).await.unwrap();
    }

    pub(super) async fn try_send(&self, channel: &str, literal: &str) -> Result<(), Raised> {
        self.call("send", json!({ "channel": channel, "message": literal })).await.map(drop)
    }

    pub(super) async fn receive(&self, channel: &str) -> String {
        self.text("receive", json!({ "channel": channel, "timeout": RECEIVE })).await
    }

    pub(super) async fn group_add(&self, group: &str, channel: &str) {
        self.call("group_add", json!({ "group": group, "channel": channel })).await.unwrap();
    }

    pub(super) async fn group_discard(&self, group: &str, channel: &str) {
        self.call("group_discard", json!({ "group": group, "channel": channel })).await.unwrap();
    }

    pub(super) async fn group_send(&self, group: &str, literal: &str) {
        self.call("group_send", json!({ "group": group, "message": literal })).await.unwrap();
    }

    pub(super) async fn flush(&self) {
        self.call("flush", json!({})).await.unwrap();
    }

    async fn text(&self, op: &str, args: Value) -> String {
        let answer = self.call(op, args).await.unwrap();
        answer.as_str().expect("this command answers with text").to_owned()
    }

    /// Gives a command and waits for its answer.
    async fn call(&self, op: &str, args: Value) -> Result<Value, Raised> {
        let answer = tokio::time::timeout(PATIENCE, self.begin(op, &args)).await;
        let answer = answer.unwrap_or_else(|_| panic!("Python does not answer to {op}"));
        let answer = answer.unwrap_or_else(|_| panic!("Python died of {op}; what it said is above"));
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        if answer.get("error").is_some() {
            return Err(Raised { class: text("error"), text: text("text") });
        }
        Ok(answer["ok"].clone())
    }

    fn begin(&self, op: &str, args: &Value) -> oneshot::Receiver<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, sender);
        let line = json!({ "id": id, "op": op, "args": args }).to_string() + "\n";
        let mut commands = self.commands.lock().unwrap();
        let commands = commands.as_mut().expect("it is open until the end");
        commands.write_all(line.as_bytes()).expect("Python reads its commands");
        answer
    }
}

/// Hands out answers until there are no more; then nobody waits any longer.
fn dispatch(answers: ChildStdout, waiting: &Waiting) {
    for line in BufReader::new(answers).lines().map_while(Result::ok) {
        let Ok(answer) = serde_json::from_str::<Value>(&line) else { continue };
        let waiter = answer["id"].as_u64().and_then(|id| waiting.lock().unwrap().remove(&id));
        if let Some(waiter) = waiter {
            // Who has asked may have given up.
            let _ = waiter.send(answer);
        }
    }
    waiting.lock().unwrap().clear();
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends with its input; a layer that hangs must not keep the test.
        drop(self.commands.lock().map(|mut commands| commands.take()));
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
