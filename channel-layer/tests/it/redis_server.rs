//! A real Redis server for a test, on a free port of the loopback address, with its data in a temporary folder.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Stops the server when the pipe to it closes, which it does even when the test is killed.
const KEEPER: &str = r#"redis-server "$@" >/dev/null 2>&1 & pid=$!; cat >/dev/null; kill -9 $pid; wait $pid"#;

pub(crate) struct RedisServer {
    keeper: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("loopback has free ports")
            .port();
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let keeper = Command::new("sh")
            .args([
                "-c",
                KEEPER,
                "sh",
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
            ])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell starts redis-server, which `cargo xtask test` installs");
        let server = Self { keeper, port, _folder: folder };
        server.wait();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.answers() {
            assert!(Instant::now() < deadline, "redis-server does not answer; is it installed?");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = [0; 5];
        stream.write_all(b"PING\r\n").is_ok()
            && std::io::Read::read_exact(&mut stream, &mut answer).is_ok()
            && &answer == b"+PONG"
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
