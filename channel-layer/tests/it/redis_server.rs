//! A real Redis server for a test, on a port of the loopback address, with its data in a temporary folder. It can be
//! hurt: killed, started again, paused, and given commands.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Says the server's process, and stops it when the pipe closes, which it does even when the test is killed.
const KEEPER: &str = r#"redis-server "$@" >/dev/null 2>&1 & echo $!; cat >/dev/null; kill -9 $!; wait $!"#;

/// The configuration of a sentinel, in its folder.
const SENTINEL: &str = "sentinel.conf";

/// Ports below those that the system gives to clients: while the server is down nobody must take its port, and a
/// client that tries again must not connect to itself.
const PORTS: std::ops::Range<u32> = 10_000..30_000;

/// The user with which tests give commands, whatever the default user's password is.
const ADMIN: &str = "admin:admin@";

pub(crate) struct RedisServer {
    keeper: Option<Keeper>,
    port: u16,
    options: Vec<String>,
    folder: tempfile::TempDir,
}

/// The shell around a server.
struct Keeper {
    shell: Child,
    /// The process of the server itself.
    pid: u32,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further options, such as `--requirepass`.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let mut server = Self::absent(options);
        server.start_again();
        server
    }

    /// A server that has an address, but was not started yet.
    pub(crate) fn absent(options: &[&str]) -> Self {
        Self {
            keeper: None,
            port: free_port(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            folder: tempfile::tempdir().expect("there is room for a folder"),
        }
    }

    /// Starts a sentinel with this configuration, and waits until it answers.
    pub(crate) fn start_sentinel(config: &str) -> Self {
        let mut sentinel = Self::absent(&["--sentinel"]);
        // It writes down in this file what it learns.
        std::fs::write(sentinel.folder.path().join(SENTINEL), config).expect("there is room for a file");
        sentinel.start_again();
        sentinel
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts a server that is down, at its old address and without data, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        let port = self.port.to_string();
        let config = Some(self.folder.path().join(SENTINEL)).filter(|file| file.exists());
        let mut shell = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .args(config)
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
            .args(["--user", "admin", "on", ">admin", "~*", "&*", "+@all", "--dir"])
            .arg(self.folder.path())
            .args(&self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts redis-server, which `cargo xtask test` installs");
        let mut pid = String::new();
        let said = shell.stdout.take().expect("it is a pipe");
        BufReader::new(said).read_line(&mut pid).expect("the shell says a process");
        let pid = pid.trim().parse().expect("a process is a number");
        self.keeper = Some(Keeper { shell, pid });
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.answers(pid) {
            assert!(Instant::now() < deadline, "redis-server does not answer; is it installed?");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the server as `kill -9` does; its data is lost.
    pub(crate) fn kill(&mut self) {
        let Some(Keeper { mut shell, .. }) = self.keeper.take() else { return };
        drop(shell.stdin.take());
        let _ = shell.wait();
    }

    /// Asks the server to end, as a service manager does, and waits until it has; its data is lost.
    pub(crate) fn shut_down(&mut self) {
        let mut connection = self.connection().expect("it runs");
        // The answer is that the connection ends.
        let _ = redis::cmd("SHUTDOWN").arg("NOSAVE").query::<()>(&mut connection);
        self.kill();
    }

    /// Stops the process without ending it: its connections stay open, and nothing answers.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets a paused process go on.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.keeper.as_ref().expect("it runs").pid;
        let kill = format!("kill -{signal} {pid}");
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell runs").success());
    }

    /// Gives the server a command, as a user who may everything.
    pub(crate) fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let mut connection = self.connection().expect("the server runs");
        command.query(&mut connection).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    fn connection(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(format!("redis://{ADMIN}127.0.0.1:{}", self.port))?.get_connection()
    }

    /// Whether it is this process that answers at the port.
    fn answers(&self, pid: u32) -> bool {
        let Ok(mut connection) = self.connection() else { return false };
        let info = redis::cmd("INFO").arg("server").query::<String>(&mut connection);
        info.is_ok_and(|info| info.contains(&format!("process_id:{pid}\r\n")))
    }
}

/// A port that nobody listens on. Tests of several processes start looking in different places.
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(7919);
    loop {
        let next = first.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + next % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).expect("ports are below 30,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
