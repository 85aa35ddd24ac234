//! A running server, which ends with its test.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::http::{Answer, Request};
use crate::program::Folder;

/// How long the program may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before looking again whether it has ended.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct Server {
    child: Child,
    /// What it has said so far, up to where the address stood and what follows.
    pub(crate) welcome: String,
    /// The host and port at which a client of this machine reaches it.
    pub(crate) host: String,
}

impl Server {
    /// Runs the server in a folder, with arguments after `runserver`, until it says where it is.
    pub(crate) fn start(folder: &Folder, arguments: &[&str]) -> Self {
        Self::of(folder, folder.command(&[&["runserver"], arguments].concat()))
    }

    /// A server on a free port, in an empty folder: with the demo.
    pub(crate) fn with_demo(folder: &Folder) -> Self {
        Self::start(folder, &["127.0.0.1:0"])
    }

    /// Runs a command that serves.
    pub(crate) fn of(folder: &Folder, mut command: Command) -> Self {
        let log = File::create(folder.path("stderr.log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let mut server = Self { child, welcome: String::new(), host: String::new() };
        while !server.welcome.contains("Ctrl-C") {
            let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| {
                panic!("it did not start: {}", std::fs::read_to_string(folder.path("stderr.log")).unwrap())
            });
            server.welcome.push_str(&line);
            server.welcome.push('\n');
        }
        let address = server.welcome.split("http://").nth(1).unwrap().split('/').next().unwrap();
        server.host = address.replace("0.0.0.0", "127.0.0.1");
        server
    }

    /// Sends a request from nowhere in particular.
    pub(crate) fn get(&self, path: &str) -> Answer {
        Request::new("GET", path).send(&self.host)
    }

    /// Sends the process a signal, such as `-TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until the process has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the program does not end");
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that the program prints, read by a thread to the end, so that one can wait for them for a while only and
/// the program never talks to a closed pipe.
fn lines_of(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // When the test has ended, nobody listens.
            let _ = sender.send(line);
        }
    });
    lines
}
